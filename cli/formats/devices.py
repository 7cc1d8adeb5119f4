"""Devices from CSV: ``uuid,name,hardware_id,tag,group,production``, a million rows in a few seconds.

Rules of this module:

* a device without a name is called by its uuid; without a group it is in none.
* production is true, false, 1, 0, yes or no, in any case.
* a uuid is in a file once. A file without devices is refused.
* rows come as they are read: whoever imports them commits nothing before the last one came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from cli.formats.errors import BadValue, DuplicateUuid, EmptyList
from cli.formats.lines import bad_value, crop, read_rows, source_name
from ledger.domain.fleet import Device
from ledger.domain.values import NAME_LIMIT, BadName, BadUuid, check_name, check_uuid

COLUMNS: Final = ("uuid", "name", "hardware_id", "tag", "group", "production")

_FLAGS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_UUID = re.compile(rf"[!-+\--:<-{{}}~]{{1,{NAME_LIMIT}}}")  # check_uuid's rule in one look; it has the last word
_DEVICE_NAME = re.compile(rf"[ -~]{{0,{NAME_LIMIT}}}")


def read_devices(source: str, stdin: BinaryIO | None = None) -> Iterator[Device]:
    """The devices of a file, or of standard input for ``-``, in the file's order, as they are read.

    Raises:
        MissingColumn, UnknownColumn, BadCsv, BadValue, DuplicateUuid, EmptyList: the table is not what it should be.
        FileMissing, FileUnreadable, BadEncoding, LineTooLong: it could not be read.
    """
    file = source_name(source)
    lines: dict[str, int] = {}
    known: dict[str, str] = {}  # hardware ids, tags and groups, which are all names: few differ in a fleet
    flags = dict(_FLAGS)

    def named(line: int, column: str, value: str) -> str:
        try:
            return known.setdefault(value, check_name(column.replace("_", " "), value))
        except BadName as problem:
            raise bad_value(source, line, column, problem) from problem

    for line, (uuid, name, hardware_id, tag, group, production) in read_rows(source, COLUMNS, "devices", stdin):
        if not _UUID.fullmatch(uuid):
            _check_uuid(source, line, uuid)
        if lines.setdefault(uuid, line) != line:
            raise DuplicateUuid(file=file, line=line, uuid=uuid, first_line=lines[uuid])
        if not _DEVICE_NAME.fullmatch(name):
            raise _bad_name(file, line, name)
        if (flag := flags.get(production)) is None:
            flag = flags[production] = _flag(file, line, production)
        yield Device(
            uuid,
            name or uuid,
            known.get(hardware_id) or named(line, "hardware_id", hardware_id),
            known.get(tag) or named(line, "tag", tag),
            (known.get(group) or named(line, "group", group)) if group else None,
            flag,
        )
    if not lines:
        raise EmptyList(source=file, what="devices")


def _check_uuid(source: str, line: int, uuid: str) -> None:
    try:
        check_uuid(uuid)
    except BadUuid as problem:
        raise bad_value(source, line, "uuid", problem) from problem


def _bad_name(file: str, line: int, name: str) -> BadValue:
    return BadValue(
        file=file,
        line=line,
        column="name",
        problem=f"device name {crop(name)!r} is not allowed",
        advice=f"a device's name is printable ASCII, at most {NAME_LIMIT} characters",
    )


def _flag(file: str, line: int, text: str) -> bool:
    flag = _FLAGS.get(text.lower())
    if flag is None:
        raise BadValue(
            file=file,
            line=line,
            column="production",
            problem=f"{crop(text)!r} is neither true nor false",
            advice="write true or false (1, 0, yes and no are understood as well)",
        )
    return flag
