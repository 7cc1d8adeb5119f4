"""The program as its users run it: a process with its own directory, home and environment.

`Waveledger` is one user at one ledger. `run` starts a process; `quick` runs the same app inside this process (a process
takes half a second to start), for tables of many cases. Ledgers are made once and copied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from tests import stores

DATA = Path(__file__).parent.parent / "data"
KEYS = ("-k", "keys/targets.only.key.tgz")
PROGRAM = (sys.executable, "-c", "from cli.main import main; main()")


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended."""

    args: Sequence[str]
    rc: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout: one, and nothing else."""
        return json.loads(self.out)


class Waveledger:
    """One user's shell: directory, home, environment."""

    def __init__(self, cwd: Path, actor: str = "alice", **env: str) -> None:
        self.cwd = cwd
        self.env = {"WAVELEDGER_ACTOR": actor, **env}

    def copy(self, to: Path, **env: str) -> Waveledger:
        """The same with a ledger of its own."""
        shutil.copytree(self.cwd, to, symlinks=True)
        other = type(self)(to, **{"actor": self.env["WAVELEDGER_ACTOR"], **self._named(), **env})
        if stores.ON_POSTGRESQL and other.store.exists():
            stores.copy(self.store, other.store)
        return other

    @property
    def store(self) -> Path:
        """The ledger, as `tests.stores` has it. On PostgreSQL no file of it is in the directory that users see."""
        return self.cwd / ("home/ledger.json" if stores.ON_POSTGRESQL else "waveledger.db")

    @property
    def store_url(self) -> str:
        """The ledger, as messages name it."""
        return self.environment().get("WAVELEDGER_STORE", "sqlite:///waveledger.db").partition("?")[0]

    def backup(self) -> Path:
        """A copy of the ledger as it is now, for `restore`."""
        kept = self.store.with_name(f"{self.store.name}-kept")
        stores.copy(self.store, kept)
        return kept

    def restore(self, kept: Path) -> None:
        """Put a backup in the ledger's place."""
        stores.copy(kept, self.store)

    def as_actor(self, actor: str) -> Waveledger:
        """Another user at the same ledger."""
        return type(self)(self.cwd, actor, **self._named())

    def _named(self) -> dict[str, str]:
        return {name: value for name, value in self.env.items() if name != "WAVELEDGER_ACTOR"}

    def environment(self, extra: Mapping[str, str] | None = None, args: Sequence[str] = ()) -> dict[str, str]:
        """All of the process's environment: nothing of the tester's own gets in.

        On PostgreSQL whoever acts, also by `--actor` at the head of the arguments, is the one who logs in.
        """
        home = self.cwd / "home"
        home.mkdir(exist_ok=True)
        base = {"HOME": str(home), "PATH": os.defpath, "COLUMNS": "200", "LC_ALL": "C.UTF-8"}
        if stores.ON_POSTGRESQL:
            actor = args[1] if args[:1] == ("--actor",) else self.env["WAVELEDGER_ACTOR"]
            base["WAVELEDGER_STORE"] = stores.url(self.store, actor)
        return {**base, **self.env, **(extra or {})}

    def start(self, *args: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """A process that runs while the test goes on."""
        return subprocess.Popen(
            [*PROGRAM, *args],
            cwd=self.cwd,
            env=self.environment(env, args),
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **options,
        )

    def run(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
        """A process, to its end."""
        with self.start(*args, env=env, stdin=subprocess.PIPE) as process:
            out, err = process.communicate(stdin, timeout=120)
        return Result(args, process.returncode, out, err)

    def quick(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
        """The same inside this process."""
        from cli.main import app

        clean = {name: None for name in os.environ if name.startswith("WAVELEDGER_")}
        with contextlib.chdir(self.cwd):
            came = CliRunner().invoke(app, list(args), input=stdin, env={**clean, **self.environment(env, args)})
        if came.exception is not None and not isinstance(came.exception, SystemExit):
            raise came.exception
        return Result(args, came.exit_code, came.stdout, came.stderr)

    def ok(self, *args: str, **options: Any) -> Result:
        """A process that must end well."""
        return _well(self.run(*args, **options))

    def do(self, *args: str, **options: Any) -> Result:
        """`quick` that must end well."""
        return _well(self.quick(*args, **options))

    def json(self, *args: str) -> Any:
        """The answer of a process, as data."""
        return self.ok(*args, "--format", "json").json

    def ask(self, *args: str) -> Any:
        """The answer of `quick`, as data."""
        return self.do(*args, "--format", "json").json

    def head(self) -> tuple[int, str]:
        """Position and root of the ledger."""
        head = self.ask("status")["head"]
        return head["position"], head["root"]


class QuickWaveledger(Waveledger):
    """One that starts no process at all."""

    def run(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
        """`quick`."""
        return self.quick(*args, stdin=stdin, env=env)


def _well(result: Result) -> Result:
    assert result.rc == 0, f"{' '.join(result.args)} ended with {result.rc}: {result.err}"
    return result


@pytest.fixture(scope="session")
def data() -> Path:
    """The directory with the sample data."""
    return DATA


@pytest.fixture
def shell(tmp_path: Path) -> Waveledger:
    """A user in an empty directory."""
    return Waveledger(tmp_path)


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Waveledger]:
    """A ledger with the targets and devices of a factory, by its name: made once; copy it before you change it."""
    made: dict[tuple[str, ...], Waveledger] = {}

    def make(factory: str, *options: str) -> Waveledger:
        if (factory, *options) not in made:
            shell = Waveledger(tmp_path_factory.mktemp(factory))
            shell.do("init", "--factory", factory, *options)
            shell.do("targets", "import", str(DATA / factory / "ci-targets.json"))
            shell.do("devices", "import", str(DATA / factory / "devices.csv"))
            made[factory, *options] = shell
        return made[factory, *options]

    return make


@pytest.fixture
def acme(imported: Callable[..., Waveledger], tmp_path: Path) -> Waveledger:
    """A ledger of this test's own, with the data of acme and no wave."""
    return imported("acme").copy(tmp_path / "acme")


class Quiet(SimpleHTTPRequestHandler):
    """A file server that keeps its log to itself."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each file waits 40 ms for an acknowledgement

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve a directory on this machine, and get its URL."""
    with contextlib.ExitStack() as stack:

        def start(directory: Path) -> str:
            server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
            server.daemon_threads, server.block_on_close = True, False
            stack.enter_context(server)
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield start
