"""Waves that wait for signatures while the root's keys change.

Rules of this module:

* Nobody saw such a wave, so it needs no other version for another root: its documents stay as they are, and so do the
  signatures of keys that stay. Who signs for a change of keys approves no wave by it.
* What a change of keys leaves of them is decided when it is recorded: a signature that came meanwhile is not lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.application import waves
from ledger.application.live import Owned
from ledger.domain import wave
from ledger.domain.events import WaveHoldersChanged
from ledger.domain.wave import ActiveWave


@dataclass(frozen=True)
class Waiting:
    """A wave that waits for signatures: what the next root changes for it, and the keys whose signatures it keeps."""

    changed: WaveHoldersChanged
    keyids: tuple[str, ...]
    missing: int

    @property
    def owner(self) -> str:
        """The wave's stream."""
        return f"wave:{self.changed.wave}"


def waiting(
    connection: Connection, owners: Iterable[Owned], root: Root, signed_anew: Collection[str]
) -> tuple[Waiting, ...]:
    """What the next root changes for waves that wait; those that are `signed_anew` with it (owners) are left out."""
    found = []
    for owned in owners:
        if owned.ready or owned.owner in signed_anew:
            continue
        state = waves.fold_wave(connection, owned.owner.partition(":")[2])
        assert isinstance(state, ActiveWave)  # it is live, and not ready
        role = root.roles["targets"]
        event = wave.change_holders(state, role.keyids, root.version, role.threshold)
        if event is not None:
            after = wave.evolve(state, event)
            assert isinstance(after, ActiveWave)
            keyids = tuple(by.keyid for by in after.signed)
            found.append(Waiting(event, keyids, after.needed - len(keyids)))
    return tuple(found)
