"""What the ledger knows of one repository: every file it ever published, and what devices may have seen.

Rules of this module:

* One pass over the repository's publications, in one short transaction; the tree is looked at without the ledger.
* `digests` has all files that may be in the tree, `required` those that must be, with the version from which on.
* A device's past matters to a client by three things only: which keys signed its timestamp and snapshot, the version
  `m` of these, and that of the targets document. A client that accepts a view coming from (m, t) accepts it from
  every (m', t') with m' <= m and t' <= t that the same keys signed. So of thousands of states the few are enough that
  no other one dominates, for each root version and set of keys: from them all others follow.
* A state counts for a view when its devices may be sent there now (`may_come`), which is how versions are laid out:
  nobody leaves an active wave, and only a canceled wave's devices come to a held view (DESIGN §4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import orjson
from sqlalchemy import Connection, text

from ledger.codec import decode
from ledger.domain.events import BundleExported, MetadataPublished, VersionsRaised, ViewPublished
from ledger.store import events
from projections.tuf import state
from projections.tuf.ahead import shown_views
from projections.tuf.drafts import first_shown
from projections.tuf.pool import document_file
from projections.tuf.verify import Start

_RANK = {"ci": 0, "held": 1, "production": 2, "wave": 3}
_Keys: TypeAlias = tuple[str, int, tuple[str, ...], bool]


class Timestamp(NamedTuple):
    """The newest timestamp of a view, as the ledger published it."""

    version: int
    data: bytes


class Past(NamedTuple):
    """What a device may have seen: where, under which root, and its three files by name."""

    start: Start
    root: bytes
    files: Mapping[str, bytes]


class _Seen(NamedTuple):
    """A view as it was published once."""

    start: Start
    signers: tuple[str, ...]
    shown: ViewPublished


@dataclass
class Known:
    """Everything about one repository. Paths are those of the tree; digests are SHA-256 in hex.

    `live` are the views of the last publication, `routed` those of the last that reached a destination: devices are
    routed by what is published.
    """

    repository: str
    roots: dict[int, bytes]
    digests: dict[str, str] = field(default_factory=dict)
    required: dict[str, int] = field(default_factory=dict)
    shown: dict[str, Timestamp] = field(default_factory=dict)
    live: tuple[str, ...] = ()
    routed: tuple[str, ...] = ()
    removed: set[str] = field(default_factory=set)
    lost: tuple[int, int] = (0, 0)
    canceled: frozenset[str] = frozenset()
    pasts: dict[str, list[Past]] = field(default_factory=dict)


def read(connection: Connection, repository: str, reached: int, *, until: int | None = None) -> Known:
    """Read a repository's publications.

    Args:
        connection: One moment of the ledger.
        repository: ``production/<tag>`` or ``ci/<tag>``.
        reached: The highest version that is known to have been at a destination, besides what the ledger remembers.
        until: The version of a bundle: only what came before it.
    """
    reader = _Reader(connection, repository, reached)
    for row in events.read(connection, stream=state.stream_of(repository)):
        match decode(row.topic, row.payload):
            case MetadataPublished() as publication:
                reader.publication(publication, row.position)
            case BundleExported() as event if event.bundle.version == until:
                break
            case BundleExported() as event:
                reader.seen(event.bundle, event.root_version, bundle=True)
            case VersionsRaised() as event:
                reader.raised(event)
    return reader.finish()


def may_come(source: str, to: str, live: Iterable[str], canceled: Iterable[str]) -> bool:
    """Whether a device that saw the view `source` may now be sent to `to`, one of the `live` views."""
    if source == to:
        return True
    (kind, _, name), (source_kind, _, source_name) = to.partition("/"), source.partition("/")
    if source in live and _RANK[source_kind] >= _RANK[kind]:
        return False
    if kind == "held":
        return source_kind == "wave" and (source_name == name or source_name in canceled)
    return kind != "ci"


class _Reader:
    """One pass over a repository."""

    def __init__(self, connection: Connection, repository: str, reached: int) -> None:
        self.connection = connection
        kind, _, tag = repository.partition("/")
        self.known = Known(repository, dict(state.roots(connection, kind)))
        rows = connection.execute(
            text("SELECT wave FROM release_wave WHERE tag = :tag AND status = 'canceled'"), {"tag": tag}
        )
        self.known.canceled = frozenset(rows.scalars())
        written = text("SELECT max(version) FROM written WHERE repository = :repository")
        remembered = int(connection.execute(written, {"repository": repository}).scalar() or 0)
        self.reached = max(reached, remembered)
        self.root_digests = {version: _digest(data) for version, data in self.known.roots.items()}
        self.positions: dict[int, int] = {}
        self.candidates: dict[_Keys, _Seen] = {}
        self.linked: dict[str, int] = {}

    def publication(self, publication: MetadataPublished, position: int) -> None:
        """Take in one publication."""
        known, pool = self.known, f"pool/{publication.repository}"
        at = publication.views[-1].version
        for document in publication.documents:
            data = document_file(self.connection, publication.repository, document)
            self._file(f"{pool}/{document.version}.targets.json", _digest(data), at)
            self.positions[document.version] = position
        self._roots(pool, publication.root_version, at)
        shown = {view.view: view for view in publication.views}
        for view in publication.views:
            self._file(f"{pool}/{view.version}.snapshot.json", _digest(view.snapshot.encode()), at)
            self.seen(view, publication.root_version)
        for name, view in shown_views(publication, ()):
            self._roots(name, publication.root_version, at)
            for file in (f"{view.version}.snapshot.json", f"{view.targets_version}.targets.json"):
                self._file(f"{name}/{file}", known.digests[f"{pool}/{file}"], at)
            known.shown[name] = Timestamp(view.version, view.timestamp.encode())
        known.removed |= set(publication.removed)
        known.live = tuple(shown)
        if at <= self.reached:
            known.routed = known.live

    def seen(self, view: ViewPublished, root_version: int, *, bundle: bool = False) -> None:
        """Remember what devices saw; a later one of the same view, root and keys takes the place of an earlier."""
        if view.version > self.reached and not bundle:
            return  # recorded, and not written anywhere yet
        start = Start(root_version, view.view, view.version, view.targets_version, bundle)
        signers = tuple(
            signature["keyid"] for file in (view.timestamp, view.snapshot) for signature in _signatures(file)
        )
        self.candidates[view.view, root_version, signers, bundle] = _Seen(start, signers, view)

    def raised(self, event: VersionsRaised) -> None:
        """Numbers up to these may lead to files of a ledger that is lost; what is older need not be anywhere."""
        lost = self.known.lost
        self.known.lost = (max(lost[0], event.metadata), max(lost[1], event.targets))
        self.known.required.clear()
        self.linked.clear()

    def finish(self) -> Known:
        """Choose the states that matter, and bring their files."""
        known = self.known
        known.shown = {name: shown for name, shown in known.shown.items() if name not in known.removed}
        seen = self.candidates.values()
        for view in known.shown:
            if view in known.routed:
                sources = [c for c in seen if may_come(c.shown.view, view, known.routed, known.canceled)]
            else:
                sources = [c for c in seen if c.shown.view == view]  # closed: only those who have not left it yet
            known.pasts[view] = [self._past(chosen) for chosen in undominated(sources)]
        return known

    def _past(self, seen: _Seen) -> Past:
        version = seen.shown.targets_version
        document = first_shown(self.connection, self.positions[version], version)
        targets = document_file(self.connection, self.known.repository, document)
        files = {
            "timestamp.json": seen.shown.timestamp.encode(),
            "snapshot.json": seen.shown.snapshot.encode(),
            "targets.json": targets,
        }
        return Past(seen.start, self.known.roots[seen.start.root_version], files)

    def _roots(self, directory: str, newest: int, at: int) -> None:
        for version in range(self.linked.get(directory, 0) + 1, newest + 1):
            if version in self.root_digests:
                self._file(f"{directory}/{version}.root.json", self.root_digests[version], at)
        self.linked[directory] = newest

    def _file(self, path: str, digest: str, at: int) -> None:
        self.known.digests[path] = digest
        self.known.required.setdefault(path, at)


def undominated(seen: Iterable[_Seen]) -> list[_Seen]:
    """Those that no other of the same root and keys is above in both versions."""
    chosen: list[_Seen] = []
    for one in sorted(seen, key=lambda s: (s.shown.version, s.shown.targets_version), reverse=True):
        if not any(
            (other.signers, other.start.root_version) == (one.signers, one.start.root_version)
            and other.shown.targets_version >= one.shown.targets_version
            for other in chosen
        ):
            chosen.append(one)
    return chosen


def _signatures(file: str) -> list[dict[str, str]]:
    signatures: list[dict[str, str]] = orjson.loads(file)["signatures"]
    return signatures


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
