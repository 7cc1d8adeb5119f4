"""Lists of device uuids: in an argument, in ``@FILE``, or on standard input for ``-``.

Rules of this module:

* separators are comma, semicolon, pipe and any white space, as in fioctl; empty entries are dropped.
* duplicates collapse, the order of first mention is kept.
* a file may be of any length: it is read in pieces, and what is kept are its uuids.
* a list without a uuid is refused: it never means "all". So is an ``@FILE`` without one, next to other uuids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import BinaryIO

from cli.formats.errors import BadUuidInList, EmptyUuidList
from cli.formats.lines import STDIN, crop, read_pieces, source_name
from ledger.domain.values import BadUuid, check_uuid

_SEPARATORS = b",;| \t\r\n\v\f"  # those in ASCII: a piece of a file ends with one
_ENTRY = re.compile(r"[^,;|\s]+")


def read_uuids(value: str, stdin: BinaryIO | None = None) -> list[str]:
    """The uuids of one argument ``a,b``, ``@FILE`` or ``-``.

    Raises:
        EmptyUuidList: there is none. BadUuid, BadUuidInList: one is not allowed.
        FileMissing, FileUnreadable, BadEncoding: the file could not be read.
    """
    return read_many([value], stdin)


def read_many(values: Sequence[str], stdin: BinaryIO | None = None) -> list[str]:
    """The uuids of several arguments, each one as `read_uuids` takes it. Raises: the same."""
    found: dict[str, None] = {}
    for value in values:
        if value == STDIN or value.startswith("@"):
            found |= _from_source(value.removeprefix("@"), stdin)
        else:
            found |= dict.fromkeys(check_uuid(entry) for entry in _ENTRY.findall(value))
    if not found:
        raise EmptyUuidList(source=crop(repr(" ".join(values))))
    return list(found)


def _from_source(source: str, stdin: BinaryIO | None) -> dict[str, None]:
    file = source_name(source)
    uuids: dict[str, None] = {}
    for number, text in read_pieces(source, _SEPARATORS, stdin):
        for entry in _ENTRY.finditer(text):
            try:
                uuids[check_uuid(entry[0])] = None
            except BadUuid as problem:
                line = text.count("\n", 0, entry.start()) + number
                raise BadUuidInList(file=file, line=line, uuid=problem.uuid) from problem
    if not uuids:
        raise EmptyUuidList(source=file)
    return uuids
