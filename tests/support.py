"""A small factory to test with: a ledger in a file, all keys in memory, a clock that stands still until it is moved.

Everything goes through the use cases of `ledger.application`, as the commands do, but without the command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from tuf.api.metadata import Root
from tuf.ngclient import Updater

from ledger.application import devices, keys, resign, rootchange, rootupdates, targets, waves
from ledger.application.factory import FactoryKeys, initialize, make_keys
from ledger.domain.catalog import Prune
from ledger.domain.fleet import Device
from ledger.domain.initiation import WaveRequest
from ledger.domain.rollout import parse_limit
from ledger.domain.values import Target, from_epoch, read_target
from ledger.session import Ledger, Session
from ledger.store import engine as store
from ledger.store import events, migrate
from ledger.tuf.keypair import KeyPair, generate
from ledger.tuf.online import OnlineKeys
from projections import runner
from projections.compare import Difference
from projections.facts import Facts
from projections.queries.devices import DeviceRow, page, show
from projections.tables import all_tables
from projections.tuf import emitter
from projections.tuf.destination import Destination
from projections.tuf.verify import DestinationFetcher
from tests import stores

START = 1_800_000_000  # 2027-01-15T08:00:00Z
HOUR, DAY = 3600, 86_400
HARDWARE = ("arm64", "amd64")
LIFETIME_SECONDS = 3650 * DAY  # the test factory's roots outlive every story


@lru_cache
def factory_keys(holders: int = 1, threshold: int = 2) -> FactoryKeys:
    """The keys of a factory, made once a run."""
    return make_keys(["ed25519"] * holders, threshold)


def online_keys(keys: FactoryKeys) -> OnlineKeys:
    """The online half of a factory's keys."""
    return OnlineKeys([*keys.online.values(), keys.ledger], "memory")


def target(
    number: int, hardware_id: str = "arm64", tags: Iterable[str] = ("main",), *, name: str | None = None, **custom: Any
) -> Target:
    """A CI target, whose content follows from its name."""
    called = name or f"{hardware_id}-lmp-{number}"
    fields = {"hardwareIds": [hardware_id], "tags": list(tags), "version": str(number), **custom}
    digest = hashlib.sha256(called.encode()).hexdigest()
    return read_target(called, {"custom": fields, "hashes": {"sha256": digest}, "length": 100 + number})


def device(
    uuid: str,
    tag: str = "release",
    group: str | None = None,
    hardware_id: str = "arm64",
    *,
    production: bool = True,
    name: str | None = None,
) -> Device:
    """A device, of production if not said otherwise."""
    return Device(uuid, name or f"name-{uuid}", hardware_id, tag, group, production)


class Factory:
    """A factory with its ledger. The clock is `now`; set it or `wait`."""

    def __init__(self, path: Path, holders: int = 1, threshold: int = 2, now: int = START) -> None:
        self.path = path
        self.now = now
        self.actor = "alice"
        self.facts = Facts()
        self.holders, self.threshold = holders, threshold
        self.keys = factory_keys(holders, threshold)
        self.online = online_keys(self.keys)
        self.root_pairs = [self.keys.root] if self.keys.root else []  # as they are now; those of targets are in `keys`
        self.replaced: list[KeyPair] = []  # online keys that are still at hand
        self._engines: dict[str, Engine] = {}
        if not path.exists():
            self._create()

    def _create(self) -> None:
        with store.opened(stores.url(self.path), must_exist=False) as engine, store.writing(engine) as connection:
            migrate.create(connection, *all_tables())
            runner.install(connection)
            session = Session(connection, self.actor, self.now, [runner.Projector()])
            expires = from_epoch(self.now) + timedelta(seconds=LIFETIME_SECONDS)
            initialize(session, "acme", self.keys, self.threshold, expires)

    @property
    def url(self) -> str:
        """The store's URL, for whoever acts."""
        return stores.url(self.path, self.actor)

    @property
    def engine(self) -> Engine:
        """The store, opened by whoever acts: on PostgreSQL each has an own login."""
        if self.actor not in self._engines:
            self._engines[self.actor] = store.open_engine(self.url)
        return self._engines[self.actor]

    def close(self) -> None:
        """Let go of the store."""
        for engine in self._engines.values():
            engine.dispose()

    def copy(self, path: Path) -> Factory:
        """The same factory on a copy of its ledger."""
        self.close()
        stores.copy(self.path, path)
        other = Factory(path, self.holders, self.threshold)
        other.now, other.threshold, other.holders = self.now, self.threshold, self.holders
        other.keys, other.online = self.keys, self.online
        other.root_pairs, other.replaced = list(self.root_pairs), list(self.replaced)
        return other

    @property
    def ledger(self) -> Ledger:
        """The ledger as a command opens it, at this moment."""
        return Ledger(self.engine, [runner.Projector()], self.actor, self.now)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds

    # What people and CI do.

    def build(self, *numbers: int, hardware: Sequence[str] = HARDWARE, tags: Iterable[str] = ("main",)) -> None:
        """CI builds these numbers for all hardware."""
        self.import_targets([target(n, hardware_id, tags) for n in numbers for hardware_id in hardware])

    def import_targets(self, made: Sequence[Target]) -> None:
        """Import CI targets."""
        targets.import_targets(self.ledger, self.facts, made, "ci.json")

    def prune(self, *names: str, tags: Sequence[str] = (), keep: int = 0) -> Prune:
        """Prune CI targets by name or by tags."""
        if tags:
            return targets.prune_tagged(self.ledger, self.facts, tags, keep)
        return targets.prune_named(self.ledger, self.facts, names)

    def register(self, *made: Device) -> devices.Imported:
        """Import devices."""
        return devices.import_devices(self.ledger, self.facts, made)

    def set(self, uuids: Sequence[str], **setting: Any) -> None:
        """Change tag or group."""
        devices.set_devices(self.ledger, self.facts, uuids, devices.Setting(**setting))

    def remove(self, *uuids: str) -> None:
        """Remove devices."""
        devices.remove_devices(self.ledger, self.facts, uuids)

    def report(self, *reports: tuple[str, str | None, int | None]) -> devices.Reported:
        """Take in reports: uuid, target, seen at."""
        return devices.report(self.ledger, self.facts, reports)

    def init(
        self, wave: str, number: int, tag: str = "release", *, prune: tuple[int, ...] = (), days: int = 365,
        holder: int = 0, source_tag: str | None = None,
    ) -> waves.Prepared:  # fmt: skip
        """Prepare a wave."""
        expires = from_epoch(self.now) + timedelta(days=days)
        request = WaveRequest(wave, number, tag, expires, prune, source_tag)
        return waves.init(self.ledger, self.facts, request, lambda _root, _online: self.keys.targets[holder])

    def sign(self, wave: str, holder: int = 1) -> None:
        """Add another holder's signature."""
        waves.sign(self.ledger, self.facts, wave, lambda _root, _online: self.keys.targets[holder])

    def rollout(
        self, wave: str, *, group: str | None = None, limit: str | None = None, uuids: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> waves.RolledOut:  # fmt: skip
        """Deliver a wave to some."""
        request = waves.RolloutRequest(
            wave, group, parse_limit(limit) if limit else None, tuple(uuids) if uuids is not None else None
        )
        return waves.roll_out(self.ledger, self.facts, self.facts, request, dry_run=dry_run)

    def complete(self, wave: str) -> None:
        """Make a wave production."""
        waves.complete(self.ledger, self.facts, wave)

    def cancel(self, wave: str) -> None:
        """End a wave."""
        waves.cancel(self.ledger, self.facts, wave, None)

    # What holders do with keys. `root_expires` makes each root outlive the one before it.

    def root_expires(self) -> datetime:
        """When the next root expires."""
        with self.ledger.reading() as connection:
            version = self.facts.trusted(connection, "production").version
        return from_epoch(self.now + LIFETIME_SECONDS + version * HOUR)

    def resign(
        self, name: str, *, days: int | None = None, above: resign.Versions | None = None, holders: int | None = None
    ) -> list[resign.SignedAnew]:
        """Sign live documents anew; without days under the expiry that they have."""
        expires = None if days is None else from_epoch(self.now) + timedelta(days=days)
        signers = self.keys.targets[: self.threshold - 1 if holders is None else holders]
        request = resign.ResignRequest(name, expires, above)
        return resign.resign(self.ledger, self.facts, request, lambda _root, _online: signers)

    def renew_root(self) -> rootchange.Changed:
        """A later expiry."""
        return keys.renew_root(self.ledger, self.facts, self.root_expires(), self.root_pairs)

    def rotate_offline(self, role: str, place: int = 0, *, with_old: bool = True) -> rootchange.Changed:
        """A new root or targets key; the targets key that goes signs along, if it is not lost."""
        pairs = self.root_pairs if role == "root" else list(self.keys.targets)
        old, new = pairs[place], generate("ed25519")
        signers = [pair for pair in self.keys.targets if with_old or pair is not old]
        rotation = keys.OfflineRotation(role, old.keyid, new, self.root_expires(), self.root_pairs, signers)
        changed = keys.rotate_offline_key(self.ledger, self.facts, rotation)
        pairs[place] = new
        if role == "targets":
            self.hold(pairs)
        return changed

    def rotate_online(self, role: str, *, keep: bool = True) -> rootchange.Changed:
        """A new online key of production; the old one stays at hand, if it is not lost."""
        old, new = self.keys.online[f"production.{role}"], generate("ed25519")
        rotation = keys.OnlineRotation(
            role, new, self.root_expires(), self.root_pairs, self.keys.targets, old if keep else None
        )
        changed = keys.rotate_online_key(self.ledger, self.facts, rotation)
        self._go_online(f"production.{role}", new, keep=keep)
        return changed

    def rotate_ci(self, role: str, *, keep: bool = True) -> None:
        """A new key of the CI root."""
        new = generate("ed25519")
        keys.rotate_ci_key(self.ledger, self.facts, role, new, self.online, self.root_expires())
        self._go_online(f"ci.{role}", new, keep=keep)

    def updates(
        self, *edits: Callable[[Root], None], root: Sequence[KeyPair] = (), targets: Sequence[KeyPair] = ()
    ) -> rootchange.Changed:
        """A change by several holders, each of whom signs alone; those that were given, too."""
        rootupdates.begin(self.ledger, self.facts, self.root_expires())
        for edit in edits:
            rootupdates.edit(self.ledger, self.facts, edit)
        for pair in (*self.root_pairs, *root):
            rootupdates.sign(self.ledger, self.facts, rootupdates.find_among([pair], "memory"))
        with self.ledger.reading() as connection:
            wanted = any(one.need for one in rootupdates.review(connection, self.facts, self.now).documents)
        for pair in (*self.keys.targets, *targets) if wanted else ():
            rootupdates.sign_targets(self.ledger, self.facts, rootupdates.find_among([pair], "memory"))
        return rootupdates.apply(self.ledger, self.facts)

    def hold(self, pairs: Sequence[KeyPair], threshold: int | None = None) -> None:
        """From now on these are the holders' targets keys."""
        self.keys = replace(self.keys, targets=tuple(pairs))
        self.holders, self.threshold = len(pairs), threshold or self.threshold

    def _go_online(self, name: str, new: KeyPair, *, keep: bool) -> None:
        self.replaced += [self.keys.online[name]] if keep else []
        self.keys = replace(self.keys, online={**self.keys.online, name: new})
        self.online = OnlineKeys([*self.keys.online.values(), *self.replaced, self.keys.ledger], "memory")

    def publish(
        self, destination: Destination, *, refresh: bool = False, force: bool = False, keys: bool = True
    ) -> emitter.Emitted:
        """Publish; without keys only what was signed before."""
        online = self.online if keys else None
        return emitter.emit(self.ledger, online, destination, refresh=refresh, force=force)

    # What can be seen.

    def head(self) -> tuple[int, bytes]:
        """The ledger's size and Merkle root."""
        with self.ledger.reading() as connection:
            return events.head(connection)[:2]

    def shown(self, uuid: str) -> DeviceRow:
        """A device as `devices show` has it."""
        with self.ledger.reading() as connection:
            return show(connection, uuid)[0]

    def fleet(self) -> dict[str, DeviceRow]:
        """All devices by uuid."""
        with self.ledger.reading() as connection:
            return {row.uuid: row for row in page(connection, limit=10_000).devices}

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every projection, in a fixed order."""
        with self.ledger.reading() as connection:
            tables = [table for fold in runner.folds() for table in fold.tables(0).tables]
            return {
                table: sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {table}")), key=repr)
                for table in tables
            }

    def differences(self) -> list[Difference]:
        """What `projections verify` finds."""
        return [found for fold in runner.folds() for found in runner.verify(self.engine, fold.name)]


class Client:
    """A device's own TUF client: python-tuf's, with a metadata directory for each repository it ever met."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: dict[str, tuple[int, int]] = {}

    def poll(self, destination: Destination, view: str, repository: str, now: int) -> tuple[str, ...]:
        """Refresh from a view and return the targets found. Raises: what the client raises."""
        metadata = self.directory / repository
        bootstrap = None
        if not metadata.exists():
            metadata.mkdir(parents=True)
            bootstrap = destination.read(f"{view}/1.root.json")
            assert bootstrap is not None
        updater = Updater(
            metadata_dir=str(metadata),
            metadata_base_url=f"tree:///{view}/",
            fetcher=DestinationFetcher(destination),
            bootstrap=bootstrap,
        )
        trusted = updater._trusted_set
        trusted.reference_time = from_epoch(now)
        updater.refresh()
        self.seen[repository] = (trusted.timestamp.version, trusted.targets.version)
        return tuple(sorted(trusted.targets.targets))


def files(root: Path) -> dict[str, bytes]:
    """All files below a directory, hidden ones too, with their bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
