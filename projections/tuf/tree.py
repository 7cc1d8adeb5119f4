"""The published repository as files, all of it from the ledger, with no private key at hand.

Rules of this module (DESIGN §4; the crash case is named at each step of `_write`):

* ``pool/<repository>/`` has every versioned file once: ``{N}.root.json``, ``{m}.snapshot.json``, ``{v}.targets.json``.
* ``<view>/`` is a complete TUF metadata directory: links to the root chain and to the files that its timestamps
  led to, the older ones too, for clients that are in the middle of a refresh. Then its ``timestamp.json``.
* Versioned files first, timestamps last. A publication that was killed is finished by the next one, byte-identically,
  because both write the same events in the same order; whatever is there already is no write.
* A view that a newer publication removes is not made again by an older one: a wave's name is used once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from ledger.codec import decode
from ledger.domain.errors import LedgerError
from ledger.domain.events import DocumentPublished, MetadataPublished, ViewPublished
from ledger.session import Ledger
from ledger.store import events
from ledger.tuf import documents
from projections.tuf import state
from projections.tuf.destination import Destination, DestinationAhead, DestinationHasOtherBytes
from projections.tuf.publish import offline_document


class File(NamedTuple):
    """A versioned file of the pool."""

    path: str
    data: bytes


class _Step(NamedTuple):
    """One publication to write: its files, and the views that no newer one removes."""

    publication: MetadataPublished
    files: list[File]
    shown: list[tuple[str, ViewPublished]]
    newest: bool


class Written(NamedTuple):
    """What a write did: views whose timestamp changed, the version each repository is at, and what went wrong."""

    changed: list[str]
    versions: dict[str, int]
    problems: list[LedgerError]


def write(ledger: Ledger, destination: Destination, progress: Callable[[int, int], None] | None = None) -> Written:
    """Write what the destination lacks, a repository at a time; one in trouble does not keep the others from it.

    The ledger is not held while files are written: a reader keeps writers waiting.
    """
    written = Written([], {}, [])
    with ledger.reading() as connection:
        names = state.repositories(connection)
    for place, repository in enumerate(names):
        try:
            with ledger.reading() as connection:
                steps = _steps(connection, destination, repository)
            for step in steps:
                written.changed.extend(_write(destination, step))
            written.versions[repository] = steps[-1].publication.views[-1].version
        except LedgerError as problem:
            written.problems.append(problem)  # one repository in trouble must not let the others expire
        if progress:
            progress(place + 1, len(names))
    return written


def refuse_if_ahead(ledger: Ledger, destination: Destination) -> None:
    """Look before anything is signed for it. Raises: DestinationAhead, DestinationHasOtherBytes."""
    with ledger.reading() as connection:
        for repository in state.repositories(connection):
            _refuse_if_ahead(destination, newest_of(connection, repository))


def newest_of(connection: Connection, repository: str) -> MetadataPublished:
    """The last publication of a repository."""
    return next(_publications(connection, repository, descending=True))


def document_file(connection: Connection, document: DocumentPublished) -> bytes:
    """A targets document as clients get it."""
    online = (document.keyid, document.signature)
    if document.wave is None:
        assert document.signed is not None  # a CI document is kept where it was shown first
        return documents.file_bytes(document.signed.encode(), [online])
    offline = offline_document(connection, document.wave, document.view)
    return documents.file_bytes(offline.signed, [*offline.offline, online])


def pool_files(connection: Connection, publication: MetadataPublished) -> Iterator[File]:
    """The versioned files of a publication, in the order they are written; the last snapshot comes last of all."""
    pool = f"pool/{publication.repository}"
    kind = publication.repository.partition("/")[0]
    for version, metadata in state.roots(connection, kind):
        if version <= publication.root_version:
            yield File(f"{pool}/{version}.root.json", metadata)
    for document in publication.documents:
        yield File(f"{pool}/{document.version}.targets.json", document_file(connection, document))
    for view in publication.views:
        yield File(f"{pool}/{view.version}.snapshot.json", view.snapshot.encode())


def _steps(connection: Connection, destination: Destination, repository: str) -> list[_Step]:
    backlog = _backlog(connection, destination, repository)
    gone = {name for publication in backlog for name in publication.removed}
    return [
        _Step(
            publication,
            list(pool_files(connection, publication)),
            _shown(publication, gone),
            newest=publication is backlog[-1],
        )
        for publication in backlog
    ]


def _write(destination: Destination, step: _Step) -> list[str]:
    publication = step.publication
    # 1. The pool. A crash leaves files that nothing leads to yet; the next run finds them identical.
    for file in step.files:
        destination.write_once(file.path, file.data)
    # 2. The views' links. A crash leaves links that no timestamp leads to yet.
    for name, view in step.shown:
        for file_name in _names(publication, view):
            destination.link(f"pool/{publication.repository}/{file_name}", f"{name}/{file_name}")
    # 3. The timestamps, one by one: each view is before or after, and whichever a client meets is complete. Against the
    #    direction devices move, the wave before production: a device may join a wave without a publication, so the
    #    wave's timestamp must never be older than production's, not even after a crash. Those of an older publication
    #    were superseded, except a closed view's, which was its last.
    changed = []
    live = [shown for shown in step.shown if shown[0] not in publication.closed]
    closed = [shown for shown in step.shown if shown[0] in publication.closed]
    for name, view in [*(reversed(live) if step.newest else ()), *closed]:
        data = view.timestamp.encode()
        if destination.read(f"{name}/timestamp.json") != data:
            destination.replace(f"{name}/timestamp.json", data)
            changed.append(name)
    # 4. Views whose last timestamp expired a day ago. A crash leaves one that the next run deletes.
    for name in publication.removed:
        destination.remove(name)
    return changed


def _shown(publication: MetadataPublished, gone: set[str]) -> list[tuple[str, ViewPublished]]:
    """The views that a publication shows and no newer one removes, each with its files; closed ones last."""
    shown = [(view.view, view) for view in publication.views]
    production = [view for view in publication.views if view.view == publication.repository]
    shown += [(name, production[0]) for name in publication.closed]
    return [(name, view) for name, view in shown if name not in gone]


def _names(publication: MetadataPublished, view: ViewPublished) -> list[str]:
    roots = [f"{version}.root.json" for version in range(1, publication.root_version + 1)]
    return [*roots, f"{view.targets_version}.targets.json", f"{view.version}.snapshot.json"]


def _backlog(connection: Connection, destination: Destination, repository: str) -> list[MetadataPublished]:
    """The publications to write, oldest first: the newest, those before it that the destination lacks, and one more.

    That one has all its files, but may have been killed before its closed views got their last timestamp, or before
    its removed views were deleted. Those before it were finished before its own first file was written.
    """
    backlog: list[MetadataPublished] = []
    gone: set[str] = set()
    for publication in _publications(connection, repository, descending=True):
        if not backlog:
            _refuse_if_ahead(destination, publication)
        backlog.append(publication)
        gone |= set(publication.removed)
        if len(backlog) > 1 and _has_files(destination, publication, gone):
            break
    return backlog[::-1]


def _has_files(destination: Destination, publication: MetadataPublished, gone: set[str]) -> bool:
    # Links are made in order after the whole pool, so the last link stands for all that came before it. Never none:
    # the repository's own view is in every publication that has anything to close or to remove.
    shown = _shown(publication, gone)
    return bool(shown) and destination.exists(f"{shown[-1][0]}/{_names(publication, shown[-1][1])[-1]}")


def _refuse_if_ahead(destination: Destination, publication: MetadataPublished) -> None:
    for name, view in _shown(publication, set(publication.removed)):
        path = f"{name}/timestamp.json"
        found = destination.read(path)
        if found is None or found == view.timestamp.encode():
            continue
        version = _version(found)
        if version > view.version:
            raise DestinationAhead(path=path, found=version, known=view.version)
        if version == view.version:
            raise DestinationHasOtherBytes(path=path)


def _version(timestamp: bytes) -> int:
    try:
        version = orjson.loads(timestamp)["signed"]["version"]
    except (ValueError, KeyError, TypeError):
        return 0  # not a timestamp at all: nothing that a client could have accepted
    return version if isinstance(version, int) else 0


def _publications(connection: Connection, repository: str, *, descending: bool = False) -> Iterator[MetadataPublished]:
    stream = f"publication:{repository.replace('/', ':', 1)}"
    for row in events.read(connection, stream=stream, descending=descending):
        event = decode(row.topic, row.payload)
        assert isinstance(event, MetadataPublished)
        yield event
