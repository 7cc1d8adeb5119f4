"""The rules of DESIGN §2 once more, with plain sets and dicts, and nothing of the program.

Every action returns the name of the error that must refuse it, or None; a refused action changes nothing. Whom a
limited rollout chooses is the program's affair: the model says who may be chosen and how many, and takes over the rest.
"""

# ruff: noqa: D102, PLR0911  (helpers speak by name)
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

ONLINE_SECONDS = 4 * 3600  # unless asked otherwise


@dataclass
class ModelDevice:
    """A device. `present` is false after its removal."""

    tag: str
    group: str | None
    hardware: str
    production: bool
    present: bool = True
    target: str | None = None
    number: int = 0
    reported_at: int = 0
    seen_at: int = -1


@dataclass
class ModelWave:
    """A wave. `members` are all devices that ever got into it while it was active, `held` those that it still holds."""

    tag: str
    number: int
    content: dict[str, tuple[int, str]]
    new: set[str]
    status: str = "active"
    signers: set[int] = field(default_factory=set)
    rollouts: int = 0
    full_groups: set[str] = field(default_factory=set)
    named_groups: list[str] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    ways: dict[str, str] = field(default_factory=dict)  # how each member got in: list, group or joined
    ungrouped: int = 0  # rollouts that named no group
    held: set[str] = field(default_factory=set)
    canceled_as: int = 0  # how many waves had been canceled before it
    created_at: int = 0
    finished_at: int | None = None
    reached_at: dict[str, int] = field(default_factory=dict)  # when a rollout named a group first


@dataclass
class Allowed:
    """What a rollout may choose: exactly `size` of `candidates`, the online ones first."""

    candidates: set[str]
    online: set[str]
    size: int
    skipped: int
    matching: int

    def fits(self, chosen: tuple[str, ...]) -> bool:
        """Whether a choice keeps the rules."""
        taken = set(chosen)
        size_is_right = len(taken) == len(chosen) == self.size
        online_first = taken >= self.online or taken <= self.online
        return size_is_right and online_first and taken <= self.candidates


class Model:
    """The whole factory."""

    def __init__(self, holders_needed: int) -> None:
        self.holders_needed = holders_needed
        self.now = 0  # set by whoever acts
        self.ci: dict[str, tuple[int, str, frozenset[str], str]] = {}  # name: number, hardware, tags, other fields
        self.ci_views: set[str] = set()
        self.devices: dict[str, ModelDevice] = {}
        self.groups: set[str] = set()
        self.waves: dict[str, ModelWave] = {}
        self.production: dict[str, dict[str, tuple[int, str]]] = {}  # tag: name: number, hardware
        self.highest: dict[str, int] = {}
        self.waiting: set[tuple[str, str]] = (
            set()
        )  # device and tag: it left a held view, and nothing was published since

    # Actions.

    def import_targets(self, made: Iterable[tuple[str, int, str, frozenset[str], str]]) -> None:
        for name, number, hardware, tags, other in made:
            self.ci[name] = (number, hardware, tags, other)
            self.ci_views |= tags

    def import_devices(self, made: Iterable[tuple[str, str, str | None, str, bool]]) -> tuple[int, int, int]:
        added = changed = same = 0
        for uuid, tag, group, hardware, production in made:
            known = self.devices.get(uuid)
            if known is None or not known.present:
                added += 1
            elif (known.tag, known.group, known.hardware, known.production) == (tag, group, hardware, production):
                same += 1
            else:
                changed += 1
            device = self.devices.setdefault(uuid, ModelDevice(tag, group, hardware, production))
            device.tag, device.group, device.hardware, device.production = tag, group, hardware, production
            device.present = True
            if group:
                self.groups.add(group)
        self._join()
        return added, changed, same

    def set(self, uuids: list[str], tag: str | None, group: str | None, no_group: bool) -> str | None:
        if not all(uuid in self.devices and self.devices[uuid].present for uuid in uuids):
            return "UnknownDevices"
        for uuid in uuids:
            device = self.devices[uuid]
            device.tag = tag or device.tag
            device.group = None if no_group else group or device.group
            if device.group:
                self.groups.add(device.group)
        self._join()
        return None

    def remove(self, uuids: list[str]) -> str | None:
        if not all(uuid in self.devices and self.devices[uuid].present for uuid in uuids):
            return "UnknownDevices"
        for uuid in uuids:
            self.devices[uuid].present = False
        return None

    def report(self, uuid: str, target: str | None, seen_at: int, now: int) -> None:
        device = self.devices.get(uuid)
        if device is None or not device.present:
            return
        seen_at = max(0, min(seen_at, now))
        device.seen_at = max(device.seen_at, seen_at)
        if target is None:
            return
        if target != device.target:
            if seen_at < device.reported_at:
                return
            device.target = target
            device.number = 0
            self._leave(uuid, target)
        device.number = device.number or (self.ci[target][0] if target in self.ci else 0)
        device.reported_at = max(device.reported_at, seen_at)

    def init(self, name: str, number: int, tag: str, prune: tuple[int, ...], holder: int) -> str | None:
        new = {n: (v, hw) for n, (v, hw, _, _) in self.ci.items() if v == number}
        before = self.production.get(tag, {})
        refusal = self._init_refusal(name, number, tag, prune, new, before)
        if refusal:
            return refusal
        kept = {n: entry for n, entry in before.items() if entry[0] not in prune}
        self.waves[name] = ModelWave(tag, number, {**kept, **new}, set(new), signers={holder}, created_at=self.now)
        return None

    def _init_refusal(
        self,
        name: str,
        number: int,
        tag: str,
        prune: tuple[int, ...],
        new: dict[str, tuple[int, str]],
        before: dict[str, tuple[int, str]],
    ) -> str | None:
        if not new:
            return "NoSuchTargets"
        if self.active(tag):
            return "TagHasActiveWave"
        if name in self.waves:
            return "WaveNameUsed"
        in_production = {n for n, _ in before.values()} | {self.highest.get(tag, 0)}
        if number in in_production:
            return "NumberInProduction"
        if number < max(in_production):
            return "NumberTooLow"
        if len({hw for _, hw in new.values()}) < len(new):
            return "SeveralTargetsForHardware"
        if number in prune:
            return "PrunesItself"
        if not set(prune) <= {n for n, _ in before.values()}:
            return "PrunedNumberNotInProduction"
        return None

    def sign(self, name: str, holder: int) -> str | None:
        refusal = self._not_active(name)
        if refusal:
            return refusal
        wave = self.waves[name]
        if len(wave.signers) >= self.holders_needed:
            return "WaveAlreadyReady"
        if holder in wave.signers:
            return "AlreadySigned"
        wave.signers.add(holder)
        return None

    def rollout_group(self, name: str, group: str) -> str | None:
        refusal = self._not_ready(name)
        if refusal:
            return refusal
        wave = self.waves[name]
        if group not in self.groups:
            return "UnknownGroup"
        if group in wave.full_groups:
            return "GroupAlreadyReached"
        wave.full_groups.add(group)
        self._rolled_out(wave, group)
        self._join("group")
        return None

    def may_choose(
        self, name: str, group: str | None, uuids: tuple[str, ...] | None, limit: tuple[int, bool] | None, now: int
    ) -> str | Allowed:
        refusal = self._not_ready(name)
        if refusal:
            return refusal
        if group and group not in self.groups:
            return "UnknownGroup"
        wave = self.waves[name]
        reachable = {
            uuid
            for uuid, d in self.devices.items()
            if d.present and d.production and d.tag == wave.tag and (group is None or d.group == group)
        }
        if uuids is not None and not set(uuids) <= reachable:
            return "DevicesNotEligible"
        matching = reachable if uuids is None else set(uuids)
        candidates = {
            u
            for u in matching
            if u not in wave.members and self.devices[u].number < wave.number and self._holding(u) <= wave.number
        }
        online = {u for u in candidates if self.devices[u].seen_at >= now - ONLINE_SECONDS}
        size = len(candidates)
        if limit is not None:
            amount, percent = limit
            quota = (amount * len(matching) + 99) // 100 if percent else amount
            size = min(quota, len(candidates))
            if not candidates:
                return "NoCandidate"
        skipped = len(matching) - len(candidates) if uuids is not None else 0
        return Allowed(candidates, online, size, skipped, len(matching))

    def rolled_out(self, name: str, group: str | None, chosen: Iterable[str]) -> None:
        wave = self.waves[name]
        self._rolled_out(wave, group)
        self._let_in(wave, set(chosen), "list")

    def complete(self, name: str) -> str | None:
        refusal = self._not_ready(name)
        if refusal:
            return refusal
        wave = self.waves[name]
        wave.status, wave.finished_at = "complete", self.now
        self.production[wave.tag] = wave.content
        self.highest[wave.tag] = wave.number
        for other in self.waves.values():
            if other.tag == wave.tag and other.number <= wave.number:
                other.held = set()
        return None

    def cancel(self, name: str) -> str | None:
        refusal = self._not_active(name)
        if refusal:
            return refusal
        wave = self.waves[name]
        wave.status, wave.finished_at = "canceled", self.now
        if wave.rollouts:
            self.production.setdefault(wave.tag, {})
            wave.held = {uuid for uuid in wave.members if self.devices[uuid].target in wave.new}
            wave.canceled_as = 1 + max(other.canceled_as for other in self.waves.values())
        return None

    def publish(self) -> None:
        self.waiting = set()

    # Questions.

    def active(self, tag: str) -> str | None:
        """The tag's active wave."""
        return next((n for n, w in self.waves.items() if w.tag == tag and w.status == "active"), None)

    def offered(self, uuid: str) -> tuple[str | None, tuple[str, ...]]:
        """A device's view, and the names of the targets in it for its hardware, lowest number first."""
        device = self.devices[uuid]
        if not device.production:
            view = f"ci/{device.tag}" if device.tag in self.ci_views else None
            content = {n: (v, hw) for n, (v, hw, tags, _) in self.ci.items() if device.tag in tags}
        elif (active := self.active(device.tag)) and self.moves(active, uuid):
            view, content = f"wave/{active}", self.waves[active].content
        elif held := self.held(uuid):
            view, content = f"held/{held}", self.waves[held].content
        else:
            view = f"production/{device.tag}" if device.tag in self.production else None
            content = self.production.get(device.tag, {})
        fitting = sorted((number, name) for name, (number, hw) in content.items() if hw == device.hardware)
        return view, tuple(name for _, name in fitting) if view else ()

    def held(self, uuid: str) -> str | None:
        """The canceled wave that holds a device on its tag: the highest number, of equal ones the last."""
        device = self.devices[uuid]
        holding = [
            (w.number, w.canceled_as, n) for n, w in self.waves.items() if w.tag == device.tag and uuid in w.held
        ]
        return max(holding)[2] if holding else None

    def moves(self, name: str, uuid: str) -> bool:
        """Whether a device that is on the tag of an active wave sees that wave."""
        return uuid in self.waves[name].members and self._holding(uuid) <= self.waves[name].number

    def waits(self, uuid: str) -> bool:
        """Whether a device's view is production, but not before the next publication."""
        view, _ = self.offered(uuid)
        return view == f"production/{self.devices[uuid].tag}" and (uuid, self.devices[uuid].tag) in self.waiting

    def held_views(self, tag: str) -> set[str]:
        """The waves of a tag whose held views are open."""
        return {
            n for n, w in self.waves.items() if w.tag == tag and w.canceled_as and w.number > self.highest.get(tag, 0)
        }

    def views(self) -> dict[str, set[str]]:
        """All views that exist, and the names of the targets in each."""
        found = {f"ci/{tag}": {n for n, (_, _, tags, _) in self.ci.items() if tag in tags} for tag in self.ci_views}
        found |= {f"production/{tag}": set(content) for tag, content in self.production.items()}
        found |= {f"held/{n}": set(self.waves[n].content) for tag in self.production for n in self.held_views(tag)}
        return found | {
            f"wave/{n}": set(w.content) for n, w in self.waves.items() if w.status == "active" and w.rollouts
        }

    def excluded(self, uuid: str) -> str | None:
        """What keeps a device from the target of its tag's active wave."""
        device = self.devices[uuid]
        active = self.active(device.tag)
        if active is None:
            return None
        wave = self.waves[active]
        if not device.production:
            return "test-device"
        if self.moves(active, uuid):
            fits = {wave.content[name][1] for name in wave.new}
            return None if device.hardware in fits else "no-target-for-hardware"
        if self._holding(uuid) > wave.number:
            return "held"
        if not wave.rollouts:
            return "not-rolled-out" if len(wave.signers) >= self.holders_needed else "not-ready"
        if device.number >= wave.number:
            return "at-number" if device.number == wave.number else "above-number"
        elsewhere = not wave.ungrouped and device.group not in wave.named_groups
        return "other-group" if elsewhere else "not-selected"

    def resting(self, uuid: str) -> set[str]:
        """The waves that a device is in or held by, where that does not count now."""
        device = self.devices[uuid]
        return {
            name
            for name, wave in self.waves.items()
            if (uuid in wave.held or (wave.status == "active" and uuid in wave.members))
            and not (device.present and device.production and device.tag == wave.tag)
        }

    def orphan(self, uuid: str) -> bool:
        """Whether a device runs a number that its tag does not offer."""
        device = self.devices[uuid]
        known = self.known(device.tag)
        if not device.production:
            known = frozenset(number for number, _, tags, _ in self.ci.values() if device.tag in tags)
        return device.number > 0 and device.number not in known

    def known(self, tag: str) -> frozenset[int]:
        """The numbers that are no orphans on a tag."""
        offered = {number for number, _ in self.production.get(tag, {}).values()}
        active = self.active(tag)
        return frozenset(offered | ({number for number, _ in self.waves[active].content.values()} if active else set()))

    # Rules.

    def _holding(self, uuid: str) -> int:
        held = self.held(uuid)
        return self.waves[held].number if held else 0

    def _leave(self, uuid: str, target: str) -> None:
        """Whoever reports something else is not held any more, wherever it is by now."""
        for wave in self.waves.values():
            if uuid in wave.held and target not in wave.new:
                wave.held.remove(uuid)
                active = self.active(wave.tag)
                if not active or uuid not in self.waves[active].members:
                    self.waiting.add((uuid, wave.tag))

    def _rolled_out(self, wave: ModelWave, group: str | None) -> None:
        wave.rollouts += 1
        wave.ungrouped += group is None
        if group and group not in wave.named_groups:
            wave.named_groups.append(group)
            wave.reached_at[group] = self.now

    def _join(self, way: str = "joined") -> None:
        """Whoever is in a group that an active wave was rolled out to gets into the wave, and stays."""
        for wave in self.waves.values():
            if wave.status == "active":
                reached = {
                    uuid
                    for uuid, d in self.devices.items()
                    if d.present and d.production and d.tag == wave.tag and d.group in wave.full_groups
                }
                self._let_in(wave, reached, way)

    def _let_in(self, wave: ModelWave, uuids: set[str], way: str) -> None:
        wave.ways |= dict.fromkeys(uuids - wave.members, way)
        wave.members |= uuids

    def _not_active(self, name: str) -> str | None:
        if name not in self.waves:
            return "UnknownWave"
        return {"active": None, "complete": "WaveIsComplete", "canceled": "WaveIsCanceled"}[self.waves[name].status]

    def _not_ready(self, name: str) -> str | None:
        refusal = self._not_active(name)
        if refusal is None and len(self.waves[name].signers) < self.holders_needed:
            return "WaveNotReady"
        return refusal
