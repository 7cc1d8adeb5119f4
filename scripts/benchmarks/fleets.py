"""Fleets and histories of any size from a seed: the file that a user would import, and the ledger that comes of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory import EXPIRES, NOW, Made, a_target, create
from measure import say

from ledger.application import devices, targets, waves
from ledger.domain.fleet import Device
from ledger.domain.initiation import WaveRequest
from ledger.domain.rollout import Limit
from ledger.session import Ledger, Session
from ledger.store import bulk
from projections.facts import Facts

GROUPS = 200
TAGS = 100
MAIN = "tag-000"  # nine of ten devices follow it
HARDWARE = 20  # kinds, so as many production targets a tag
BATCH = 200  # waves a transaction: nobody measures how the history is made


@dataclass(frozen=True)
class Shape:
    """How large: devices, and waves before the first one that is measured."""

    devices: int
    seed: str = "0"
    waves: int = 0
    tags: int = TAGS

    @property
    def staged(self) -> int:
        """A tenth of the fleet."""
        return max(1, self.devices // 10)


def rows(shape: Shape) -> Iterator[tuple[str, str, str, str, str, bool]]:
    """The devices: uuid, name, hardware, tag, group, production."""
    chance = random.Random(f"{shape.seed}/fleet/{shape.devices}")  # noqa: S311  made up, and no secret
    for place in range(shape.devices):
        digits = f"{chance.getrandbits(128):032x}"
        uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        tag = f"tag-{chance.randrange(shape.tags):03}" if place % 10 == 0 else MAIN
        group = f"group-{chance.randrange(GROUPS):03}"
        yield uuid, f"gw-{place:07}", f"board{place % HARDWARE:04}", tag, group, place % 50 != 7


def write_csv(path: Path, shape: Shape) -> None:
    """The file that `devices import` takes."""
    with path.open("w", encoding="utf-8") as file:
        file.write("uuid,name,hardware_id,tag,group,production\n")
        file.writelines(
            f"{u},{n},{h},{t},{g},{'true' if production else 'false'}\n" for u, n, h, t, g, production in rows(shape)
        )


def reports(shape: Shape, number: int) -> Iterator[tuple[str, str, int]]:
    """What the devices say: three of four run that number, the others the one before."""
    for place, (uuid, _, hardware, *_) in enumerate(rows(shape)):
        running = number if place % 4 else number - 1
        yield uuid, f"{hardware}-lmp-{max(1, running)}", NOW - (place % 8) * 3600


@dataclass
class OneTransaction:
    """A ledger whose use cases share a transaction that is open."""

    session: Session
    engine: Any = None
    projectors: Sequence[Any] = field(default_factory=list)

    @property
    def actor(self) -> str:
        """Who acts."""
        return self.session.actor

    @property
    def now(self) -> int:
        """The clock's one reading."""
        return self.session.now

    @contextmanager
    def writing(self, *, dry_run: bool = False) -> Iterator[Session]:
        """The open transaction."""
        assert not dry_run
        yield self.session

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """The open transaction."""
        yield self.session.connection


@contextmanager
def ledger_of(url: str, shape: Shape, *, numbers: int) -> Iterator[Made]:
    """A ledger with catalog and fleet, and with waves that completed, a like number on each tag."""
    with create(url) as made:
        each = -(-shape.waves // shape.tags)
        built = [
            a_target(shape.seed, number, kind) for number in range(1, each + numbers + 1) for kind in range(HARDWARE)
        ]
        targets.import_targets(made.ledger, Facts(), built, "bench")
        say(f"{shape.devices:,} devices ...")
        devices.import_devices(made.ledger, Facts(), (Device(*row) for row in rows(shape)))
        say(f"{shape.waves:,} waves ...")
        run_waves(made, shape, each)
        yield made


def run_waves(made: Made, shape: Shape, each: int) -> None:
    """Init, rollout to three devices and complete, for all tags in turn."""
    wanted = [(tag, number) for number in range(1, each + 1) for tag in range(shape.tags)][: shape.waves]
    for start in range(0, len(wanted), BATCH):
        with made.ledger.writing() as session:
            ledger: Ledger = OneTransaction(session)  # type: ignore[assignment]
            for tag, number in wanted[start : start + BATCH]:
                name = f"tag-{tag:03}"
                wave = f"{name}-{number}"
                prune = (number - 1,) if number > 1 else ()
                waves.init(ledger, Facts(), WaveRequest(wave, number, name, EXPIRES, prune), made.find)
                reach = waves.RolloutRequest(wave, limit=Limit(3, percent=False))
                if has_devices(session, name):
                    waves.roll_out(ledger, Facts(), Facts(), reach)
                waves.complete(ledger, Facts(), wave)


def has_devices(session: Session, tag: str) -> bool:
    """Whether a production device follows the tag: in a small fleet some tags have none."""
    statement = (
        "SELECT 1 FROM fleet_device d JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag "
        "WHERE t.name = ? AND d.production = 1 LIMIT 1"
    )
    return bulk.query(session.connection, statement, (tag,)).fetchone() is not None
