"""The root chains: each root follows from the one before it, and says which keys count from then on.

Rules of this module (TUF 1.0 §5.3, DESIGN §4):

* A root is signed by its own threshold and by that of the root before it; versions grow by one. The first one of a
  repository vouches for itself: who has a root from elsewhere asks for it (`trusted`).
* Every root of this ledger names the ledger's key. An adopted chain has older ones that don't, or name another's.
* Production and CI share no key in any role.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson
from tuf.api.metadata import Root

from ledger.application.rootchange import proposed
from ledger.domain.errors import LedgerError
from ledger.domain.events import (
    FactoryInitialized,
    OnlineKeySet,
    RootProposed,
    RootPublished,
    RootSigned,
    RootUpdateClosed,
)
from ledger.tuf import roots, signing
from projections.audit.findings import Entry, Finding

PRODUCTION = "production"


@dataclass
class _Recorded:
    """Where a root was recorded, and where what came with it ends."""

    position: int
    end: int


@dataclass
class Roots:
    """All roots so far, by repository and version, and the online key of each role; `trusted` is one to be found."""

    trusted: bytes | None = None
    chains: dict[str, dict[int, Root]] = field(default_factory=dict)
    newest: dict[str, Root] = field(default_factory=dict)
    online: dict[tuple[str, str], str] = field(default_factory=dict)
    ledger_key: str = ""
    own: set[str] = field(default_factory=set)  # repositories that have a root with the ledger's key
    recorded: dict[str, dict[int, _Recorded]] = field(default_factory=dict)
    set_at: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=dict)  # every online key of a role
    last: _Recorded | None = None
    proposal: Root | None = None
    found: bool = False  # whether the trusted root was published

    def get(self, repository: str, version: int) -> Root | None:
        """A root of ``production`` or ``ci``."""
        return self.chains.get(repository, {}).get(version)

    def recorded_at(self, repository: str, version: int) -> int | None:
        """The position of a root of that repository's chain."""
        found = self.recorded.get(repository.partition("/")[0], {}).get(version)
        return found.position if found else None

    def moments(self, repository: str, version: int, size: int, shown: int) -> list[int]:
        """The positions from which a publication under a root may be drawn, when the ledger has that size.

        It is the newest root then, or one above the last `shown`, that clients are led over: it is shown as of when it
        was recorded.
        """
        kind = repository.partition("/")[0]
        known = {v: one.end for v, one in self.recorded.get(kind, {}).items() if one.position <= size}
        newest = [size] if known and version == max(known) else []
        step = [known[version]] if kind == PRODUCTION and 0 < shown < version and version in known else []
        return newest + step

    def online_at(self, repository: str, role: str, moments: Iterable[int]) -> set[str]:
        """The online keys of a role at those positions."""
        keys = self.set_at.get((repository.partition("/")[0], role), [])
        before = [[keyid for position, keyid in keys if position <= at][-1:] for at in moments]
        return {keyid for found in before for keyid in found}

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        self._look_at_moment(entry)
        match entry.event:
            case FactoryInitialized(_, ledger_key):
                self.ledger_key = ledger_key
            case RootPublished():
                yield from self._published(entry, entry.event)
            case OnlineKeySet():
                yield from self._online_key_set(entry, entry.event)
            case RootProposed(_, text):
                try:
                    self.proposal = proposed(text)
                except Exception as problem:  # noqa: BLE001  python-tuf raises whatever its input makes it raise
                    self.proposal = None
                    yield _wrong(entry, "root", f"the proposed root cannot be read: {problem}")
            case RootSigned():
                yield from self._root_signed(entry, entry.event)

    def end(self) -> Iterator[Finding]:
        """Judge what should have followed."""
        for repository in self.newest.keys() - self.own:
            yield Finding(None, "root", "metadata", f"no root of {repository} names the ledger's key")
        if self.trusted is not None and not self.found:
            yield Finding(None, "root", "metadata", "the root that was given was never published by this ledger")

    def _look_at_moment(self, entry: Entry) -> None:
        match entry.event:
            case RootPublished(repository, version):
                self.last = _Recorded(entry.position, entry.position)
                self.recorded.setdefault(repository, {})[version] = self.last
            case OnlineKeySet() | RootUpdateClosed() if self.last and entry.position == self.last.end + 1:
                self.last.end = entry.position

    def _published(self, entry: Entry, event: RootPublished) -> Iterator[Finding]:
        before = self.newest.get(event.repository)
        try:
            metadata = roots.load_root(event.metadata.encode())
        except LedgerError as problem:
            yield _wrong(entry, "metadata", str(problem))
            return
        root = metadata.signed
        if (root.version, root.expires) != (event.version, event.expires):
            yield _wrong(
                entry, "version", f"the root is version {root.version}, until {root.expires}, not as the event says"
            )
        try:
            roots.require_trusted(metadata, before)
        except LedgerError as problem:
            yield _wrong(entry, "metadata", str(problem))
        if self.trusted is not None and orjson.loads(self.trusted) == orjson.loads(event.metadata):
            self.found = True
        self.chains.setdefault(event.repository, {})[event.version] = root
        self.newest[event.repository] = root
        yield from self._look_at_keys(entry, event.repository, root)

    def _look_at_keys(self, entry: Entry, repository: str, root: Root) -> Iterator[Finding]:
        if roots.ledger_key(root) == self.ledger_key:
            self.own.add(repository)
        elif repository in self.own:
            yield _wrong(entry, "metadata", "it does not name the ledger's key")
        if repository == PRODUCTION and repository in self.own:
            threshold = root.roles["targets"].threshold
            if threshold < roots.TARGETS_THRESHOLD_MIN:
                yield _wrong(entry, "metadata", f"{threshold} signature would be enough for production targets")
        if {PRODUCTION, "ci"} <= self.newest.keys():
            try:
                roots.no_shared_keys(self.newest[PRODUCTION], self.newest["ci"])
            except LedgerError as problem:
                yield _wrong(entry, "metadata", str(problem))

    def _online_key_set(self, entry: Entry, event: OnlineKeySet) -> Iterator[Finding]:
        newest = self.newest.get(event.repository)
        before = self.get(event.repository, newest.version - 1) if newest else None  # of an adopted chain
        listed = [
            root.keys[event.keyid].to_dict()
            for root in (newest, before)
            if root and event.role in root.roles and event.keyid in root.roles[event.role].keyids
        ]
        if event.key not in listed:
            yield _wrong(entry, "keyid", f"no root of {event.repository} has this key for {event.role}")
        self.online[event.repository, event.role] = event.keyid
        self.set_at.setdefault((event.repository, event.role), []).append((entry.position, event.keyid))

    def _root_signed(self, entry: Entry, event: RootSigned) -> Iterator[Finding]:
        if self.proposal is None or PRODUCTION not in self.newest:
            yield _wrong(entry, "update", "there is no proposed root that it could sign")
            return
        data = roots.signed_bytes(self.proposal)
        for root in (self.proposal, self.newest[PRODUCTION]):
            if event.keyid in signing.verify(root, "root", data, {event.keyid: event.signature}):
                return
        told = f"not a signature over the proposed root, by a root key: {event.keyid}"
        yield Finding(entry.position, "signature", "signature", told)


def _wrong(entry: Entry, field_: str, problem: str) -> Finding:
    return Finding(entry.position, "root", field_, problem)
