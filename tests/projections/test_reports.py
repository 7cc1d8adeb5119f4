"""Reports of devices, against a model of a few dicts: late ones, equal times, wrong clocks, devices that come and go.

The model knows no files, chunks or events: so cutting the same stream into other files or chunks must change nothing.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.application import devices
from tests.support import DAY, START, Factory, device

KNOWN = {"arm64-lmp-1": 1, "arm64-lmp-2": 2, "arm64-lmp-3": 3}
LATER = "arm64-lmp-9"  # imported in the middle of a history
TARGETS = (None, *KNOWN, LATER, "of-some-other-origin")
UUIDS = ("d-1", "d-2", "d-3")

Report = tuple[str, str | None, int | None]


@dataclass
class Said:
    """What a device said so far."""

    target: str | None = None
    number: int = 0
    reported_at: int = 0
    seen_at: int | None = None
    changes: list[tuple[str, int]] = field(default_factory=list)


class Model:
    """Who is there, what each said, and which targets are known."""

    def __init__(self) -> None:
        self.present: set[str] = set()
        self.said = {uuid: Said() for uuid in UUIDS}
        self.known = dict(KNOWN)

    def report(self, reports: Sequence[Report], now: int) -> tuple[int, int, int, int]:
        """Take them one by one: how many changes, sightings, late ones, and of unknown devices."""
        counts = {"change": 0, "sighting": 0, "late": 0, "unknown": 0}
        for uuid, target, given_at in reports:
            counts[self._one(uuid, target, now if given_at is None else min(max(given_at, 0), now))] += 1
        return counts["change"], counts["sighting"], counts["late"], counts["unknown"]

    def _one(self, uuid: str, target: str | None, at: int) -> str:
        if uuid not in self.present:
            return "unknown"
        said = self.said[uuid]
        said.seen_at = at if said.seen_at is None else max(said.seen_at, at)
        if target is None:
            return "sighting"
        if target != said.target and at < said.reported_at:
            return "late"
        number = self.known.get(target, 0)
        same = target == said.target and (said.number == number or said.number > 0)
        said.target, said.reported_at = target, max(at, said.reported_at)
        if same:
            return "sighting"
        said.number = number
        said.changes.append((target, number))
        return "change"


moments = st.none() | st.integers(START - 5, START + 5) | st.sampled_from([-5 * DAY, -1, 0, 1, START + 400 * DAY])
reports = st.lists(
    st.tuples(st.sampled_from((*UUIDS, "stranger")), st.sampled_from(TARGETS), moments), min_size=1, max_size=12
)
steps = st.lists(
    st.tuples(st.just("report"), reports)
    | st.tuples(st.sampled_from(["register", "remove"]), st.sampled_from(UUIDS))
    | st.tuples(st.just("import"), st.none())
    | st.tuples(st.just("wait"), st.integers(0, 3)),
    min_size=3,
    max_size=15,
)
FLIP = [("d-1", "arm64-lmp-1", START), ("d-1", "arm64-lmp-2", START), ("d-1", "arm64-lmp-1", START - 1)]


def play(factory: Factory, history: Sequence[tuple[str, object]], cut: int | None) -> list[object]:
    """Carry out a history beside the model, `cut` reports a file; what is known at its end."""
    model = Model()
    factory.build(1, 2, 3, hardware=("arm64",))
    factory.register(*(device(uuid) for uuid in UUIDS[:2]))
    model.present |= set(UUIDS[:2])
    for what, given_ in history:
        match what, given_:
            case "report", list(rows):
                _reported(factory, model, rows, cut or len(rows))
            case "register", str(uuid):
                factory.register(device(uuid, group="field"))
                model.present.add(uuid)
            case "remove", str(uuid) if uuid in model.present:
                factory.remove(uuid)
                model.present.remove(uuid)
            case "import", None:
                factory.build(9, hardware=("arm64",))
                model.known[LATER] = 9
            case "wait", int(seconds):
                factory.wait(seconds)
        check(factory, model)
    assert factory.differences() == []
    return [(said.target, said.number, said.reported_at, said.seen_at, said.changes) for said in model.said.values()]


def _reported(factory: Factory, model: Model, rows: Sequence[Report], cut: int) -> None:
    for start in range(0, len(rows), cut):
        part = rows[start : start + cut]
        came = factory.report(*part)
        counts = (came.changed, came.sightings, came.late, came.of_unknown)
        assert counts == model.report(part, factory.now)
        assert came.reports == sum(counts) == len(part)


def check(factory: Factory, model: Model) -> None:
    """What is known of every device, and the changes in its history, are the model's."""
    with factory.ledger.reading() as connection:
        running = factory.facts.running(connection, UUIDS)
    shown = factory.fleet()
    assert running.keys() == shown.keys() == model.present
    for uuid in model.present:
        said = model.said[uuid]
        assert (running[uuid].target, running[uuid].number) == (said.target, said.number)
        assert running[uuid].reported_at == said.reported_at
        assert (shown[uuid].target, shown[uuid].seen_at) == (said.target, said.seen_at)
    for uuid, said in model.said.items():
        assert history_of(factory, uuid) == said.changes


def history_of(factory: Factory, uuid: str) -> list[tuple[str, int]]:
    """The targets that the ledger says a device came to run, with their numbers."""
    import orjson

    from ledger.store import events

    with factory.ledger.reading() as connection:
        rows = [orjson.loads(row.payload) for row in events.read(connection, topics=("devices.reported/1",))]
    return [
        (target, number)
        for data in rows
        for told, target, number in zip(data["uuids"], data["targets"], data["numbers"], strict=True)
        if told == uuid
    ]


@pytest.mark.property
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@example(history=[("report", FLIP), ("report", FLIP)], cut=1)
@example(history=[("report", [("d-1", LATER, None)]), ("import", None), ("report", [("d-1", LATER, 5)])], cut=None)
@example(history=[("report", [("d-1", "arm64-lmp-1", -1)]), ("report", [("d-1", "arm64-lmp-2", 0)])], cut=None)
@given(history=steps, cut=st.none() | st.integers(1, 3))
def test_reports_are_the_models(simple: Factory, history: list[tuple[str, object]], cut: int | None) -> None:
    """Nothing rewinds, each change of version is history, and every report is counted once, after every step."""
    _run(simple, history, cut)


@pytest.mark.slow
@pytest.mark.property
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=steps, cut=st.none() | st.integers(1, 3))
def test_many_reports_are_the_models(simple: Factory, history: list[tuple[str, object]], cut: int | None) -> None:
    """The same for many histories."""
    _run(simple, history, cut)


def _run(template: Factory, history: Sequence[tuple[str, object]], cut: int | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        factory = template.copy(Path(directory) / "ledger.db")
        try:
            play(factory, history, cut)
        finally:
            factory.close()


@pytest.mark.property
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=reports, chunk=st.integers(1, 4))
def test_chunks_make_no_difference(simple: Factory, rows: list[Report], chunk: int) -> None:
    """A stream that is taken in parts within one command is the stream that is taken at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "CHUNK", chunk)
        _run(simple, [("report", rows)], None)


def test_a_target_that_becomes_known_is_a_change_of_version(factory: Factory) -> None:
    """Reported before CI's import came, it counts as 0, and with the next report, however old, as what it is."""
    factory.register(device("d-1"))
    factory.report(("d-1", "arm64-lmp-9", START - 10))
    factory.build(9, hardware=("arm64",))
    assert factory.report(("d-1", "arm64-lmp-9", START - 20)).changed == 1

    with factory.ledger.reading() as connection:
        (running,) = factory.facts.running(connection, ["d-1"]).values()
    assert running == ("arm64-lmp-9", START - 10, 9)
    assert factory.report(("d-1", "arm64-lmp-9", START)).sightings == 1


def test_a_clock_that_was_never_set_is_not_late(factory: Factory) -> None:
    """A device that says 1969, in its time zone, is heard; whoever says when it is 2027 is later than that."""
    factory.register(device("d-1"))
    factory.build(1, 2, hardware=("arm64",))
    assert factory.report(("d-1", "arm64-lmp-1", -3600)).changed == 1
    assert factory.report(("d-1", "arm64-lmp-2", START), ("d-1", "arm64-lmp-1", 5)).late == 1
    assert factory.shown("d-1").target == "arm64-lmp-2"


def test_a_device_that_comes_back_is_not_asked_to_forget(factory: Factory) -> None:
    """Removed, it is unknown; registered again, reports from before its last one are as late as ever."""
    factory.build(1, 2, hardware=("arm64",))
    factory.register(device("d-1"))
    factory.report(("d-1", "arm64-lmp-2", START))
    factory.remove("d-1")
    assert factory.report(("d-1", "arm64-lmp-1", START)).of_unknown == 1

    factory.register(device("d-1"))
    assert factory.report(("d-1", "arm64-lmp-1", START - 1)).late == 1
    assert factory.shown("d-1").target == "arm64-lmp-2"


@pytest.mark.slow
def test_a_stream_of_any_length_takes_bounded_memory(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times as many reports, half of them of strangers, take no more memory."""
    monkeypatch.setattr(devices, "CHUNK", 2_000)
    factory.register(*(device(f"d-{number}") for number in range(200)))

    def stream(count: int) -> Iterator[Report]:
        for number in range(count):
            yield f"d-{number % 200}" if number % 2 else f"stranger-{number}", f"t-{number // 4_000}", None

    def peak(count: int) -> int:
        strangers = devices.Strangers()
        tracemalloc.start()
        with strangers.devices, strangers.targets:
            came = devices.report(factory.ledger, factory.facts, stream(count), strangers)
            assert (came.reports, came.of_unknown, len(strangers.devices)) == (count, count // 2, count // 2)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(4_000)  # what is imported and cached by then is no stream's
    assert peak(80_000) < 1.5 * peak(10_000)
