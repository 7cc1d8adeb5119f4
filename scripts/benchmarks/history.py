"""A long history in a ledger, made of events as the program writes them, without carrying out its commands.

Devices are registered first, on tags in turn; then waves, one after the other on each tag, each completed before the
next one, with reports of devices between them. Signatures are made up: nothing here checks them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from factory import EXPIRES, NOW, a_target, hurrying
from measure import made_up
from sqlalchemy import Engine

from ledger.application import factory
from ledger.codec import encode
from ledger.domain.events import (
    BATCH,
    CiTargetsImported,
    DevicesRegistered,
    DevicesReported,
    DevicesStaged,
    Document,
    DocumentPublished,
    Event,
    MetadataPublished,
    Selector,
    TargetsPromoted,
    ViewPublished,
    WaveClosed,
    WaveCompleted,
    WaveInitialized,
    WaveOpened,
    WaveRolledOut,
    WaveSigned,
)
from ledger.domain.values import from_epoch
from ledger.session import Ledger, Session
from ledger.store import migrate
from ledger.store.engine import open_engine, writing
from ledger.store.recorder import LedgerRecorder, StoredEnvelope
from ledger.tuf.roots import LIFETIME
from projections import runner
from projections.tables import all_tables

CHUNK = 5000  # events a transaction
GROUPS = 200
PEOPLE = ("alice", "bob", "carol", "dave")
STEP = 60  # seconds from one event to the next


class Shape(NamedTuple):
    """How much happens."""

    devices: int
    reports: int
    tags: int
    waves: int
    """On each tag."""
    hardware: int
    """Production targets of a tag."""
    seed: str


class Told(NamedTuple):
    """An event, and the stream that it belongs to."""

    stream: str
    event: Event


@contextmanager
def history(path: Path, shape: Shape, until: int | None = None) -> Iterator[Ledger]:
    """The ledger, with projections at 0; with `until` only its first events."""
    engine = open_engine(f"sqlite:///{path.absolute()}", must_exist=False)
    with writing(engine) as connection:
        migrate.create(connection, *all_tables())
        runner.install(connection)
        keys = factory.make_keys(["ed25519"], 2)
        factory.initialize(Session(connection, "alice", NOW, []), "bench", keys, 2, from_epoch(NOW) + LIFETIME)
    with hurrying(engine):
        append(engine, tell(shape), until)
    yield Ledger(engine, [runner.Projector()], "bench", NOW)
    engine.dispose()


def append(engine: Engine, told: Iterator[Told], until: int | None = None) -> None:
    """Append events, each a minute after the one before, by one person after the other."""
    versions: dict[str, int] = {}
    waiting: list[StoredEnvelope] = []
    with writing(engine) as connection:
        count = connection.exec_driver_sql("SELECT max(position) FROM event").scalar_one()
    for number, (stream, event) in enumerate(told, start=count + 1):
        if until is not None and number > until:
            break
        versions[stream] = versions.get(stream, 0) + 1
        actor = PEOPLE[number % len(PEOPLE)]
        waiting.append(StoredEnvelope(stream, versions[stream], event.topic, encode(event), NOW + number * STEP, actor))
        if len(waiting) == CHUNK:
            _write(engine, waiting)
    _write(engine, waiting)


def tell(shape: Shape) -> Iterator[Told]:
    """All that happens."""
    yield from _registered(shape)
    rounds = shape.waves * shape.tags
    reported = 0
    for place in range(rounds):
        number, tag = place // shape.tags + 1, place % shape.tags
        yield from _wave(shape, number, tag)
        due = shape.reports * (place + 1) // rounds
        while due - reported >= BATCH or (place == rounds - 1 and reported < due):
            count = min(BATCH, due - reported)
            yield Told("fleet", _reports(shape, reported, count, number))
            reported += count


def device(place: int) -> str:
    """The uuid of a device."""
    return f"device-{place:08}"


def wave(number: int, tag: int) -> str:
    """The name of a wave."""
    return f"wave-{tag}-{number}"


def _write(engine: Engine, waiting: list[StoredEnvelope]) -> None:
    with writing(engine) as connection:
        LedgerRecorder(connection=connection).insert_events(waiting)
    waiting.clear()


def _registered(shape: Shape) -> Iterator[Told]:
    for start in range(0, shape.devices, BATCH):
        places = range(start, min(start + BATCH, shape.devices))
        event = DevicesRegistered(
            tuple(device(place) for place in places),
            tuple(f"gate-{place}" for place in places),
            tuple(f"board{place % shape.hardware:04}" for place in places),
            tuple(f"tag-{place % shape.tags}" for place in places),
            tuple(f"group-{place // shape.tags % GROUPS}" for place in places),
            tuple(True for _ in places),
        )
        yield Told("fleet", event)


def _reports(shape: Shape, first: int, count: int, number: int) -> DevicesReported:
    places = [place % shape.devices for place in range(first, first + count)]
    return DevicesReported(
        tuple(device(place) for place in places),
        tuple(f"board{place % shape.hardware:04}-lmp-{number}" for place in places),
        tuple(number for _ in places),
        tuple(NOW for _ in places),
    )


def _wave(shape: Shape, number: int, tag: int) -> Iterator[Told]:
    name, called = wave(number, tag), f"tag-{tag}"
    targets = [a_target(shape.seed, number, kind) for kind in range(shape.hardware)]
    if tag == 0:
        yield Told("catalog", CiTargetsImported("bench", {target.name: target.body for target in targets}))
    lane = 2 * number
    signed = json.dumps({"targets": {target.name: target.body for target in targets}}, separators=(",", ":"))
    own = Document(f"wave/{name}", lane * 1000, EXPIRES, name, signed)
    back = Document(f"production/{called}", (lane + 1) * 1000, EXPIRES, None, None)
    names = tuple(target.name for target in targets)
    signature = made_up(shape.seed, name) * 2
    group, staged = f"group-{number % GROUPS}", [device(tag + shape.tags * i) for i in range(20)]
    yield Told(f"tag:{called}", WaveOpened(called, name, number, lane, lane + 1))
    prune = (number - 1,) if number > 1 else ()
    yield Told(
        f"wave:{name}",
        WaveInitialized(name, called, number, None, prune, names, EXPIRES, 1, 2, (own, back)),
    )
    yield Told(f"wave:{name}", WaveSigned(name, made_up(shape.seed, "key"), (signature, signature)))
    yield Told(f"wave:{name}", WaveRolledOut(name, 1, Selector(group, None, None), True, 50, 0, signature[:64], None))
    yield Told(f"publication:production:{called}", _published(shape, number, tag, 2 * number - 1, name))
    yield Told(f"wave:{name}", WaveRolledOut(name, 2, Selector(None, "20", None), False, 20, 0, signature[:64], None))
    yield Told(f"rollout:{name}:2", DevicesStaged(name, 2, tuple(staged)))
    yield Told(f"wave:{name}", WaveCompleted(name))
    yield Told(f"tag:{called}", TargetsPromoted(called, name, number, lane * 1000, EXPIRES))
    yield Told(f"tag:{called}", WaveClosed(called, name, "complete", ()))
    yield Told(f"publication:production:{called}", _published(shape, number, tag, 2 * number, None))


def _published(shape: Shape, number: int, tag: int, version: int, own: str | None) -> MetadataPublished:
    called, lane = f"production/tag-{tag}", 2000 * number
    views = [(f"wave/{own}", lane)] if own else [(called, lane)]
    digest = made_up(shape.seed, called, version)
    snapshot = json.dumps(
        {
            "signatures": [{"keyid": digest, "sig": digest * 2}],
            "signed": {
                "_type": "snapshot",
                "meta": {"targets.json": {"hashes": {"sha256": digest}, "length": 14_000, "version": lane}},
                "version": version,
            },
        }
    )
    expires = from_epoch(NOW) + timedelta(days=7)
    return MetadataPublished(
        called,
        1,
        (DocumentPublished(lane, digest, digest * 2, own, f"wave/{own}", None, None),) if own else (),
        tuple(ViewPublished(v, version, shown, snapshot, snapshot, EXPIRES, expires) for v, shown in views),
        (),
        (),
    )
