"""The history as a person reads it: one line an event, with filters and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from ledger.store import events
from ledger.store.events import Row
from projections import history


class Filter(NamedTuple):
    """What to show; times in seconds since 1970, `until` included. `at` is the last position there is to see."""

    wave: str | None = None
    tag: str | None = None
    device: str | None = None
    actor: str | None = None
    since: int | None = None
    until: int | None = None
    after: int = 0
    at: int | None = None


class Page(NamedTuple):
    """Some of the events that match, oldest first; `next` is the next page's number."""

    rows: list[Row]
    next: int | None


# Each a set of positions that indexes give. While a wave is open, its tag's stream holds its events, and what was
# signed anew meanwhile. From its first rollout on, its tag's publications are about it; the first one after its end
# brings to devices what it came to.
_OF_WAVE = (
    "SELECT position FROM event WHERE stream = :wave_stream "
    "UNION SELECT e.position FROM release_rollout r "
    "JOIN event e ON e.stream = 'rollout:' || r.wave || ':' || r.rollout WHERE r.wave = :wave "
    "UNION SELECT t.position FROM fleet_name n JOIN fleet_wave f ON f.wave = n.id "
    "JOIN release_wave w ON w.wave = n.name JOIN event t ON t.stream = 'tag:' || w.tag AND t.position >= f.opened "
    "AND (f.closed IS NULL OR t.position <= f.closed) WHERE n.kind = 'wave' AND n.name = :wave "
    "UNION SELECT p.position FROM fleet_name n JOIN fleet_wave f ON f.wave = n.id "
    "JOIN release_wave w ON w.wave = n.name JOIN event p ON p.stream = 'publication:production:' || w.tag "
    "AND p.position > coalesce((SELECT min(r.position) FROM release_rollout r WHERE r.wave = w.wave), f.closed) "
    "AND (f.closed IS NULL OR p.position <= coalesce((SELECT min(q.position) FROM event q "
    "WHERE q.stream = 'publication:production:' || w.tag AND q.position > f.closed), f.closed)) "
    "WHERE n.kind = 'wave' AND n.name = :wave"
)
_OF_TAG = (
    "SELECT position FROM event WHERE stream IN (:tag_stream, :production_stream, :ci_stream) "
    "UNION SELECT e.position FROM release_wave w JOIN event e ON e.stream = 'wave:' || w.wave WHERE w.tag = :tag "
    "UNION SELECT e.position FROM release_wave w JOIN release_rollout r ON r.wave = w.wave "
    "JOIN event e ON e.stream = 'rollout:' || r.wave || ':' || r.rollout WHERE w.tag = :tag"
)
_DEVICES = (
    "SELECT uuid FROM fleet_device WHERE uuid = :device UNION SELECT uuid FROM fleet_device WHERE name = :device "
    "AND NOT EXISTS (SELECT 1 FROM fleet_device WHERE uuid = :device)"
)
_OF_DEVICE = f"SELECT h.position FROM fleet_device d JOIN fleet_history h ON h.dev = d.dev WHERE d.uuid IN ({_DEVICES})"


def page(connection: Connection, wanted: Filter, *, limit: int, number: int) -> Page:
    """Events that match, oldest first; pages are numbered from 1. The connection is the ledger's, for the past too."""
    first, last = _range(connection, wanted)
    conditions, params = _conditions(connection, wanted)
    skipped = limit * (number - 1)
    if not conditions:  # positions have no gaps, so it is known where the page begins
        first, skipped = first + skipped, 0
    where = " AND ".join(["e.position > :first", "e.position <= :last", *conditions])
    statement = f"SELECT e.position FROM event e WHERE {where} ORDER BY e.position LIMIT :limit OFFSET :skipped"
    params |= {"first": first, "last": last, "limit": limit + 1, "skipped": skipped}
    positions = list(connection.execute(text(statement), params).scalars())
    rows = [row for position in positions[:limit] if (row := events.get(connection, position))]
    return Page(rows, number + 1 if len(positions) > limit else None)


def nothing_about(connection: Connection, wanted: Filter) -> str | None:
    """The filter that no event at all fits, up to the last position there is to see: ``wave``, ``tag``, ...

    None if each has some, and they only have none in common.
    """
    for name in ("wave", "tag", "device", "actor"):
        value = getattr(wanted, name)
        if value is not None:
            alone = Filter(**{name: value}, at=wanted.at)
            if not page(connection, alone, limit=1, number=1).rows:
                return name
    return None


def _range(connection: Connection, wanted: Filter) -> tuple[int, int]:
    """The positions between which the events are, the first one left out: times never go down along them."""
    last = events.head(connection).size if wanted.at is None else wanted.at
    if wanted.until is not None:
        last = min(last, events.position_at(connection, wanted.until))
    since = 0 if wanted.since is None else events.position_at(connection, wanted.since - 1)
    return max(wanted.after, since), last


def _conditions(connection: Connection, wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    conditions, params = [], dict[str, Any]()
    if wanted.wave is not None:
        conditions.append(f"e.position IN ({_OF_WAVE})")
        params |= {"wave": wanted.wave, "wave_stream": f"wave:{wanted.wave}"}
    if wanted.tag is not None:
        conditions.append(f"e.position IN ({_OF_TAG})")
        params["tag"] = wanted.tag
        for name, stream in (("tag", "tag"), ("production", "publication:production"), ("ci", "publication:ci")):
            params[f"{name}_stream"] = f"{stream}:{wanted.tag}"
    if wanted.device is not None:
        conditions.append(f"e.position IN ({_positions(connection, wanted.device, wanted.at)})")
        params["device"] = wanted.device
    if wanted.actor is not None:
        conditions.append("e.actor = :actor")
        params["actor"] = wanted.actor
    return conditions, params


def _positions(connection: Connection, device: str, at: int | None) -> str:
    """SQL for where a device's events are, and the rollouts to whole groups that reached it.

    Whose name it was in the past is not in the live tables.
    """
    if at is not None:
        return _listed(history.positions(connection, history.known_as(connection, device, at), at))
    head, uuids = events.head(connection).size, connection.execute(text(_DEVICES), {"device": device}).scalars().all()
    reached = [position for uuid in uuids for position in history.group_rollouts(connection, uuid, head)]
    return f"{_OF_DEVICE} UNION SELECT position FROM event WHERE position IN ({_listed(reached)})"


def _listed(positions: Sequence[int]) -> str:
    return ", ".join(map(str, positions)) or "0"


def summary(row: Row) -> str:
    """What happened, in one line that a person understands; who and when are beside it."""
    data = orjson.loads(row.payload)
    tell = _SUMMARIES.get(row.topic)
    return tell(data) if tell else row.topic


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _devices(count: int) -> str:
    return _count(count, "device")


def _reported(data: dict[str, Any]) -> str:
    devices = data["uuids"]
    if len(devices) == 1:
        return f"took in that device {devices[0]} runs {data['targets'][0] or 'nothing that is known'}"
    counts = Counter(target or "nothing that is known" for target in data["targets"])
    running = [f"{count:,} {target}" for target, count in counts.most_common()]
    return f"took in what {_devices(len(devices))} run now: {_some(running)}"


def _changed(data: dict[str, Any]) -> str:
    if len(data["uuids"]) > 1:
        return f"changed {_devices(len(data['uuids']))}: {_some(data['names'])}"
    group, kind = data["groups"][0], "production" if data["production"][0] else "test"
    return f"changed {kind} device {data['names'][0]}: tag {data['tags'][0]}, " + (
        f"group {group}" if group else "no group"
    )


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _rolled_out(data: dict[str, Any]) -> str:
    group, limit = data["selector"]["group"], data["selector"]["limit"]
    how = f" (limit {limit})" if limit else ""
    if data["full_group"]:
        return f"rolled out {data['wave']} to group {group}: {_devices(data['devices'])}, and whoever joins it"
    of = f" of group {group}" if group else ""
    planned = ", as planned" if data["plan"] else ""
    return f"rolled out {data['wave']} to {_devices(data['devices'])}{of}{how}{planned}"


def _views(data: dict[str, Any]) -> str:
    return _some([document["view"] for document in data["documents"]], 5) or "nothing"


def _keys(data: dict[str, Any]) -> str:
    return "key " + ", ".join(signer["keyid"][:12] for signer in data["signers"])


def _closed(data: dict[str, Any]) -> str:
    if data["recovered"]:
        views = _some([recovery["view"] for recovery in data["recovered"]])
        return f"freed tag {data['tag']}: {data['wave']} is canceled, its devices go on with {views}"
    return f"freed tag {data['tag']}: {data['wave']} is {data['outcome']}"


_SUMMARIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "factory.initialized/1": lambda d: f"initialized factory {d['factory']}",
    "member.added/1": lambda d: f"made {d['member']} {d['role']}",
    "member.removed/1": lambda d: f"removed member {d['member']}",
    "root.published/1": lambda d: f"published version {d['version']} of the {d['repository']} root",
    "online-key.set/1": lambda d: f"set the online {d['role']} key of {d['repository']}",
    "ci-targets.imported/1": lambda d: (
        f"imported {_count(len(d['targets']), 'CI target')}: {_some(list(d['targets']))}"
    ),
    "ci-targets.pruned/1": lambda d: f"pruned {_count(len(d['names']), 'CI target')}: {_some(d['names'])}",
    "root.proposed/1": lambda d: f"proposed a root (update {d['update']})",
    "root.signed/1": lambda d: f"signed the proposed root (update {d['update']}) with key {d['keyid'][:12]}",
    "proposed-targets.signed/1": lambda d: (
        f"signed {_views(d)} for update {d['update']} of the root with key {d['keyid'][:12]}"
    ),
    "roots.taken-in/1": lambda d: (
        f"took in the {d['repository']} roots up to version {d['version']}, which clients have"
    ),
    "root.update-closed/1": lambda d: f"{d['outcome']} update {d['update']} of the root",
    "tag.wave-opened/1": lambda d: f"opened wave {d['wave']} on tag {d['tag']}",
    "targets.promoted/1": lambda d: f"made number {d['number']} production on tag {d['tag']}, with wave {d['wave']}",
    "targets.pruned/1": lambda d: f"pruned {', '.join(map(str, d['numbers']))} from production on tag {d['tag']}",
    "tag.wave-closed/1": _closed,
    "wave.initialized/1": lambda d: f"initialized wave {d['wave']}: number {d['number']} for tag {d['tag']}",
    "wave.signed/1": lambda d: f"signed wave {d['wave']} with key {d['keyid'][:12]}",
    "targets.resigned/1": lambda d: f"signed {_views(d)} of tag {d['tag']} anew with {_keys(d)}",
    "wave.resigned/1": lambda d: f"signed wave {d['wave']} anew ({_views(d)}) with {_keys(d)}",
    "wave.holders-changed/1": lambda d: (
        f"kept wave {d['wave']} waiting, with threshold {d['threshold']}"
        + (f", without key {_some([keyid[:12] for keyid in d['removed']])}" if d["removed"] else "")
    ),
    "wave.rolled-out/1": _rolled_out,
    "wave.completed/1": lambda d: f"completed wave {d['wave']}",
    "wave.canceled/1": lambda d: f"canceled wave {d['wave']}" + (f": {d['reason']}" if d["reason"] else ""),
    "devices.staged/1": lambda d: f"staged {_devices(len(d['devices']))} for wave {d['wave']}: {_some(d['devices'])}",
    "devices.registered/1": lambda d: f"registered {_devices(len(d['uuids']))}: {_some(d['names'])}",
    "devices.changed/1": _changed,
    "devices.removed/1": lambda d: f"removed {_devices(len(d['uuids']))}: {_some(d['uuids'])}",
    "devices.reported/1": _reported,
    "metadata.published/1": lambda d: f"published {_some([view['view'] for view in d['views']], 5)}",
    "document.cosigned/1": lambda d: f"signed {d['repository']} {d['version']} with replaced keys, too",
    "bundle.exported/1": lambda d: (
        f"exported a bundle of {d['bundle']['view']}, until {d['bundle']['timestamp_expires']}"
    ),
    "versions.raised/1": lambda d: (
        f"raised the versions of {d['repository']} above {d['metadata']} and targets {d['targets']}"
    ),
}
