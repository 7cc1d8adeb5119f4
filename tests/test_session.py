"""One command, one transaction: all of it or nothing (DESIGN §5)."""

# ruff: noqa: PT012  what raises is a transaction, and it has several steps

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger.application import devices
from ledger.codec import WrittenByNewerVersion
from ledger.domain.events import MemberAdded, MemberRemoved
from ledger.domain.fleet import Device
from ledger.session import Ledger, load
from ledger.store import events as rows
from ledger.store import migrate
from ledger.store.engine import open_engine, reading, writing
from ledger.store.errors import StreamChanged
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from projections import runner
from projections.facts import Facts
from projections.tables import all_tables
from tests import stores

NOW = 1_800_000_000
ALICE, BOB = MemberAdded("alice", "owner"), MemberAdded("bob", "admin")


class Broken:
    """A projection that fails on a topic, after those before it were written."""

    def __init__(self, topic: str = "") -> None:
        self.topic = topic

    def project(self, connection, events):
        """Fail when it is the time."""
        if any(row.topic == self.topic for row in events):
            raise RuntimeError("a bug in a projection")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A new ledger with all its tables, in a file."""
    engine = open_engine(stores.url(tmp_path / "ledger.db"), must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection, *all_tables())
        runner.install(connection)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine):
    """The ledger with the program's own projections."""
    return Ledger(engine, [runner.Projector()], "alice", NOW)


def state(engine):
    """All that a command may change: events, head, projections and their positions."""
    with reading(engine) as connection:
        return (
            list(rows.read(connection)),
            rows.head(connection),
            Facts().members(connection),
            connection.execute(text("SELECT name, position FROM projection ORDER BY name")).all(),
        )


def test_events_are_appended_and_projected(ledger, engine):
    """In one transaction, with actor and time; versions start at 1."""
    with ledger.writing() as session:
        session.append("factory", [ALICE, BOB], expected=0)
        assert [tuple(a) for a in session.appended] == [
            (1, "factory", 1, "member.added/1"),
            (2, "factory", 2, "member.added/1"),
        ]

    events, head, members, positions = state(engine)
    assert [(row.position, row.version, row.recorded_at, row.actor) for row in events] == [
        (1, 1, NOW, "alice"),
        (2, 2, NOW, "alice"),
    ]
    assert head.size == 2
    assert members == {"alice": "owner", "bob": "admin"}
    assert {position for _, position in positions} == {2}


def test_a_session_reads_what_it_appended(ledger):
    """What load and version say is from the open transaction."""
    with ledger.writing() as session:
        session.append("factory", [ALICE])
        session.append("factory", [BOB], expected=1)

        assert session.load("factory") == [ALICE, BOB]
        assert session.version("factory") == 2
        assert session.version("trust") == 0
        assert session.load("trust") == []
        assert Facts().members(session.connection) == {"alice": "owner", "bob": "admin"}


def test_a_reader_loads_a_stream(ledger):
    """The same events, without the lock."""
    with ledger.writing() as session:
        session.append("factory", [ALICE])
    with ledger.reading() as connection:
        assert load(connection, "factory") == [ALICE]


def test_no_events_change_nothing(ledger, engine):
    """Not even the time of the head."""
    before = state(engine)
    with ledger.writing() as session:
        session.append("factory", [])
        session.append("factory", iter(()), expected=0)
        assert session.appended == []

    assert state(engine) == before


@pytest.mark.parametrize("expected", [0, 2])
def test_another_version_than_expected_appends_nothing(ledger, engine, expected):
    """Somebody was faster: exit 5, and what the transaction had appended before is gone, too."""
    with ledger.writing() as session:
        session.append("factory", [ALICE])
    before = state(engine)

    with pytest.raises(StreamChanged) as caught, ledger.writing() as session:
        session.append("catalog", [BOB])
        session.append("factory", [BOB], expected=expected)

    assert (caught.value.exit_code, caught.value.stream) == (5, "factory")
    assert (caught.value.expected, caught.value.found) == (expected, 1)
    assert state(engine) == before


def test_no_events_at_another_version_are_refused_all_the_same(ledger):
    """What was decided on is not what is there."""
    with pytest.raises(StreamChanged), ledger.writing() as session:
        session.append("factory", [], expected=1)


def test_a_dry_run_says_what_would_be_and_leaves_nothing(ledger, engine):
    """The same transaction, rolled back: events, projections and the time."""
    before = state(engine)
    with ledger.writing(dry_run=True) as session:
        session.append("factory", [ALICE, BOB])

        assert [a.position for a in session.appended] == [1, 2]
        assert Facts().members(session.connection) == {"alice": "owner", "bob": "admin"}

    assert state(engine) == before


def test_a_dry_run_is_refused_as_the_command_would_be(ledger):
    """It does all the checks."""
    with pytest.raises(StreamChanged), ledger.writing(dry_run=True) as session:
        session.append("factory", [ALICE], expected=1)


def test_time_never_goes_back(engine):
    """With the clock set back, recorded_at is the previous event's; later it goes on."""
    for now in (NOW, NOW - 3600, NOW + 10, 0):
        with Ledger(engine, [runner.Projector()], "alice", now).writing() as session:
            assert session.now >= NOW
            session.append("factory", [ALICE])

    assert [row.recorded_at for row in state(engine)[0]] == [NOW, NOW, NOW + 10, NOW + 10]


@pytest.mark.parametrize("projectors", ["before", "after"])
def test_an_error_in_a_projection_rolls_back_the_events(engine, projectors):
    """A command that returned has been projected; one that could not be was not recorded."""
    broken = [runner.Projector(), Broken("member.removed/1")]
    ledger = Ledger(engine, broken if projectors == "after" else broken[::-1], "alice", NOW)
    with ledger.writing() as session:
        session.append("factory", [ALICE, BOB])
    before = state(engine)

    with pytest.raises(RuntimeError, match="a bug in a projection"), ledger.writing() as session:
        session.append("factory", [MemberAdded("carol", "owner")])
        session.append("factory", [MemberRemoved("bob")])

    assert state(engine) == before


def test_an_error_after_the_append_rolls_back(ledger, engine):
    """Also one of the use case itself."""
    before = state(engine)
    with pytest.raises(KeyboardInterrupt), ledger.writing() as session:
        session.append("factory", [ALICE])
        raise KeyboardInterrupt

    assert state(engine) == before


def test_the_lock_is_free_again_after_an_error(ledger, engine):
    """The next command goes on."""
    with pytest.raises(StreamChanged), ledger.writing() as session:
        session.append("factory", [ALICE], expected=7)
    with ledger.writing() as session:
        session.append("factory", [ALICE])

    assert state(engine)[1].size == 1


def newer(engine, topic="member.added/2"):
    """What a newer version of the program would have written."""
    with writing(engine) as connection:
        stored = StoredEnvelope("factory", 1, topic, b'{"member":"alice","role":"owner","until":null}', NOW, "alice")
        LedgerRecorder(connection=connection).insert_events([stored])


@pytest.mark.parametrize("more", [0, 1000])
def test_an_event_of_a_newer_version_stops_a_later_command(ledger, engine, more):
    """Also where this process looked before, however much came since then, and each time that it tries."""
    with ledger.writing() as session:
        session.append("factory", [ALICE])
    stored = [StoredEnvelope("other", 1, "member.added/2", b"{}", NOW, "alice")]
    stored += [StoredEnvelope("other", n, "member.added/1", b"{}", NOW, "alice") for n in range(2, more + 2)]
    with writing(engine) as connection:
        LedgerRecorder(connection=connection).insert_events(stored)

    for _ in range(2):
        with pytest.raises(WrittenByNewerVersion), ledger.writing():
            pass


@pytest.mark.parametrize("topic", ["member.added/2", "member.promoted/1"])
def test_an_event_of_a_newer_version_stops_the_command(ledger, engine, topic):
    """Exit 7 and nothing appended, whether the version or the word is new."""
    newer(engine, topic)

    with pytest.raises(WrittenByNewerVersion) as caught, ledger.writing() as session:
        session.append("catalog", [BOB])
        session.load("factory")

    assert (caught.value.exit_code, caught.value.topic) == (7, topic)
    assert state(engine)[1].size == 1


def test_a_reader_stops_at_an_event_of_a_newer_version(ledger, engine):
    """Reading streams is as strict."""
    newer(engine)

    with ledger.reading() as connection, pytest.raises(WrittenByNewerVersion):
        load(connection, "factory")


# reports: what one command learned, the next one knows


def running(ledger, *commands):
    """What a device runs after these commands, each with its reports of target and seconds before now."""
    device = Device("gw-1", "Gate", "rpi4", "release", None, production=True)
    devices.import_devices(ledger, Facts(), [device])
    late = 0
    for command in commands:
        reports = [("gw-1", target, NOW - ago) for target, ago in command]
        late += devices.report(ledger, Facts(), reports).late
    with ledger.reading() as connection:
        return Facts().running(connection, ["gw-1"])["gw-1"].target, late


def test_a_report_older_than_the_last_of_an_earlier_command_is_late(ledger):
    """The last report of a target counts, whether it was news or not."""
    assert running(ledger, [("b", 100)], [("c", 150)]) == ("b", 1)
    assert running(ledger, [("b", 100)], [("b", 50)], [("c", 80)]) == ("b", 1)


def test_a_confirmation_counts_also_in_the_file_of_the_change(ledger):
    """Running b since 100, and still 10 seconds ago: what ran 50 seconds ago is known."""
    assert running(ledger, [("b", 100), ("b", 10)], [("c", 50)]) == ("b", 1)


def test_a_sighting_without_a_target_makes_no_first_report_late(ledger):
    """It did not say what runs, so the report of an earlier second is news."""
    assert running(ledger, [(None, 10)], [("b", 50)]) == ("b", 0)
