"""The error of a history that no state machine of this ledger could have written."""

from __future__ import annotations

from ledger.domain.errors import StorageFailure


class IllegalEvent(StorageFailure):
    """An event that the state before it does not admit: evolve never guesses."""

    message = "illegal history: {event} cannot follow in the state {state}"
    hint = "the ledger was damaged or changed by hand: run 'waveledger audit verify' and restore from a backup"
    event: str
    state: str
