"""What is not as it was at two positions: tags, waves, metadata, devices, members, CI targets and keys.

Rules of this module:

* Both sides are asked in memory with the queries of the reading commands, so each value is what a command said then.
* Devices are compared that an event was about in between. Whom a wave or a completion moved besides is counted with the
  tags: to name them would be to list the fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from ledger.garbage import uncollected
from ledger.store import bulk, events
from projections import at, runner
from projections.queries import devices, status, targets, waves
from projections.questions import EVERYTHING

SECTIONS = ("tags", "waves", "metadata", "devices", "members", "targets", "keys")
_MEMBERS = "SELECT member, role FROM release_member ORDER BY member"
_CI_TARGETS = "SELECT name, number, hardware_id, body FROM release_ci_target ORDER BY name"
_NEWEST_ROOTS = "SELECT repository, metadata FROM release_root ORDER BY repository, version"
_Facts = dict[str, Any]
_Answers = dict[str, dict[str, _Facts]]


class Difference(NamedTuple):
    """Something that is new (`before` is None), gone (`after` is None) or has other facts: then those are given."""

    section: str
    name: str
    before: _Facts | None
    after: _Facts | None


def between(ledger: Connection, first: int, second: int) -> list[Difference]:
    """What differs at the second position from the first; the second may be the earlier one."""
    low, high = sorted((first, second))
    with at.memory() as past, uncollected():
        at.ask(ledger, past, low, EVERYTHING._replace(root=False))
        uuids = _touched(ledger, low, high)
        before = _answers(past, uuids)
        for fold in runner.folds():
            fold.fold(past, events.read(ledger, topics=fold.topics, after=low, until=high))
        at.mark_written(past)
        after = _answers(past, uuids)
    if first > second:
        before, after = after, before
    return [
        difference
        for section in SECTIONS
        for name in sorted(before[section].keys() | after[section].keys())
        if (difference := _compare(section, name, before[section].get(name), after[section].get(name)))
    ]


def _compare(section: str, name: str, before: _Facts | None, after: _Facts | None) -> Difference | None:
    if before == after:
        return None
    if before is not None and after is not None:
        differing = [fact for fact in after if before[fact] != after[fact]]
        before, after = ({fact: facts[fact] for fact in differing} for facts in (before, after))
    return Difference(section, name, before, after)


def _touched(ledger: Connection, low: int, high: int) -> list[str]:
    """The devices that an event was about after one position and up to the other, in the order of their coming."""
    rows = bulk.query(
        ledger,
        "SELECT DISTINCT d.dev, d.uuid FROM fleet_history h JOIN fleet_device d ON d.dev = h.dev "
        "WHERE h.position > ? AND h.position <= ? ORDER BY d.dev",
        (low, high),
    )
    return [uuid for _, uuid in rows.fetchall()]


def _answers(past: Connection, uuids: Sequence[str]) -> _Answers:
    return {
        "tags": _tags(past),
        "waves": _waves(past),
        "metadata": _metadata(past),
        "devices": {row.uuid: _device(row) for row in devices.of(past, uuids)},
        "members": {name: {"role": role} for name, role in past.execute(text(_MEMBERS)).all()},
        "targets": _ci_targets(past),
        "keys": _keys(past),
    }


def _tags(past: Connection) -> dict[str, _Facts]:
    found: dict[str, _Facts] = {}
    for row in status.tags(past, online_since=None):
        facts = found.setdefault(row.tag, {})
        facts |= {f"{row.kind}_devices": row.all.devices, f"{row.kind}_latest": row.latest}
    for tag, active in past.execute(text("SELECT tag, active_wave FROM release_tag")).all():
        production = targets.production(past, tag)
        found.setdefault(tag, {}).update(
            active_wave=active, production=sorted(production.targets), production_wave=production.content
        )
    names = ("production_devices", "production_latest", "wave_devices", "wave_latest", "ci_devices", "ci_latest")
    empty: _Facts = {**dict.fromkeys(names, 0), "active_wave": None, "production": [], "production_wave": None}
    return {tag: {**empty, **facts} for tag, facts in found.items()}


def _waves(past: Connection) -> dict[str, _Facts]:
    rollouts = past.execute(text("SELECT wave, count(*), sum(devices) FROM release_rollout GROUP BY wave")).all()
    counts = {wave: (rolled_out, reached) for wave, rolled_out, reached in rollouts}
    signatures: dict[str, int] = dict(
        past.execute(text("SELECT wave, count(*) FROM release_signature GROUP BY wave")).all()
    )
    every, _ = waves.listing(past, status=None, tag=None, limit=-1, page=1)
    return {
        wave.name: {
            **{fact: value for fact, value in wave._asdict().items() if fact != "name"},
            "signatures": signatures.get(wave.name, 0),
            "rollouts": counts.get(wave.name, (0, 0))[0],
            "devices": counts.get(wave.name, (0, 0))[1],
        }
        for wave in every
    }


def _metadata(past: Connection) -> dict[str, _Facts]:
    views = past.execute(
        text("SELECT view, version, targets_version, timestamp_expires, closed FROM release_published ORDER BY view")
    )
    found = {
        view: {"version": version, "targets_version": targets_, "timestamp_expires": expires, "closed": bool(closed)}
        for view, version, targets_, expires, closed in views
    }
    roots = past.execute(text("SELECT repository, max(version), max(expires) FROM release_root GROUP BY repository"))
    return found | {f"root/{name}": {"version": version, "expires": expires} for name, version, expires in roots}


def _ci_targets(past: Connection) -> dict[str, _Facts]:
    """CI's targets, and what is new in their bodies as the digest of the file."""
    found: dict[str, _Facts] = {
        name: {"number": number, "hardware_id": hardware, "tags": [], **_file(body)}
        for name, number, hardware, body in past.execute(text(_CI_TARGETS)).all()
    }
    for tag, name in past.execute(text("SELECT tag, name FROM release_ci_tag ORDER BY tag, name")).all():
        found[name]["tags"].append(tag)
    return found


def _file(body: str) -> _Facts:
    target = orjson.loads(body)
    return {"length": target["length"], "sha256": target["hashes"].get("sha256")}


def _keys(past: Connection) -> dict[str, _Facts]:
    """The keys of each role, as the newest root of each repository names them."""
    roots: dict[str, str] = dict(past.execute(text(_NEWEST_ROOTS)).all())
    return {
        f"{repository}/{role}": {"threshold": of["threshold"], "keyids": sorted(of["keyids"])}
        for repository, root in roots.items()
        for role, of in orjson.loads(root)["signed"]["roles"].items()
    }


def _device(row: devices.DeviceRow) -> _Facts:
    return {
        "name": row.name,
        "hardware_id": row.hardware_id,
        "tag": row.tag,
        "group": row.group,
        "production": row.production,
        "target": row.target,
        "view": row.view,
        "latest": row.latest,
        "published": row.published,
    }
