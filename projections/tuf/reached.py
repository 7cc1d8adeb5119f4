"""Which publications reached which destination: notes of what was done, so that a wave command need not look at all.

Rules of this module:

* `written` says for each repository which version reached some destination: only then is a view published.
* `reached` says for each destination up to which position all publications are there to their last step; repositories
  that were in trouble have a row of their own, and are tried again by every command.
* Notes can be wrong about a place that somebody cleared. They spare work to wave commands; `tuf publish` and
  `tuf refresh` look at everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from ledger.store import bulk
from ledger.store import engine as store

_ALL = ""  # the row of all repositories but those that have their own

_UNREACHED = """
SELECT p.repository, coalesce(o.position, a.position, 0) FROM release_publication p
LEFT JOIN reached o ON o.destination = ? AND o.repository = p.repository
LEFT JOIN reached a ON a.destination = ? AND a.repository = ''
WHERE p.position > coalesce(o.position, a.position, 0)
"""


def unreached(connection: Connection, destination: str) -> dict[str, int]:
    """The repositories whose newest publication is not known to be there, and up to which position they are."""
    return _pairs(connection, _UNREACHED, (destination, destination))


def newest_position(connection: Connection) -> int:
    """The position of the newest publication of all."""
    ((position,),) = bulk.query(connection, "SELECT max(position) FROM release_publication").fetchall()
    return int(position or 0)


class Noted(NamedTuple):
    """What is remembered: the version of each repository that reached some destination, and the marks of one."""

    written: dict[str, int]
    marks: dict[str, int]


def noted(connection: Connection, destination: str) -> Noted:
    """What is remembered."""
    marks = "SELECT repository, position FROM reached WHERE destination = ?"
    return Noted(
        _pairs(connection, "SELECT repository, version FROM written", ()), _pairs(connection, marks, (destination,))
    )


def remember(
    engine: Engine,
    destination: str,
    before: Noted,
    position: int,
    versions: Mapping[str, int],
    failed: Collection[str],
) -> None:
    """Keep that all publications up to a position are there, but for the repositories that failed.

    `before` is what was remembered, `versions` are those that each repository's timestamps have there.
    """
    marks = {_ALL: position, **dict.fromkeys(failed, 0)}
    news = [(name, version) for name, version in versions.items() if before.written.get(name, 0) < version]
    if not news and before.marks == marks:
        return
    with store.writing(engine) as connection:
        bulk.execute(
            connection,
            "INSERT INTO written (repository, version) VALUES (?, ?) "
            "ON CONFLICT (repository) DO UPDATE SET version = excluded.version "
            "WHERE written.version < excluded.version",
            news,
        )
        bulk.execute(connection, "DELETE FROM reached WHERE destination = ?", [(destination,)])
        bulk.execute(
            connection,
            "INSERT INTO reached (destination, repository, position) VALUES (?, ?, ?)",
            [(destination, repository, at) for repository, at in marks.items()],
        )


def _pairs(connection: Connection, statement: str, values: tuple[str, ...]) -> dict[str, int]:
    return {str(name): int(number) for name, number in bulk.query(connection, statement, values).fetchall()}
