"""What a large fleet and a long history cost: rollouts, wave actions, the gateway's question, and the counts.

Rules of this module:

* One ledger for all of it, made from a seed, with a fleet, waves that completed on a hundred tags, and reports.
* A rollout is committed, on both sides; the wave is canceled in between, and the next one is a new wave.
* The baseline of an action is the same action on an empty ledger; of all else it is bare SQL through the same driver.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from factory import NOW, Made, Wave, init_wave
from fleets import HARDWARE, MAIN, Shape, ledger_of, reports, rows
from measure import Entry, Timed, interleaved, say
from sqlalchemy import text
from stores import Bare, Place

from ledger.application import devices, waves
from ledger.domain.rollout import Limit
from ledger.session import Ledger
from projections.facts import Facts
from projections.queries import cells, status
from projections.queries import devices as devices_query
from projections.queries import waves as waves_query
from projections.tables import fleet_tables

SINCE = NOW - 4 * 3600
ASKED = 2000  # devices a round
ROLLOUT_BAR, ACTION_BAR, VIEW_BAR, COUNT_BAR = 4.0, 2.0, 3.0, 1.5


class Lived:
    """A ledger with a past, and waves to come on its main tag."""

    def __init__(self, made: Made, shape: Shape, first: int) -> None:
        """`first` is the first number that no wave had yet."""
        self.made = made
        self.shape = shape
        self.numbers = count(first)

    def next(self) -> Wave:
        """A new wave on the main tag; the wave before it is over."""
        number = next(self.numbers)
        wave = Wave(f"m{number}", number, MAIN)
        init_wave(self.made, wave)
        return wave

    def roll_out(self, wave: Wave, **selection: Any) -> int:
        """Roll out; returns to how many."""
        facts = Facts()
        came = waves.roll_out(self.made.ledger, facts, facts, waves.RolloutRequest(wave.name, **selection))
        return len(came.uuids)

    def cancel(self, wave: Wave) -> None:
        """Make room for the next."""
        waves.cancel(self.made.ledger, Facts(), wave.name, None)


def numbers_needed(rounds: int) -> int:
    """How many builds the waves of all rounds need."""
    return 7 * (rounds + 1) + 10


@contextmanager
def lived(place: Place, shape: Shape, rounds: int) -> Iterator[tuple[str, Lived]]:
    """The ledger that everything here is measured on, and its URL."""
    url = place.new("lived")
    with ledger_of(url, shape, numbers=numbers_needed(rounds)) as made:
        first = -(-shape.waves // shape.tags) + 1
        say(f"{shape.devices:,} reports ...")
        devices.report(made.ledger, Facts(), reports(shape, first - 1))
        settle(url)
        yield url, Lived(made, shape, first)
    place.drop(url)


def settle(url: str) -> None:
    """What a server does by itself within a minute: statistics and visibility."""
    bare = Bare(url)
    if bare.on_postgresql:
        bare.run("VACUUM ANALYZE")
    bare.close()


def measure(place: Place, url: str, ledger: Lived, rounds: int, size: dict[str, int]) -> Sequence[Entry]:
    """All rows of the table that need a ledger with a past, but the rebuild."""
    return [
        # First, while both sides have as many canceled waves: an init signs a way back for each that devices hold.
        *_actions(place, ledger, rounds, size),
        *_rollouts(url, ledger, rounds, size),
        *_view(url, ledger, rounds, size),
        *_counts(ledger, rounds, size),
    ]


def _rollouts(url: str, ledger: Lived, rounds: int, size: dict[str, int]) -> Sequence[Entry]:
    bare = Bare(url)
    table = fleet_tables("_bench", 1_000_000).tables["fleet_member_bench"]
    bare.create(table)
    bare.run("CREATE INDEX bench_draw ON fleet_device (draw)")
    settle(url)
    amount = ledger.shape.staged
    listed = tuple(
        uuid for uuid, _, _, tag, _, production in rows(ledger.shape) if tag == MAIN and production
    )[:: 8][:amount]  # fmt: skip
    serial = count(1)

    def timed(**selection: Any) -> Timed:
        def run() -> float:
            wave = ledger.next()
            start = time.perf_counter()
            reached = ledger.roll_out(wave, **selection)
            taken = time.perf_counter() - start
            assert reached in {amount, len(listed)}, reached
            ledger.cancel(wave)
            return taken

        return run

    def pick(amount: int) -> Timed:
        def run() -> float:
            start = time.perf_counter()
            with bare.transaction():
                bare.run(
                    "INSERT INTO fleet_member_bench (dev, tag, wave, installed, moved) SELECT dev, tag, ?, 0, 0 "
                    "FROM fleet_device WHERE tag = (SELECT id FROM fleet_name WHERE kind = 'tag' AND name = ?) "
                    "AND production = 1 ORDER BY draw LIMIT ?",
                    (next(serial), MAIN, amount),
                )
            return time.perf_counter() - start

        return run

    tenth = interleaved(rounds, {"ours": timed(limit=Limit(amount, percent=False)), "bare": pick(amount)})
    file = interleaved(rounds, {"ours": timed(uuids=listed), "bare": pick(len(listed))})
    bare.run("DROP INDEX bench_draw")
    bare.run("DROP TABLE fleet_member_bench")
    bare.close()
    note = "against bare SQL that picks as many rows ordered by an indexed integer and inserts them, both committed"
    return [
        Entry("rollout_10_percent", tenth["ours"], tenth["bare"], "time", ROLLOUT_BAR, {**size, "staged": amount},
              f"`waves rollout --limit {amount}` {note}", seconds_bar=3.0),
        Entry("rollout_uuids", file["ours"], file["bare"], "time", ROLLOUT_BAR, {**size, "staged": len(listed)},
              f"`waves rollout --uuids` of {len(listed)} {note}", seconds_bar=3.0),
    ]  # fmt: skip


def _actions(place: Place, ledger: Lived, rounds: int, size: dict[str, int]) -> Sequence[Entry]:
    small = Shape(200, ledger.shape.seed, tags=1)
    url = place.new("first")
    entries = []
    with ledger_of(url, small, numbers=numbers_needed(rounds)) as made:
        settle(url)
        empty = Lived(made, small, 1)
        for name, action in (("init", _init), ("complete", _complete), ("cancel", _cancel)):
            seconds = interleaved(rounds, {"ours": action(ledger), "empty": action(empty)})
            note = f"`waves {name}` with {HARDWARE} production targets a tag against the same on an empty ledger"
            entries.append(Entry(f"{name}_at_scale", seconds["ours"], seconds["empty"], "time", ACTION_BAR, size, note))
    place.drop(url)
    return entries


def _init(ledger: Lived) -> Timed:
    def run() -> float:
        start = time.perf_counter()
        wave = ledger.next()
        taken = time.perf_counter() - start
        ledger.cancel(wave)
        return taken

    return run


def _ended(end: Callable[[Lived, Wave], object]) -> Callable[[Lived], Timed]:
    def of(ledger: Lived) -> Timed:
        def run() -> float:
            wave = ledger.next()
            ledger.roll_out(wave, limit=Limit(20, percent=False))
            start = time.perf_counter()
            end(ledger, wave)
            return time.perf_counter() - start

        return run

    return of


_complete = _ended(lambda ledger, wave: waves.complete(ledger.made.ledger, Facts(), wave.name))
_cancel = _ended(Lived.cancel)


def _view(url: str, ledger: Lived, rounds: int, size: dict[str, int]) -> Sequence[Entry]:
    wave = ledger.next()
    ledger.roll_out(wave, limit=Limit(ledger.shape.staged, percent=False))
    chance = random.Random(ledger.shape.seed)  # noqa: S311  made up, and no secret
    uuids = chance.sample([row[0] for row in rows(ledger.shape)], min(ASKED, ledger.shape.devices))
    bare = Bare(url)
    devs = [dev for uuid in uuids for (dev,) in bare.run("SELECT dev FROM fleet_device WHERE uuid = ?", (uuid,))]

    def asked() -> float:
        with ledger.made.ledger.reading() as connection:
            start = time.perf_counter()
            for uuid in uuids:
                devices_query.view_of(connection, uuid)
            return time.perf_counter() - start

    def selected() -> float:
        with bare.transaction(kept=False):
            start = time.perf_counter()
            for dev in devs:
                bare.run("SELECT uuid, name, tag FROM fleet_device WHERE dev = ?", (dev,)).fetchone()
            return time.perf_counter() - start

    seconds = interleaved(max(rounds, 5), {"ours": asked, "bare": selected})
    bare.close()
    ledger.cancel(wave)
    note = f"which view for one device, {len(uuids)} times, against a bare select by primary key through the driver"
    return [Entry("view_of_device", seconds["ours"], seconds["bare"], "time", VIEW_BAR, size, note)]


def _counts(ledger: Lived, rounds: int, size: dict[str, int]) -> Sequence[Entry]:
    wave = ledger.next()
    ledger.roll_out(wave, limit=Limit(ledger.shape.staged, percent=False))
    facts: Ledger = ledger.made.ledger

    def timed(work: Callable[[Any], object]) -> Timed:
        def run() -> float:
            with facts.reading() as connection:
                start = time.perf_counter()
                work(connection)
                return time.perf_counter() - start

        return run

    def counted(connection: Any) -> object:
        found = waves_query.find(connection, wave.name)
        assert found is not None
        return waves_query.count(connection, found, online_since=SINCE)

    def bare(tag: int) -> Callable[[Any], object]:
        # As our own queries, each on its own, without what is made of their rows.
        statements = (cells.APART, cells.OF_TAG if tag else cells.ALL)

        def run(connection: Any) -> object:
            return [connection.execute(text(sql), {"since": SINCE, "tag": tag}).all() for sql in statements]

        return run

    with facts.reading() as connection:
        named = text("SELECT id FROM fleet_name WHERE kind = 'tag' AND name = :name")
        tag = connection.execute(named, {"name": MAIN}).scalar_one()
    one = interleaved(rounds, {"ours": timed(counted), "bare": timed(bare(tag))})
    every = interleaved(
        rounds,
        {
            "ours": timed(lambda c: (status.devices(c), status.tags(c, online_since=SINCE), status.unpublished(c))),
            "bare": timed(
                lambda c: (status.devices(c), bare(0)(c), c.execute(text(status.NUMBERS)).all(), status.unpublished(c))
            ),
        },
    )
    ledger.cancel(wave)
    note = "in 200 groups, against the queries that it needs and nothing else"
    return [
        Entry("waves_status", one["ours"], one["bare"], "time", COUNT_BAR, size, f"`waves status` {note}",
              seconds_bar=1.0),
        Entry("status", every["ours"], every["bare"], "time", COUNT_BAR, size, f"`status` {note}", seconds_bar=2.0),
    ]  # fmt: skip
