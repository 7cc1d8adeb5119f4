"""The ledger as a file for auditors: JSON Lines, written and read as a stream.

Rules of this module. The format is a promise, ``waveledger-export/1``:

* The first line is the manifest: format, factory, the ledger's public key, size, root, how many checkpoints follow, and
  the newest checkpoint of all (a signed note, or null).
* Then every event in order of position, a line each: position, stream, version, topic, recorded_at (RFC 3339), actor,
  and last the payload, byte for byte as it is hashed. Each checkpoint that is kept follows the event of its size.
* There is one way to write a line, so a file that was read and written again is the same.
* An export is of one moment: what is appended while it is written is not in it.
* What does not come out as it went in is refused, and nothing is created: leaves and root are computed anew, every
  checkpoint is compared with the tree and its signature verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import orjson
from sqlalchemy import Connection

from ledger import merkle
from ledger.application.proofs import HistoryChanged, Tree
from ledger.codec import decode
from ledger.domain.errors import LedgerError, StorageFailure
from ledger.domain.events import FactoryInitialized
from ledger.domain.values import format_time, from_epoch, parse_time, to_epoch
from ledger.store import events
from ledger.store.events import Checkpoint, Row
from ledger.tuf import note

FORMAT = "waveledger-export/1"

CHUNK = 500  # events a transaction
LARGEST = 2**63 - 1  # what a database can keep

Reading: TypeAlias = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction that reads."""

_PAYLOAD = b',"payload":'
_EVENT = ("position", "stream", "version", "topic", "recorded_at", "actor")


class ExportRefused(StorageFailure):
    """A file that is not what an export wrote. Nothing was created."""

    message = "line {line} of the export is refused: {problem}"
    hint = "nothing was created; get the file again from where it was exported"
    line: int
    problem: str


class ExportContradictory(StorageFailure):
    """Events that are whole, each of them, and were never one ledger's history. Nothing was created."""

    message = "the events of the export contradict each other: {problem}"
    hint = "nothing was created; no export of a ledger is like that: ask who made the file"
    problem: str


class ExportNewer(StorageFailure):
    """A format of a later version of this program. Nothing was created."""

    message = "the export has the format {format}, of a newer version of waveledger"
    hint = "nothing was created; upgrade waveledger on this machine"
    format: str


class Manifest(NamedTuple):
    """What the first line says. `root` is in hex, `checkpoint` a signed note."""

    format: str
    factory: str
    ledger_key: str
    size: int
    root: str
    checkpoints: int
    checkpoint: str | None


@dataclass(frozen=True)
class Export:
    """What is exported: a manifest, and the sizes of the checkpoints that the ledger kept at that moment."""

    manifest: Manifest
    sizes: frozenset[int]

    @classmethod
    def begin(cls, connection: Connection, tree: Tree, checkpoint: note.Checkpoint | None) -> Export:
        """The ledger as it is now."""
        sizes = frozenset(kept.size for kept in events.checkpoints(connection, until=tree.size))
        text = checkpoint.note() if checkpoint else None
        manifest = Manifest(FORMAT, tree.factory, tree.ledger_key, tree.size, tree.root.hex(), len(sizes), text)
        return cls(manifest, sizes)

    def lines(self, reading: Reading) -> Iterator[bytes]:
        """The lines, read in short transactions: no writer waits. Raises, at the end: HistoryChanged."""
        yield _line(self.manifest._asdict())
        frontier = merkle.Frontier()
        while frontier.size < self.manifest.size:
            until = min(self.manifest.size, frontier.size + CHUNK)
            with reading() as connection:
                rows = list(events.read(connection, after=frontier.size, until=until))
                kept = {c.size: c.note for c in events.checkpoints(connection, frontier.size, until)}
            if not rows:
                break
            for row in rows:
                yield event_line(row)
                frontier = frontier.append(merkle.leaf_hash(merkle.entry(*row)))
                if row.position in kept and row.position in self.sizes:
                    yield _line({"size": row.position, "checkpoint": kept[row.position]})
        if frontier.root().hex() != self.manifest.root:
            raise HistoryChanged(which="head")


def read_manifest(line: bytes) -> Manifest:
    """The manifest of an export's first line. Raises: ExportNewer, and what reading other things raises."""
    found: Any = orjson.loads(line)
    text = str(found["format"])
    if text.startswith("waveledger-export/") and text != FORMAT:
        raise ExportNewer(format=text[:100])
    manifest = Manifest(**found)
    if [type(value) for value in manifest[:-1]] != [str, str, str, int, str, int]:
        raise ValueError("its fields are not the text and numbers of a manifest")
    if manifest.checkpoint is not None and type(manifest.checkpoint) is not str:
        raise ValueError("its checkpoint is no text")
    if not 1 <= manifest.size <= LARGEST or manifest.checkpoints < 0:
        raise ValueError("it counts what no ledger has")
    if manifest.format != FORMAT or _line(manifest._asdict()) != line:
        raise ValueError("it is not written as an export writes it")
    return manifest


def event_line(row: Row) -> bytes:
    """An event as its line, the inverse of `read_event`."""
    head = _line({**{name: getattr(row, name) for name in _EVENT}, "recorded_at": _time(row.recorded_at)})
    return b"".join((head[:-2], _PAYLOAD, row.payload, b"}\n"))


def read_event(line: bytes) -> Row:
    """The event of a line. Raises: ValueError, when it is not as an export writes it."""
    head, separator, rest = line.partition(_PAYLOAD)
    if not separator or not rest.endswith(b"}\n"):
        raise ValueError("it is not an event: it has no payload")
    fields = orjson.loads(head + b"}")
    fields["recorded_at"] = to_epoch(parse_time(fields["recorded_at"]))
    row = Row._make([*(fields[name] for name in _EVENT), rest[:-2]])
    if [type(value) for value in row] != [int, str, int, str, int, str, bytes] or event_line(row) != line:
        raise ValueError("it is not written as an export writes it")
    if not 1 <= row.version <= LARGEST or row.recorded_at < 0:
        raise ValueError("its version is below 1 or too high, or its time before 1970")
    if any("\0" in text for text in (row.stream, row.topic, row.actor)):
        raise ValueError("it has a NUL in a text, which not every database can keep")
    return row


@dataclass
class Reader:
    """Reads an export, line by line, and refuses what does not fit; `manifest` is there after the first line."""

    lines: Iterator[bytes]
    manifest: Manifest = field(init=False)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    _number: int = 1
    _frontier: merkle.Frontier = field(default_factory=merkle.Frontier)
    _head: note.Checkpoint | None = None
    _versions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the manifest. Raises: ExportRefused, ExportNewer."""
        try:
            self.manifest = read_manifest(next(self.lines, b""))
            if self.manifest.checkpoint is not None:
                self._head = note.parse_note(self.manifest.checkpoint)
                note.verify(self._head, self.manifest.ledger_key)
        except ExportNewer:
            raise
        except (ValueError, KeyError, TypeError, LedgerError) as problem:
            raise self._refused(f"it is not the manifest of an export: {problem}") from None

    def rows(self) -> Iterator[Row]:
        """The events, in order; after the last one the root was compared. Raises: ExportRefused and the codec's."""
        for line in self.lines:
            self._number += 1
            if line.startswith(b'{"size":'):
                self._checkpoint(line)
                continue
            row = self._event(line)
            self._frontier = self._frontier.append(merkle.leaf_hash(merkle.entry(*row)))
            self._look_at_head()
            yield row
        self._number += 1
        if self._frontier.size != self.manifest.size or len(self.checkpoints) != self.manifest.checkpoints:
            found = f"{self._frontier.size} events and {len(self.checkpoints)} checkpoints"
            raise self._refused(f"it ends after {found}, of {self.manifest.size} and {self.manifest.checkpoints}")
        if self._frontier.root().hex() != self.manifest.root:
            raise self._refused("the events do not have the root that the manifest says")
        if self._head is not None and self._head.size > self._frontier.size:
            raise self._refused("the manifest's checkpoint is of more events")

    def _event(self, line: bytes) -> Row:
        try:
            row = read_event(line)
        except (ValueError, KeyError, TypeError, LedgerError) as problem:
            raise self._refused(str(problem)) from None
        if row.position != self._frontier.size + 1 or row.position > self.manifest.size:
            raise self._refused(f"position {row.position} cannot follow {self._frontier.size}")
        last = self._versions.get(row.stream, 0)
        if row.version != last + 1:
            raise self._refused(f"version {row.version} of {row.stream[:100]} cannot follow {last}")
        self._versions[row.stream] = row.version
        event = decode(row.topic, row.payload)
        if row.position == 1:
            said = FactoryInitialized(self.manifest.factory, self.manifest.ledger_key)
            if event != said:
                raise self._refused("factory and ledger key are not those of the manifest")
        return row

    def _checkpoint(self, line: bytes) -> None:
        try:
            read = note.parse_note(orjson.loads(line)["checkpoint"])
            note.verify(read, self.manifest.ledger_key)
        except (ValueError, KeyError, TypeError, AttributeError, LedgerError) as problem:
            raise self._refused(str(problem)) from None
        if line != _line({"size": read.size, "checkpoint": read.note()}):
            raise self._refused("it is not written as an export writes it")
        last = self.checkpoints[-1].size if self.checkpoints else 0
        if not last < read.size == self._frontier.size or read.root != self._frontier.root():
            raise self._refused(f"the checkpoint of size {read.size} is not that of the events before it")
        self.checkpoints.append(Checkpoint(read.size, read.note()))

    def _look_at_head(self) -> None:
        if (
            self._head is not None
            and self._head.size == self._frontier.size
            and (self._head.root != self._frontier.root())
        ):
            raise self._refused("the manifest's checkpoint is not that of the events")

    def _refused(self, problem: str) -> ExportRefused:
        return ExportRefused(line=self._number, problem=problem)


def _line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"


def _time(seconds: int) -> str:
    return format_time(from_epoch(seconds))
