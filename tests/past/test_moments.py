"""Which moments there are, and which commands can be asked about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest
from typer.testing import CliRunner

from cli.main import app
from ledger.domain.trust import TrustEvent
from ledger.domain.values import format_time, from_epoch
from ledger.domain.wave import WaveEvent
from projections import questions
from projections.at import BadMoment, BeforeTheLedger, FutureMoment, Moment, NotReached, moment
from tests.support import HOUR, START, Factory, device


@pytest.fixture
def grown(simple: Factory, tmp_path) -> Iterator[Factory]:
    """A ledger with events at three times."""
    factory = simple.copy(tmp_path / "ledger.db")
    factory.wait(HOUR)
    factory.register(device("one"))
    factory.register(device("two"))
    factory.wait(HOUR)
    factory.register(device("three"))
    yield factory
    factory.close()


def at(factory: Factory, text: str, now: int | None = None) -> Moment:
    with factory.ledger.reading() as connection:
        return moment(connection, text, factory.now if now is None else now)


def time(seconds: int) -> str:
    return format_time(from_epoch(seconds))


def test_a_position_has_the_clock_of_its_event(grown: Factory) -> None:
    """From the first to the head."""
    size, _ = grown.head()

    assert at(grown, "1") == Moment(1, START)
    assert at(grown, str(size - 1)) == Moment(size - 1, START + HOUR)
    assert at(grown, str(size)) == Moment(size, START + 2 * HOUR)


def test_a_time_is_the_last_event_until_then(grown: Factory) -> None:
    """Of several events at one time the last; between two the earlier; after the last the head, with its own clock."""
    size, _ = grown.head()

    assert at(grown, time(START)) == Moment(size - 3, START)
    assert at(grown, time(START + HOUR - 1)) == Moment(size - 3, START + HOUR - 1)
    assert at(grown, time(START + HOUR)) == Moment(size - 1, START + HOUR)
    assert at(grown, time(START + 9 * HOUR), START + 10 * HOUR) == Moment(size, START + 9 * HOUR)


def test_a_time_with_an_offset_is_the_same_moment(grown: Factory) -> None:
    """RFC 3339, whatever the time zone."""
    assert at(grown, "2027-01-15T10:00:00+01:00") == at(grown, "2027-01-15T09:00:00Z")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("0", NotReached),
        ("99999", NotReached),
        ("9" * 40, BadMoment),
        ("-1", BadMoment),
        ("1.5", BadMoment),
        ("٣", BadMoment),
        ("", BadMoment),
        ("yesterday", BadMoment),
        ("2027-01-15", BadMoment),
        (time(START - 1), BeforeTheLedger),
        (time(START + 2 * HOUR + 1), FutureMoment),
    ],
)
def test_what_is_no_moment_is_told(grown: Factory, text: str, error: type[Exception]) -> None:
    """Each in its own words."""
    with pytest.raises(error):
        at(grown, text)


def test_a_ledger_ahead_of_the_clock_can_be_asked_up_to_its_head(grown: Factory) -> None:
    """Times never go down along a ledger, so the clock of another machine may be behind."""
    assert at(grown, time(START + 2 * HOUR), START).now == START + 2 * HOUR


@pytest.mark.parametrize("position", ["1", "2", "3"])
@pytest.mark.parametrize("which", [["--prod"], []])
def test_before_there_was_a_root(grown: Factory, position: str, which: list[str]) -> None:
    """Told as something that was not there; a root is the third event and the fourth."""
    came = CliRunner().invoke(
        app,
        ["--store", grown.url, "keys", "tuf", "show-root", *which, "--at", position],
        env={"WAVELEDGER_FORMAT": None},
    )
    there = position == "3" and which == ["--prod"]

    assert came.exit_code == (0 if there else 4)
    assert there or "root yet" in came.stderr


def test_topics_of_a_root_update_are_all_there_are() -> None:
    """What `keys tuf updates review --at` keeps are the streams of trust and of waves, whole."""
    assert set(questions.TRUST_TOPICS) == {kind.topic for kind in get_args(TrustEvent)}
    assert set(questions.WAVE_TOPICS) == {kind.topic for kind in get_args(WaveEvent)}
