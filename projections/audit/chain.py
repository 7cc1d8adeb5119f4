"""The chain: every row, its leaf, and the Merkle tree over them, against the head and the signed checkpoints.

Rules of this module:

* What is hashed are the fields as they are stored now. A row whose leaf is another one was changed; whether the fields
  or the leaf, the head tells, which knows the root.
* After a changed row the tree over the stored leaves is followed beside that over the hashed ones, so that one changed
  row is one finding, and not one at each checkpoint after it.
* A root that a checkpoint signs proves the whole history before it. Of checkpoints that do not fit, the first is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ledger.merkle import HASH_BYTES, Frontier, entry, leaf_hash
from ledger.store.errors import PayloadDamaged
from ledger.store.events import Row, Stored
from projections.audit.findings import Finding

_MOST = 1000  # changed rows that are told one by one
_TYPES = {"position": int, "stream": str, "version": int, "topic": str, "recorded_at": int, "actor": str, "leaf": bytes}
_TEXTS = ("stream", "topic", "actor")
_LIMIT = 2**63


@dataclass
class Chain:
    """The state after the rows so far. `rows` is how many there were, `position` the last one's."""

    rows: int = 0
    position: int = 0
    recorded_at: int = 0
    hashed: Frontier = field(default_factory=Frontier)
    stored: Frontier | None = None  # over the leaves as they are stored, from the first changed row on
    versions: dict[str, int] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)
    row: Row | None = None

    def look(self, row: Stored) -> Iterator[Finding]:
        """Judge the next row on its own and after those before it; `row` is it, as far as it can be read."""
        self.row = None
        if row.position != self.position + 1:
            missing = f"{row.position - self.position - 1:,} events are missing before it"
            yield Finding(row.position, "chain", "position", f"expected position {self.position + 1}: {missing}")
        self.rows += 1
        self.position = row.position
        wrong = _mistyped(row)
        if wrong is None:
            yield from self._look_at_order(row)
            try:
                self.row = Row(*row[:6], row.plain())
            except PayloadDamaged as problem:
                told = f"its payload or encoding was changed: {problem.problem}"
                yield Finding(row.position, "chain", "payload", told)
        else:
            yield Finding(row.position, "chain", wrong, f"its {wrong} is not a value that was ever appended")
        self._grow(row)

    def roots(self) -> tuple[bytes, ...]:
        """The root of the tree now; of both trees, where a row was changed."""
        return (self.hashed.root(),) if self.stored is None else (self.stored.root(), self.hashed.root())

    def _look_at_order(self, row: Stored) -> Iterator[Finding]:
        before = self.versions.get(row.stream, 0)
        if row.version != before + 1:
            problem = f"{row.stream} was at version {before}, so this is {before + 1} and not {row.version}"
            yield Finding(row.position, "chain", "version", problem)
        self.versions[row.stream] = row.version
        if row.recorded_at < self.recorded_at:
            problem = f"it is {self.recorded_at - row.recorded_at:,} seconds before the event before it"
            yield Finding(row.position, "chain", "recorded_at", problem)
        self.recorded_at = max(self.recorded_at, row.recorded_at)

    def _grow(self, row: Stored) -> None:
        leaf = leaf_hash(entry(*self.row)) if self.row else bytes(HASH_BYTES)
        kept = row.leaf if isinstance(row.leaf, bytes) else b""
        if leaf != kept:
            self.stored = self.stored or self.hashed
            if self.row and len(self.changed) < _MOST:
                self.changed.append(row.position)
        self.hashed = self.hashed.append(leaf)
        if self.stored is not None:
            self.stored = self.stored.append(kept)

    def end(self, head: list[tuple[Any, ...]], count: int) -> Iterator[Finding]:
        """Judge the head, which is (id, size, frontier, recorded_at), and how many rows there are in all."""
        if count != self.rows:
            yield Finding(None, "chain", "position", f"{count - self.rows:,} rows are at positions that there are not")
        if len(head) != 1 or head[0][0] != 1:
            yield Finding(None, "head", "id", f"the head is one row, and there are {len(head)}")
            yield from self._tell_changed(None)
            return
        _, size, frontier, recorded_at = head[0]
        yield from self._tell_changed(frontier)
        if size != self.rows:
            gone = f": {size - self.rows:,} events are missing at the end" if _more(size, self.rows) else ""
            yield Finding(None, "head", "size", f"it says {size} events, and there are {self.rows}{gone}")
        if frontier not in self._frontiers():
            yield Finding(None, "head", "frontier", "its Merkle tree is not the one over these events")
        if recorded_at != self.recorded_at:
            problem = f"it says that the newest event is of {recorded_at}, and it is of {self.recorded_at}"
            yield Finding(None, "head", "recorded_at", problem)

    def _frontiers(self) -> list[bytes]:
        return [tree.to_bytes() for tree in (self.hashed, self.stored) if tree is not None]

    def _tell_changed(self, frontier: bytes | None) -> Iterator[Finding]:
        for position in self.changed:
            if self.stored is not None and frontier == self.stored.to_bytes():
                told = "its fields were changed (stream, version, topic, time, actor or payload); its leaf was not"
                yield Finding(position, "chain", "payload", told)
            elif frontier == self.hashed.to_bytes():
                yield Finding(position, "chain", "leaf", "its leaf was changed; its fields were not")
            else:
                yield Finding(position, "chain", "leaf", "its fields and its leaf do not belong together")


def _mistyped(row: Stored) -> str | None:
    """The first field that is of no type or size that was ever appended."""
    position, stream, version, topic, recorded_at, actor, _, leaf, _ = row
    if (
        (type(position), type(version), type(recorded_at)) == (int, int, int)
        and (type(stream), type(topic), type(actor), type(leaf)) == (str, str, str, bytes)
        and recorded_at >= 0 < version < _LIMIT
    ):
        # Text that is not UTF-8 comes with surrogates for it (`projections.audit.history`).
        return next((name for name in _TEXTS if not _is_utf8(getattr(row, name))), None)
    wrong = (name for name, kind in _TYPES.items() if type(getattr(row, name)) is not kind)
    return next(wrong, "recorded_at" if recorded_at < 0 else "version")


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _more(size: object, rows: int) -> bool:
    return isinstance(size, int) and size > rows
