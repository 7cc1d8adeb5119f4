from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.formats.errors import BadValue, EmptyList, MissingColumn, UnknownColumn
from cli.formats.reports import ReportRow, read_reports
from ledger.domain.errors import LedgerError
from ledger.domain.values import BadTime, format_time, from_epoch, parse_time

HEADER = "uuid,target,seen_at\n"


def read(data: str | bytes) -> list[ReportRow]:
    return list(read_reports("-", io.BytesIO(data.encode() if isinstance(data, str) else data)))


def refusal(data: bytes) -> LedgerError | None:
    try:
        read(data)
    except LedgerError as problem:
        return problem
    return None


def test_rows() -> None:
    """An empty target is none, an empty time is now; a device may report twice, and the order is kept."""
    assert [
        ReportRow("u-1", "rpi4-lmp-42", 1801396800),
        ReportRow("u-2", None, None),
        ReportRow("u-1", "rpi4-lmp-43", 1801396801),
    ] == read(HEADER + "u-1,rpi4-lmp-42,2027-01-31T12:00:00Z\nu-2,,\nu-1,rpi4-lmp-43,2027-01-31T13:00:01+01:00\n")


def test_nothing_to_report() -> None:
    """A header alone reports nothing and is fine; a file without even a header is refused."""
    assert read(HEADER) == []

    with pytest.raises(EmptyList, match="holds no reports, not even a header"):
        read("")


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("x" * 61 + ",,", "uuid"),
        ("u-2,caf\u00e9,", "target"),
        ("u-2," + "x" * 251 + ",", "target"),
        ("u-2,,yesterday", "seen_at"),
        ("u-2,,2027-01-31", "seen_at"),
        ("u-2,,2027-01-31T12:00:00", "seen_at"),
        ("u-2,,1801396800", "seen_at"),
        ("u-2,,2027-02-30T12:00:00Z", "seen_at"),
        ("u-2,,0001-01-01T00:00:00+01:00", "seen_at"),
    ],
)
def test_bad_value(row: str, column: str) -> None:
    """A field that is not what its column holds is refused with file, line and column."""
    with pytest.raises(BadValue) as caught:
        read(HEADER + "u-1,,\n" + row + "\n")

    assert ("<stdin>", 3, column) == (caught.value.file, caught.value.line, caught.value.column)
    assert caught.value.render_hint()


def test_header() -> None:
    """All three columns are needed, and no other is known."""
    with pytest.raises(MissingColumn, match="'seen_at'"):
        read("uuid,target\n")
    with pytest.raises(UnknownColumn, match="'tag'"):
        read("uuid,target,seen_at,tag\n")


@given(st.binary(max_size=200) | st.text('u1,"\n:+-0129TZ', max_size=60).map(lambda text: (HEADER + text).encode()))
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes come, the answer is rows or an error of ours that can be shown."""
    problem = refusal(data)

    assert problem is None or (str(problem) and problem.render_hint())


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-1439, 1439))
def test_times_round_trip(moment: datetime, minutes: int) -> None:
    """A time of any year, written in UTC or with an offset, reads as the same second."""
    expected = moment.replace(microsecond=0)

    assert expected == parse_time(format_time(moment))
    assert len("2027-01-31T12:00:00Z") == len(format_time(moment))
    if datetime.min.replace(tzinfo=UTC) + timedelta(2) < moment < datetime.max.replace(tzinfo=UTC) - timedelta(2):
        zoned = moment.astimezone(timezone(timedelta(minutes=minutes)))
        assert expected == parse_time(zoned.isoformat())


@given(st.integers(-62135596800, 253402300799))
def test_seconds_round_trip(seconds: int) -> None:
    """Every second of the years 1 to 9999 goes through a report unchanged."""
    assert [ReportRow("u-1", None, seconds)] == read(HEADER + f"u-1,,{format_time(from_epoch(seconds))}\n")


@pytest.mark.parametrize(
    "text",
    [
        "2027-W05-1T12:00:00Z",
        "20270131T120000Z",
        "2027-01-31T12Z",
        "2027-01-31 12:00:00Z",
        "2027-01-31\ufb0512:00:00Z",
        "2027-01-31T12:00:00+01:00:30",
        "9999-12-31T23:59:59-01:00",
        "\uff12027-01-31T12:00:00Z",
    ],
)
def test_only_rfc_3339(text: str) -> None:
    """Other ways to write a time, and times outside the calendar, are refused."""
    with pytest.raises(BadTime):
        parse_time(text)


def test_small_letters_and_fractions() -> None:
    """RFC 3339 allows small letters and fractions of any length; they are cut off."""
    assert datetime(2027, 1, 31, 12, tzinfo=UTC) == parse_time("2027-01-31t12:00:00.999999999z")
