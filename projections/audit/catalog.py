"""CI targets: their names, their contents, and the documents that list them.

Rules of this module (DESIGN §2, §4):

* A CI target's name stands for one content for ever; only what is known is pruned.
* A wave brings targets as CI made them.
* A CI document lists the targets with its tag as they were when it was drawn up, which is what the checkpoint beside it
  says (`projections.audit.views`). Nobody signs it but machines, so this is what keeps them honest. What was imported
  between reading and recording is the next document's.
* So what a tag's targets were is kept from the moment of its last publication on, change by change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import orjson

from ledger.domain.errors import LedgerError
from ledger.domain.events import (
    CiTargetsImported,
    CiTargetsPruned,
    DocumentPublished,
    MetadataPublished,
    WaveInitialized,
)
from ledger.domain.values import JsonObject, JsonValue, format_time, to_epoch
from ledger.tuf import documents
from projections.audit.carried import carried_by
from projections.audit.findings import Entry, Finding, some
from projections.tuf.state import CI_SECONDS


class _Move(NamedTuple):
    """A target of a tag changed, came or went: the hash that it had before, None for none."""

    position: int
    name: str
    before: bytes | None


class _Shown(NamedTuple):
    """The newest document of a tag: its version, the position that it says, and its expiry in seconds since 1970."""

    version: int
    content_position: int
    expires: int


@dataclass
class _Tagged:
    """The targets of a tag by name, the changes since it was last published, and where it changed before those."""

    targets: dict[str, bytes] = field(default_factory=dict)
    moves: list[_Move] = field(default_factory=list)
    moved: int = 0
    shown: _Shown | None = None

    def put(self, position: int, name: str, digest: bytes | None) -> None:
        """Take in what a name is from now on."""
        self.moves.append(_Move(position, name, self.targets.pop(name, None)))
        if digest is not None:
            self.targets[name] = digest

    def at(self, position: int) -> tuple[int, dict[str, bytes]]:
        """Where the targets had changed last at a position, and what they were."""
        targets = dict(self.targets)
        for move in reversed(self.moves):
            if move.position <= position:
                return move.position, targets
            targets.pop(move.name, None)
            if move.before is not None:
                targets[move.name] = move.before
        return self.moved, targets

    def forget(self, position: int) -> None:
        """Drop the changes up to a position."""
        self.moved = max((move.position for move in self.moves if move.position <= position), default=self.moved)
        self.moves = [move for move in self.moves if move.position > position]


@dataclass
class Catalog:
    """The content that each name stands for, the tags of those served now, and each tag's targets."""

    contents: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tagged: dict[str, _Tagged] = field(default_factory=dict)

    def look(self, entry: Entry) -> Iterator[Finding]:
        """Judge the next event."""
        match entry.event:
            case CiTargetsImported(_, targets):
                for name, body in targets.items():
                    content = _content(body)
                    if self.contents.setdefault(name, content) != content:
                        told = f"CI target {name} was known with another length or hash"
                        yield Finding(entry.position, "illegal", "targets", told)
                    self._serve(entry.position, name, body)
            case CiTargetsPruned(names):
                unknown = [name for name in names if name not in self.served]
                if unknown:
                    yield Finding(entry.position, "illegal", "names", f"no CI targets: {some(unknown)}")
                for name in names:
                    self._serve(entry.position, name, None)
            case WaveInitialized(targets=names):
                yield from self._new_targets(entry, names, entry.event.documents[:1])
            case MetadataPublished(repository) if repository.startswith("ci/"):
                yield from self._published(entry, self._tag(repository.removeprefix("ci/")), entry.event)

    def end(self) -> Iterator[Finding]:
        """Nothing is to follow."""
        return iter(())

    def _tag(self, name: str) -> _Tagged:
        return self.tagged.setdefault(name, _Tagged())

    def _serve(self, position: int, name: str, body: JsonObject | None) -> None:
        """Take in what a name means from now on; None: it is not served any more."""
        before = self.served.pop(name, ())
        after = () if body is None else _tags(body)
        for tag in dict.fromkeys((*before, *after)):
            self._tag(tag).put(position, name, _digest(body) if tag in after else None)
        if body is not None:
            self.served[name] = after

    def _published(self, entry: Entry, tag: _Tagged, event: MetadataPublished) -> Iterator[Finding]:
        size = carried_by(event.views)
        if size is None:
            return  # said elsewhere
        moved, targets = tag.at(size)
        for document in event.documents:
            yield from _look_at_document(entry, tag, document, targets)
        for view in event.views:
            shown, expires = tag.shown, to_epoch(view.snapshot_expires)
            if shown is None or (shown.version, shown.expires) != (view.targets_version, expires):
                told = f"it does not show the newest document, {shown.version if shown else 'of which there is none'}"
                yield _wrong(entry, view.view, told)
            elif shown.content_position != moved:
                told = f"its document says that it lists position {shown.content_position}, and the tag is at {moved}"
                yield _wrong(entry, view.view, told)
        tag.forget(size)

    def _new_targets(self, entry: Entry, names: Sequence[str], own: Sequence[object]) -> Iterator[Finding]:
        known = [name for name in names if name in self.contents]  # an adopted repository's targets are not CI's
        if not known or not own:
            return
        try:
            targets = orjson.loads(getattr(own[0], "signed", None) or "")["targets"]
            wrong = [name for name in known if _content(targets[name]) != self.contents[name]]
        except (ValueError, KeyError, TypeError):
            return  # said elsewhere
        if wrong:
            told = f"its targets have another length or hash than CI's: {some(wrong)}"
            yield Finding(entry.position, "illegal", "documents", told)


def _look_at_document(
    entry: Entry, tag: _Tagged, shown: DocumentPublished, wanted: Mapping[str, bytes]
) -> Iterator[Finding]:
    where = f"documents[{shown.version}]"
    try:
        header = documents.split_targets((shown.signed or "").encode())
    except LedgerError as problem:
        yield _wrong(entry, where, str(problem))
        return
    tag.shown = _Shown(shown.version, shown.content_position or 0, to_epoch(header.expires))
    if header.version != shown.version or tag.shown.expires > entry.recorded_at + CI_SECONDS:
        yield _wrong(entry, where, f"it says version {header.version} and {format_time(header.expires)}")
    listed = orjson.loads(header.body)
    wrong = sorted(name for name in listed.keys() | wanted.keys() if _digest(listed.get(name)) != wanted.get(name))
    if wrong:
        yield _wrong(entry, where, f"it does not list the CI targets of its tag as they were imported: {some(wrong)}")


def _wrong(entry: Entry, field_: str, problem: str) -> Finding:
    return Finding(entry.position, "published", field_, problem)


def _content(body: JsonObject) -> bytes:
    return orjson.dumps([body.get("length"), body.get("hashes")], option=orjson.OPT_SORT_KEYS)


def _tags(body: JsonObject) -> tuple[str, ...]:
    custom = body.get("custom")
    found = custom.get("tags") if isinstance(custom, dict) else None
    return tuple(dict.fromkeys(tag for tag in found if isinstance(tag, str))) if isinstance(found, list) else ()


def _digest(body: JsonValue) -> bytes:
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
