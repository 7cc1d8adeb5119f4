"""Published metadata, against the ledger: what was signed online, view by view.

Rules of this module (DESIGN §4):

* A targets document that is shown was signed by enough keys of the root it is shown under, the online key among them.
  CI's are signed online alone, and are kept where they were shown first.
* A timestamp leads to its snapshot, that to a targets file, by version, length and hash; both are signed for it.
* Versions of a repository only grow, from view to view and from publication to publication.
* Every snapshot carries a checkpoint that the ledger keeps, of a moment before it, never older than the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from tuf.api.metadata import Root

from ledger.domain.errors import LedgerError
from ledger.domain.events import (
    BundleExported,
    DocumentCosigned,
    DocumentPublished,
    MetadataPublished,
    VersionsRaised,
    ViewPublished,
)
from ledger.domain.values import format_time
from ledger.tuf import documents, note, signing
from ledger.tuf.documents import EXTENSION, FileMeta
from projections.audit.carried import carried_by
from projections.audit.findings import Entry, Finding
from projections.audit.offline import Offline, is_valid
from projections.audit.roots import Roots

ReadNote = Callable[[int], str | None]
"""From a size to the checkpoint that the ledger keeps of it."""


@dataclass
class _Repository:
    """How far a repository is; `files` are the targets files that were shown, by version."""

    version: int = 0
    root_version: int = 0
    checkpoint: int = 0
    files: dict[int, FileMeta] = field(default_factory=dict)
    cosigned: DocumentCosigned | None = None


@dataclass
class Published:
    """All repositories."""

    roots: Roots
    offline: Offline
    read_note: ReadNote
    repositories: dict[str, _Repository] = field(default_factory=dict)

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        match entry.event:
            case VersionsRaised(repository, metadata):
                state = self._state(repository)
                state.version = max(state.version, metadata)
            case DocumentCosigned(repository):
                self._state(repository).cosigned = entry.event
            case MetadataPublished(repository, root_version, shown, views):
                root = self._root(repository, root_version)
                if root is None or root_version < self._state(repository).root_version:
                    yield _wrong(entry, "root_version", f"{repository} had no root {root_version} to be shown under")
                    return
                moments = self.roots.moments(
                    repository, root_version, carried_by(views) or 0, self._state(repository).root_version
                )
                online = self.roots.online_at(repository, "targets", moments)
                for document in shown:
                    yield from self._look_at_document(entry, repository, document, root, online)
                unseen = {document.version for document in shown} - {view.targets_version for view in views}
                if unseen:
                    yield _wrong(entry, "documents", f"no view shows {', '.join(map(str, sorted(unseen)))}")
                for view in views:
                    yield from self._look_at_view(entry, repository, view, root)
                self._state(repository).cosigned = None
                self._state(repository).root_version = root_version
            case BundleExported(repository, root_version, bundle):
                root = self._root(repository, root_version)
                if root is None:
                    yield _wrong(entry, "root_version", f"{repository} had no root {root_version}")
                    return
                yield from self._look_at_view(entry, repository, bundle, root)

    def end(self) -> Iterator[Finding]:
        """Judge what should have followed."""
        for name, state in self.repositories.items():
            if state.cosigned is not None:
                yield Finding(
                    None, "published", "documents", f"document.cosigned/1 of {name} has no publication after it"
                )

    def _state(self, repository: str) -> _Repository:
        return self.repositories.setdefault(repository, _Repository())

    def _root(self, repository: str, version: int) -> Root | None:
        return self.roots.get(repository.partition("/")[0], version)

    def _look_at_document(
        self, entry: Entry, repository: str, shown: DocumentPublished, root: Root, online: Collection[str]
    ) -> Iterator[Finding]:
        where = f"documents[{shown.version}]"
        found = self._ci(entry, repository, shown) if shown.wave is None else self._production(repository, shown)
        if found is None:
            yield _wrong(entry, where, f"no document for {shown.view} was signed under version {shown.version}")
            return
        data, signatures, valid = found
        if shown.keyid not in online or not is_valid(root, "targets", data, shown.keyid, shown.signature):
            yield _signature(entry, where, f"not a signature of the online key: {shown.keyid}")
            return
        counted = {shown.keyid, *valid} & set(root.roles["targets"].keyids)
        if len(counted) < root.roles["targets"].threshold:
            told = (
                f"{len(counted)} valid signatures, and root {root.version} asks for {root.roles['targets'].threshold}"
            )
            yield _signature(entry, where, told)
        try:
            file = documents.file_bytes(data, [*signatures, (shown.keyid, shown.signature)])
        except LedgerError as problem:
            yield _wrong(entry, where, str(problem))
            return
        self._state(repository).files[shown.version] = FileMeta.of(file)

    def _production(
        self, repository: str, shown: DocumentPublished
    ) -> tuple[bytes, list[tuple[str, str]], set[str]] | None:
        signed = self.offline.signed.get((repository.partition("/")[2], shown.version))
        if signed is None:
            return None
        data = self.offline.bytes_of(signed.document)
        return None if data is None else (data, signed.signatures, signed.valid)

    def _ci(
        self, entry: Entry, repository: str, shown: DocumentPublished
    ) -> tuple[bytes, list[tuple[str, str]], set[str]] | None:
        """A CI document with what replaced keys signed of it: they don't count, and clients of the root before ask."""
        if shown.signed is None:
            return None
        also = self._state(repository).cosigned
        signers = also.signers if also and also.version == shown.version else ()
        return shown.signed.encode(), [(by.keyid, by.signatures[0]) for by in signers if by.signatures], set()

    def _look_at_view(self, entry: Entry, repository: str, view: ViewPublished, root: Root) -> Iterator[Finding]:
        state = self._state(repository)
        if view.version <= state.version:
            yield _wrong(entry, view.view, f"version {view.version} is not above {state.version}, which was given out")
        state.version = max(state.version, view.version)
        targets = state.files.get(view.targets_version)
        if targets is None:
            yield _wrong(entry, view.view, f"it shows targets {view.targets_version}, which were never signed for it")
            return
        snapshot, timestamp = view.snapshot.encode(), view.timestamp.encode()
        over = ("targets.json", view.targets_version, targets)
        signed = yield from self._look_at_file(entry, view, "snapshot", snapshot, view.snapshot_expires, over, root)
        yield from self._look_at_checkpoint(entry, view, signed.get(EXTENSION), state)
        over = ("snapshot.json", view.version, FileMeta.of(snapshot))
        yield from self._look_at_file(entry, view, "timestamp", timestamp, view.timestamp_expires, over, root)

    def _look_at_file(
        self,
        entry: Entry,
        view: ViewPublished,
        role: str,
        data: bytes,
        expires: datetime,
        over: tuple[str, int, FileMeta],
        root: Root,
    ) -> Generator[Finding, None, Mapping[str, Any]]:
        """One file of a view; what it says is the generator's value."""
        where = f"{view.view} {role}"
        try:
            signatures, signed = documents.read_file(data, role)
            enough = signing.meets_threshold(root, role, signed, signatures)
        except LedgerError as problem:
            yield _wrong(entry, where, str(problem))
            return {}
        if not enough:
            yield _signature(entry, where, f"not signed by the {role} key of root {root.version}")
        name, version, file = over
        expected = {
            "_type": role,
            "expires": format_time(expires),
            "meta": {name: {"hashes": {"sha256": file.sha256}, "length": file.length, "version": version}},
            "version": view.version,
        }
        said: Mapping[str, Any] = orjson.loads(signed)
        wrong = [field_ for field_, value in expected.items() if said.get(field_) != value]
        if wrong:
            yield _wrong(entry, where, f"it does not say what the ledger says: {', '.join(wrong)}")
        return said

    def _look_at_checkpoint(
        self, entry: Entry, view: ViewPublished, extension: object, state: _Repository
    ) -> Iterator[Finding]:
        where = f"{view.view} checkpoint"
        found = extension.get("checkpoint") if isinstance(extension, dict) else None
        try:
            checkpoint = note.from_field(found if isinstance(found, dict) else {})
        except LedgerError as problem:
            yield _wrong(entry, where, str(problem))
            return
        if not state.checkpoint <= checkpoint.size < entry.position:
            yield _wrong(
                entry, where, f"it is of size {checkpoint.size}, which is not between the last one and this event"
            )
        state.checkpoint = max(state.checkpoint, checkpoint.size)
        if self.read_note(checkpoint.size) != checkpoint.note():
            told = f"the ledger does not keep the checkpoint of size {checkpoint.size} that the snapshot carries"
            yield Finding(entry.position, "checkpoint", where, told)


def _wrong(entry: Entry, field_: str, problem: str) -> Finding:
    return Finding(entry.position, "published", field_, problem)


def _signature(entry: Entry, field_: str, problem: str) -> Finding:
    return Finding(entry.position, "signature", field_, problem)
