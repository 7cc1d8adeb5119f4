"""The model check: a random history, real clients that refresh all along, and what must hold for each refresh.

* No client ever refuses what it is served, but for metadata that is past its expiry: that must be refused.
* No version that a client trusts ever goes down: root, timestamp, snapshot, targets.
* A refresh in a quiet moment finds exactly the targets that `devices show` announces, at the newest versions.
* Who ran a canceled target is never offered less; who did not is never offered it.
"""

from __future__ import annotations

import re
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from projections.queries.devices import DeviceRow, content
from tests.modelcheck.clients import ClientRefused, Trusted, TufClient, scratch
from tests.modelcheck.keysteps import KeyWorld
from tests.modelcheck.server import WebServer
from tests.modelcheck.steps import Step, without, without_kinds
from tests.modelcheck.world import Device, PublisherFailed, World

_EXPIRES = re.compile(rb'"expires":"([^"]+)"')
LOG_LINES, STEPS_TOLD = 150, 15
ROLES = ("root", "timestamp", "snapshot", "targets")


class Problem(NamedTuple):
    """Something that must not be. `kind` is one word, for counting and for comparing histories."""

    kind: str
    text: str


class Route(NamedTuple):
    """Where a client was sent last: a view, its repository, and how many waves had been canceled by then."""

    view: str
    repository: str
    canceled: frozenset[str]


@dataclass
class Seat:
    """One client of one device: its routes, and the versions that it trusts, by repository."""

    client: TufClient
    home: Path
    last: Route | None = None
    versions: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    roots: dict[str, bytes] = field(default_factory=dict)
    expired: bool = False


@dataclass
class Counts:
    """What happened, over any number of histories."""

    refreshes: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    moves_busy: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def moved(self, kind: str) -> int:
        """How often there was a move of a kind, or of any kind that ends so."""
        return sum(n for name, n in self.moves.items() if name == kind or name.endswith(f", {kind}"))

    def add(self, other: Counts) -> None:
        """Add what happened in another history."""
        for name in ("refreshes", "actions", "moves", "moves_busy", "problems"):
            getattr(self, name).update(getattr(other, name))


MOVES = (
    "production -> wave", "wave -> production (complete)", "wave -> production (canceled)", "wave -> wave",
    "wave -> held", "held -> wave", "held -> production (complete)", "held -> production (report)",
    "production -> ci", "wave -> ci", "held -> ci", "ci -> production", "ci -> wave", "ci -> held",
    "another tag",
)  # fmt: skip
"""The kinds of moves that a long run must have seen often."""


class Failed(AssertionError):
    """A history with problems, as small as it could be made, and how to have it again."""


@dataclass
class _Watch:
    """What was served in one refresh, and which timestamps its view showed meanwhile."""

    view: str
    now: int
    inside: list[tuple[int, Step]]
    requests: int = 0
    acted: int = 0
    began_expired: bool = False
    expired: list[str] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)


@dataclass
class Check:
    """One history and its clients."""

    world: World
    server: WebServer
    clients: Sequence[TufClient]
    stop: frozenset[str] | None = None
    counts: Counts = field(default_factory=Counts)
    problems: list[Problem] = field(default_factory=list)
    seats: dict[tuple[str, str], Seat] = field(default_factory=dict)
    carried_out: int = 0

    def __post_init__(self) -> None:
        self.server.root = self.world.tree.root
        for device in self.world.devices:
            for client in self.clients:
                home = self.world.directory / "clients" / client.name / device
                self.seats[device, client.name] = Seat(client, home)

    def run(self, steps: Iterable[Step]) -> None:
        """Carry out a history, up to the first problem, or to the first of a kind in `stop`."""
        for step in steps:
            self.carried_out += 1
            try:
                if step.action == "poll":
                    self._poll(step)
                else:
                    self.world.act(step)
            except PublisherFailed as problem:
                self._problem("publisher", str(problem))
            except Exception as problem:  # noqa: BLE001  rules may refuse (World.act); nothing else may happen
                self._problem("action", f"{type(problem).__name__}: {problem}\n{traceback.format_exc(limit=-3)}")
            if self._over:
                break
        self.counts.actions.update(self.world.done)

    @property
    def _over(self) -> bool:
        return any(self.stop is None or problem.kind in self.stop for problem in self.problems)

    def _problem(self, kind: str, text: str) -> None:
        self.problems.append(Problem(kind, text))
        self.counts.problems[kind] += 1
        self.world.log.append(f"!! {kind}: {text}")

    # One refresh of one client of one device.

    def _poll(self, step: Step) -> None:
        device = self._who(step)
        if device is None:
            return
        names = [client.name for client in self.clients]
        first = step.numbers[1] % len(names)
        for name in names[first:] + names[:first]:
            self._refresh(device, self.seats[device.uuid, name], list(step.inside))
            step = step._replace(inside=())  # what happened happened; the other client meets a quiet moment
            if self.server.broken or self._over or not device.present:
                break
        broken, self.server.broken = self.server.broken, None
        if broken:
            raise broken

    def _who(self, step: Step) -> Device | None:
        """Mostly one of those that were decided to see another view than they saw last, if there are any."""
        found = list(self.world.devices.values())
        if step.numbers[2] % 4:
            fleet = self.world.factory.fleet()
            last = {device: seat.last.view for (device, _), seat in self.seats.items() if seat.last}
            shown = {uuid: row.view for uuid, row in fleet.items() if row.view and row.published}
            moving = [made for made in found if made.uuid in shown and shown[made.uuid] != last.get(made.uuid)]
            found = moving or found
        device = found[step.numbers[0] % len(found)]
        return device if device.present else None

    def _refresh(self, device: Device, seat: Seat, inside: list[tuple[int, Step]]) -> None:
        row = self.world.factory.shown(device.uuid)
        route = self._route(row, seat)
        if route is None:
            self.counts.refreshes["no view yet"] += 1
            return
        if not row.published and str(row.view).startswith("held/") and route.view.startswith("production/"):
            inside = []  # a cancel that is published meanwhile: what World._cancel says is not promised
        watch = _Watch(route.view, self.world.factory.now, inside)
        self._look(watch)
        timestamp = self.server.read(f"{route.view}/timestamp.json")
        watch.began_expired = timestamp is not None and self._is_expired(timestamp, watch.now)
        self.server.before, self.server.served = lambda path: self._before(watch), lambda *a: self._served(watch, *a)
        self.world.polling, self.world.polling_view = device.uuid, route.view
        told = f"{device.uuid} {seat.client.name} refreshes {route.view}"
        self.world.log.append(told)
        place = len(self.world.log) - 1
        try:
            trusted = self._ask(seat, route)
        except ClientRefused as refused:
            self._refused(seat, watch, f"{told}: {refused}")
        else:
            self.world.log[place] += f" -> {trusted.versions}"
            self._accepted(device, seat, route, watch, trusted, row)
        finally:
            self.server.before, self.server.served = lambda path: None, lambda *a: None
            self.world.polling = self.world.polling_view = None

    def _route(self, row: DeviceRow, seat: Seat) -> Route | None:
        """What a gateway does: by the decision once it is published, till then where it was; without a view nothing."""
        if row.view is None:
            return None
        if not row.published:
            known = seat.last and self.world.tree.exists(f"{seat.last.view}/timestamp.json")
            return seat.last if known else None
        canceled = frozenset(wave.name for wave in self.world.waves.values() if wave.status == "canceled")
        return Route(row.view, f"{'production' if row.production else 'ci'}/{row.tag}", canceled)

    def _ask(self, seat: Seat, route: Route) -> Trusted:
        if route.repository not in seat.roots:
            seat.roots[route.repository] = self._embedded_root(seat, route)
        directory = seat.home / route.repository.replace("/", "-")
        directory.parent.mkdir(parents=True, exist_ok=True)
        url = f"{self.server.url}/{route.view}/"
        return seat.client.refresh(directory, url, seat.roots[route.repository], self.world.factory.now)

    def _embedded_root(self, seat: Seat, route: Route) -> bytes:
        """Root version 1; every third device was made later, and has the newest of that time."""
        late = sum(seat.home.name.encode()) % 3 == 0
        root = self.world.tree.read(f"{route.view}/{self._newest_root(route.view) if late else 1}.root.json")
        assert root is not None
        return root

    def _newest_root(self, view: str) -> int:
        names = (self.world.tree.root / view).glob("*.root.json")
        return max(int(path.name.partition(".")[0]) for path in names)

    def _before(self, watch: _Watch) -> None:
        """Before each request: what was drawn for this moment happens."""
        while watch.inside and watch.inside[0][0] <= watch.requests:
            _, step = watch.inside.pop(0)
            before = self.world.factory.head()
            self.world.act(step)
            watch.acted += self.world.factory.head() != before  # also by a step that was refused half-way
            self._look(watch)
        watch.requests += 1

    def _look(self, watch: _Watch) -> None:
        timestamp = self.server.read(f"{watch.view}/timestamp.json")
        if timestamp is not None:
            watch.shown.add(orjson.loads(timestamp)["signed"]["version"])

    def _served(self, watch: _Watch, path: str, data: bytes) -> None:
        if not path.endswith(".root.json") and self._is_expired(
            data, watch.now
        ):  # older roots may be (TUF 1.0 §5.3.10)
            watch.expired.append(path)

    @staticmethod
    def _is_expired(data: bytes, now: int) -> bool:
        expires = _EXPIRES.search(data)
        return expires is not None and datetime.fromisoformat(expires[1].decode()).timestamp() <= now

    # What must hold.

    def _refused(self, seat: Seat, watch: _Watch, told: str) -> None:
        # A view that nobody refreshed for so long that it was removed meanwhile could not have been accepted anyway.
        gone = watch.began_expired and not self.world.tree.exists(f"{watch.view}/timestamp.json")
        if gone or (watch.expired and "expired" in told):
            self.counts.refreshes["expired, refused as they should"] += 1
            seat.expired = True
            self.world.log.append(f"   refused, as it should: {watch.expired or watch.view} is expired")
            return
        self.counts.refreshes[f"{seat.client.name}, failed"] += 1
        self._problem("refused", f"{told} (acted {watch.acted} times meanwhile)")

    def _accepted(
        self, device: Device, seat: Seat, route: Route, watch: _Watch, trusted: Trusted, row: DeviceRow
    ) -> None:
        before = seat.versions.get(route.repository, (0, 0, 0, 0))
        seat.versions[route.repository] = trusted.versions
        for role, old, new in zip(ROLES, before, trusted.versions, strict=True):
            if new < old:
                self._problem("version", f"{device.uuid} {seat.client.name} {route.view}: {role} went {old} -> {new}")
        if watch.expired:
            self._problem("expired", f"{device.uuid} {seat.client.name} took {watch.expired}, which is expired")
        if trusted.versions[1] not in watch.shown:
            stale = f"timestamp {trusted.versions[1]}, and {route.view} showed {sorted(watch.shown)}"
            self._problem("stale", f"{device.uuid} {seat.client.name}: {stale}")
        if seat.expired:
            self.counts.refreshes["healed after expiry"] += 1
            seat.expired = False
        self._count(device, seat, route, busy=watch.acted > 0)
        if watch.acted == 0:
            self._quiet(device, seat, route, trusted, row)
        fitting = sorted(self.world.fits(device.uuid, trusted.targets), key=self.world.number_of.__getitem__)
        device.offered, device.view = fitting[-1] if fitting else None, route.view
        self._held(device, route, frozenset(trusted.targets), row, quiet=watch.acted == 0)
        seat.last = route

    def _quiet(self, device: Device, seat: Seat, route: Route, trusted: Trusted, row: DeviceRow) -> None:
        who = f"{device.uuid} {seat.client.name} {route.view}"
        if trusted.versions[0] != self._newest_root(route.view):
            self._problem("root", f"{who}: root {trusted.versions[0]} is not the newest")
        if row.view is None or not row.published:
            self.counts.refreshes["decision not yet published"] += 1
            return
        self.counts.refreshes["compared with devices show"] += 1
        found = {name for name, hardware in trusted.targets.items() if row.hardware_id in hardware}
        if found != set(row.targets):
            self._problem("content", f"{who}: found {sorted(found)}, devices show says {row.targets}")
        with self.world.factory.ledger.reading() as connection:
            whole = content(connection, route.view)
        assert whole is not None
        if set(trusted.targets) != {name for _, _, name in whole.targets}:
            self._problem("content", f"{who}: found {sorted(trusted.targets)}, the view has {sorted(whole.targets)}")

    def _held(
        self, device: Device, route: Route, offered: frozenset[str], row: DeviceRow, *, quiet: bool
    ) -> None:  # fmt: skip
        """The promise about canceled targets, from the model's own books.

        It ends when a wave of that number or above reaches the device: even one that has nothing for its hardware.
        """
        if not quiet or not row.production or not row.published or row.view is None:
            return
        known = self.world.production.get(device.tag, frozenset())
        extra = offered - known
        wave = self.world.waves.get(route.view.partition("/")[2]) if not route.view.startswith("production/") else None
        runs_it = wave is not None and device.target in wave.new
        if extra and not (wave and extra <= wave.content and (wave.status == "active" or runs_it)):
            self._problem("offered", f"{device.uuid} on {device.target} is offered {sorted(extra)} by {route.view}")
        if device.holds and self.world.highest.get(device.holds.tag, 0) >= device.holds.number:
            device.holds = None
        over = wave is not None and wave.status == "active" and device.holds and wave.number >= device.holds.number
        if device.holds and device.holds.tag == device.tag and not over:
            self.counts.refreshes["held to a canceled target"] += 1
            numbers = [self.world.number_of[name] for name in self.world.fits(device.uuid, offered)]
            if max(numbers, default=0) < device.holds.number:
                self._problem("less", f"{device.uuid} runs {device.target}, and {route.view} offers {sorted(offered)}")

    # Counting moves.

    def _count(self, device: Device, seat: Seat, route: Route, *, busy: bool) -> None:
        self.counts.refreshes[seat.client.name] += 1
        self.counts.refreshes[f"{seat.client.name}, ledger changed meanwhile"] += busy
        if seat.last is None or seat.last.view == route.view:
            return
        kind = self._move(seat.last, route)
        self.counts.moves[kind] += 1
        self.counts.moves_busy[kind] += busy
        held = route.view.partition("/")[2] if route.view.startswith("held/") else None
        if kind == "production -> held" and held in seat.last.canceled:
            self._problem("move", f"{device.uuid} {seat.client.name} went {seat.last.view} -> {route.view}")

    def _move(self, old: Route, new: Route) -> str:
        was, now = old.view.partition("/")[0], new.view.partition("/")[0]
        if old.repository != new.repository and "ci" not in {was, now}:
            return f"{was} -> {now}, another tag"
        if old.repository != new.repository or now != "production":
            return f"{was} -> {now}"
        if was == "wave":
            return f"wave -> production ({self.world.waves[old.view.partition('/')[2]].status})"
        above = self.world.highest.get(new.repository.partition("/")[2], 0)
        number = self.world.waves[old.view.partition("/")[2]].number
        return f"held -> production ({'complete' if above >= number else 'report'})"


Mutant = Callable[["Check"], AbstractContextManager[None]]
"""A deliberate fault, for as long as a check runs."""


def run(
    steps: Sequence[Step], seed: int, server: WebServer, clients: Sequence[TufClient], *,
    mutant: Mutant | None = None, stop: frozenset[str] | None = None,
) -> Check:  # fmt: skip
    """Carry out one history in a directory of its own, up to the first problem, or to the first of a kind in `stop`."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch(), prefix="waveledger-check-")))
        world = KeyWorld(directory, seed, established=mutant is not None or seed // 3 % 3 > 0)
        stack.callback(world.close)
        check = Check(world, server, clients, stop)
        if mutant:
            stack.enter_context(mutant(check))
        world.start()
        check.run(steps)
        return check


def explain(
    check: Check, steps: Sequence[Step], seed: int, server: WebServer, clients: Sequence[TufClient], seconds: int = 60
) -> Failed:
    """The failure of a history, made smaller as long as the same kind of problem comes and time lasts."""
    smallest, left = _shrunk(check, list(steps), seed, server, clients, time.monotonic() + seconds)
    log = smallest.world.log
    told = "\n".join(log if len(log) <= LOG_LINES else [f"... {len(log) - LOG_LINES} lines", *log[-LOG_LINES:]])
    again = f"\n\nsteps = {left}" if len(left) <= STEPS_TOLD else ""
    first = smallest.problems[0]
    return Failed(f"{first.kind}: {first.text}\n\nseed {seed}, {len(left)} of {len(steps)} steps:\n{told}{again}")


def _shrunk(
    check: Check, steps: list[Step], seed: int, server: WebServer, clients: Sequence[TufClient], until: float
) -> tuple[Check, list[Step]]:
    kind, smallest = check.problems[0].kind, check
    steps = steps[: check.carried_out]
    size: int | None = None  # first whole kinds of steps, then pieces of halving sizes, at last what is inside polls
    while time.monotonic() < until:
        for smaller in without_kinds(steps) if size is None else without(steps, size):
            again = run(smaller, seed, server, clients)
            if again.problems and again.problems[0].kind == kind:
                steps, smallest = smaller[: again.carried_out], again
                break
            if time.monotonic() > until:
                break
        else:
            if size == 0:
                break
            size = len(steps) // 2 if size is None else size // 2
    return smallest, steps
