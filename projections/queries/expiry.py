"""What clients hold that expires, and roots that some clients could not follow.

Rules of this module:

* Everything that a client would refuse once it is old: roots, production, wave and held documents, CI documents,
  timestamps. Closed views are left out: they are to expire.
* Half of a life is the time to renew; `since` is when it was signed, or when the ledger began to know it.
* python-tuf's client loads 256 roots above the one that it was made with and never more (tests/emitter/
  test_root_chain.py); we count on 255. A warning comes when 200 of those are used: new devices need a newer root then,
  and old ones an update.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, text

from projections.tuf.state import CI_SECONDS

ROOTS_TO_FOLLOW = 255  # above the one that a client was made with (the same as verify's, which imports much)
ROOTS_TO_WARN = 200

# When a document was signed: its tag's re-sign, else its wave's, else the wave's init.
_WAVE_SIGNED_AT = (
    "coalesce((SELECT max(e.recorded_at) FROM event e WHERE e.stream = 'wave:' || w.wave "
    "AND e.topic = 'wave.resigned/1'), w.created_at)"
)
_SIGNED_AT = (
    "coalesce((SELECT e.recorded_at FROM release_resigned r JOIN event e ON e.position = r.position "
    f"WHERE r.repository = v.repository AND r.version = v.version), {_WAVE_SIGNED_AT})"
)


class Kind(StrEnum):
    """What it is that expires, and so who can renew it with which key."""

    PRODUCTION_ROOT = "production root"
    CI_ROOT = "ci root"
    DOCUMENT = "document"
    ONLINE = "online"


class Renewal(NamedTuple):
    """How something is renewed: whose keys it takes (``root``, ``targets`` or ``online``), and the command."""

    keys: str
    command: str


_RENEWALS = {
    Kind.PRODUCTION_ROOT: Renewal("root", "waveledger keys tuf renew-root --keys root.keys.tgz"),
    Kind.CI_ROOT: Renewal("online", "waveledger tuf refresh, where the CI root's key is"),
    Kind.DOCUMENT: Renewal("targets", "waveledger targets resign {owner} -k KEYS"),
    Kind.ONLINE: Renewal("online", "waveledger tuf refresh"),
}


class Expiry(NamedTuple):
    """Something that expires: `since` and `expires` in seconds since 1970; `owner` is a document's tag or wave."""

    kind: Kind
    what: str
    since: int
    expires: int
    owner: str = ""

    def is_expired(self, now: int) -> bool:
        """Whether clients refuse it."""
        return self.expires <= now

    def is_aged(self, now: int) -> bool:
        """Whether half of its life is over."""
        return 2 * now >= self.since + self.expires

    def renewal(self) -> Renewal:
        """Who must act, and how."""
        found = _RENEWALS[self.kind]
        return found._replace(command=found.command.format(owner=self.owner))


class LongChain(NamedTuple):
    """A root chain that clients made with its first root can follow for `left` more versions."""

    repository: str
    first: int
    newest: int
    left: int


def expiries(connection: Connection) -> list[Expiry]:
    """All of them, what expires first at the beginning."""
    found = [*_roots(connection), *_documents(connection), *_ci_documents(connection), *_timestamps(connection)]
    return sorted(found, key=lambda expiry: (expiry.expires, expiry.what))


def refresh_before(connection: Connection) -> int | None:
    """When half of the life of the oldest timestamp is over; None when nothing is published."""
    statement = text("SELECT min(signed_at + timestamp_expires) FROM release_published WHERE NOT closed")
    doubled = connection.execute(statement).scalar()
    return None if doubled is None else -(-doubled // 2)


def root_aged(connection: Connection, repository: str, now: int) -> bool:
    """Whether half of the life of ``production``'s or ``ci``'s root is over."""
    return any(root.is_aged(now) for root in _roots(connection) if root.kind is _root_kind(repository))


def long_chains(connection: Connection) -> list[LongChain]:
    """The root chains that have used up most of what clients can follow."""
    rows = connection.execute(
        text("SELECT repository, min(version), max(version) FROM release_root GROUP BY repository ORDER BY repository")
    )
    chains = [LongChain(name, first, newest, first + ROOTS_TO_FOLLOW - newest) for name, first, newest in rows]
    return [chain for chain in chains if chain.newest >= chain.first + ROOTS_TO_WARN]


def _root_kind(repository: str) -> Kind:
    return Kind.CI_ROOT if repository == "ci" else Kind.PRODUCTION_ROOT


def _roots(connection: Connection) -> list[Expiry]:
    rows = connection.execute(
        text(
            "SELECT r.repository, r.version, r.expires, e.recorded_at FROM release_root r "
            "JOIN event e ON e.position = r.position WHERE r.version = "
            "(SELECT max(version) FROM release_root n WHERE n.repository = r.repository)"
        )
    )
    return [
        Expiry(_root_kind(repository), f"the {repository} root, version {version},", since, expires)
        for repository, version, expires, since in rows
    ]


def _documents(connection: Connection) -> list[Expiry]:
    """Those of production, held and wave views, and those of a wave that waits for its first rollout."""
    shown = connection.execute(
        text(
            f"SELECT v.view, v.repository, v.expires, {_SIGNED_AT} FROM release_view v "
            "JOIN release_wave w ON w.wave = v.wave"
        )
    )
    found = []
    for view, repository, expires, since in shown:
        kind, _, name = view.partition("/")
        owner = name if kind == "wave" else repository.partition("/")[2]
        found.append(Expiry(Kind.DOCUMENT, f"the targets of view {view}", since, expires, owner))
    waiting = connection.execute(
        text(
            f"SELECT w.wave, w.expires, {_WAVE_SIGNED_AT} FROM release_wave w WHERE w.status = 'active' "
            "AND 'wave/' || w.wave NOT IN (SELECT view FROM release_view)"
        )
    )
    found += [
        Expiry(Kind.DOCUMENT, f"the targets of wave {wave}, not rolled out yet,", since, expires, wave)
        for wave, expires, since in waiting
    ]
    return found


def _ci_documents(connection: Connection) -> list[Expiry]:
    rows = connection.execute(
        text("SELECT view, snapshot_expires FROM release_published WHERE NOT closed AND content_position IS NOT NULL")
    )
    return [Expiry(Kind.ONLINE, f"the targets of view {view}", expires - CI_SECONDS, expires) for view, expires in rows]


def _timestamps(connection: Connection) -> list[Expiry]:
    rows = connection.execute(text("SELECT view, signed_at, timestamp_expires FROM release_published WHERE NOT closed"))
    return [Expiry(Kind.ONLINE, f"the timestamp of view {view}", since, expires) for view, since, expires in rows]
