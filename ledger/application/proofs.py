"""Checkpoints and proofs, made from the ledger for people who don't have to trust it. `ledger.check` checks them.

Rules of this module:

* A checkpoint is signed for a history that was looked at: the leaves give the head's root, and the root of the newest
  checkpoint at its size. So the ledger's key never signs away a rewritten past.
* Without the ledger's key at hand, the newest checkpoint that is kept is what there is.
* Signing happens outside of any transaction: the key may be slow, or ask a person.
* A proof holds everything that is needed to check it, but for the ledger's public key.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from ledger import merkle
from ledger.check import FORMAT
from ledger.codec import EventUnreadable, decode
from ledger.domain.errors import CheckFailed, NotFound, StorageFailure
from ledger.domain.events import FactoryInitialized
from ledger.domain.values import format_time, from_epoch
from ledger.store import events
from ledger.store.events import Row
from ledger.tuf import note
from ledger.tuf.errors import OnlineKeyMissing
from ledger.tuf.note import Checkpoint
from ledger.tuf.online import OnlineKeys


class NoCheckpoint(NotFound):
    """No checkpoint was ever signed, and the key that could sign one is not here."""

    message = "there is no checkpoint of this ledger yet"
    hint = "waveledger tuf publish signs one, where the online keys are; or name them with WAVELEDGER_ONLINE_KEYS"


class NoCheckpointOfSize(NotFound):
    """The ledger keeps no checkpoint of that size."""

    message = "the ledger keeps no checkpoint of size {size}"
    hint = "it keeps those of the sizes {kept}; any other is given as the file that it is kept in"
    size: int
    kept: str


class NotCovered(NotFound):
    """A checkpoint is older than what is to be proven under it."""

    message = "the checkpoint of size {size} says nothing about {what}"
    hint = (
        "leave --checkpoint out, or give a newer one. Without the ledger's key (WAVELEDGER_ONLINE_KEYS) the newest is "
        "the one of size {newest} that is kept; waveledger tuf publish signs a newer one"
    )
    size: int
    what: str
    newest: int


class HistoryChanged(StorageFailure):
    """The events are not those that the head and the checkpoints of the ledger are about."""

    message = "the events are not those that the ledger's {which} is about"
    hint = "nothing was signed; waveledger audit verify tells what was changed"
    which: str


class CheckpointOfAnotherHistory(CheckFailed):
    """A checkpoint that was given is not about this ledger's events."""

    message = "the checkpoint of {origin} at size {size} is not of this history"
    hint = "waveledger audit verify --checkpoint FILE tells what is different"
    origin: str
    size: int


@dataclass(frozen=True)
class Tree:
    """The ledger as it is now: its name and key, the head, and the newest checkpoint that is kept."""

    factory: str
    ledger_key: str
    size: int
    root: bytes
    newest: Checkpoint | None


def factory_of(connection: Connection) -> FactoryInitialized:
    """The event that the ledger began with. Raises: EventUnreadable."""
    row = events.get(connection, 1)
    event = decode(row.topic, row.payload) if row else None
    if not isinstance(event, FactoryInitialized):
        raise EventUnreadable(topic=row.topic if row else "1", problem="a ledger begins with its factory")
    return event


def read_tree(connection: Connection) -> Tree:
    """Look at the head, and at all leaves. Raises: HistoryChanged, HeadDamaged, NoteDamaged, CheckpointInvalid."""
    factory, head, kept = factory_of(connection), events.head(connection), events.newest_checkpoint(connection)
    newest = note.parse_note(kept.note) if kept else None
    sizes = {head.size} | ({newest.size} if newest else set())
    found = merkle.roots_at(events.leaves(connection, head.size), sizes)
    if newest is not None:
        note.verify(newest, factory.ledger_key)
        if found.get(newest.size) != newest.root:
            raise HistoryChanged(which=f"checkpoint of size {newest.size}")
    if found.get(head.size) != head.root:
        raise HistoryChanged(which="head")
    return Tree(factory.factory, factory.ledger_key, head.size, head.root, newest)


def newest_checkpoint(tree: Tree, keys: OnlineKeys | None) -> Checkpoint:
    """The checkpoint of all of the ledger; without its key the newest that is kept. Raises: NoCheckpoint."""
    if tree.newest is not None and tree.newest.size == tree.size:
        return tree.newest
    if keys is not None:
        try:
            return note.sign_checkpoint(keys.ledger(tree.ledger_key), tree.factory, tree.size, tree.root)
        except OnlineKeyMissing:
            pass  # this machine signs other things
    if tree.newest is None:
        raise NoCheckpoint
    return tree.newest


def kept_checkpoint(connection: Connection, size: int) -> Checkpoint:
    """A checkpoint that the ledger keeps. Raises: NoCheckpointOfSize, NoteDamaged."""
    found = events.checkpoint_of(connection, size)
    if found is None:
        raise NoCheckpointOfSize(size=size, kept=_sizes(connection, size))
    return note.parse_note(found.note)


def _sizes(connection: Connection, near: int) -> str:
    """The sizes of the checkpoints that are kept, in words; of many those around the one that was asked for."""
    sizes = [kept.size for kept in events.checkpoints(connection)]
    place = bisect(sizes, near)
    shown = sizes[max(place - 5, 0) : place + 5]
    told = ", ".join(map(str, shown)) or "none yet"
    more = len(sizes) - len(shown)
    return f"{told} and {more:,} others" if more else told


def _newest_size(connection: Connection) -> int:
    found = events.newest_checkpoint(connection)
    return found.size if found else 0


def inclusion(connection: Connection, row: Row, checkpoint: Checkpoint) -> dict[str, Any]:
    """The proof that an event is in the ledger that the checkpoint is about.

    Raises: NotCovered, when the event is newer than the checkpoint; CheckpointOfAnotherHistory.
    """
    if row.position > checkpoint.size:
        raise NotCovered(size=checkpoint.size, what=f"position {row.position}", newest=_newest_size(connection))
    _require_same(connection, checkpoint)
    leaves = events.leaves(connection, checkpoint.size)
    path = merkle.inclusion_proof(leaves, row.position - 1, checkpoint.size)
    return {
        "format": FORMAT,
        "kind": "inclusion",
        "event": {
            **row._asdict(),
            "recorded_at": format_time(from_epoch(row.recorded_at)),
            "payload": row.payload.decode(),
        },
        "index": row.position - 1,
        "size": checkpoint.size,
        "path": [node.hex() for node in path],
        "checkpoint": checkpoint.note(),
    }


def consistency(connection: Connection, old: Checkpoint, new: Checkpoint) -> dict[str, Any]:
    """The proof that between two checkpoints the ledger only grew. Raises: NotCovered, CheckpointOfAnotherHistory."""
    if old.size > new.size:
        what = f"what came after it: the older one is of size {old.size}"
        raise NotCovered(size=new.size, what=what, newest=_newest_size(connection))
    for checkpoint in (old, new):
        _require_same(connection, checkpoint)
    path = merkle.consistency_proof(events.leaves(connection, new.size), old.size, new.size)
    return {
        "format": FORMAT,
        "kind": "consistency",
        "old": old.note(),
        "new": new.note(),
        "path": [node.hex() for node in path],
    }


def _require_same(connection: Connection, checkpoint: Checkpoint) -> None:
    found = merkle.roots_at(events.leaves(connection, checkpoint.size), {checkpoint.size})
    if found.get(checkpoint.size) != checkpoint.root:
        raise CheckpointOfAnotherHistory(origin=checkpoint.origin, size=checkpoint.size)
