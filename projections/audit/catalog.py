"""CI targets: their names, their contents, and the documents that list them.

Rules of this module (DESIGN §2, §4):

* A CI target's name stands for one content for ever; only what is known is pruned.
* A wave brings targets as CI made them.
* A CI document lists the targets with its tag, as they were at the position that it says. Nobody signs it but machines,
  so this is what keeps them honest. What was imported between reading and recording is the next document's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import orjson

from ledger.domain.errors import LedgerError
from ledger.domain.events import (
    CiTargetsImported,
    CiTargetsPruned,
    DocumentPublished,
    MetadataPublished,
    WaveInitialized,
)
from ledger.domain.values import JsonObject, JsonValue
from ledger.tuf import documents
from projections.audit.findings import Entry, Finding, some


@dataclass
class Catalog:
    """The content that each name stands for; of those served now hash and tags, and where each tag last changed."""

    contents: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, tuple[bytes, tuple[str, ...]]] = field(default_factory=dict)
    tagged: dict[str, set[str]] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)

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
            case MetadataPublished(repository, _, shown) if repository.startswith("ci/"):
                for document in shown:
                    yield from self._look_at_document(entry, repository.removeprefix("ci/"), document)

    def end(self) -> Iterator[Finding]:
        """Nothing is to follow."""
        return iter(())

    def _serve(self, position: int, name: str, body: JsonObject | None) -> None:
        """Take in what a name means from now on; None: it is not served any more."""
        _, before = self.served.pop(name, (b"", ()))
        after = () if body is None else _tags(body)
        for tag in before:
            self.tagged[tag].discard(name)
        for tag in after:
            self.tagged.setdefault(tag, set()).add(name)
        self.moved |= dict.fromkeys((*before, *after), position)
        if body is not None:
            self.served[name] = (_digest(body), after)

    def _look_at_document(self, entry: Entry, tag: str, shown: DocumentPublished) -> Iterator[Finding]:
        if shown.signed is None or shown.content_position != self.moved.get(tag):
            return  # it lists an earlier state, and the next one follows
        try:
            listed = orjson.loads(documents.split_targets(shown.signed.encode()).body)
        except LedgerError as problem:
            yield Finding(entry.position, "published", f"documents[{shown.version}]", str(problem))
            return
        wanted = {name: self.served[name][0] for name in self.tagged.get(tag, ())}
        wrong = sorted(name for name in listed.keys() | wanted.keys() if _digest(listed.get(name)) != wanted.get(name))
        if wrong:
            told = f"it does not list the CI targets of tag {tag} as they were imported: {some(wrong)}"
            yield Finding(entry.position, "published", f"documents[{shown.version}]", told)

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


def _content(body: JsonObject) -> bytes:
    return orjson.dumps([body.get("length"), body.get("hashes")], option=orjson.OPT_SORT_KEYS)


def _tags(body: JsonObject) -> tuple[str, ...]:
    custom = body.get("custom")
    found = custom.get("tags") if isinstance(custom, dict) else None
    return tuple(dict.fromkeys(tag for tag in found if isinstance(tag, str))) if isinstance(found, list) else ()


def _digest(body: JsonValue) -> bytes:
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
