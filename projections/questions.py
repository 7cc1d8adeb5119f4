"""Which events a question about the past needs: those of one wave, tag or device, or all of them.

Rules of this module:

* A question gives the events that the folds get, in order of position. What it leaves out must not change the answer;
  tests compare the answers with those that were given then.
* Of a batch of devices only the columns of the devices asked for are left, of an import of CI targets only those that
  ever had the tag, of a wave's document only its header where its targets can't be on offer any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import orjson
from sqlalchemy import Connection

from ledger.store import events
from ledger.store.events import Row
from projections import history

Rows: TypeAlias = Callable[[Sequence[str]], Iterable[Row]]
"""The events for a fold that has these topics."""
Select: TypeAlias = Callable[[Connection, int], Rows]
"""What a question needs of a ledger up to a position."""

CATALOG_TOPICS = ("ci-targets.imported/1", "ci-targets.pruned/1")
PUBLICATION_TOPICS = ("metadata.published/1", "bundle.exported/1", "versions.raised/1")
_INITIALIZED = "wave.initialized/1"
TRUST_TOPICS = (
    "root.published/1", "online-key.set/1", "root.proposed/1", "root.signed/1", "roots.taken-in/1",
    "proposed-targets.signed/1", "root.update-closed/1",
)  # fmt: skip
WAVE_TOPICS = (
    _INITIALIZED, "wave.signed/1", "wave.resigned/1", "wave.holders-changed/1", "wave.rolled-out/1",
    "wave.completed/1", "wave.canceled/1",
)  # fmt: skip


_BOTH, _RELEASES = frozenset({"releases", "fleet"}), frozenset({"releases"})


class Question(NamedTuple):
    """What to fold: which events, into which projections; whether the ledger's root is asked for, too.

    `kept` are topics of events that the question itself reads, besides those that queries do.
    """

    select: Select
    folds: frozenset[str] = _BOTH
    root: bool = False
    kept: tuple[str, ...] = ()


EVERYTHING = Question(lambda ledger, until: lambda topics: events.read(ledger, topics=topics, until=until), root=True)
"""All that happened."""


def root_update() -> Question:
    """An open change of the root: what was proposed and signed, and all documents that it asks signatures for."""
    return EVERYTHING._replace(kept=(*TRUST_TOPICS, *WAVE_TOPICS))


def topics(*wanted: str) -> Question:
    """Only these topics, whole."""
    return Question(lambda ledger, until: _of_topics(ledger, until, lambda topic: topic in wanted))


def counts() -> Question:
    """Waves and the whole fleet, without catalog and publications: enough to count devices."""
    out = {*CATALOG_TOPICS, *PUBLICATION_TOPICS}
    return Question(lambda ledger, until: _of_topics(ledger, until, lambda topic: topic not in out))


def waves() -> Question:
    """The list of waves: when each began and ended."""

    def select(ledger: Connection, until: int) -> Rows:
        rows = events.read(ledger, topics=(_INITIALIZED, "wave.completed/1", "wave.canceled/1"), until=until)
        return _chosen(_without_targets(row) for row in rows)

    return Question(select, _RELEASES)


def of_wave(name: str) -> Question:
    """All about one wave but its devices."""
    return of_stream(f"wave:{name}")


def of_tag(name: str, *, publications: bool = False, fleet: bool = False) -> Question:
    """A tag's waves and production targets; also what was signed online, and what the fleet's tables say of waves."""

    def select(ledger: Connection, until: int) -> Rows:
        return _chosen(_in_order(_of_tag(ledger, name, until, publications=publications)))

    return Question(select, _BOTH if fleet else _RELEASES)


def of_stream(name: str) -> Question:
    """What one stream tells of releases."""
    return Question(lambda ledger, until: _chosen(events.read(ledger, stream=name, until=until)), _RELEASES)


def catalog(tag: str | None = None) -> Question:
    """CI targets; with a tag those that ever had it."""
    tags = None if tag is None else frozenset({tag})
    return Question(lambda ledger, until: _chosen(_catalog(ledger, until, tags)), _RELEASES)


def of_device(name: str) -> Question:
    """The devices of that uuid or name, and the tags that they were ever on."""
    return Question(lambda ledger, until: of_devices(history.find(ledger, name, until)).select(ledger, until))


def of_devices(uuids: Sequence[str], tags: Sequence[str] = ()) -> Question:
    """These devices, and the tags that they were ever on; other tags besides."""

    def select(ledger: Connection, until: int) -> Rows:
        own = history.rows(ledger, uuids, until)
        state = history.last_states(own)
        every = {*tags, *(tag for row in own for tag in history.column(row, "tags"))}
        rows = [*own, *(row for tag in sorted(every) for row in _of_tag(ledger, tag, until, publications=True))]
        test = frozenset(tag for tag, production in state.values() if not production)
        for tag in sorted(test):
            rows += events.read(ledger, stream=f"publication:ci:{tag}", until=until)
        if test:
            rows += _catalog(ledger, until, test)
        return _chosen(_in_order(rows))

    return Question(select)


def _of_topics(ledger: Connection, until: int, is_wanted: Callable[[str], bool]) -> Rows:
    def rows(asked: Sequence[str]) -> Iterable[Row]:
        chosen = [topic for topic in asked if is_wanted(topic)]
        return events.read(ledger, topics=chosen, until=until) if chosen else ()

    return rows


def _of_tag(ledger: Connection, tag: str, until: int, *, publications: bool = False) -> list[Row]:
    own = list(events.read(ledger, stream=f"tag:{tag}", until=until))
    rows = list(own)
    on_offer = _on_offer(own)
    for wave in [orjson.loads(row.payload)["wave"] for row in own if row.topic == "tag.wave-opened/1"]:
        of_wave = events.read(ledger, stream=f"wave:{wave}", until=until)
        rows += of_wave if wave in on_offer else map(_without_targets, of_wave)
    if publications:
        rows += events.read(ledger, stream=f"publication:production:{tag}", until=until)
    return rows


def _on_offer(rows: Iterable[Row]) -> set[str]:
    """The waves of a tag whose targets somebody may be offered: not those that another one followed in production."""
    found: set[str] = set()
    production: str | None = None
    for row in rows:
        if row.topic == "tag.wave-opened/1":
            found.add(orjson.loads(row.payload)["wave"])
        elif row.topic == "targets.promoted/1":
            found -= {production} if production else set()
            production = orjson.loads(row.payload)["wave"]
        elif row.topic == "tag.wave-closed/1":
            data = orjson.loads(row.payload)
            if data["outcome"] == "canceled" and not data["recovered"]:
                found.discard(data["wave"])
    return found


def _catalog(ledger: Connection, until: int, tags: frozenset[str] | None) -> Iterable[Row]:
    seen: set[str] = set()
    for row in events.read(ledger, topics=CATALOG_TOPICS, until=until):
        yield row if tags is None else _of_names(row, tags, seen)


def _of_names(row: Row, tags: frozenset[str], seen: set[str]) -> Row:
    """Only targets that have one of the tags, or had it when they came before: those are in `seen`."""
    data = orjson.loads(row.payload)
    if row.topic == "ci-targets.pruned/1":
        data["names"] = [name for name in data["names"] if name in seen]
    else:
        seen.update(name for name, body in data["targets"].items() if tags & set(body["custom"].get("tags", ())))
        data["targets"] = {name: body for name, body in data["targets"].items() if name in seen}
    return row._replace(payload=orjson.dumps(data))


def _without_targets(row: Row) -> Row:
    """A wave's init without the targets of its own document, which are nearly all of it."""
    if row.topic != _INITIALIZED:
        return row
    # Cut, and not read and written: it is the last field of the first document, and no name before it has a quote.
    header, signed, _ = row.payload.partition(b'"signed":"')
    return row._replace(payload=header + signed + b'{\\"targets\\":{}}"}]}') if signed else row


def _in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.position)


def _chosen(rows: Iterable[Row]) -> Rows:
    """Rows that were chosen by what they are about: every fold passes over those that are not its own."""
    kept = list(rows)
    return lambda _topics: kept
