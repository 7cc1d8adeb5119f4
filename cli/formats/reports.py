"""What devices say they run, from CSV: ``uuid,target,seen_at``.

An empty target means that the device did not say; an empty seen_at means now, which the caller's clock knows. A
device may be in a file more than once: the file is a log, and its order is kept. A file without rows is no error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from cli.formats.errors import BadValue
from cli.formats.lines import bad_value, crop, read_rows, source_name
from ledger.domain.errors import BadInput
from ledger.domain.values import BadUuid, check_uuid, is_plain, parse_time, to_epoch

COLUMNS: Final = ("uuid", "target", "seen_at")
TARGET_NAME_LIMIT: Final = 250  # characters, as read_target


class ReportRow(NamedTuple):
    """What a row says of a device; `seen_at` in seconds since 1970, None for now."""

    uuid: str
    target: str | None
    seen_at: int | None


def read_reports(source: str, stdin: BinaryIO | None = None) -> Iterator[ReportRow]:
    """The reports of a file, or of standard input for ``-``, in the file's order, as they are read.

    Raises:
        MissingColumn, UnknownColumn, BadCsv, BadValue, EmptyList: the table is not what it should be.
        FileMissing, FileUnreadable, BadEncoding, LineTooLong: it could not be read.
    """
    for line, (uuid, target, seen_at) in read_rows(source, COLUMNS, "reports, not even a header", stdin):
        try:
            check_uuid(uuid)
            seconds = to_epoch(parse_time(seen_at)) if seen_at else None
        except BadInput as problem:
            column = "uuid" if isinstance(problem, BadUuid) else "seen_at"
            raise bad_value(source, line, column, problem) from problem
        if not is_plain(target) or len(target) > TARGET_NAME_LIMIT:
            raise BadValue(
                file=source_name(source),
                line=line,
                column="target",
                problem=f"{crop(target)!r} is not the name of a target",
                advice=f"a target's name is printable ASCII, at most {TARGET_NAME_LIMIT} characters",
            )
        yield ReportRow(uuid, target or None, seconds)
