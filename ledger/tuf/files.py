"""Key files on disk: read whole and bounded, private, and never over another.

Crash cases: a new file is written and in its place, or not there; a changed one is as before or as after, never half.
What a killed change leaves beside it (``.NAME.new``) was in no one's hands yet, and goes with the next change. Only one
change at a time works in a directory: two that each add a key to an archive would else lose one.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ledger.tuf.errors import KeyFileDamaged, KeyFileEmpty, KeyFileExists, KeyFileMissing, KeyFileUnreadable

T = TypeVar("T")

FILE_LIMIT_BYTES = 1024 * 1024  # an archive of RSA-4096 keys takes 4 KB


def read_key_file(path: Path) -> bytes:
    """The bytes of a key file; a pipe will do, such as ``-k <(pass show targets-key)``.

    Raises: KeyFileMissing, KeyFileUnreadable, KeyFileDamaged, KeyFileEmpty.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise KeyFileMissing(path=str(path)) from None
    except OSError as error:
        raise KeyFileUnreadable(path=str(path), problem=error.strerror or str(error)) from None
    if len(data) > FILE_LIMIT_BYTES:
        raise KeyFileDamaged(path=str(path), problem=f"longer than {FILE_LIMIT_BYTES} bytes")
    if not data:
        raise KeyFileEmpty(path=str(path))
    return data


def write_key_file(path: Path, data: bytes) -> None:
    """Write a private file, mode 0600, durable when this returns. Raises: KeyFileExists, KeyFileUnreadable."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_EXCL refuses a link, too, also one that leads nowhere.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileExists(path=str(path)) from None
    except OSError as error:
        raise KeyFileUnreadable(path=str(path), problem=error.strerror or str(error)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        # Half a key would be in the way of the next try. It was made here, so it can go.
        path.unlink(missing_ok=True)
        raise KeyFileUnreadable(path=str(path), problem=error.strerror or str(error)) from None


def replace_key_file(path: Path, data: bytes) -> None:
    """Put other bytes into a key file that is there: mode 0600, same owner, durable when this returns; never half.

    Raises: KeyFileMissing, KeyFileUnreadable.
    """
    if not path.exists():
        raise KeyFileMissing(path=str(path))
    change_key_file(path, lambda _: (None, data))


def change_key_file(path: Path, change: Callable[[bytes | None], tuple[T, bytes | None]]) -> T:
    """Read a key file, and write it anew or make it, while no one else changes one in its directory.

    Args:
        path: The file. Where it is a link, what it leads to is changed, and the link stays.
        change: From the bytes that are there (None: no file) to an answer and the new bytes (None: leave it).

    Returns: The answer. Raises: as `read_key_file`; KeyFileExists for a link that leads nowhere.
    """
    if path.is_symlink() and not path.exists():
        raise KeyFileExists(path=str(path))
    real = path.resolve()
    try:
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone_in(real.parent):
            answer, data = change(read_key_file(path) if path.exists() else None)
            if data is not None:
                _put(real, data)
    except OSError as error:
        raise KeyFileUnreadable(path=str(path), problem=error.strerror or str(error)) from None
    return answer


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Wait for a turn to change key files in a directory. It ends with the process, too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _put(path: Path, data: bytes) -> None:
    before = path.stat() if path.exists() else None
    if before and not stat.S_ISREG(before.st_mode):
        raise KeyFileUnreadable(path=str(path), problem="not a plain file, so no key can be put into it")
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, before.st_uid, before.st_gid)  # root works on a holder's file: it stays theirs
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
