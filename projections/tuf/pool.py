"""The versioned files of a repository, all of them from the ledger: roots, targets documents and snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.domain.events import DocumentPublished, MetadataPublished
from ledger.session import Ledger
from projections.tuf import cosigned, state
from projections.tuf.drafts import Documents, first_shown


class File(NamedTuple):
    """A versioned file of the pool."""

    path: str
    data: bytes


class Pool:
    """Reads what the files are made of, once: root chains only grow, and a document that was shown stays as it is."""

    def __init__(self, ledger: Ledger, documents_: Documents | None = None) -> None:
        """Of that ledger; `documents_` are those that were read before."""
        self._ledger = ledger
        self._documents = documents_ or Documents()
        self._roots: dict[str, list[tuple[int, bytes]]] = {}

    def files(self, publication: MetadataPublished, *, cut: bool) -> Iterator[File]:
        """The versioned files of a publication, in the order they are written; the last snapshot comes last of all.

        Those that it shows first and, in a backlog that is `cut`, all that it shows.
        """
        repository = publication.repository
        pool = f"pool/{repository}"
        for version, metadata in self._root_chain(repository.partition("/")[0], publication.root_version):
            yield File(f"{pool}/{version}.root.json", metadata)
        first = {document.version: document for document in publication.documents}
        shown = {view.targets_version for view in publication.views} if cut else set()
        for version in [*sorted(shown - first.keys()), *first]:
            with self._ledger.reading() as connection:
                document = first.get(version) or _shown_before(connection, repository, version)
                data = document_file(connection, repository, document, self._documents)
            yield File(f"{pool}/{document.version}.targets.json", data)
        for view in publication.views:
            yield File(f"{pool}/{view.version}.snapshot.json", view.snapshot.encode())

    def _root_chain(self, kind: str, version: int) -> list[tuple[int, bytes]]:
        """The chain of ``production`` or ``ci`` up to a version, oldest first."""
        if kind not in self._roots or self._roots[kind][-1][0] < version:
            with self._ledger.reading() as connection:
                self._roots[kind] = state.roots(connection, kind)
        return [root for root in self._roots[kind] if root[0] <= version]


def document_file(
    connection: Connection, repository: str, document: DocumentPublished, read: Documents | None = None
) -> bytes:
    """A targets document as clients get it; `read` are the documents that were read before."""
    online, kept = (document.keyid, document.signature), read or Documents()
    if document.wave is None:
        assert document.signed is not None  # a CI document is kept where it was shown first
        shown = state.document(connection, repository, document.version)
        assert shown is not None  # the publication that shows it first is recorded
        also = cosigned.signatures(connection, repository, document.version, shown.position)
        return kept.file(repository, document.version, document.signed.encode(), [*also, online])
    offline = kept.offline(connection, repository, document.wave, document.version)
    return kept.file(repository, document.version, offline.signed, [*offline.offline, online])


def _shown_before(connection: Connection, repository: str, version: int) -> DocumentPublished:
    """A targets document, from the event that showed it first."""
    shown = state.document(connection, repository, version)
    assert shown is not None  # a publication after that shows it, too
    return first_shown(connection, shown.position, version)
