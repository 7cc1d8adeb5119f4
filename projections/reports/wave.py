"""One wave from init to its end: who decided and signed, whom it reached, and how devices came to run it.

Rules of this module:

* Adoption counts production devices on the wave's tag: those that run its number, and those that run it or above. It
  begins at init and ends now, or where the tag's next wave begins; of a finished wave, once no more devices follow.
* The period goes on for a twentieth after that, if as much is known, so that the last step of a curve has a width.
* A few devices that follow after more time than the whole wave took are stragglers: they are among the numbers, and a
  curve may end before them, so that they don't squeeze all the others into a corner.
* A milestone is the first moment at which that part of the tag's devices ran the number or above.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Connection, text

from ledger.domain.wave import UnknownWave
from ledger.store import events
from projections.queries import waves as query
from projections.reports import history, waves
from projections.reports.basis import Basis, basis_of
from projections.reports.history import FleetState
from projections.reports.source import Source
from projections.reports.values import Period, Span, Time
from projections.reports.waves import WaveSummary

MILESTONES = (10, 50, 90, 100)  # percent of the tag's devices
_FINE = 100_000  # slices of the time in which a milestone is looked for
_ROOM = 20  # a curve goes on for this part of its time
_FEW = 10  # stragglers are at most this part of all that followed
_LATE_POINTS = 20  # of those of a curve, the ones kept for stragglers

Measured: TypeAlias = tuple[int, tuple[int, int, int]]
"""A moment, and the counts of `Adoption` from then on."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One offline key's signature over all of the wave's documents; `again` when they were signed anew."""

    at: Time
    by: str
    keyid: str
    again: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """One delivery: `devices` were reached by it, `reached` by all up to it. No group and not listed: of the tag."""

    at: Time
    by: str
    group: str | None
    full_group: bool
    listed: bool
    devices: int
    reached: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to the wave.

    `what`: ``init``, ``signed``, ``signed anew``, ``rollout``, ``complete``, ``cancel``; and of publications
    ``published``, the first one that showed it, and ``promoted`` or ``withdrawn``, the first one that showed its end.
    """

    position: int
    at: Time
    by: str
    what: str


@dataclass(frozen=True, slots=True)
class Adoption:
    """From that moment on: production devices on the tag, those at or above the number, those exactly on it."""

    at: Time
    devices: int
    updated: int
    on_wave: int


@dataclass(frozen=True, slots=True)
class Milestone:
    """When that part of the devices ran the number or above, and how long after init; None: not yet."""

    percent: int
    at: Time | None
    after: Span | None


@dataclass(frozen=True, slots=True)
class Stragglers:
    """The few devices that followed after `after`, the last of them at `last_at`."""

    after: Time
    devices: int
    last_at: Time


@dataclass(frozen=True, slots=True)
class Counts:
    """How far the wave is, as `waves status` counts; `on_wave` run its very number, whether they are in it or not."""

    total: int
    updated: int
    scheduled: int
    unscheduled: int
    on_wave: int


@dataclass(frozen=True, slots=True)
class WaveReport:
    """A wave's whole life."""

    basis: Basis
    period: Period
    wave: WaveSummary
    source_tag: str | None
    expires: Time
    threshold: int
    targets: tuple[str, ...]
    pruned_targets: tuple[str, ...]
    signatures: tuple[Signature, ...]
    rollouts: tuple[Rollout, ...]
    timeline: tuple[Moment, ...]
    counts: Counts
    milestones: tuple[Milestone, ...]
    adoption: tuple[Adoption, ...]
    stragglers: Stragglers | None


def build(source: Source, name: str) -> WaveReport:
    """The report. Raises: UnknownWave."""
    basis = basis_of(source)
    wave, row = waves.one(source.tables, name), query.find(source.tables, name)
    if wave is None or row is None:
        raise UnknownWave(wave=name[:100])
    details = query.details(source.tables, row)
    counted = query.count(source.tables, row, online_since=None)
    own = list(events.read(source.ledger, stream=f"wave:{name}", until=source.position))
    begin = orjson.loads(own[0].payload)
    period = Period(wave.created_at, Time(_next_init(source.tables, wave) or max(basis.at, wave.created_at)))
    measured = history.walk(source, period, _adoption_of(wave), slices=_FINE)
    shown = measured if wave.finished_at is None else _while_it_moves(measured, wave.finished_at)
    stragglers = None if wave.finished_at is None else _stragglers(shown, wave.finished_at)
    return WaveReport(
        basis,
        Period(wave.created_at, _a_little_on(wave.created_at, shown[-1][0], period.until)),
        wave,
        begin["source_tag"],
        Time(details.expires),
        details.threshold,
        tuple(begin["targets"]),
        _pruned(source, wave),
        tuple(_signatures(own)),
        tuple(_rollouts(details.rollouts)),
        tuple(_timeline(source, wave, own)),
        _counts(counted),
        tuple(_milestone(measured, percent, wave.created_at) for percent in MILESTONES),
        tuple(Adoption(Time(at), *value) for at, value in _thin(shown, stragglers)),
        stragglers,
    )


def _counts(counted: query.WaveCount) -> Counts:
    groups = (*counted.rollout_groups, *counted.other_groups)
    return Counts(
        counted.total, counted.updated, counted.scheduled, counted.unscheduled, sum(group.on_wave for group in groups)
    )


def _next_init(connection: Connection, wave: WaveSummary) -> int | None:
    statement = text(
        "SELECT min(created_at) FROM release_wave WHERE tag = :tag AND position > "
        "(SELECT position FROM release_wave WHERE wave = :wave)"
    )
    found: int | None = connection.execute(statement, {"tag": wave.tag, "wave": wave.name}).scalar()
    return found


def _adoption_of(wave: WaveSummary) -> Any:
    def measure(state: FleetState) -> tuple[int, int, int]:
        numbers = state.of(wave.tag)
        above = sum(devices for number, devices in numbers.items() if number >= wave.version)
        return sum(numbers.values()), above, numbers.get(wave.version, 0)

    return measure


def _while_it_moves(measured: Sequence[Measured], finished_at: int) -> list[Measured]:
    """Without the flat end: up to the last change of who runs it, but not before the wave's end."""
    moves = [at for (at, now), (_, before) in pairwise(reversed(measured)) if now[1:] != before[1:]]
    end = max([finished_at, *moves[:1]])
    kept = [(at, value) for at, value in measured if at <= end]
    return kept if kept[-1][0] == end else [*kept, (end, kept[-1][1])]


def _a_little_on(start: int, end: int, known: int) -> Time:
    return Time(min(end + max((end - start) // _ROOM, 1), known))


def _stragglers(shown: Sequence[Measured], finished_at: int) -> Stragglers | None:
    start, final = shown[0][0], shown[-1][1][1]
    # All but the few have followed where the number stays near its last one.
    far = [at for (_, (_, updated, _)), (at, _) in pairwise(shown) if _FEW * abs(final - updated) > final]
    most = max([finished_at, *far[-1:]])
    after = _a_little_on(start, most, shown[-1][0])
    late = final - [updated for at, (_, updated, _) in shown if at <= after][-1]
    if late <= 0 or shown[-1][0] - most <= most - start or most == start:
        return None
    return Stragglers(after, late, Time(shown[-1][0]))


def _thin(shown: list[Measured], stragglers: Stragglers | None) -> list[Measured]:
    if stragglers is None:
        return history.thin(shown)
    early = [point for point in shown if point[0] <= stragglers.after]
    return history.thin(early, history.POINTS - _LATE_POINTS) + history.thin(shown[len(early) :], _LATE_POINTS)


def _milestone(measured: Sequence[Measured], percent: int, since: int) -> Milestone:
    for at, (devices, updated, _) in measured:
        if devices and 100 * updated >= percent * devices:
            return Milestone(percent, Time(at), Span(at - since))
    return Milestone(percent, None, None)


def _pruned(source: Source, wave: WaveSummary) -> tuple[str, ...]:
    """The names of what left production with the wave: known only once it is complete."""
    if wave.status != "complete" or not wave.prune:
        return ()
    rows = events.read(source.ledger, stream=f"tag:{wave.tag}", topics=("targets.pruned/1",), until=source.position)
    found = (orjson.loads(row.payload) for row in rows)
    return tuple(name for data in found if data["wave"] == wave.name for name in data["targets"])


def _signatures(own: Sequence[events.Row]) -> Iterator[Signature]:
    for row in own:
        data = orjson.loads(row.payload) if row.topic in {"wave.signed/1", "wave.resigned/1"} else {}
        if "keyid" in data:
            yield Signature(Time(row.recorded_at), row.actor, data["keyid"], again=False)
        for signer in data.get("signers", ()):
            yield Signature(Time(row.recorded_at), row.actor, signer["keyid"], again=True)


def _rollouts(found: Sequence[query.RolloutRow]) -> Iterator[Rollout]:
    for row, reached in zip(found, accumulate(row.devices for row in found), strict=True):
        yield Rollout(Time(row.at), row.by, row.group, row.full_group, row.listed, row.devices, reached)


def _timeline(source: Source, wave: WaveSummary, own: Sequence[events.Row]) -> list[Moment]:
    what = {
        "wave.initialized/1": "init",
        "wave.signed/1": "signed",
        "wave.resigned/1": "signed anew",
        "wave.rolled-out/1": "rollout",
        "wave.completed/1": "complete",
        "wave.canceled/1": "cancel",
    }
    moments = [Moment(row.position, Time(row.recorded_at), row.actor, what.get(row.topic, row.topic)) for row in own]
    shown = _first_shown(source, wave, own)
    if shown:
        moments.append(Moment(shown.position, Time(shown.recorded_at), shown.actor, "published"))
    ended = _end_shown(source, wave, own, shown=shown is not None)
    if ended:
        how = "promoted" if wave.status == "complete" else "withdrawn"
        moments.append(Moment(ended.position, Time(ended.recorded_at), ended.actor, how))
    return sorted(moments, key=lambda moment: moment.position)


def _first_shown(source: Source, wave: WaveSummary, own: Sequence[events.Row]) -> events.Row | None:
    """The first publication that has the wave's view: one of the first after its first rollout."""
    begun = next((row.position for row in own if row.topic == "wave.rolled-out/1"), None)
    if begun is None:
        return None
    for row in _publications(source, wave, begun):
        if wave.finished_at is not None and row.recorded_at > wave.finished_at:
            break
        if _shows(row, wave):
            return row
    return None


def _end_shown(source: Source, wave: WaveSummary, own: Sequence[events.Row], *, shown: bool) -> events.Row | None:
    """The first publication after its end that has its view no more; none where a canceled wave was never shown."""
    ends = {"wave.completed/1", "wave.canceled/1"}
    ended = next((row.position for row in own if row.topic in ends), None)
    if ended is None or (wave.status == "canceled" and not shown):
        return None
    # One that was begun before the end and recorded after it shows the wave still.
    return next((row for row in _publications(source, wave, ended) if not _shows(row, wave)), None)


def _publications(source: Source, wave: WaveSummary, after: int) -> Iterator[events.Row]:
    stream = f"publication:production:{wave.tag}"
    rows = events.read(source.ledger, stream=stream, after=after, until=source.position)
    return (row for row in rows if row.topic == "metadata.published/1")


def _shows(row: events.Row, wave: WaveSummary) -> bool:
    return any(view["view"] == f"wave/{wave.name}" for view in orjson.loads(row.payload)["views"])
