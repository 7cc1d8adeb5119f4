"""What publications that are read at one moment have in common: the head, the roots, the online keys, the views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.codec import decode
from ledger.domain.events import FactoryInitialized
from ledger.store import events
from ledger.tuf import note, roots
from ledger.tuf.online import OnlineKeys
from projections.tuf import state
from projections.tuf.drafts import Documents

REPLACED_SECONDS = 86_400
"""How long a replaced online key signs along, from the publication that shows the root without it: clients that are in
the middle of a refresh then know only the root before."""


@dataclass
class Trust:
    """The newest root of ``production`` or ``ci``, and the online keys to sign with."""

    root: Root
    version: int
    keyids: dict[str, str]
    replaced: list[state.Replaced]

    @classmethod
    def read(cls, connection: Connection, kind: str) -> Trust:
        """Read it."""
        version, metadata = state.newest_root(connection, kind)
        keyids = state.online_keyids(connection, kind)
        return cls(roots.load_root(metadata).signed, version, keyids, state.replaced_keys(connection, kind))

    def along(self, role: str, before: state.GivenOut, now: int) -> list[str]:
        """The replaced keys of a role that sign along, in a repository that has got as far as `before`."""
        since = now - REPLACED_SECONDS
        first = before.root_version if before.root_at > since else before.root_version + 1
        return [
            key.keyid for key in self.replaced if key.role == role and (key.at > since or key.root_version >= first)
        ]


@dataclass
class Moment:
    """What publications that are read at one moment have in common."""

    keys: OnlineKeys
    now: int
    trust: dict[str, Trust]
    head: tuple[str, str, int, bytes]
    views: dict[str, list[state.View]]
    published: dict[str, dict[str, state.Published]]
    before: dict[str, state.GivenOut]
    documents: Documents

    @classmethod
    def read(cls, connection: Connection, keys: OnlineKeys, names: Sequence[str], now: int, read: Documents) -> Moment:
        """Read the head, the roots, the versions and the views; `read` are the documents that were read before."""
        factory, head = _factory(connection), events.head(connection)
        return cls(
            keys,
            now,
            {kind: Trust.read(connection, kind) for kind in {name.partition("/")[0] for name in names}},
            (factory.ledger_key, factory.factory, head.size, head.root),
            state.views_of(connection, names),
            state.published_of(connection, names),
            state.given_out(connection, names),
            read,
        )

    @cached_property
    def checkpoint(self) -> note.Checkpoint:
        """The ledger's newest checkpoint. First asked for outside of any transaction: its key may be slow."""
        ledger_key, origin, size, root = self.head
        return note.sign_checkpoint(self.keys.ledger(ledger_key), origin, size, root)


def _factory(connection: Connection) -> FactoryInitialized:
    first = events.get(connection, 1)
    assert first is not None  # a store is created together with its first event
    event = decode(first.topic, first.payload)
    assert isinstance(event, FactoryInitialized)
    return event
