"""A factory to which anything may happen, and what must be true of it, kept beside it with plain sets and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import orjson

from ledger.domain.errors import NotFound, Refused
from ledger.domain.fleet import Device as Registered
from ledger.tuf import documents
from projections.tuf import emitter
from projections.tuf.destination import Directory
from projections.tuf.emitter import PublicationRejected
from tests.modelcheck.steps import Step
from tests.support import DAY, HARDWARE, HOUR, Factory, device, target

TAGS = ("release", "beta")
GROUPS = ("canary", "lab")
UUIDS = tuple(f"device-{n}" for n in range(8))
SHORT_DAYS, LONG_DAYS = 5, 2000


class PublisherFailed(Exception):
    """A publication that did not end as it should."""


@dataclass
class Wave:
    """A wave as the model knows it: `new` are the targets it brings, `content` all that its document holds."""

    name: str
    tag: str
    number: int
    new: frozenset[str]
    content: frozenset[str]
    status: str = "active"
    rollouts: int = 0


@dataclass
class Device:
    """A device as the model knows it. `holds` is the canceled wave whose target it ran when that was canceled."""

    uuid: str
    hardware: str
    tag: str
    group: str | None = None
    production: bool = True
    present: bool = True
    target: str | None = None
    offered: str | None = None
    view: str | None = None  # from which it refreshed last
    holds: Wave | None = None


@dataclass
class World:
    """The factory, its published tree, and the model."""

    directory: Path
    seed: int
    established: bool = False  # whether both tags have production targets from the beginning
    factory: Factory = field(init=False)
    tree: Directory = field(init=False)
    waves: dict[str, Wave] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    production: dict[str, frozenset[str]] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    hardware_of: dict[str, str] = field(default_factory=dict)
    number_of: dict[str, int] = field(default_factory=dict)
    built: int = 0
    polling: str | None = None  # the device in the middle of whose refresh this happens
    polling_view: str | None = None  # and where it refreshes from
    resting: set[str] = field(default_factory=set)
    outage: int = 0  # so many more steps until the publisher is back
    log: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        holders, threshold = ((1, 2), (2, 2), (2, 3))[self.seed % 3]
        self.factory = Factory(self.directory / "ledger.db", holders, threshold)
        self.tree = Directory(self.directory / "tree")
        for place, uuid in enumerate(UUIDS):
            self.devices[uuid] = Device(uuid, HARDWARE[place % 2], TAGS[place % 4 // 3], GROUPS[place % 2], place != 5)

    def start(self) -> None:
        """What every history begins with."""
        self.factory.register(*(self._row(made) for made in self.devices.values()))
        for _ in range(2):
            self._build((1, 0, 0, 0))
        if self.established:
            for tag in (0, 3):
                self._init((tag, 1, 0, 0))
                self._sign((0, 0, 0, 0))
                self._complete((0, 0, 0, 0))
        self._do("publish", self.emit)

    def close(self) -> None:
        """Let go of the ledger."""
        self.factory.close()

    def act(self, step: Step) -> bool:
        """Carry out a step and mostly publish it; whether it did something. What a rule refuses is no problem."""
        self._pass_outage()
        action: Callable[[tuple[int, int, int, int]], bool | None] = getattr(self, f"_{step.action}")
        before = len(self.log)
        try:
            nothing = action(step.numbers) is False
        except (Refused, NotFound) as refusal:
            self.log[before:] = [f"{line} -- {type(refusal).__name__}" for line in self.log[before:]]
            return False
        if nothing:
            return False
        self.done[step.action] = self.done.get(step.action, 0) + 1
        if step.action not in {"publish", "refresh", "force", "hours", "days", "week"} and step.numbers[3] % 8:
            self._do("  publish", lambda: self.emit(everything=False))
        return True

    def _pass_outage(self) -> None:
        """The publisher comes back between two refreshes: one that spans two roots is not promised to succeed."""
        if self.outage and self.polling is None:
            self.outage -= 1
            if not self.outage:
                self._do("the publisher is back", self.emit)

    def _do(self, told: str, action: Callable[[], object]) -> None:
        self.log.append(told)
        action()

    def emit(self, *, refresh: bool = False, force: bool = False, everything: bool = True) -> None:
        """Publish, or refresh; without `everything` as a command does that changed something."""
        if self.outage:
            return
        try:
            came = emitter.attempt(
                self.factory.ledger, self.factory.online, self.tree, refresh=refresh, force=force, everything=everything
            )
        except Exception as failure:
            raise PublisherFailed(f"{type(failure).__name__}: {failure}") from failure
        for problem in came.problems:
            if not isinstance(problem, PublicationRejected) or not self._is_expired(problem.view):
                raise PublisherFailed(f"{type(problem).__name__}: {problem}")
            self.log.append(f"  published, and warned: {problem}")

    def _is_expired(self, view: str) -> bool:
        """Whether a view shows documents that are past their expiry: nobody signed them anew in time."""
        timestamp = orjson.loads(self.tree.read(f"{view}/timestamp.json") or b"{}")
        version = timestamp["signed"]["meta"]["snapshot.json"]["version"]
        snapshot = orjson.loads(self.tree.read(f"{view}/{version}.snapshot.json") or b"{}")
        return datetime.fromisoformat(snapshot["signed"]["expires"]).timestamp() <= self.factory.now

    def sign_online(self, kind: str, role: str, signed: bytes) -> bytes:
        """A file as the online key of that role would have signed it."""
        signer = self.factory.keys.online[f"{kind}.{role}"]
        return documents.file_bytes(signed, [(signer.keyid, signer.sign(signed))])

    # What the model knows.

    def active(self, tag: str) -> Wave | None:
        """The active wave of a tag."""
        return next((w for w in self.waves.values() if w.tag == tag and w.status == "active"), None)

    def fits(self, uuid: str, names: Iterable[str]) -> set[str]:
        """Those of the targets that are for a device's hardware."""
        return {name for name in names if self.hardware_of[name] == self.devices[uuid].hardware}

    # CI.

    def _build(self, n: tuple[int, int, int, int]) -> None:
        self.built += 1
        kinds = HARDWARE if n[0] % 6 else HARDWARE[: 1 + self.built % 2]
        self._import(self.built, kinds, ("main",) if n[1] % 3 else (TAGS[0], "main"))

    def _retag_build(self, n: tuple[int, int, int, int]) -> None:
        number = 1 + n[0] % self.built
        kinds = tuple(kind for kind in HARDWARE if f"{kind}-lmp-{number}" in self.number_of)
        self._import(number, kinds, (("main",), (*TAGS, "main"), ("beta",))[n[1] % 3])

    def _import(self, number: int, kinds: Sequence[str], tags: Sequence[str]) -> None:
        made = [target(number, kind, tags) for kind in kinds]
        self._do(f"CI imports {number} for {'/'.join(kinds)}: {tags}", lambda: self.factory.import_targets(made))
        self.number_of |= {t.name: number for t in made}
        self.hardware_of |= {t.name: t.hardware_id for t in made}

    # Waves.

    def _init(self, n: tuple[int, int, int, int]) -> bool:
        tag = TAGS[n[0] % 5 // 3]
        if self.active(tag):
            return False
        if self.built <= self.highest.get(tag, 0) or n[1] % 3 == 0:
            self._build((n[1], n[2], 0, 0))
        numbers = range(max(self.highest.get(tag, 0) + 1, self.built - 2), self.built + 1)
        number, name = numbers[n[1] % len(numbers)], f"w{len(self.waves) + 1}"
        before = self.production.get(tag, frozenset())
        there = sorted({self.number_of[target] for target in before})
        prune = tuple(there[: 1 + n[2] % 2]) if there and n[2] % 2 else ()
        self._open(name, number, tag, prune, LONG_DAYS + n[2] % 300 if n[2] % 8 else SHORT_DAYS + n[3] % 12)
        return True

    def _open(self, name: str, number: int, tag: str, prune: tuple[int, ...] = (), days: int = LONG_DAYS) -> Wave:
        new = frozenset(target for target, of in self.number_of.items() if of == number)
        told = f"init {name} {number} {tag} prune {prune}"
        self._do(told, lambda: self.factory.init(name, number, tag, prune=prune, days=days))
        before = self.production.get(tag, frozenset())
        kept = frozenset(target for target in before if self.number_of[target] not in prune)
        self.waves[name] = Wave(name, tag, number, new, kept | new)
        return self.waves[name]

    def _wave(self, which: int) -> Wave | None:
        waves = [wave for wave in self.waves.values() if wave.status == "active"]
        return waves[which % len(waves)] if waves else None

    def _sign(self, n: tuple[int, int, int, int]) -> bool:
        wave = self._wave(n[0])
        if wave and self.factory.threshold > 2:
            self._do(f"sign {wave.name}", lambda: self.factory.sign(wave.name))
            return True
        return False

    def _rollout(self, wave: Wave, told: str, **how: object) -> None:
        self._do(f"rollout {wave.name} {told}", lambda: self.factory.rollout(wave.name, **how))  # type: ignore[arg-type]
        wave.rollouts += 1

    def _rollout_group(self, n: tuple[int, int, int, int]) -> bool:
        wave = self._wave(n[0])
        if wave:
            group = GROUPS[n[1] % len(GROUPS)]
            self._rollout(wave, f"group {group}", group=group)
        return bool(wave)

    def _rollout_limit(self, n: tuple[int, int, int, int]) -> bool:
        wave = self._wave(n[0])
        if wave:
            self._rollout(wave, f"limit {1 + n[1] % 3}", limit=str(1 + n[1] % 3))
        return bool(wave)

    def _rollout_percent(self, n: tuple[int, int, int, int]) -> bool:
        wave = self._wave(n[0])
        if wave:
            self._rollout(wave, f"limit {1 + n[1] % 100}%", limit=f"{1 + n[1] % 100}%")
        return bool(wave)

    def _rollout_uuids(self, n: tuple[int, int, int, int]) -> bool:
        wave = self._wave(n[0])
        fitting = [d.uuid for d in self.devices.values() if wave and d.present and d.production and d.tag == wave.tag]
        if not wave or not fitting:
            return False
        uuids = sorted({fitting[(n[1] + i) % len(fitting)] for i in range(1 + n[2] % 4)})
        self._rollout(wave, f"uuids {uuids}", uuids=uuids)
        return True

    def _rollout_held(self, n: tuple[int, int, int, int]) -> bool:
        """A device that runs a canceled target gets a wave above it."""
        made = self._holding(n[0])
        if not made or not made.production or not made.holds or made.tag != made.holds.tag:
            return False
        wave = self.active(made.tag) or self._above_all(made.tag, n)
        if wave.number <= made.holds.number:
            return False
        self._rollout(wave, f"uuids {made.uuid}", uuids=[made.uuid])
        return True

    def _above_all(self, tag: str, n: tuple[int, int, int, int]) -> Wave:
        """A new wave, above all that were, and ready."""
        self._build((1, n[2], 0, 0))
        wave = self._open(f"w{len(self.waves) + 1}", self.built, tag)
        if self.factory.threshold > 2:
            self._do(f"sign {wave.name}", lambda: self.factory.sign(wave.name))
        return wave

    def _complete(self, n: tuple[int, int, int, int]) -> bool:
        wave = self._wave(n[0])
        if wave:
            self._do(f"complete {wave.name}", lambda: self.factory.complete(wave.name))
            wave.status = "complete"
            self.production[wave.tag], self.highest[wave.tag] = wave.content, wave.number
        return bool(wave)

    def _complete_held(self, n: tuple[int, int, int, int]) -> bool:
        """A wave above a canceled one that is still run somewhere is completed, as a rule without a rollout."""
        made = self._holding(n[0])
        if not made or not made.holds or made.tag != made.holds.tag:
            return False
        wave = self.active(made.tag) or self._above_all(made.tag, n)
        return wave.number >= made.holds.number and self._complete((self._place(wave), *n[1:]))

    def _place(self, wave: Wave) -> int:
        return [one.name for one in self.waves.values() if one.status == "active"].index(wave.name)

    def _next_wave(self, n: tuple[int, int, int, int]) -> bool:
        """A wave ends, and the next one is rolled out at once to somebody who was in it."""
        wave = self._wave(n[0])
        inside = [u for u, row in self.factory.fleet().items() if wave and row.view == f"wave/{wave.name}"]
        if not wave or not inside:
            return False
        if not (self._complete(n) if n[1] % 2 else self._cancel(n)):
            return False
        self._build((1, 0, 0, 0))
        following = self._open(f"w{len(self.waves) + 1}", self.built, wave.tag)
        self._sign((self._place(following), 0, 0, 0))
        self._rollout(following, f"uuids {inside[n[2] % len(inside)]}", uuids=[inside[n[2] % len(inside)]])
        return True

    def _cancel_installed(self, n: tuple[int, int, int, int]) -> bool:
        """Most of those that refreshed in a wave come to run it, and then it is canceled."""
        wave = self._wave(n[0])
        inside = [
            d for d in self.devices.values() if wave and d.present and d.offered in wave.new and not self._busy(d)
        ]
        for made in inside[: 1 + n[1] % 3]:
            self._report(made, made.offered)
        return bool(wave and inside) and self._cancel(n)

    def _cancel(self, n: tuple[int, int, int, int]) -> bool:
        wave = self._wave(n[0])
        if wave and self.polling and self.devices[self.polling].target in wave.new:
            # Who runs a wave's target without having seen the wave, and meets its cancel while refreshing from
            # production, is past the held view's version then: the one thing that is not promised.
            wave = wave if self.polling_view == f"wave/{wave.name}" else None
        if wave:
            before = self.factory.fleet()
            self._do(f"cancel {wave.name}", lambda: self.factory.cancel(wave.name))
            wave.status = "canceled"
            if wave.rollouts:
                self.production.setdefault(wave.tag, frozenset())
            for uuid, row in before.items():
                if row.view == f"wave/{wave.name}" and row.target in wave.new:
                    self.devices[uuid].holds = wave
        return bool(wave)

    # Devices.

    def _device(self, which: int, *, present: bool = True, production: bool | None = None) -> Device | None:
        found = [
            made
            for made in self.devices.values()
            if made.present == present and production in {None, made.production} and not self._busy(made)
        ]
        return found[which % len(found)] if found else None

    def _row(self, made: Device) -> Registered:
        return device(made.uuid, made.tag, made.group, made.hardware, production=made.production)

    def _report(self, made: Device, name: str | None) -> None:
        self._do(f"{made.uuid} reports {name}", lambda: self.factory.report((made.uuid, name, None)))
        if name is not None:
            if made.holds and name not in made.holds.new:
                made.holds = None
            made.target = name

    def _report_offered(self, n: tuple[int, int, int, int]) -> bool:
        """A device comes to run what it found at its last refresh."""
        new = [
            d for d in self.devices.values() if d.present and d.offered not in {None, d.target} and not self._busy(d)
        ]
        if new:
            self._report(new[n[0] % len(new)], new[n[0] % len(new)].offered)
        return bool(new)

    def _busy(self, made: Device) -> bool:
        """Whether a device is in the middle of a refresh: it does one thing at a time."""
        return made.uuid == self.polling

    def _report_other(self, n: tuple[int, int, int, int]) -> bool:
        made = self._device(n[0])
        if made:
            fitting = sorted(self.fits(made.uuid, self.number_of))
            self._report(made, fitting[n[1] % len(fitting)])
        return bool(made)

    def _holding(self, which: int) -> Device | None:
        """A device that runs a canceled target; one that was told so by its held view, if there is any."""
        holding = [d for d in self.devices.values() if d.holds and d.present and not self._busy(d)]
        told = [d for d in holding if d.view and d.view.startswith("held/")] or holding
        return told[which % len(told)] if told else None

    def _report_away(self, n: tuple[int, int, int, int]) -> bool:
        """A device that runs a canceled target comes to run another one."""
        made = self._holding(n[0])
        if not made:
            return False
        others = sorted(self.fits(made.uuid, self.number_of) - {str(made.target)})
        if others:
            self._report(made, others[n[1] % len(others)])
        return bool(others)

    def _report_nothing(self, n: tuple[int, int, int, int]) -> bool:
        made = self._device(n[0])
        if made:
            self._report(made, None)
        return bool(made)

    def _set_tag(self, n: tuple[int, int, int, int]) -> bool:
        made = self._device(n[0])
        if made:
            tag = TAGS[n[1] % 5 // 3]
            self._do(f"set {made.uuid} tag {tag}", lambda: self.factory.set([made.uuid], tag=tag))
            made.tag = tag
        return bool(made)

    def _set_group(self, n: tuple[int, int, int, int]) -> bool:
        made = self._device(n[0])
        if made:
            group = GROUPS[n[1] % len(GROUPS)]
            self._do(f"set {made.uuid} group {group}", lambda: self.factory.set([made.uuid], group=group))
            made.group = group
        return bool(made)

    def _no_group(self, n: tuple[int, int, int, int]) -> bool:
        made = self._device(n[0])
        if made:
            self._do(f"set {made.uuid} no group", lambda: self.factory.set([made.uuid], no_group=True))
            made.group = None
        return bool(made)

    def _make_test(self, n: tuple[int, int, int, int]) -> bool:
        return self._flag(self._device(n[0], production=True), production=False)

    def _make_production(self, n: tuple[int, int, int, int]) -> bool:
        return self._flag(self._device(n[0], production=False), production=True)

    def _flag(self, made: Device | None, *, production: bool) -> bool:
        if made:
            made.production = production
            self._do(f"{made.uuid} production {production}", lambda: self.factory.register(self._row(made)))
        return bool(made)

    def _rest(self, n: tuple[int, int, int, int]) -> bool:
        """A device that is in a wave, or held, becomes a test device, or comes back from there."""
        self.resting = {uuid for uuid in self.resting if not self.devices[uuid].production}
        fleet = self.factory.fleet()
        inside = {u for u, row in fleet.items() if row.view and row.view.startswith(("wave/", "held/"))}
        there = [self.devices[u] for u in sorted(inside | self.resting) if self.devices[u].present]
        found = [made for made in there if not self._busy(made)]
        made = found[n[0] % len(found)] if found else None
        if made and made.production:
            self.resting.add(made.uuid)
        return self._flag(made, production=not made.production) if made else False

    def _remove(self, n: tuple[int, int, int, int]) -> bool:
        made = self._device(n[0])
        if made:
            self._do(f"remove {made.uuid}", lambda: self.factory.remove(made.uuid))
            made.present = False
        return bool(made)

    def _come_back(self, n: tuple[int, int, int, int]) -> bool:
        made = self._device(n[0], present=False)
        if made:
            self._do(f"{made.uuid} comes back", lambda: self.factory.register(self._row(made)))
            made.present = True
        return bool(made)

    # The emitter and time.

    def _outage(self, n: tuple[int, int, int, int]) -> None:
        self.outage = 2 + n[0] % 6
        self.log.append(f"the publisher is away for {self.outage} steps")

    def _publish(self, n: tuple[int, int, int, int]) -> None:
        self._do("publish", self.emit)

    def _refresh(self, n: tuple[int, int, int, int]) -> None:
        self._do("refresh", lambda: self.emit(refresh=True))

    def _force(self, n: tuple[int, int, int, int]) -> None:
        self._do("refresh --force", lambda: self.emit(refresh=True, force=True))

    def _hours(self, n: tuple[int, int, int, int]) -> None:
        self._wait((1 + n[0] % 12) * HOUR, refresh=bool(n[1] % 5))

    def _days(self, n: tuple[int, int, int, int]) -> None:
        self._wait((1 + n[0] % 3) * DAY + n[2] % DAY, refresh=bool(n[1] % 4))

    def _week(self, n: tuple[int, int, int, int]) -> None:
        self._wait(8 * DAY + n[0] % DAY, refresh=False)

    def _wait(self, seconds: int, *, refresh: bool) -> None:
        self._do(f"{seconds / HOUR:.1f} hours pass", lambda: self.factory.wait(seconds))
        if refresh:
            self._do("  refresh", lambda: self.emit(refresh=True))
