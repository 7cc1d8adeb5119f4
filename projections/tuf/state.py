"""What each TUF repository should show, what it shows, and whether the two are the same.

Rules of this module (DESIGN §4):

* A repository is ``production/<tag>`` or ``ci/<tag>``; its views are given their version numbers in the direction
  devices move: production, then held, then the wave.
* A repository is due when a view is missing, shows another document, or has to be closed or removed; or when its
  root chain grew. A refresh also takes those whose timestamps or CI documents are past half of their life.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from ledger.store import bulk
from ledger.store import engine as store

TIMESTAMP_SECONDS = 7 * 86_400  # after that without a refresh every client fails closed, and heals at the next one
GRACE_SECONDS = 86_400  # a closed view outlives its timestamp by this, for clients with slow clocks
CI_SECONDS = 365 * 86_400  # the life of a CI document, signed online

_DUE = """
SELECT v.repository FROM release_view v LEFT JOIN release_published p ON p.view = v.view AND NOT p.closed
WHERE p.view IS NULL OR p.targets_version <> v.version OR p.content_position <> v.content_position
UNION
SELECT p.repository FROM release_published p LEFT JOIN release_view v ON v.view = p.view
WHERE (v.view IS NULL AND NOT p.closed) OR (p.closed AND p.timestamp_expires + :grace <= :now)
UNION
SELECT p.repository FROM release_publication p WHERE p.root_version < (SELECT max(version) FROM release_root r
WHERE p.repository LIKE r.repository || '/%')
"""

_AGED = """
SELECT repository FROM release_published WHERE NOT closed AND (2 * :now >= signed_at + timestamp_expires
OR (content_position IS NOT NULL AND 2 * (snapshot_expires - :now) <= :ci))
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
    content_position: int | None
    snapshot_expires: int
    timestamp_expires: int
    closed: bool


class Shown(NamedTuple):
    """A targets document that was shown: its online signature, and the position of the event that showed it first."""

    keyid: str
    signature: str
    position: int


def due(connection: Connection, now: int, *, refresh: bool = False) -> list[str]:
    """The repositories that a publication would change; with `refresh`, also those that grow old."""
    found = set(connection.execute(text(_DUE), {"now": now, "grace": GRACE_SECONDS}).scalars())
    if refresh:
        found |= set(connection.execute(text(_AGED), {"now": now, "ci": CI_SECONDS}).scalars())
    return sorted(found)


def repositories(connection: Connection) -> list[str]:
    """All repositories that ever were published."""
    return list(connection.execute(text("SELECT repository FROM release_publication ORDER BY repository")).scalars())


def views(connection: Connection, repository: str) -> list[View]:
    """What a repository should show, in the order in which versions are given."""
    rows = connection.execute(
        text(
            "SELECT view, version, expires, wave, document, content_position FROM release_view "
            "WHERE repository = :repository ORDER BY rank, view"
        ),
        {"repository": repository},
    )
    return [View(*row) for row in rows]


def published(connection: Connection, repository: str) -> dict[str, Published]:
    """What a repository shows, by view."""
    rows = connection.execute(
        text(
            "SELECT view, version, targets_version, content_position, snapshot_expires, timestamp_expires, closed "
            "FROM release_published WHERE repository = :repository"
        ),
        {"repository": repository},
    )
    return {view: Published(view, v, t, c, s, e, bool(closed)) for view, v, t, c, s, e, closed in rows}


def expired_closed_views(connection: Connection, now: int) -> set[str]:
    """The closed views whose last timestamp has expired, and that are not removed yet."""
    statement = text("SELECT view FROM release_published WHERE closed AND timestamp_expires <= :now")
    return set(connection.execute(statement, {"now": now}).scalars())


def newest_version(connection: Connection, repository: str) -> int:
    """The last version of timestamp and snapshot that was given out, 0 if none."""
    statement = text("SELECT version FROM release_publication WHERE repository = :repository")
    return int(connection.execute(statement, {"repository": repository}).scalar() or 0)


def document(connection: Connection, repository: str, version: int) -> Shown | None:
    """A targets document that was shown, None when it never was."""
    statement = text(
        "SELECT keyid, signature, position FROM release_document WHERE repository = :repository AND version = :version"
    )
    row = connection.execute(statement, {"repository": repository, "version": version}).first()
    return None if row is None else Shown(*row)


def online_keyids(connection: Connection, kind: str) -> dict[str, str]:
    """The keyids of the online keys of ``production`` or ``ci``, by role."""
    statement = text("SELECT role, keyid FROM release_online_key WHERE repository = :kind")
    return dict(connection.execute(statement, {"kind": kind}).all())


def roots(connection: Connection, kind: str) -> list[tuple[int, bytes]]:
    """The root chain of ``production`` or ``ci``, oldest first."""
    statement = text("SELECT version, metadata FROM release_root WHERE repository = :kind ORDER BY version")
    return [(version, metadata.encode()) for version, metadata in connection.execute(statement, {"kind": kind})]


def ci_targets(connection: Connection, tag: str) -> dict[str, bytes]:
    """The CI targets with a tag, as canonical JSON by name."""
    statement = text(
        "SELECT t.name, t.body FROM release_ci_tag g JOIN release_ci_target t ON t.name = g.name WHERE g.tag = :tag"
    )
    return {name: body.encode() for name, body in connection.execute(statement, {"tag": tag})}


def remember_written(engine: Engine, versions: Mapping[str, int]) -> None:
    """Keep which versions reached a destination: only then is a view published for its devices."""
    with store.reading(engine) as connection:
        rows = connection.execute(text("SELECT repository, version FROM written"))
        known = {name: version for name, version in rows}  # noqa: C416  rows are not pairs to the type checker
    news = [(name, version) for name, version in versions.items() if known.get(name, 0) < version]
    if news:
        with store.writing(engine) as connection:
            bulk.execute(
                connection,
                "INSERT INTO written (repository, version) VALUES (?, ?) "
                "ON CONFLICT (repository) DO UPDATE SET version = excluded.version",
                news,
            )
