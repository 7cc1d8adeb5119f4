"""Checkpoints: those that the ledger keeps, and one that was kept elsewhere, against the tree over the events.

Rules of this module:

* A checkpoint is signed by the ledger's key, and its root is that of the tree at its size: then the history before it
  is the one that was signed. Without that key nobody makes one for another history.
* Of checkpoints that do not fit, the first is told, and how many follow: they have one cause.
* One that was kept elsewhere also shows what those in the ledger can't: that the end is missing, that an older copy was
  brought back, or that the history and its checkpoints were made again with another key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from ledger.domain.errors import LedgerError
from ledger.domain.events import FactoryInitialized
from ledger.store.events import Checkpoint
from ledger.tuf import note
from projections.audit.findings import Finding


@dataclass
class Checkpoints:
    """What was compared. `kept` was kept elsewhere; `fits` is the greatest size whose checkpoint fits."""

    kept: note.Checkpoint | None = None
    factory: FactoryInitialized | None = None
    seen: set[int] = field(default_factory=set)
    fits: int = 0
    wrong: int = 0
    compared: bool = False

    def look(self, checkpoint: Checkpoint, roots: Collection[bytes]) -> Iterator[Finding]:
        """Compare a checkpoint with the root of the tree at its size; there are two where a row was changed."""
        size = checkpoint.size
        self.seen.add(size)
        try:
            found = note.parse_note(checkpoint.note)
        except (LedgerError, AttributeError, TypeError) as problem:
            yield _wrong(size, "note", f"the checkpoint of size {size} cannot be read: {problem}")
            return
        if (found.note(), found.size) != (checkpoint.note, size):
            yield _wrong(size, "note", f"the checkpoint of size {size} is not as it was written")
        yield from self._look_at_signature(found, "the checkpoint")
        if found.root in roots:
            self.fits = max(self.fits, size)
            return
        self.wrong += 1
        if self.wrong == 1:
            told = f"the first {size:,} events are not those that its checkpoint was signed for{self._since()}"
            yield _wrong(size, "root", told)

    def look_at_kept(self, roots: Collection[bytes]) -> Iterator[Finding]:
        """Compare the one that was kept elsewhere with the root of the tree at its size."""
        assert self.kept is not None  # or there is nothing to compare
        self.compared = True
        yield from self._look_at_signature(self.kept, "the checkpoint that was kept elsewhere")
        if self.kept.root not in roots:
            told = "are not those that the checkpoint kept elsewhere was signed for: the history was rewritten"
            yield _wrong(self.kept.size, "root", f"the first {self.kept.size:,} events {told}{self._since()}")

    def end(self, rows: int, late: Collection[int]) -> Iterator[Finding]:
        """Judge what is beyond the last event: the sizes `late` have a checkpoint and no event."""
        if self.wrong > 1:
            yield _wrong(None, "root", f"{self.wrong - 1:,} later checkpoints do not fit, either")
        for size in sorted(late)[:1]:
            told = f"there is a checkpoint of size {size:,}, and the ledger has {rows:,} events: its end is missing"
            yield _wrong(size, "size", told)
        if self.kept is not None and not self.compared:
            told = "its end is missing, or it is an older copy"
            head = f"the checkpoint kept elsewhere is of size {self.kept.size:,}, and the ledger has {rows:,} events"
            yield _wrong(self.kept.size, "size", f"{head}: {told}")
            yield from self._look_at_signature(self.kept, "the checkpoint that was kept elsewhere")

    def _look_at_signature(self, checkpoint: note.Checkpoint, which: str) -> Iterator[Finding]:
        if self.factory is None:
            return  # said elsewhere
        try:
            note.verify(checkpoint, self.factory.ledger_key)
        except LedgerError:
            yield _wrong(
                checkpoint.size, "note", f"{which} of size {checkpoint.size} is not signed by this ledger's key"
            )
        if checkpoint.origin != note.origin_of(self.factory.factory):
            yield _wrong(checkpoint.size, "note", f"{which} of size {checkpoint.size} is of {checkpoint.origin}")

    def _since(self) -> str:
        return f"; up to {self.fits:,} they are" if self.fits else ""


def _wrong(size: int | None, field_: str, problem: str) -> Finding:
    return Finding(size, "checkpoint", field_, problem)
