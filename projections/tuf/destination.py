"""Where the repository is written: what publishing needs of a place, and the local directory.

Rules of this module:

* A versioned file is written once. The same bytes again are no change; other bytes are refused, for good.
* A file is seen as it was, or as it will be: temporary file, fsync, rename (`Metadata.to_file` deletes before it
  writes, so it is never used). What a crash leaves behind is completed by the next publication.
* A view links to the pool's files, or copies them where there are no links.

Object stores and other places that a URL leads to are in `projections.tuf.objects`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ledger.domain.errors import StorageFailure

_WAY_OUT = (
    "restore the newest ledger, the one that published it. If it is lost: waveledger targets resign TAG -k KEYS "
    "--above {place} (of a ci repository: targets resign ci/TAG --above {place}) goes on above what is shown there"
)


class DestinationHasOtherBytes(StorageFailure):
    """A versioned file is there with another content."""

    message = "{path} is already published at {place} with other bytes than the ledger's"
    hint = f"clients may have seen it, so it is not overwritten. {_WAY_OUT[0].upper()}{_WAY_OUT[1:]}"
    path: str
    place: str


class DestinationAhead(StorageFailure):
    """The destination shows a newer version than the ledger knows of."""

    message = "{path} at {place} is at version {found}, and the ledger knows of {known}: an older ledger was restored?"
    hint = f"{_WAY_OUT}; another destination would send clients back"
    path: str
    place: str
    found: int
    known: int


class DestinationUnusable(StorageFailure):
    """The destination can't be written or read."""

    message = "cannot use the destination {path}: {problem}"
    hint = "check the place, its permissions and its space; nothing that was published is lost"
    path: str
    problem: str


class DestinationPathRefused(StorageFailure):
    """A path that no view or file of a repository has: somebody wrote to the ledger by hand."""

    message = "{path!r} is not a path of a published repository; nothing was written there"
    hint = "the ledger was changed by hand: run 'waveledger audit log' and restore from a backup"
    path: str


_WORD = "[A-Za-z0-9][A-Za-z0-9._-]*"
_PATH = re.compile(rf"{_WORD}(/{_WORD})+", re.ASCII)
_DIRECTORY = re.compile(rf"({_WORD}(/{_WORD})*)?", re.ASCII)


class Destination(Protocol):
    """What publishing needs of a place. Paths are relative, with slashes.

    Each place has to keep this contract:

    * **Written once.** `write_once` and `link` leave the same bytes as they are and refuse others, those that another
      publisher wrote a moment ago included, where the place can tell: by its lock, or by a conditional put.
    * **Read as it is.** No listing and no absence is remembered between two calls.
    * **Whole files.** A reader sees a file as it was or as it will be, never half of one.
    * **Durable in order.** When `settle` returns, all that was written before survives a power cut; what `advance`
      wrote survives when it returns, so timestamps lead to nothing that could be lost.
    * **A timestamp never goes back.** `advance` replaces the very file that it looked at. A directory keeps other
      publishers of its machine out meanwhile (`locked`). S3 has no lock: the put is on the condition that the object
      is still the one that was read (If-Match with its ETag, If-None-Match for a new one); who loses looks again.

    That is enough, because the ledger has put all publications in one order already (each was appended at the expected
    version of its stream), and publishers write only what it holds: two of them write the same bytes under the same
    versioned names, and differ in which timestamp is the newest only, which the number in it decides.

    Places that have neither lock nor condition (a network file system between machines, stores other than S3) are
    looked at before and after: two publishers within the same moment can still leave the older timestamp, until the
    next publication. Have one publisher for such a place.
    """

    @property
    def key(self) -> str:
        """What the place is called in the ledger's notes on what reached it."""

    @property
    def place(self) -> str:
        """What the place is called in messages."""

    @property
    def exclusive(self) -> bool:
        """Whether `locked` keeps every other publisher out."""

    def locked(self) -> AbstractContextManager[None]:
        """Only one publisher writes at a time, where the place has a lock."""

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None when there is none."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def names(self, directory: str) -> list[str]:
        """What lies directly in a directory, in order; nothing when there is none. "" is the whole place."""

    def views(self) -> list[str]:
        """The views that are there: every directory with a root chain outside the pool, in order."""

    def write_once(self, path: str, data: bytes) -> None:
        """Write a versioned file. Raises: DestinationHasOtherBytes."""

    def link(self, source: str, path: str) -> None:
        """Make a file of the pool appear in a view. Raises: DestinationHasOtherBytes."""

    def settle(self) -> None:
        """Make what was written so far survive a power cut."""

    def advance(self, path: str, data: bytes, older: Callable[[bytes], bool]) -> bool:
        """Write a file that changes (a timestamp), unless the one that is there is not `older`; whether it did."""

    def remove(self, path: str) -> None:
        """Delete a view and all in it: its timestamp first, so that no client finds half of a view."""


def check_path(path: str) -> str:
    """A path of words that our names are made of: what an event says is not trusted with more."""
    if not _PATH.fullmatch(path) or len(path.split("/")) > 5:
        raise DestinationPathRefused(path=path[:200])
    return path


def check_directory(path: str) -> str:
    """The same for a directory; "" is the whole place."""
    if not _DIRECTORY.fullmatch(path) or len(path.split("/")) > 5:
        raise DestinationPathRefused(path=path[:200])
    return path


class Directory:
    """A local directory as destination. One that does not exist is made by the first write."""

    def __init__(self, root: Path) -> None:
        """Publish below `root`."""
        self.root = root
        self._unsettled: dict[str, None] = {}  # directories whose entries changed, in order
        self._paths: dict[str, str] = {}  # each is asked for several times; text, for a Path costs as much as a read

    @cached_property
    def key(self) -> str:
        """The directory, on this machine: another may have one of that name. Raises: DestinationUnusable."""
        try:
            return f"{os.uname().nodename}:{self.root.resolve()}"
        except RuntimeError as problem:  # links that lead in a circle, until Python 3.12
            raise DestinationUnusable(path=str(self.root), problem=str(problem)) from None

    @property
    def place(self) -> str:
        """The directory as it was named."""
        return str(self.root)

    @property
    def exclusive(self) -> bool:
        """Every publisher of this machine."""
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory: other publishers on this machine wait. The lock goes with its process."""
        try:
            self._make(str(self.root))
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
            with open(self._at(path), "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise self._unusable(problem) from None

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with self._telling():
            return stat.S_ISREG(_mode_of(self._at(path)))

    def names(self, directory: str) -> list[str]:
        """What lies directly in a directory, in order; nothing when there is none."""
        try:
            found = [path.name for path in (self.root / check_directory(directory)).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as problem:
            raise self._unusable(problem) from None
        return sorted(name for name in found if not name.startswith("."))

    def views(self) -> list[str]:
        """The views that are there: every directory with a root chain outside the pool, in order."""
        kinds = [kind for kind in self.names("") if kind != "pool"]
        found = [f"{kind}/{name}" for kind in kinds for name in self.names(kind)]
        with self._telling():
            return [view for view in found if any((self.root / view).glob("*.root.json"))]

    def write_once(self, path: str, data: bytes) -> None:
        """Write a versioned file. Raises: DestinationHasOtherBytes."""
        present = self.read(path)
        if present is None:
            self.replace(path, data)
        elif present != data:
            raise DestinationHasOtherBytes(path=path, place=self.place)

    def link(self, source: str, path: str) -> None:
        """Make a file of the pool appear in a view. Raises: DestinationHasOtherBytes."""
        target = self._at(path)
        if self.exists(path):
            with self._telling():
                same = os.path.samefile(self._at(source), target)
            if not same and self.read(source) != self.read(path):
                raise DestinationHasOtherBytes(path=path, place=self.place)
            return
        directory = os.path.dirname(target)
        try:
            self._make(directory)
            os.link(self._at(source), target)
            self._unsettled[directory] = None
        except FileExistsError:
            return  # another publisher made the same link
        except OSError:
            data = self.read(source)
            assert data is not None  # the pool is written first
            self.replace(path, data)

    def settle(self) -> None:
        """Make what was written so far survive a power cut: each directory is synced once, its files were already."""
        with self._telling():
            while self._unsettled:
                _sync_directory(next(iter(self._unsettled)))
                self._unsettled.pop(next(iter(self._unsettled)))

    def advance(self, path: str, data: bytes, older: Callable[[bytes], bool]) -> bool:
        """Write a file that changes, unless the one that is there is not `older`; whether it did."""
        present = self.read(path)
        if present is not None and not older(present):
            return False
        self.replace(path, data)
        self.settle()
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write a file at once, whatever was there. Its name is durable after `settle`."""
        target = self._at(path)
        directory, name = os.path.split(target)
        # Always the same name: what a kill left behind is overwritten when this file is written again (see `locked`).
        temporary = f"{directory}/.{name}.tmp"
        try:
            self._make(directory)
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            self._unsettled[directory] = None
        except OSError as problem:
            with suppress(OSError):  # what keeps us from writing may keep us from this
                os.unlink(temporary)
            raise self._unusable(problem) from None

    def remove(self, path: str) -> None:
        """Delete a view and all in it: its timestamp first, so that no client finds half of a view."""
        target = self._at(path)
        with self._telling():
            if not stat.S_ISDIR(_mode_of(target)):
                return
            with suppress(FileNotFoundError):
                os.unlink(f"{target}/timestamp.json")
            shutil.rmtree(target)
        self._unsettled.pop(target, None)
        self._unsettled[os.path.dirname(target)] = None
        self.settle()

    def _at(self, path: str) -> str:
        if path not in self._paths:
            self._paths[path] = f"{self.root}/{check_path(path)}"
        return self._paths[path]

    def _make(self, directory: str) -> None:
        if stat.S_ISDIR(_mode_of(directory)):
            return
        missing = [directory]
        while (parent := os.path.dirname(missing[-1])) and not os.path.exists(parent):
            missing.append(parent)
        os.makedirs(directory, exist_ok=True)
        self._unsettled.update((os.path.dirname(made) or ".", None) for made in reversed(missing))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise self._unusable(problem) from None

    def _unusable(self, problem: OSError) -> DestinationUnusable:
        return DestinationUnusable(path=str(self.root), problem=problem.strerror or str(problem))


def _mode_of(path: str) -> int:
    """What is at a path, links followed; 0 for nothing. Raises: OSError, where it can't be told."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
