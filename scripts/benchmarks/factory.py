"""A ledger to measure on: made by the program's own use cases, signed by keys in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from measure import made_up
from sqlalchemy import Engine
from tuf.api.metadata import Root

from ledger.application import devices, factory, targets, waves
from ledger.domain.fleet import Device
from ledger.domain.initiation import WaveRequest
from ledger.domain.rollout import Limit
from ledger.domain.values import JsonObject, Target, from_epoch, read_target
from ledger.session import Ledger, Session
from ledger.store import migrate
from ledger.store.engine import actor_of, open_engine, writing
from ledger.tuf.keys import KeyPair
from ledger.tuf.online import OnlineKeys
from ledger.tuf.roots import LIFETIME
from projections import runner
from projections.facts import Facts
from projections.tables import all_tables

NOW = 1_800_000_000
EXPIRES = from_epoch(NOW) + timedelta(days=365)
DEVICES = 20  # a tag
APPS = ("gateway", "telemetry")


@dataclass(frozen=True)
class Made:
    """A ledger with CI targets and devices, who signs its waves, and its online keys."""

    ledger: Ledger
    signer: KeyPair
    online: dict[str, KeyPair]
    keys: OnlineKeys

    def find(self, root: Root, online: frozenset[str]) -> KeyPair:
        """The one offline key there is."""
        assert self.signer.keyid in root.roles["targets"].keyids
        return self.signer


class Wave(NamedTuple):
    """A wave to run."""

    name: str
    number: int
    tag: str
    prune: tuple[int, ...] = ()


@contextmanager
def create(url: str) -> Iterator[Made]:
    """A ledger with nothing in it but its keys."""
    engine = open_engine(url, must_exist=False)
    keys = factory.make_keys(["ed25519"], 2)
    with writing(engine) as connection:
        migrate.create(connection, *all_tables())
        runner.install(connection)
        actor = actor_of(connection, "bench")
        session = Session(connection, actor, NOW, [runner.Projector()])
        factory.initialize(session, "bench", keys, 2, from_epoch(NOW) + LIFETIME)
    ledger = Ledger(engine, [runner.Projector()], actor, NOW)
    online = {pair.keyid: pair for pair in keys.online.values()}
    yield Made(ledger, keys.targets[0], online, OnlineKeys([*online.values(), keys.ledger], "memory"))
    engine.dispose()


@contextmanager
def new_ledger(path: Path, tags: Sequence[str], *, numbers: int, hardware: int, seed: str) -> Iterator[Made]:
    """A ledger whose CI built `numbers` times for `hardware` kinds of devices, with devices on each tag."""
    with create(f"sqlite:///{path.absolute()}") as made:
        _import(made.ledger, tags, numbers, hardware, seed)
        yield made


def a_target(seed: str, number: int, hardware: int) -> Target:
    """A target as CI makes them."""
    name = f"board{hardware:04}-lmp-{number}"
    digest = made_up(seed, name)
    body: JsonObject = {
        "custom": {
            "arch": "aarch64",
            "createdAt": "2026-01-01T00:00:00Z",
            "docker_compose_apps": {app: {"uri": f"hub.example.org/bench/{app}@sha256:{digest}"} for app in APPS},
            "hardwareIds": [f"board{hardware:04}"],
            "image-file": "lmp-factory-image.wic.gz",
            "lmp-manifest-sha": digest[:40],
            "name": f"board{hardware:04}-lmp",
            "tags": ["main"],
            "targetFormat": "OSTREE",
            "uri": f"https://ci.example.org/projects/bench/lmp/builds/{number}",
            "version": str(number),
        },
        "hashes": {"sha256": digest},
        "length": 0,
    }
    return read_target(name, body)


def init_wave(made: Made, wave: Wave) -> None:
    """Init."""
    request = WaveRequest(wave.name, wave.number, wave.tag, EXPIRES, wave.prune)
    waves.init(made.ledger, Facts(), request, made.find)


def roll_out_wave(made: Made, wave: Wave) -> None:
    """Roll out to a few devices."""
    waves.roll_out(made.ledger, Facts(), Facts(), waves.RolloutRequest(wave.name, limit=Limit(3, percent=False)))


def run_wave(made: Made, wave: Wave) -> None:
    """A whole wave: init, rollout, complete."""
    init_wave(made, wave)
    roll_out_wave(made, wave)
    waves.complete(made.ledger, Facts(), wave.name)


@contextmanager
def hurrying(engine: Engine) -> Iterator[None]:
    """Without waiting for the disk: what is made here is not measured."""
    for mode in ("OFF", "FULL"):
        with engine.connect() as connection:  # the pool hands out this one connection again and again
            connection.exec_driver_sql(f"PRAGMA synchronous = {mode}")
        if mode == "OFF":
            yield


def _import(ledger: Ledger, tags: Sequence[str], numbers: int, hardware: int, seed: str) -> None:
    built = [a_target(seed, number, kind) for number in range(1, numbers + 1) for kind in range(hardware)]
    targets.import_targets(ledger, Facts(), built, "bench")
    fleet = [
        Device(made_up(seed, tag, place)[:32], f"{tag}-{place}", "board0000", tag, None, production=True)
        for tag in tags
        for place in range(DEVICES)
    ]
    devices.import_devices(ledger, Facts(), fleet)
