"""Where the repository is written: a directory that a plain web server can serve.

Rules of this module:

* A versioned file is written once. The same bytes again are no change; other bytes are refused, for good.
* Every write is atomic and durable: temporary file, fsync, rename, fsync of the directory (`Metadata.to_file` deletes
  before it writes, so it is never used). A crash leaves the file as it was, or as it will be.
* A view links to the pool's files, or copies them where the file system has no links.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from ledger.domain.errors import StorageFailure


class DestinationHasOtherBytes(StorageFailure):
    """A versioned file is there with another content."""

    message = "{path} is already published with other bytes than the ledger's"
    hint = (
        "clients may have seen it, so it is not overwritten. Restore the newest ledger, the one that published it; "
        "another directory would send clients back"
    )
    path: str


class DestinationAhead(StorageFailure):
    """The destination shows a newer version than the ledger knows of."""

    message = "{path} is at version {found}, and the ledger knows of {known}: an older ledger was restored?"
    hint = "restore the newest ledger, the one that published it; another destination would send clients back"
    path: str
    found: int
    known: int


class DestinationUnusable(StorageFailure):
    """The destination can't be written or read."""

    message = "cannot use the destination {path}: {problem}"
    hint = "check the directory, its permissions and the space on its disk; nothing that was published is lost"
    path: str
    problem: str


class DestinationPathRefused(StorageFailure):
    """A path that no view or file of a repository has: somebody wrote to the ledger by hand."""

    message = "{path!r} is not a path of a published repository; nothing was written there"
    hint = "the ledger was changed by hand: run 'waveledger audit log' and restore from a backup"
    path: str


_WORD = "[A-Za-z0-9][A-Za-z0-9._-]*"
_PATH = re.compile(rf"{_WORD}(/{_WORD})+", re.ASCII)


class Destination(Protocol):
    """What publishing needs of a place. Paths are relative, with slashes."""

    def locked(self) -> AbstractContextManager[None]:
        """Only one publisher writes at a time: an older timestamp must never replace a newer one."""

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None when there is none."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def write_once(self, path: str, data: bytes) -> None:
        """Write a versioned file. Raises: DestinationHasOtherBytes."""

    def link(self, source: str, path: str) -> None:
        """Make a file of the pool appear in a view. Raises: DestinationHasOtherBytes."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a file that changes (a timestamp), at once."""

    def remove(self, path: str) -> None:
        """Delete a view and all in it."""


class Directory:
    """A local directory as destination. One that does not exist is made by the first write."""

    def __init__(self, root: Path) -> None:
        """Publish below `root`."""
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory: other publishers on this machine wait. The lock goes with its process."""
        try:
            _make_directory(self.root)
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as problem:
            raise self._unusable(problem) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None when there is none."""
        try:
            return (self._at(path)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise self._unusable(problem) from None

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self._at(path)).is_file()

    def write_once(self, path: str, data: bytes) -> None:
        """Write a versioned file. Raises: DestinationHasOtherBytes."""
        present = self.read(path)
        if present is None:
            self.replace(path, data)
        elif present != data:
            raise DestinationHasOtherBytes(path=str(self._at(path)))

    def link(self, source: str, path: str) -> None:
        """Make a file of the pool appear in a view. Raises: DestinationHasOtherBytes."""
        if self.exists(path):
            if not (self._at(source)).samefile(self._at(path)) and self.read(source) != self.read(path):
                raise DestinationHasOtherBytes(path=str(self._at(path)))
            return
        target = self._at(path)
        try:
            _make_directory(target.parent)
            os.link(self._at(source), target)
            _sync_directory(target.parent)
        except FileExistsError:
            return  # another publisher made the same link
        except OSError:
            data = self.read(source)
            assert data is not None  # the pool is written first
            self.replace(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """Write a file that changes (a timestamp), at once."""
        target = self._at(path)
        # Always the same name: what a kill left behind is overwritten when this file is written again (see `locked`).
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            _make_directory(target.parent)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_directory(target.parent)
        except OSError as problem:
            temporary.unlink(missing_ok=True)
            raise self._unusable(problem) from None

    def remove(self, path: str) -> None:
        """Delete a view and all in it: its timestamp first, so that no client finds half of a view."""
        target = self._at(path)
        if not target.is_dir():
            return
        try:
            (target / "timestamp.json").unlink(missing_ok=True)
            shutil.rmtree(target)
            _sync_directory(target.parent)
        except OSError as problem:
            raise self._unusable(problem) from None

    def _at(self, path: str) -> Path:
        """A path below the root, of words that our names are made of: what an event says is not trusted with more."""
        if not _PATH.fullmatch(path) or len(path.split("/")) > 5:
            raise DestinationPathRefused(path=path[:200])
        return self.root / path

    def _unusable(self, problem: OSError) -> DestinationUnusable:
        return DestinationUnusable(path=str(self.root), problem=problem.strerror or str(problem))


def _make_directory(directory: Path) -> None:
    missing = [directory]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    directory.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing[:-1]):
        _sync_directory(made.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
