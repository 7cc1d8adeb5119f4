"""Whole commands, as processes, killed with SIGKILL at random moments."""

# ruff: noqa: D102  (helpers speak by name)
from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.store import engine as store
from ledger.store import events
from projections import runner
from projections.tuf import verify
from projections.tuf.destination import Directory
from tests import stores

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "tests" / "data" / "acme"
PROGRAM = [sys.executable, "-c", "from cli.main import main; main()"]
KEYS = ["-k", "keys/targets.only.key.tgz"]


class Shell:
    """Runs commands in a directory, to their end or to a moment before it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.random = random.Random(seed)
        self.usual = 1.0  # seconds that a command took here lately: kills come within that
        keep = {name: value for name, value in os.environ.items() if not name.startswith("WAVELEDGER_")}
        self.environment = {
            **keep, "PYTHONPATH": str(REPOSITORY), "WAVELEDGER_ACTOR": "alice", "WAVELEDGER_PUBLISH": "tree",
            "TMPDIR": str(directory),
        }  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.directory,
            env={**self.environment, "WAVELEDGER_STORE": stores.url(self.directory / "waveledger.db")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str) -> int:
        begun = time.monotonic()
        process = self.start(*arguments)
        _, problem = process.communicate(timeout=60)
        self.usual = time.monotonic() - begun
        assert process.returncode in {0, 3, 4, 7}, problem.decode()
        return process.returncode

    def kill(self, *arguments: str) -> bool:
        """Whether the command was killed before it ended."""
        process = self.start(*arguments)
        time.sleep(self.usual * self.random.uniform(0.2, 1.1))
        process.kill()
        process.communicate(timeout=60)
        return process.returncode == -signal.SIGKILL

    def head(self) -> int:
        """The ledger's size, after looking at all of it: undamaged, and projected to the last event."""
        engine = store.open_engine(stores.url(self.directory / "waveledger.db"))
        try:
            with store.reading(engine) as connection:
                size = events.head(connection).size
                assert len(list(events.read(connection))) == size
                if not stores.ON_POSTGRESQL:
                    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert [found for fold in runner.folds() for found in runner.verify(engine, fold.name)] == []
        finally:
            engine.dispose()
        return size


def rounds(directory: Path, seed: int, count: int) -> None:
    shell = Shell(directory, seed)
    assert shell.run("init", "--factory", "acme") == 0
    assert shell.run("targets", "import", str(DATA / "ci-targets.json")) == 0
    assert shell.run("devices", "import", str(DATA / "devices.csv")) == 0
    import orjson

    targets = orjson.loads((DATA / "ci-targets.json").read_bytes())
    found = targets.get("signed", targets).get("targets", targets.get("targets", targets))
    numbers = sorted({int(body["custom"]["version"]) for body in found.values()})
    killed = 0
    for turn in range(4 * count):
        if turn >= count and killed:  # a machine that is busy now and then may let the first ones through
            break
        wave, number = f"w{turn}", str(numbers[min(turn // 4, len(numbers) - 1)])
        before = shell.head()
        kind = shell.random.choice(["init", "rollout", "cancel", "publish", "complete", "rebuild"])
        command = {
            "init": ["waves", "init", wave, number, "release", *KEYS],
            "rollout": ["waves", "rollout", wave, "--limit", "1"],
            "cancel": ["waves", "cancel", wave],
            "complete": ["waves", "complete", wave],
            "publish": ["tuf", "refresh", "--force"],
            "rebuild": ["projections", "rebuild"],
        }[kind]
        if kind not in {"init", "publish", "rebuild"}:
            shell.run("waves", "init", wave, number, "release", *KEYS)
            before = shell.head()
        killed += shell.kill(*command)
        after = shell.head()
        # Each repository that is published then is an event more.
        own = {"init": {3}, "rollout": {2}, "cancel": {2}, "complete": {3, 4}, "publish": {0}, "rebuild": {0}}[kind]
        assert after - before in {0} | {n + more for n in own for more in range(6)}, (kind, before, after)
        shell.run("waves", "cancel", wave)
        assert shell.run("tuf", "publish") == 0
        tree = Directory(directory / "tree")
        assert verify.check_views(tree, verify.find_views(tree.root))[1] == []
    assert killed > 0
    assert not list((directory / "tree").rglob("*.tmp"))


def test_a_killed_command_is_before_or_after(tmp_path: Path) -> None:
    """Wherever a command is killed, the ledger has all of it or nothing, and what was begun can be finished."""
    rounds(tmp_path, 7, 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many_killed_commands(tmp_path: Path, seed: int) -> None:
    """The same, many times."""
    rounds(tmp_path, 100 + seed, 20)


@pytest.mark.parametrize("turns", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_killed_init_can_be_run_again(tmp_path: Path, turns: int) -> None:
    """An init that was killed anywhere leaves nothing in the way of the next one, which makes ledger and keys."""
    shell = Shell(tmp_path, 11)
    assert shell.run("init", "--factory", "practice") == 0
    killed = 0
    for turn in range(turns):
        shell.directory = tmp_path / str(turn)
        shell.directory.mkdir()
        killed += shell.kill("init", "--factory", "acme", "--offline-key", "rsa4096" if turn % 2 else "ed25519")
        # 7: there is a ledger, the first one came to its end before it was killed.
        assert shell.run("init", "--factory", "acme") in {0, 7}
        assert shell.head() > 4
        assert (shell.directory / "keys" / "targets.only.key.tgz").exists()
        assert shell.run("targets", "import", str(DATA / "ci-targets.json")) == 0
        assert shell.run("tuf", "publish") == 0  # the online keys are those of the ledger
    assert killed > 0
