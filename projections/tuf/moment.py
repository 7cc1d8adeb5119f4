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

REPLACED_SECONDS = 86_400  # a replaced online key signs along for this long, for clients in the middle of a refresh


@dataclass
class Trust:
    """The newest root of ``production`` or ``ci``, and the online keys to sign with."""

    root: Root
    version: int
    keyids: dict[str, str]
    replaced: dict[str, list[str]]

    @classmethod
    def read(cls, connection: Connection, kind: str, now: int) -> Trust:
        """Read it."""
        version, metadata = state.newest_root(connection, kind)
        keyids = state.online_keyids(connection, kind)
        replaced = state.replaced_keyids(connection, kind, now - REPLACED_SECONDS)
        return cls(roots.load_root(metadata).signed, version, keyids, replaced)


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

    @classmethod
    def read(cls, connection: Connection, keys: OnlineKeys, names: Sequence[str], now: int) -> Moment:
        """Read the head, the roots, the versions and the views."""
        factory, head = _factory(connection), events.head(connection)
        return cls(
            keys,
            now,
            {kind: Trust.read(connection, kind, now) for kind in {name.partition("/")[0] for name in names}},
            (factory.ledger_key, factory.factory, head.size, head.root),
            state.views_of(connection, names),
            state.published_of(connection, names),
            state.given_out(connection, names),
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
