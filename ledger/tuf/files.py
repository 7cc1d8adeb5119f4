"""Key files on disk: read whole and bounded, written once, private, and never over another."""

from __future__ import annotations

import os
from pathlib import Path

from ledger.tuf.errors import KeyFileDamaged, KeyFileEmpty, KeyFileExists, KeyFileMissing, KeyFileUnreadable

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


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
