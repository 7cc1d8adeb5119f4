"""Which moments there are, and which commands can be asked about them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from cli.main import app
from ledger.domain.values import format_time, from_epoch
from projections.at import BadMoment, BeforeTheLedger, FutureMoment, Moment, NotReached, moment
from tests.support import HOUR, START, Factory, device

# What looks at something else than the ledger as it was: live tables, a tree, or two moments that it is given.
NO_AT = {
    "projections list",
    "projections verify",
    "projections rebuild",
    "audit diff",
    "audit replay",
    "tuf verify",
}


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


def commands(group: typer.models.Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Every command with its options."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), {option for param in command.params for option in param.opts}


def test_a_command_looks_back_or_appends() -> None:
    """Each command that prints has either --at or --dry-run, but for those that are about something else."""
    found = dict(commands(typer.main.get_command(app)))
    both = {name for name, options in found.items() if {"--at", "--dry-run"} <= options}
    looks = {name for name, options in found.items() if "--at" in options}
    appends = {name for name, options in found.items() if "--dry-run" in options}

    assert both == set()
    assert {"status", "waves list", "waves show", "waves status", "devices list", "devices show", "targets list",
            "targets show", "members list", "keys tuf show-root", "audit log", "audit show"} <= looks  # fmt: skip
    assert found.keys() >= NO_AT
    assert not NO_AT & looks
    assert {"waves rollout", "devices set", "targets import", "tuf publish"} <= appends


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
