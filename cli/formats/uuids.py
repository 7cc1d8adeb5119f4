"""Lists of device uuids: in an argument, in ``@FILE``, or on standard input for ``-``.

Rules of this module:

* separators are comma, semicolon, pipe and any white space, as in fioctl; empty entries are dropped.
* duplicates collapse, the order of first mention is kept.
* a list without a uuid is refused: it never means "all". So is an ``@FILE`` without one, next to other uuids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import BinaryIO

from cli.formats.errors import BadUuidInList, EmptyUuidList
from cli.formats.lines import STDIN, crop, read_text, source_name
from ledger.domain.values import BadUuid, check_uuid

SIZE_LIMIT = 64 * 1024 * 1024  # bytes; more than a million uuids

_ENTRY = re.compile(r"[^,;|\s]+")


def read_uuids(value: str, stdin: BinaryIO | None = None) -> list[str]:
    """The uuids of one argument ``a,b``, ``@FILE`` or ``-``.

    Raises:
        EmptyUuidList: there is none. BadUuid, BadUuidInList: one is not allowed.
        FileMissing, FileUnreadable, FileTooLarge, BadEncoding: the file could not be read.
    """
    return read_many([value], stdin)


def read_many(values: Sequence[str], stdin: BinaryIO | None = None) -> list[str]:
    """The uuids of several arguments, each one as `read_uuids` takes it. Raises: the same."""
    found: dict[str, None] = {}
    for value in values:
        if value == STDIN or value.startswith("@"):
            found |= dict.fromkeys(_from_source(value.removeprefix("@"), stdin))
        else:
            found |= dict.fromkeys(check_uuid(entry) for entry in _ENTRY.findall(value))
    if not found:
        raise EmptyUuidList(source=crop(repr(" ".join(values))))
    return list(found)


def _from_source(source: str, stdin: BinaryIO | None) -> list[str]:
    file = source_name(source)
    text = read_text(source, SIZE_LIMIT, stdin)
    uuids: list[str] = []
    for entry in _ENTRY.finditer(text):
        try:
            uuids.append(check_uuid(entry[0]))
        except BadUuid as problem:
            line = text.count("\n", 0, entry.start()) + 1
            raise BadUuidInList(file=file, line=line, uuid=problem.uuid) from problem
    if not uuids:
        raise EmptyUuidList(source=file)
    return uuids
