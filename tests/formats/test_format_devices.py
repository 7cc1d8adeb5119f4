from __future__ import annotations

import csv
import io
import string
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.formats import devices as module
from cli.formats.devices import COLUMNS, read_devices
from cli.formats.errors import (
    BadCsv,
    BadEncoding,
    BadValue,
    DuplicateUuid,
    EmptyList,
    FileMissing,
    LineTooLong,
    MissingColumn,
    UnknownColumn,
)
from cli.formats.lines import LINE_LIMIT
from ledger.domain.errors import LedgerError
from ledger.domain.fleet import Device
from ledger.domain.values import BadName, BadUuid, check_uuid

HEADER = "uuid,name,hardware_id,tag,group,production\n"
NAME_CHARACTERS = string.ascii_letters + string.digits + "._-"


def read(data: str | bytes) -> list[Device]:
    return list(read_devices("-", io.BytesIO(data.encode() if isinstance(data, str) else data)))


def refusal(data: bytes) -> LedgerError | None:
    try:
        read(data)
    except LedgerError as problem:
        return problem
    return None


def test_rows() -> None:
    """A row without a name is called by its uuid, one without a group is in none."""
    assert [
        Device("u-1", "gw 001", "rpi4", "release", "canary", True),
        Device("u-2", "u-2", "rpi4", "release", None, False),
    ] == read(HEADER + "u-1,gw 001,rpi4,release,canary,true\nu-2,,rpi4,release,,false\n")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + "u-1,gw,rpi4,main,lab,true\n",
        "\n\n" + HEADER + "\nu-1,gw,rpi4,main,lab,true",
        (HEADER + "u-1,gw,rpi4,main,lab,true\n").replace("\n", "\r\n"),
        HEADER + "u-1,gw,rpi4,main,lab,true\r",
        '"uuid","name",hardware_id,tag,group,production\n"u-1","gw","rpi4","main","lab","true"\n',
        "production,group,tag,hardware_id,name,uuid\ntrue,lab,main,rpi4,gw,u-1\n",
    ],
)
def test_same_table(text: str) -> None:
    """Byte order mark, line ends, quotes, empty lines and the order of the columns make no difference."""
    assert [Device("u-1", "gw", "rpi4", "main", "lab", True)] == read(text)


@pytest.mark.parametrize(
    ("text", "flag"), [("TRUE", True), ("1", True), ("Yes", True), ("False", False), ("0", False), ("nO", False)]
)
def test_production(text: str, flag: bool) -> None:
    """Production is true, false, 1, 0, yes or no, in any case."""
    assert [flag] == [row.production for row in read(HEADER + f"u-1,,rpi4,main,,{text}\n")]


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column(column: str) -> None:
    """A header without a column is refused by the column's name, and shows what was found."""
    header = ",".join(name for name in COLUMNS if name != column)

    with pytest.raises(MissingColumn) as caught:
        read(header + "\n")

    assert column == caught.value.column
    assert header in str(caught.value)
    assert ",".join(COLUMNS) in caught.value.render_hint()


def test_header_of_other_table() -> None:
    """Other separators, unknown columns and a column twice are refused."""
    with pytest.raises(MissingColumn, match="uuid;name"):
        read(HEADER.replace(",", ";"))
    with pytest.raises(UnknownColumn, match="unknown column 'serial'"):
        read("serial," + HEADER)
    with pytest.raises(BadCsv, match="line 1: the header has the column 'tag' twice"):
        read("tag," + HEADER)


@pytest.mark.parametrize(
    ("row", "column", "cause"),
    [
        ("x" * 61 + ",,rpi4,main,,true", "uuid", BadUuid),
        (",,rpi4,main,,true", "uuid", BadUuid),
        ("a b,,rpi4,main,,true", "uuid", BadUuid),
        ('"a;b",,rpi4,main,,true', "uuid", BadUuid),
        ("ü,,rpi4,main,,true", "uuid", BadUuid),
        ("u-2," + "x" * 61 + ",rpi4,main,,true", "name", None),
        ("u-2,Küche,rpi4,main,,true", "name", None),
        ("u-2,a\x1b[2J,rpi4,main,,true", "name", None),
        ("u-2,,,main,,true", "hardware_id", BadName),
        ("u-2,,rpi4,,,true", "tag", BadName),
        ("u-2,,rpi4,main,-lab,true", "group", BadName),
        ("u-2,,rpi4,main,,maybe", "production", None),
        ("u-2,,rpi4,main,,", "production", None),
    ],
)
def test_bad_value(row: str, column: str, cause: type[Exception] | None) -> None:
    """A field that is not what its column holds is refused with file, line and column; the terminal stays clean."""
    with pytest.raises(BadValue) as caught:
        read(HEADER + "u-1,,rpi4,main,,true\n" + row + "\n")

    assert ("<stdin>", 3, column) == (caught.value.file, caught.value.line, caught.value.column)
    assert isinstance(caught.value.__cause__, cause or type(None))
    assert str(caught.value).isprintable()
    assert caught.value.render_hint()


def test_duplicate_uuid() -> None:
    """A uuid twice in one file is refused with both lines, empty lines counted."""
    with pytest.raises(DuplicateUuid) as caught:
        read(HEADER + "u-1,,rpi4,main,,true\n\nu-2,,rpi4,main,,true\nu-1,,rpi4,beta,,true\n")

    assert (caught.value.uuid, caught.value.first_line, caught.value.line) == ("u-1", 2, 5)


@pytest.mark.parametrize(
    ("rows", "line", "problem"),
    [
        ("u-1,,rpi4,main,true\n", 2, "5 fields, and the header has 6"),
        ("u-1,,rpi4,main,,true,\n", 2, "7 fields"),
        ('u-1,"a\nb",rpi4,main,,true\n', 2, "a quoted field does not end on its line"),
        ('u-1,"a"b,rpi4,main,,true\n', 2, "quotes are wrong"),
        ("u-1,,rpi4,main,,true\nu-2,,rpi4\r,main,,true\n", 3, "a carriage return"),
        ("u-1,,rpi4,main,,true\ru-2,,rpi4,main,,true\r", 2, "a carriage return"),
    ],
)
def test_bad_csv(rows: str, line: int, problem: str) -> None:
    """A line that is not a row is refused with its number."""
    with pytest.raises(BadCsv) as caught:
        read(HEADER + rows)

    assert line == caught.value.line
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (HEADER.encode("utf-16"), "line 1: not UTF-8 text: it looks like UTF-16"),
        (HEADER.encode("utf-16-be"), "line 1: a NUL byte"),
        (HEADER.encode("utf-32"), "UTF-32"),
        ((HEADER + "u-1,Küche,rpi4,main,,true\n").encode("latin-1"), "line 2: byte 0xfc"),
        (HEADER.encode() + b"u-1,,rpi4,main,,true\nu-2,\0,", "line 3: a NUL byte"),
        (HEADER.encode() + b"u-1,\xed\xa0\x80,rpi4,main,,true\n", "line 2: byte 0xed"),
    ],
)
def test_wrong_encoding(data: bytes, problem: str) -> None:
    """Bytes that are not UTF-8 text are refused with their line."""
    with pytest.raises(BadEncoding) as caught:
        read(data)

    assert problem in str(caught.value)


def test_line_limit() -> None:
    """A line may have exactly the limit in bytes, its end not counted, wherever in the file it is."""
    row = "u-1," + "x" * (LINE_LIMIT - 4)
    for end in ("\n", "\r\n", ""):
        with pytest.raises(BadCsv, match="2 fields"):
            read(HEADER + row + end)
        with pytest.raises(LineTooLong, match="line 2: longer than 65536 bytes"):
            read(HEADER + row + "x" + end)


def test_hundred_megabyte_line(tmp_path: Path) -> None:
    """A line of 100 MB is refused after a small part of it was read."""
    file = tmp_path / "long.csv"
    with file.open("wb") as sparse:
        sparse.write(HEADER.encode())
        sparse.truncate(100_000_000)
    tracemalloc.start()

    with pytest.raises(LineTooLong, match=r"long.csv, line 2: longer than 65536 bytes"):
        list(read_devices(str(file)))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize("text", ["", "\n\r\n", "\ufeff", HEADER, HEADER + "\n\n"])
def test_empty(text: str) -> None:
    """A file without devices is refused, with a header or without."""
    with pytest.raises(EmptyList, match="<stdin>: holds no devices"):
        read(text)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is exit 4."""
    with pytest.raises(FileMissing) as caught:
        list(read_devices(str(tmp_path / "nope.csv")))

    assert caught.value.exit_code == 4


def test_blocks() -> None:
    """Rows that lie across the borders of the blocks that are read come out whole and in order."""
    uuids = [f"device-{number:040}" for number in range(40_000)]
    for end in ("\n", "\r\n"):
        text = HEADER.replace("\n", end) + "".join(f"{uuid},,rpi4,main,,1{end}" for uuid in uuids)

        assert uuids == [row.uuid for row in read(text)]


_NAMES = st.builds(
    str.__add__, st.sampled_from(string.ascii_letters + string.digits), st.text(NAME_CHARACTERS, max_size=59)
)
_PRINTABLE = "".join(map(chr, range(32, 127)))
_UUIDS = st.text([c for c in _PRINTABLE if c not in " ,;|"], min_size=1, max_size=60)
_ROWS = st.builds(
    Device, _UUIDS, st.text(_PRINTABLE, min_size=1, max_size=60), _NAMES, _NAMES, st.none() | _NAMES, st.booleans()
)


@given(
    st.lists(_ROWS, min_size=1, max_size=8, unique_by=lambda row: row.uuid),
    st.permutations(COLUMNS),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_round_trip(rows: list[Device], columns: list[str], end: str, quoting: int) -> None:
    """What Python's csv module writes, in any order of columns and with any quoting, is read back as it was."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(row._asdict() for row in rows)

    assert rows == read(out.getvalue())


@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(HEADER.encode().__add__)
    | st.text('u1,"\n\r;\0truerpi4 é', max_size=60).map(lambda text: (HEADER + text).encode())
)
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes come, the answer is rows or an error of ours that can be shown."""
    problem = refusal(data)

    assert problem is None or (str(problem) and problem.render_hint())


@given(st.text(max_size=62) | st.text(_PRINTABLE, max_size=62))
@example(_PRINTABLE[1:30])
@example("{}~[]-")
def test_fast_uuid_rule(text: str) -> None:
    """The one expression that most rows are checked with says the same as the rule of the domain."""
    try:
        allowed = check_uuid(text) == text
    except BadUuid:
        allowed = False

    assert allowed == bool(module._UUID.fullmatch(text))
