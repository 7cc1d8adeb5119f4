"""Histories: made-up actions, carried out by the program and by the model alike.

An action is a name and a few integers, which choose among what is there at that moment; so any list of them is a
history, and Hypothesis can shorten it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ledger.domain.errors import LedgerError
from projections.tuf.destination import Directory
from tests.projections import counting
from tests.projections.model import Allowed, Model
from tests.support import DAY, HARDWARE, HOUR, Factory, device, target

TAGS = ("release", "beta")
GROUPS = ("canary", "lab", "field")
CI_TAGS = ("main", "release")  # a CI tag with a production tag's name, on purpose
UUIDS = tuple(f"device-{n:02}" for n in range(10))
NUMBERS = range(1, 25)

ACTIONS = (
    "targets", "targets", "devices", "devices", "set_tag", "set_group", "set_group", "no_group", "remove",
    "test_device",
    "report", "report_offered", "sighting", "late", "init", "init", "sign", "sign", "sign", "sign", "sign",
    "group", "group", "install", "leave",
    "limit", "percent", "uuids", "some_of", "complete", "cancel", "hold", "wait", "wait_long",
)  # fmt: skip

# Waves that are installed and then canceled, one over another, on a fleet that moves about.
HELD_ACTIONS = (
    "targets", "devices", "devices", "set_tag", "set_group", "set_group", "no_group", "remove", "test_device",
    "test_device", "report", "init", "init", "init", "init", "group", "group", "group", "limit", "percent", "uuids",
    "install", "install", "leave", "leave", "cancel", "hold", "hold", "hold", "complete",
)  # fmt: skip

Step = tuple[str, tuple[int, int, int, int]]


class History:
    """A factory and its model, side by side."""

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.model = Model(factory.threshold - 1)
        self.done: list[str] = []

    def start(self) -> None:
        """What every history begins with: builds and a small fleet."""
        for number in (1, 2, 3):
            self.act("targets", (number - 1, 0, 0, 0))
        self.act("devices", (0, 5, 0, 0))
        self.act("devices", (5, 4, 1, 1))
        self.act("init", (1, 0, 1, 1))
        self.act("sign", (1, 1, 0, 0))

    def act(self, action: str, n: tuple[int, int, int, int]) -> None:
        """Carry out one action in both, and compare their answers. A refused one must leave the ledger alone."""
        self.model.now = self.factory.now
        getattr(self, f"_{action}")(*n)

    def check(self) -> None:
        """Every device is offered what the model says, and every wave is counted as it says."""
        fleet = self.factory.fleet()
        present = {uuid for uuid, d in self.model.devices.items() if d.present}
        assert set(fleet) == present, self.done
        asked = self._asked(fleet)
        for uuid, row in fleet.items():
            assert (row.view, row.targets) == self.model.offered(uuid), (uuid, self.done)
            assert asked[uuid] == row.view, (uuid, self.done)
            assert row.latest == (row.targets[-1] if row.targets else None)
            assert (row.seen_at if row.seen_at is not None else -1) == self.model.devices[uuid].seen_at
        for name in self.model.waves:
            assert self._counted(name) == counting.waves_status(self.model, name, self.factory.now), (name, self.done)
        assert self._status() == counting.status(self.model, self.factory.now), self.done
        assert self._views() == self.model.views(), self.done

    def _asked(self, uuids: Iterable[str]) -> dict[str, str | None]:
        """What a gateway is told, which has a statement of its own."""
        from projections.queries import devices

        with self.factory.ledger.reading() as connection:
            return {uuid: devices.view_of(connection, uuid) for uuid in uuids}

    def _status(self) -> dict[str, Any]:
        """The JSON of `status`, but for what is not counted."""
        from cli.commands.status import _row
        from projections.queries import status

        with self.factory.ledger.reading() as connection:
            production, test = status.devices(connection)
            rows = status.tags(connection, online_since=self.factory.now - 4 * HOUR)
        fleet = {"total": production + test, "production": production, "test": test}
        return {"devices": fleet, "tags": [_row(row) for row in rows]}

    def _views(self) -> dict[str, set[str]]:
        from projections.queries import devices

        with self.factory.ledger.reading() as connection:
            names = connection.exec_driver_sql("SELECT view FROM release_view").scalars().all()
            contents = {view: devices.content(connection, view) for view in names}
        return {view: {name for _, _, name in content.targets} for view, content in contents.items() if content}

    def _counted(self, name: str) -> Any:
        """The JSON of `waves status`."""
        from cli.wave_status import output_of
        from projections.queries import waves

        with self.factory.ledger.reading() as connection:
            row = waves.find(connection, name)
            assert row is not None
            return output_of(waves.count(connection, row, online_since=self.factory.now - 4 * HOUR)).document

    def _try(self, told: str, expected: str | None, action: Callable[[], Any]) -> Any:
        self.done.append(f"{told} -> {expected or 'ok'}")
        before = self.factory.head()
        try:
            came = action()
        except LedgerError as error:
            assert type(error).__name__ == expected, (error, self.done)  # noqa: PT017  any of many
            assert self.factory.head() == before
            return None
        assert expected is None, self.done
        return came

    # Builds and devices.

    def _targets(self, number: int, tags: int, other: int, hardware: int) -> None:
        version = NUMBERS[number % len(NUMBERS)]
        chosen = {0: ("main",), 1: ("main", "release"), 2: ("release",)}[tags % 3]
        kinds = HARDWARE if hardware % 4 else HARDWARE[:1]
        made = [target(version, kind, chosen, note=f"n{other % 2}") for kind in kinds]
        self.model.import_targets((t.name, version, t.hardware_id, frozenset(chosen), f"n{other % 2}") for t in made)
        self._try(f"import {[t.name for t in made]} {chosen}", None, lambda: self.factory.import_targets(made))

    def _devices(self, first: int, count: int, tag: int, group: int) -> None:
        uuids = [UUIDS[(first + i) % len(UUIDS)] for i in range(1 + count % len(UUIDS))]
        where = TAGS[tag % len(TAGS)]
        made = [
            (u, where, (None, *GROUPS)[(group + i) % 4], HARDWARE[int(u[-1]) % 2], (first + i + group) % 5 != 4)
            for i, u in enumerate(uuids)
        ]
        counts = self.model.import_devices(made)
        rows = [device(u, t, g, hw, production=p) for u, t, g, hw, p in made]
        came = self._try(f"devices {made}", None, lambda: self.factory.register(*rows))
        assert (came.added, came.changed, came.same) == counts

    def _test_device(self, which: int, production: int, _c: int, _d: int) -> None:
        uuid = UUIDS[which % len(UUIDS)]
        known = self.model.devices.get(uuid)
        if known is None:
            return
        made = (uuid, known.tag, known.group, known.hardware, bool(production % 2))
        self.model.import_devices([made])
        row = device(uuid, known.tag, known.group, known.hardware, production=bool(production % 2))
        self._try(f"production {made}", None, lambda: self.factory.register(row))

    def _pick(self, first: int, count: int) -> list[str]:
        return [UUIDS[(first + i) % len(UUIDS)] for i in range(1 + count % 3)]

    def _set_tag(self, first: int, count: int, tag: int, _d: int) -> None:
        self._set(self._pick(first, count), tag=TAGS[tag % len(TAGS)])

    def _set_group(self, first: int, count: int, group: int, tag: int) -> None:
        both = {"tag": TAGS[tag % 2]} if tag % 5 == 0 else {}
        self._set(self._pick(first, count), group=GROUPS[group % len(GROUPS)], **both)

    def _no_group(self, first: int, count: int, _c: int, _d: int) -> None:
        self._set(self._pick(first, count), no_group=True)

    def _set(
        self, uuids: list[str], tag: str | None = None, group: str | None = None, *, no_group: bool = False
    ) -> None:
        expected = self.model.set(uuids, tag, group, no_group)
        self._try(
            f"set {uuids} {tag} {group} {no_group}",
            expected,
            lambda: self.factory.set(uuids, tag=tag, group=group, no_group=no_group),
        )

    def _remove(self, first: int, count: int, _c: int, _d: int) -> None:
        uuids = self._pick(first, count)
        self._try(f"remove {uuids}", self.model.remove(uuids), lambda: self.factory.remove(*uuids))

    # Reports.

    def _report(self, which: int, number: int, _c: int, _d: int) -> None:
        uuid = UUIDS[which % len(UUIDS)]
        version = NUMBERS[number % len(NUMBERS)]
        self._reported(uuid, f"{HARDWARE[int(uuid[-1]) % 2]}-lmp-{version}", self.factory.now)

    def _report_offered(self, which: int, _b: int, _c: int, _d: int) -> None:
        uuid = UUIDS[which % len(UUIDS)]
        known = self.model.devices.get(uuid)
        offered = self.model.offered(uuid)[1] if known and known.present else ()
        self._reported(uuid, offered[-1] if offered else "of-some-other-origin", self.factory.now)

    def _install(self, which: int, parity: int, _c: int, _d: int) -> None:
        """Every other device of an active wave says that it runs what it was offered."""
        name = self._wave(which)
        if name in self.model.waves and self.model.waves[name].status == "active":
            for uuid in sorted(self.model.waves[name].members)[parity % 2 :: 2]:
                self._report_offered(UUIDS.index(uuid), 0, 0, 0)

    def _hold(self, which: int, parity: int, _c: int, _d: int) -> None:
        """A wave is canceled that some run."""
        self._install(which, parity, 0, 0)
        self._cancel(which, 0, 0, 0)

    def _leave(self, which: int, number: int, _c: int, _d: int) -> None:
        """A held device runs something else; each fourth time, and then what it was held on again, in one import."""
        held = sorted(uuid for uuid, d in self.model.devices.items() if d.present and self.model.held(uuid))
        if not held:
            return
        uuid = held[which % len(held)]
        names = [f"{HARDWARE[int(uuid[-1]) % 2]}-lmp-{NUMBERS[number % len(NUMBERS)]}"]
        names += [str(self.model.devices[uuid].target)] if number % 4 == 0 else []
        for name in names:
            self.model.report(uuid, name, self.factory.now, self.factory.now)
        reports = [(uuid, name, self.factory.now) for name in names]
        self._try(f"report {reports}", None, lambda: self.factory.report(*reports))

    def _sighting(self, which: int, ago: int, _c: int, _d: int) -> None:
        self._reported(UUIDS[which % len(UUIDS)], None, self.factory.now - ago % 6 * HOUR)

    def _late(self, which: int, number: int, ago: int, _d: int) -> None:
        uuid = UUIDS[which % len(UUIDS)]
        version = NUMBERS[number % len(NUMBERS)]
        seen_at = self.factory.now + (ago % 5 - 3) * HOUR  # some in the future, which count as now
        self._reported(uuid, f"{HARDWARE[int(uuid[-1]) % 2]}-lmp-{version}", seen_at)

    def _reported(self, uuid: str, name: str | None, seen_at: int) -> None:
        self.model.report(uuid, name, seen_at, self.factory.now)
        self._try(f"report {uuid} {name} {seen_at}", None, lambda: self.factory.report((uuid, name, seen_at)))

    # Waves.

    def _init(self, number: int, tag: int, prune: int, name: int) -> None:
        where = TAGS[tag % len(TAGS)]
        highest = self.model.highest.get(where, 0)
        # Mostly one of the next numbers that may be waved; now and then one that may not.
        buildable = [n for n in sorted({v for v, *_ in self.model.ci.values()}) if n > highest]
        version = (
            buildable[number % min(5, len(buildable))] if buildable and number % 7 else NUMBERS[number % len(NUMBERS)]
        )
        in_production = sorted({n for n, _ in self.model.production.get(where, {}).values()})
        pruned = (in_production[0],) if in_production and prune % 3 == 0 else (99,) if prune % 11 == 10 else ()
        called = f"w{len(self.model.waves) + (0 if name % 9 else -1)}"
        expected = self.model.init(called, version, where, pruned, 0)
        self._try(
            f"init {called} {version} {where} prune {pruned}",
            expected,
            lambda: self.factory.init(called, version, where, prune=pruned, days=1000 + name % 300),
        )

    def _wave(self, which: int) -> str:
        active = [name for name, wave in self.model.waves.items() if wave.status == "active"]
        every = [*self.model.waves, "no-such-wave"]
        return active[which % len(active)] if active and which % 9 else every[which % len(every)]

    def _sign(self, which: int, holder: int, _c: int, _d: int) -> None:
        name, who = self._wave(which), 1 if holder % 4 and self.factory.holders > 1 else 0
        self._try(f"sign {name} {who}", self.model.sign(name, who), lambda: self.factory.sign(name, who))

    def _group(self, which: int, group: int, _c: int, _d: int) -> None:
        name, called = self._wave(which), GROUPS[group % len(GROUPS)]
        expected = self.model.rollout_group(name, called)
        self._try(f"rollout {name} group {called}", expected, lambda: self.factory.rollout(name, group=called))

    def _limit(self, which: int, amount: int, group: int, _d: int) -> None:
        named = GROUPS[group % 3] if group % 4 == 0 else None
        self._rollout(self._wave(which), named, None, (1 + amount % 6, False))

    def _percent(self, which: int, amount: int, group: int, _d: int) -> None:
        named = GROUPS[group % 3] if group % 4 == 0 else None
        self._rollout(self._wave(which), named, None, (1 + amount % 100, True))

    def _uuids(self, which: int, first: int, count: int, _d: int) -> None:
        name = self._wave(which)
        self._rollout(name, None, self._listed(name, first, count), None)

    def _some_of(self, which: int, first: int, count: int, amount: int) -> None:
        name = self._wave(which)
        self._rollout(name, None, self._listed(name, first, count), (1 + amount % 3, False))

    def _listed(self, name: str, first: int, count: int) -> tuple[str, ...]:
        """Mostly devices that may be reached; each fourth time anything."""
        wave = self.model.waves.get(name)
        fitting = [
            u for u, d in self.model.devices.items() if wave and d.present and d.production and d.tag == wave.tag
        ]
        among = fitting if fitting and first % 4 else list(UUIDS)
        listed = tuple(among[(first + i) % len(among)] for i in range(1 + count % 4))
        return (*listed, listed[0])  # twice: duplicates collapse

    def _rollout(
        self, name: str, group: str | None, uuids: tuple[str, ...] | None, limit: tuple[int, bool] | None
    ) -> None:
        allowed = self.model.may_choose(name, group, uuids, limit, self.factory.now)
        text = f"{limit[0]}{'%' if limit[1] else ''}" if limit else None
        came = self._try(
            f"rollout {name} {group} {uuids} {text}",
            None if isinstance(allowed, Allowed) else allowed,
            lambda: self.factory.rollout(name, group=group, limit=text, uuids=uuids),
        )
        if isinstance(allowed, Allowed):
            assert allowed.fits(came.uuids), (allowed, came.uuids, self.done)
            assert (came.event.devices, came.event.skipped, came.matching) == (
                allowed.size,
                allowed.skipped,
                allowed.matching,
            )
            self.model.rolled_out(name, group, came.uuids)

    def _complete(self, which: int, _b: int, _c: int, _d: int) -> None:
        name = self._wave(which)
        self._try(f"complete {name}", self.model.complete(name), lambda: self.factory.complete(name))

    def _cancel(self, which: int, _b: int, _c: int, _d: int) -> None:
        name = self._wave(which)
        self._try(f"cancel {name}", self.model.cancel(name), lambda: self.factory.cancel(name))

    def _publish(self, _a: int, _b: int, _c: int, _d: int) -> None:
        self.factory.publish(Directory(self.factory.path.parent / "tree"))
        self.model.publish()
        self.done.append("publish")

    def _wait(self, minutes: int, _b: int, _c: int, _d: int) -> None:
        self.factory.wait(60 * (1 + minutes % 240))

    def _wait_long(self, days: int, _b: int, _c: int, _d: int) -> None:
        self.factory.wait(DAY * (1 + days % 3))
