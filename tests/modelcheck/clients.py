"""Real TUF clients over HTTP: python-tuf's ngclient, and npm's tuf-js in a process of its own.

Each keeps a metadata directory for each repository it ever met, as a device does, and its clock is given.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater, Urllib3Fetcher

from ledger.domain.values import from_epoch

HERE = Path(__file__).parent


class Trusted(NamedTuple):
    """What a client trusts after a refresh: versions of root, timestamp, snapshot and targets, hardware by target."""

    versions: tuple[int, int, int, int]
    targets: dict[str, tuple[str, ...]]


class ClientRefused(Exception):
    """A client that did not accept what it was served."""


class NoTufJs(Exception):
    """The other client can't be had on this machine."""


class TufClient(Protocol):
    """A kind of client; `directory` is one device's metadata directory for one repository."""

    name: str

    def refresh(self, directory: Path, url: str, root: bytes, now: int) -> Trusted:
        """Refresh from a view. `root` is what the device came from the factory with. Raises: ClientRefused."""

    def close(self) -> None:
        """End what was begun."""


class NgClient:
    """python-tuf's client, with its own HTTP fetcher."""

    name = "ngclient"

    def __init__(self) -> None:
        self.fetcher = Urllib3Fetcher()

    def refresh(self, directory: Path, url: str, root: bytes, now: int) -> Trusted:
        """Refresh from a view. Two devices go by their embedded root each time, the others by the root they cached."""
        bootstrap: bytes | None = root
        if directory.exists() and sum(directory.parent.name.encode()) % 4:
            bootstrap = None
        directory.mkdir(parents=True, exist_ok=True)
        try:
            updater = Updater(str(directory), url, fetcher=self.fetcher, bootstrap=bootstrap)
            trusted = updater._trusted_set
            trusted.reference_time = from_epoch(now)
            updater.refresh()
        except (RepositoryError, DownloadError) as problem:
            raise ClientRefused(f"{type(problem).__name__}: {problem}") from None
        versions = (trusted.root.version, trusted.timestamp.version, trusted.snapshot.version, trusted.targets.version)
        targets = trusted.targets.targets
        hardware = {name: tuple(t.unrecognized_fields["custom"]["hardwareIds"]) for name, t in targets.items()}
        return Trusted(versions, hardware)

    def close(self) -> None:
        """Nothing to end: connections go with the process."""


class TufJs:
    """npm's client, for all devices in one process of Node."""

    name = "tuf-js"

    def __init__(self) -> None:
        packages = install_tuf_js()
        self._process = subprocess.Popen(
            ["node", str(HERE / "devices.js"), str(packages)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(scratch())},
        )  # fmt: skip

    def refresh(self, directory: Path, url: str, root: bytes, now: int) -> Trusted:
        """Refresh from a view."""
        request: dict[str, Any] = {"directory": str(directory), "url": url, "now": now}
        if not directory.exists():
            request["root"] = base64.b64encode(root).decode()
        self._pipe(self._process.stdin).write(json.dumps(request).encode() + b"\n")
        self._pipe(self._process.stdin).flush()
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"node ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientRefused(f"{answer['error']}: {answer['message']}")
        return Trusted(tuple(answer["versions"]), {name: tuple(ids) for name, ids in answer["targets"].items()})

    def close(self) -> None:
        """End the process."""
        self._pipe(self._process.stdin).close()
        self._process.wait(timeout=10)
        self._pipe(self._process.stdout).close()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def scratch() -> Path:
    """Where short-lived files are cheap: in memory, where the machine has such a file system."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def install_tuf_js() -> Path:
    """The directory with the locked npm packages, installed into this environment if it is not. Raises: NoTufJs."""
    lock = (HERE / "package-lock.json").read_bytes()
    home = Path(sys.prefix) / "share" / f"waveledger-tuf-js-{hashlib.sha256(lock).hexdigest()[:12]}"
    if home.exists():
        return home
    if not shutil.which("node") or not shutil.which("npm"):
        raise NoTufJs(
            "the check with tuf-js needs node (20.17 or later) and npm on the PATH: install Node.js, "
            "or leave the check out with: scripts/test-all -k 'not tuf_js'"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".waveledger-tuf-js-") as made:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copyfile(HERE / name, Path(made) / name)
        came = subprocess.run(["npm", "ci", "--silent"], cwd=made, capture_output=True, text=True, check=False)
        if came.returncode:
            raise NoTufJs(f"npm could not install tuf-js (exit {came.returncode}): {came.stderr[-2000:]}")
        try:
            Path(made).rename(home)
        except OSError:
            assert home.exists()  # another process was faster
        else:
            Path(made).mkdir()  # for the context manager to remove
    return home
