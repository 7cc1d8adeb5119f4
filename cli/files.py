"""Files that a command is given, and files that it makes: never over one that is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cli.errors import FileExists, NotReadable, NotWritable


def read(path: str) -> bytes:
    """The bytes of a file; ``-`` is standard input. Raises: NotReadable."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as problem:
        raise NotReadable(path=path, problem=problem.strerror or str(problem)) from None


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file to read line by line; ``-`` is standard input. Raises: NotReadable."""
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as problem:
        raise NotReadable(path=path, problem=problem.strerror or str(problem)) from None


def write(path: str, data: bytes) -> None:
    """A file, also over one that is there: whole or not at all. Raises: NotWritable."""
    place = Path(path).resolve()  # what a link leads to
    beside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        if place.exists() and not place.is_file():  # a device, a pipe
            place.write_bytes(data)
            return
        try:
            beside.write_bytes(data)
            beside.replace(place)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise NotWritable(path=path, problem=problem.strerror or str(problem)) from None


@contextmanager
def new(path: str) -> Iterator[BinaryIO]:
    """A new file, durable at the end, gone after an error. Raises: FileExists, NotWritable."""
    place = Path(path)
    try:
        file = place.open("xb")
    except FileExistsError:
        raise FileExists(path=path) from None
    except OSError as problem:
        raise NotWritable(path=path, problem=problem.strerror or str(problem)) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        place.unlink(missing_ok=True)
        raise NotWritable(path=path, problem=problem.strerror or str(problem)) from None
    except BaseException:
        place.unlink(missing_ok=True)
        raise
