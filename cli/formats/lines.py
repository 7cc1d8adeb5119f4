"""Files and standard input as text, and CSV as rows: bytes are judged here, so that the formats see only clean text.

Rules of this module:

* strict UTF-8; a byte order mark at the start is dropped; a NUL byte is refused; LF and CRLF end a line.
* CSV is read a line at a time, and a line has at most `LINE_LIMIT` bytes: a huge one is refused before it is read.
* a CSV row is one line: a quoted field holds no line end. The header names each wanted column once and no other.
* what is read as a whole has a limit too, given by the caller; a list is read in pieces, and has none.
"""

from __future__ import annotations

import csv
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from cli.formats.errors import (
    BadCsv,
    BadEncoding,
    BadValue,
    EmptyList,
    FileMissing,
    FileTooLarge,
    FileUnreadable,
    LineTooLong,
    MissingColumn,
    UnknownColumn,
)
from ledger.domain.errors import BadInput

STDIN = "-"
LINE_LIMIT = 64 * 1024  # bytes, without the line end

_SIGNATURES = (  # what files that are no UTF-8 text begin with; UTF-32 before UTF-16, whose mark it starts with
    (b"\xff\xfe\x00\x00", "UTF-32 text"),
    (b"\x00\x00\xfe\xff", "UTF-32 text"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
)
_BOM = b"\xef\xbb\xbf"
_BLOCK = 1024 * 1024  # bytes read at once


def source_name(source: str) -> str:
    """How messages call a FILE argument."""
    return "<stdin>" if source == STDIN else source


@contextmanager
def open_source(source: str, stdin: BinaryIO | None = None) -> Iterator[BinaryIO]:
    """The bytes of a file, or of standard input for ``-``. Raises: FileMissing, FileUnreadable, also while reading."""
    file = source_name(source)
    try:
        if source == STDIN:
            stream = stdin or (sys.stdin.buffer if sys.stdin else None)
            if stream is None:
                raise FileUnreadable(file=file, problem="it is closed")
            yield stream
        elif "\0" in source:
            raise FileUnreadable(file=repr(source), problem="no path holds a NUL")
        else:
            with Path(source).open("rb") as opened:
                yield opened
    except FileNotFoundError:
        raise FileMissing(file=file) from None
    except OSError as problem:
        raise FileUnreadable(file=file, problem=problem.strerror or str(problem)) from problem


@contextmanager
def settled(source: str) -> Iterator[tuple[str, BinaryIO | None]]:
    """A source that is at hand in full, so that reading it makes nobody wait: a file, or a copy as standard input."""
    with open_source(source) as stream:
        if source != STDIN and stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            yield source, None
            return
        with tempfile.TemporaryFile() as copy:
            _copy(stream, copy)
            copy.seek(0)
            yield STDIN, copy


def _copy(stream: BinaryIO, copy: BinaryIO) -> None:
    """Up to its end, or to where it can't be text: whoever reads the copy meets that, and the disk is not filled."""
    unended = 0
    while chunk := stream.read(_BLOCK):
        copy.write(chunk)
        _, newline, rest = chunk.rpartition(b"\n")
        unended = len(rest) if newline else unended + len(chunk)
        if unended > LINE_LIMIT + 1 or b"\0" in chunk:
            return


def read_text(source: str, limit: int, stdin: BinaryIO | None = None) -> str:
    """All of a source of at most `limit` bytes. Raises: FileTooLarge, BadEncoding and those of `open_source`."""
    file = source_name(source)
    with open_source(source, stdin) as stream:
        if source != STDIN:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > limit:
                raise FileTooLarge(file=file, limit=limit)
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise FileTooLarge(file=file, limit=limit)
    _check_start(file, data)
    return _decode(file, 1, data.removeprefix(_BOM))


def read_pieces(source: str, separators: bytes, stdin: BinaryIO | None = None) -> Iterator[tuple[int, str]]:
    """A list of any length, in pieces that end with a separator, each with the number of its first line.

    What has no separator for long is a piece, too, for the caller to refuse. Raises: BadEncoding and those of
    `open_source`.
    """
    file, number, rest = source_name(source), 1, b""
    for chunk in _chunks(source, stdin):
        data = rest + chunk
        end = 1 + max(data.rfind(separator) for separator in separators)
        if len(data) - end > LINE_LIMIT:
            end = len(data)
        if end:
            yield number, _decode(file, number, data[:end])
            number += data.count(b"\n", 0, end)
        rest = data[end:]
    if rest:
        yield number, _decode(file, number, rest)


def read_lines(source: str, stdin: BinaryIO | None = None) -> Iterator[tuple[int, str]]:
    """The lines, numbered from 1, without their ends. Raises: LineTooLong, BadEncoding and those of `open_source`."""
    return enumerate(chain.from_iterable(_blocks(source, stdin)), 1)


def read_rows(
    source: str, columns: Sequence[str], what: str, stdin: BinaryIO | None = None
) -> Iterator[tuple[int, Sequence[str]]]:
    """The rows of a CSV file under its header: line number and fields, in the order of `columns` (at least two).

    Empty lines are skipped. Raises: EmptyList for a file without a header, MissingColumn, UnknownColumn, BadCsv.
    """
    file = source_name(source)
    lines = read_lines(source, stdin)
    header = next(((number, text) for number, text in lines if text), None)
    if header is None:
        raise EmptyList(source=file, what=what)
    found = _quoted(file, *header)
    reorder = _order(file, header[0], found, columns)
    for number, text in lines:
        if not text:
            continue
        fields = text.split(",") if '"' not in text else _quoted(file, number, text)
        if len(fields) != len(columns):
            raise BadCsv(file=file, line=number, problem=f"{len(fields)} fields, and the header has {len(columns)}")
        yield number, reorder(fields) if reorder else fields


def bad_value(source: str, line: int, column: str, problem: BadInput) -> BadValue:
    """The error of a value, with its place in the table."""
    return BadValue(
        file=source_name(source), line=line, column=column, problem=str(problem), advice=problem.render_hint()
    )


def crop(text: str) -> str:
    """Text from a file, short enough for a message."""
    return text if len(text) <= 80 else text[:80] + "..."


def _quoted(file: str, number: int, text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as problem:
        if str(problem) == "unexpected end of data":
            raise BadCsv(file=file, line=number, problem="a quoted field does not end on its line") from None
        raise BadCsv(file=file, line=number, problem=f"quotes are wrong: {problem}") from None


def _order(
    file: str, line: int, found: list[str], columns: Sequence[str]
) -> Callable[[Sequence[str]], Sequence[str]] | None:
    expected = ",".join(columns)
    for column in columns:
        if column not in found:
            raise MissingColumn(file=file, column=column, found=crop(repr(",".join(found))), expected=expected)
    for column in found:
        if column not in columns:
            raise UnknownColumn(file=file, column=crop(column), expected=expected)
        if found.count(column) > 1:
            raise BadCsv(file=file, line=line, problem=f"the header has the column {column!r} twice")
    return None if found == list(columns) else itemgetter(*(found.index(column) for column in columns))


def _blocks(source: str, stdin: BinaryIO | None) -> Iterator[list[str]]:
    # Whole blocks, because a call for each of a million lines takes longer than all the rest of reading them.
    file, number, rest = source_name(source), 1, b""
    for chunk in _chunks(source, stdin):
        block, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            lines = _split(file, number, block)
            yield lines
            number += len(lines)
        if len(rest) > LINE_LIMIT + 1:  # + 1: the CR of a CRLF whose LF has not come yet
            raise LineTooLong(file=file, line=number, limit=LINE_LIMIT)
    if rest:
        yield _split(file, number, rest)


def _chunks(source: str, stdin: BinaryIO | None) -> Iterator[bytes]:
    """The bytes of a source that begins as text does, without its byte order mark."""
    with open_source(source, stdin) as stream:
        chunk = stream.read(_BLOCK)
        _check_start(source_name(source), chunk)
        chunk = chunk.removeprefix(_BOM)
        while chunk:
            yield chunk
            chunk = stream.read(_BLOCK)


def _split(file: str, number: int, block: bytes) -> list[str]:
    for position, raw in enumerate(block.split(b"\n"), number):
        if len(raw) > LINE_LIMIT and len(raw.removesuffix(b"\r")) > LINE_LIMIT:
            raise LineTooLong(file=file, line=position, limit=LINE_LIMIT)
    text = _decode(file, number, block)
    lines = text.split("\n")
    if "\r" not in text:
        return lines
    lines = [line.removesuffix("\r") for line in lines]
    for index, line in enumerate(lines):
        if "\r" in line:
            raise BadCsv(file=file, line=number + index, problem="a carriage return in the middle of a line")
    return lines


def _check_start(file: str, data: bytes) -> None:
    for signature, what in _SIGNATURES:
        if data.startswith(signature):
            raise BadEncoding(file=file, line=1, problem=f"not UTF-8 text: it looks like {what}")


def _decode(file: str, number: int, raw: bytes) -> str:
    if b"\0" in raw:
        line = number + raw.count(b"\n", 0, raw.index(b"\0"))
        raise BadEncoding(file=file, line=line, problem="a NUL byte: it looks like UTF-16 text or a binary file")
    try:
        return raw.decode()
    except UnicodeDecodeError as problem:
        line = number + raw.count(b"\n", 0, problem.start)
        text = f"byte 0x{raw[problem.start]:02x} is not UTF-8: it looks like Latin-1 or Windows-1252 text"
        raise BadEncoding(file=file, line=line, problem=text) from None
