"""Publishing one wave action, and refreshing many tags, against the bare cost of what has to be done for it.

Rules of this module:

* The bare side does what no publisher can leave out: it signs the same bytes with the same keys, makes the same bytes
  durable in the same steps (temporary file, fsync, rename, link; each directory synced once a step), and commits the
  same payloads to an SQLite database of the same settings in as many transactions. It reads, decides, checks nothing.
* The client that checks each publication is timed apart.
* The CPU of a refresh is compared with python-tuf's objects: root, targets, snapshot and timestamp are parsed, the two
  are changed, signed, verified, serialized and written, each file synced, as `Metadata.to_file` does it.
  They keep no history.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from factory import Made, Wave, hurrying, init_wave, new_ledger, roll_out_wave, run_wave
from measure import Entry, Sizes, say
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from ledger.application import waves
from ledger.domain.values import from_epoch
from ledger.session import Ledger
from ledger.store import events
from ledger.store.engine import journal_mode_for
from ledger.store.engine import reading as reading_store
from ledger.tuf import documents
from ledger.tuf.keypair import KeyPair
from projections.facts import Facts
from projections.tuf import emitter, verify
from projections.tuf.destination import Directory
from projections.tuf.state import TIMESTAMP_SECONDS

TAG = "release"
ACTION_BAR, FSYNC_BAR, CPU_BAR = 2.0, 1.5, 1.5
_NAMES = {"rollout": "publish_action", "complete": "publish_action_complete", "cancel": "publish_action_cancel"}
HALF_LIFE = TIMESTAMP_SECONDS // 2


class Cost(NamedTuple):
    """What a publication took, in seconds: without the check, of these on the CPU, and the check alone."""

    wall: float
    cpu: float
    check: float


def measure(directory: Path, sizes: Sizes) -> Sequence[Entry]:
    """Both."""
    return [*_actions(directory, sizes), *_refreshes(directory, sizes)]


class Noted(Directory):
    """Remembers what was done to the disk, so that the bare side can do the same."""

    def __init__(self, root: Path) -> None:
        """Publish below `root`."""
        super().__init__(root)
        self.files: list[bytes] = []
        self.steps: list[tuple[str, str, bytes]] = []

    def replace(self, path: str, data: bytes) -> None:
        """A file."""
        super().replace(path, data)
        self.files.append(data)
        self.steps.append(("file", path, data))

    def link(self, source: str, path: str) -> None:
        """A link, if it is one more."""
        there = self.exists(path)
        super().link(source, path)
        if not there:
            self.steps.append(("link", path, source.encode()))

    def settle(self) -> None:
        """Directories."""
        self.steps += [("sync", made, b"") for made in self._unsettled]
        super().settle()


class Bare:
    """What can't be left out: signatures, files made durable, and the commits."""

    def __init__(self, directory: Path, made: Made) -> None:
        """Write below a directory, with the keys of a ledger."""
        self.top = directory
        self.pairs = made.online
        self.database = sqlite3.connect(directory / "bare.db", isolation_level=None)
        self.database.execute(f"PRAGMA journal_mode = {journal_mode_for(sqlite3.sqlite_version_info)}")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute("CREATE TABLE event (position INTEGER PRIMARY KEY, payload BLOB)")
        self.database.execute("CREATE TABLE note (name TEXT PRIMARY KEY, position INTEGER)")

    def publish(self, noted: Noted, payloads: Sequence[bytes]) -> float:
        """Do again what a publication did; seconds."""
        tree = self.top / noted.root.name
        signed = [(pair, data) for file in noted.files for pair, data in self._to_sign(file)]
        steps = [(kind, self._place(noted, kind, path), data) for kind, path, data in noted.steps]
        for kind, path, _ in steps:
            (path if kind == "sync" else path.parent).mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        for pair, data in signed:
            pair.sign(data)
        for payload in payloads:
            self._commit("INSERT INTO event (payload) VALUES (?)", payload)
        for kind, path, data in steps:
            if kind == "file":
                _make_durable(path, data)
            elif kind == "link":
                os.link(tree / data.decode(), path)
            else:
                _sync(path)
        self._commit("INSERT OR REPLACE INTO note VALUES ('written', ?)", 1)
        return time.perf_counter() - begun

    def _place(self, noted: Noted, kind: str, path: str) -> Path:
        """Where a step is done again: directories are noted by their whole paths, files by those in the tree."""
        return self.top / (Path(path).relative_to(noted.root.parent) if kind == "sync" else Path(noted.root.name, path))

    def _commit(self, statement: str, value: bytes | int) -> None:
        self.database.execute("BEGIN IMMEDIATE")
        self.database.execute(statement, (value,))
        self.database.execute("COMMIT")

    def _to_sign(self, file: bytes) -> Iterator[tuple[KeyPair, bytes]]:
        if b'"_type":"root"' in file:
            return
        signatures, signed = documents.read_file(file)
        for keyid, _ in signatures:
            if keyid in self.pairs:
                yield self.pairs[keyid], signed


def _make_durable(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


@contextmanager
def _check_apart() -> Iterator[list[float]]:
    """Adds up the seconds, and those on the CPU, that clients take to check what was published."""
    taken, check = [0.0, 0.0], verify.check_views

    def timed(*arguments: object, **options: object) -> object:
        wall, cpu = time.perf_counter(), time.process_time()
        found = check(*arguments, **options)  # type: ignore[arg-type]
        taken[0] += time.perf_counter() - wall
        taken[1] += time.process_time() - cpu
        return found

    verify.check_views = timed  # type: ignore[assignment]
    yield taken
    verify.check_views = check


def _publish(ledger: Ledger, made: Made, place: Directory, *, refresh: bool = False) -> Cost:
    with _check_apart() as check:
        wall, cpu = time.perf_counter(), time.process_time()
        came = emitter.attempt(ledger, made.keys, place, refresh=refresh, everything=refresh)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if came.problems or not came.emitted.views:
        raise RuntimeError(f"nothing was published: {came.problems}")
    return Cost(wall - check[0], cpu - check[1], check[0])


def _payloads(made: Made, after: int) -> list[bytes]:
    with reading_store(made.ledger.engine) as connection:
        return [row.payload for row in events.read(connection, after=after, topics=("metadata.published/1",))]


def _head(made: Made) -> int:
    with reading_store(made.ledger.engine) as connection:
        return events.head(connection).size


def _actions(directory: Path, sizes: Sizes) -> list[Entry]:
    """Rollout, complete and cancel. Each wave prunes the last one's targets, so production stays as large as it is."""
    place = directory / "action"
    place.mkdir()
    rounds = max(1, sizes.rounds // 4)
    ours: dict[str, list[Cost]] = {"rollout": [], "complete": [], "cancel": []}
    bare: dict[str, list[float]] = {name: [] for name in ours}
    with new_ledger(place / "l.db", [TAG], numbers=2 * rounds + 6, hardware=sizes.targets, seed=sizes.seed) as made:
        with hurrying(made.ledger.engine):
            run_wave(made, Wave("w1", 1, TAG))
        tree, number, production = Noted(place / "tree"), 1, 1
        againsts = Bare(_new(directory / "action-bare"), made)

        def act(name: str, *, warm: bool) -> None:
            tree.files, tree.steps = [], []
            head = _head(made)
            cost = _publish(made.ledger, made, tree)
            seconds = againsts.publish(tree, _payloads(made, head))
            if not warm:
                ours[name].append(cost)
                bare[name].append(seconds)

        act("complete", warm=True)
        for turn in range(2 * rounds + 2):
            number += 1
            wave = Wave(f"w{number}", number, TAG, (production,))
            init_wave(made, wave)
            roll_out_wave(made, wave)
            act("rollout", warm=turn < 2 or not turn % 2)
            if turn % 2:
                waves.complete(made.ledger, Facts(), wave.name)
                act("complete", warm=turn < 2)
                production = number
            else:
                waves.cancel(made.ledger, Facts(), wave.name, None)
                act("cancel", warm=turn < 2)
    size = {"production_targets": sizes.targets}
    entries = []
    for name, costs in ours.items():
        note = f"publishing a wave's {name} against its bare signatures, fsyncs and commits; the client check is apart"
        entries.append(Entry(_NAMES[name], [c.wall for c in costs], bare[name], "time", ACTION_BAR, size, note))
    checks, rollouts = [c.check for c in ours["rollout"]], [c.wall for c in ours["rollout"]]
    note = "the client check after a rollout against the publication itself"
    return [*entries, Entry("publish_action_check", checks, rollouts, "time", None, size, note)]


def _refreshes(directory: Path, sizes: Sizes) -> list[Entry]:
    place = directory / "refresh"
    place.mkdir()
    tags = [f"tag-{number}" for number in range(sizes.tags)]
    costs: list[Cost] = []
    bare: list[float] = []
    objects: list[float] = []
    with new_ledger(place / "l.db", tags, numbers=1, hardware=sizes.production, seed=sizes.seed) as made:
        say(f"publishing: {sizes.tags} tags ...")
        tree, againsts = Noted(place / "tree"), Bare(_new(directory / "refresh-bare"), made)
        with hurrying(made.ledger.engine):
            for number, tag in enumerate(tags):
                run_wave(made, Wave(f"w{number}", 1, tag))
            _publish(made.ledger, made, tree)
        againsts.publish(tree, [])
        for turn in range(max(1, sizes.rounds // 10) + 1):
            tree.files, tree.steps = [], []
            head, now = _head(made), made.ledger.now + (turn + 1) * HALF_LIFE
            cost = _publish(replace(made.ledger, now=now), made, tree, refresh=True)
            seconds = againsts.publish(tree, _payloads(made, head))
            taken = _as_tuf_does_it(tree, made, tags, now, place)
            if turn:
                costs.append(cost)
                bare.append(seconds)
                objects.append(taken)
    size = {"tags": sizes.tags, "production_targets": sizes.production}
    return [
        Entry("refresh_tags", [c.wall for c in costs], bare, "time", FSYNC_BAR, size,
              "refreshing tags, all of it but the client check, against its bare signatures, fsyncs and commits"),
        Entry("refresh_tags_cpu", [c.cpu for c in costs], objects, "speed", CPU_BAR, size,
              "its CPU, ledger and durable files included, against python-tuf's objects, which write the files only"),
    ]  # fmt: skip


def _as_tuf_does_it(tree: Directory, made: Made, tags: Sequence[str], now: int, scratch: Path) -> float:
    """Seconds on the CPU. The two files are written to `scratch`."""
    begun = time.process_time()
    for tag in tags:
        view = tree.root / "production" / tag
        timestamp = Metadata[Timestamp].from_file(str(view / "timestamp.json"))
        version = timestamp.signed.version
        snapshot = Metadata[Snapshot].from_file(str(view / f"{version}.snapshot.json"))
        root = Metadata[Root].from_file(str(view / "1.root.json"))
        shown = snapshot.signed.meta["targets.json"].version
        data = (view / f"{shown}.targets.json").read_bytes()
        targets = Metadata[Targets].from_bytes(data)
        root.signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
        snapshot.signed.version = version + 1
        snapshot.signed.meta["targets.json"] = MetaFile.from_data(targets.signed.version, data, ["sha256"])
        file = _signed_by_tuf(root, made, "snapshot", snapshot)
        snapshot.to_file(str(scratch / f"{version + 1}.snapshot.json"))
        timestamp.signed.version = version + 1
        timestamp.signed.expires = from_epoch(now + TIMESTAMP_SECONDS)
        timestamp.signed.snapshot_meta = MetaFile.from_data(version + 1, file, ["sha256"])
        _signed_by_tuf(root, made, "timestamp", timestamp)
        timestamp.to_file(str(scratch / "timestamp.json"))
    return time.process_time() - begun


def _signed_by_tuf(
    root: Metadata[Root], made: Made, role: str, metadata: Metadata[Snapshot] | Metadata[Timestamp]
) -> bytes:
    pair = made.online[root.signed.roles[role].keyids[0]]
    metadata.sign(CryptoSigner(pair.private, pair.key))
    root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    return metadata.to_bytes()


def _new(directory: Path) -> Path:
    directory.mkdir()
    return directory
