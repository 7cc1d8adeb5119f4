"""What each TUF repository should show, what it shows, and whether the two are the same.

Rules of this module (DESIGN §4):

* A repository is ``production/<tag>`` or ``ci/<tag>``; its views are given their version numbers in the direction
  devices move: held, then production, then the wave.
* A repository is due when a view is missing, shows another document, or has to be closed or removed; when its root
  chain grew; or when a device left a held view, for it goes to production with the next publication. A refresh also
  takes those whose timestamps or CI documents are past half of their life.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ledger.store.bulk import query
from ledger.tuf.documents import FileMeta

TIMESTAMP_SECONDS = 7 * 86_400  # after that without a refresh every client fails closed, and heals at the next one
GRACE_SECONDS = 86_400  # a closed view outlives its timestamp by this, for clients with slow clocks
_IN = 500  # values in one IN list: far below what SQLite (32,766) and PostgreSQL (65,535) take
CI_SECONDS = 365 * 86_400  # the life of a CI document, signed online

_DUE = """
SELECT v.repository FROM release_view v LEFT JOIN release_published p ON p.view = v.view AND NOT p.closed
WHERE p.view IS NULL OR p.targets_version <> v.version OR p.content_position <> v.content_position
UNION
SELECT p.repository FROM release_published p LEFT JOIN release_view v ON v.view = p.view
WHERE (v.view IS NULL AND NOT p.closed) OR (p.closed AND p.timestamp_expires + ? <= ?)
UNION
SELECT v.repository FROM release_raised r JOIN release_view v ON v.repository = r.repository
LEFT JOIN release_publication p ON p.repository = r.repository WHERE p.position IS NULL OR p.position < r.position
UNION
SELECT p.repository FROM release_publication p WHERE p.root_version < (SELECT max(version) FROM release_root r
WHERE p.repository LIKE r.repository || '/%')
UNION
SELECT p.repository FROM fleet_tag a JOIN fleet_name t ON t.kind = 'tag' AND t.id = a.tag
JOIN release_publication p ON p.repository = 'production/' || t.name WHERE a.moved > p.position
"""

_AGED = """
SELECT repository FROM release_published WHERE NOT closed AND (? >= signed_at + timestamp_expires
OR (content_position IS NOT NULL AND 2 * (snapshot_expires - ?) <= ?))
"""


class View(NamedTuple):
    """A view as it should be. A CI view has a content position, a production one the document to show."""

    view: str
    version: int | None
    expires: int | None
    wave: str | None
    document: str | None
    content_position: int | None


class Published(NamedTuple):
    """A view as it was last published."""

    view: str
    version: int
    targets_version: int
    targets: FileMeta
    content_position: int | None
    snapshot_expires: int
    timestamp_expires: int
    closed: bool


class Shown(NamedTuple):
    """A targets document that was shown: its online signature, and the position of the event that showed it first."""

    keyid: str
    signature: str
    position: int


class GivenOut(NamedTuple):
    """The last version of timestamp and snapshot, the last root that was shown, and the last publication's position.

    `root_at` is when that root was shown first, in seconds since 1970.
    """

    version: int
    root_version: int
    root_at: int
    position: int


class Replaced(NamedTuple):
    """An online key that was replaced: when (seconds since 1970), and the version of the root that did it."""

    role: str
    keyid: str
    at: int
    root_version: int


class Raised(NamedTuple):
    """Versions that were given out by a ledger that is lost, and the position of the event that says so."""

    metadata: int
    targets: int
    position: int


def stream_of(repository: str) -> str:
    """The stream of a repository's publications."""
    return f"publication:{repository.replace('/', ':', 1)}"


def due(connection: Connection, now: int, *, refresh: bool = False) -> list[str]:
    """The repositories that a publication would change; with `refresh`, also those that grow old."""
    found = {str(name) for (name,) in query(connection, _DUE, (GRACE_SECONDS, now)).fetchall()}
    if refresh:
        found |= {str(name) for (name,) in query(connection, _AGED, (2 * now, now, CI_SECONDS)).fetchall()}
    return sorted(found)


def repositories(connection: Connection) -> list[str]:
    """All repositories that ever were published."""
    return [
        name
        for (name,) in query(connection, "SELECT repository FROM release_publication ORDER BY repository").fetchall()
    ]


def newest_publications(connection: Connection, repository: str | None = None) -> dict[str, int]:
    """The position of the last publication of each repository, or of one."""
    statement = "SELECT repository, position FROM release_publication"
    if repository is not None:
        return dict(query(connection, f"{statement} WHERE repository = ?", (repository,)).fetchall())
    return dict(query(connection, statement).fetchall())


def views(connection: Connection, repository: str) -> list[View]:
    """What a repository should show, in the order in which versions are given."""
    return views_of(connection, [repository]).get(repository, [])


def views_of(connection: Connection, names: Sequence[str]) -> dict[str, list[View]]:
    """What repositories should show, each in the order in which versions are given."""
    found: dict[str, list[View]] = {}
    statement = (
        "SELECT repository, view, version, expires, wave, document, content_position FROM release_view "
        "WHERE repository IN ({}) ORDER BY repository, rank, view"
    )
    for repository, *row in _in(connection, statement, names):
        found.setdefault(repository, []).append(View(*row))
    return found


def published(connection: Connection, repository: str) -> dict[str, Published]:
    """What a repository shows, by view."""
    return published_of(connection, [repository]).get(repository, {})


def published_of(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, Published]]:
    """What repositories show, by view."""
    found: dict[str, dict[str, Published]] = {}
    statement = (
        "SELECT repository, view, version, targets_version, targets_length, targets_sha256, content_position, "
        "snapshot_expires, timestamp_expires, closed FROM release_published WHERE repository IN ({})"
    )
    for repository, view, version, targets, length, sha256, content, snapshot, timestamp, closed in _in(
        connection, statement, names
    ):
        meta = FileMeta(length, sha256)
        shown = Published(view, version, targets, meta, content, snapshot, timestamp, bool(closed))
        found.setdefault(repository, {})[view] = shown
    return found


def given_out(connection: Connection, names: Sequence[str]) -> dict[str, GivenOut]:
    """Up to which numbers repositories got, here or in a ledger that is lost. All of them, the new ones with zeros."""
    found = dict.fromkeys(names, GivenOut(0, 0, 0, 0))
    statement = (
        "SELECT repository, version, root_version, root_at, position FROM release_publication WHERE repository IN ({})"
    )
    for repository, *row in _in(connection, statement, names):
        found[repository] = GivenOut(*row)
    for repository, metadata in _in(
        connection, "SELECT repository, metadata FROM release_raised WHERE repository IN ({})", names
    ):
        found[repository] = found[repository]._replace(version=max(found[repository].version, metadata))
    return found


def _in(connection: Connection, statement: str, names: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(names), _IN):
        part = tuple(names[start : start + _IN])
        yield from query(connection, statement.format(", ".join("?" * len(part))), part).fetchall()


def expired_closed_views(connection: Connection, now: int) -> set[str]:
    """The closed views whose last timestamp has expired, and that are not removed yet."""
    statement = "SELECT view FROM release_published WHERE closed AND timestamp_expires <= ?"
    return {view for (view,) in query(connection, statement, (now,)).fetchall()}


def newest_version(connection: Connection, repository: str) -> int:
    """The last version of timestamp and snapshot that was given out, here or by a ledger that is lost; 0 if none."""
    return given_out(connection, [repository])[repository].version


def raised(connection: Connection, repository: str) -> Raised:
    """The versions that a ledger that is lost gave out, 0 where none is known."""
    statement = "SELECT metadata, targets, position FROM release_raised WHERE repository = ?"
    row = query(connection, statement, (repository,)).fetchone()
    return Raised(0, 0, 0) if row is None else Raised(*row)


def resigned_at(connection: Connection, repository: str, version: int) -> int | None:
    """The position of the event that signed a live document anew under that version; None for none."""
    statement = "SELECT position FROM release_resigned WHERE repository = ? AND version = ?"
    row = query(connection, statement, (repository, version)).fetchone()
    return row[0] if row else None


def document(connection: Connection, repository: str, version: int) -> Shown | None:
    """A targets document that was shown, None when it never was."""
    statement = "SELECT keyid, signature, position FROM release_document WHERE repository = ? AND version = ?"
    row = query(connection, statement, (repository, version)).fetchone()
    return None if row is None else Shown(*row)


def online_keyids(connection: Connection, kind: str) -> dict[str, str]:
    """The keyids of the online keys of ``production`` or ``ci``, by role."""
    return dict(
        query(connection, "SELECT role, keyid FROM release_online_key WHERE repository = ?", (kind,)).fetchall()
    )


def replaced_keys(connection: Connection, kind: str) -> list[Replaced]:
    """The online keys of ``production`` or ``ci`` that ever were replaced, in that order."""
    statement = (
        "SELECT role, keyid, replaced_at, (SELECT max(r.version) FROM release_root r "
        "WHERE r.repository = k.repository AND r.position < k.position) "
        "FROM release_replaced_key k WHERE repository = ? ORDER BY position"
    )
    return [Replaced(*row) for row in query(connection, statement, (kind,)).fetchall()]


def oldest_shown_root(connection: Connection, kind: str) -> int:
    """The lowest version of a root that a repository of ``production`` or ``ci`` shows as its newest; 0 for none."""
    statement = "SELECT min(root_version) FROM release_publication WHERE repository LIKE ?"
    ((version,),) = query(connection, statement, (f"{kind}/%",)).fetchall()
    return int(version or 0)


def roots(connection: Connection, kind: str) -> list[tuple[int, bytes]]:
    """The root chain of ``production`` or ``ci``, oldest first."""
    statement = "SELECT version, metadata FROM release_root WHERE repository = ? ORDER BY version"
    return [(version, metadata.encode()) for version, metadata in query(connection, statement, (kind,)).fetchall()]


def newest_root(connection: Connection, kind: str) -> tuple[int, bytes]:
    """The newest root of ``production`` or ``ci``."""
    statement = "SELECT version, metadata FROM release_root WHERE repository = ? ORDER BY version DESC LIMIT 1"
    ((version, metadata),) = query(connection, statement, (kind,)).fetchall()
    return version, metadata.encode()


def ci_targets(connection: Connection, tag: str) -> dict[str, bytes]:
    """The CI targets with a tag, as canonical JSON by name."""
    statement = (
        "SELECT t.name, t.body FROM release_ci_tag g JOIN release_ci_target t ON t.name = g.name WHERE g.tag = ?"
    )
    return {name: body.encode() for name, body in query(connection, statement, (tag,)).fetchall()}
