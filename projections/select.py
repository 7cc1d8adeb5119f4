"""Which devices a rollout chooses.

Rules of this module (DESIGN §2, §6; the arithmetic is in `ledger.domain.rollout`):

* matching = production devices on the wave's tag, within the group and the list.
* candidates = matching, not yet in the wave (listed, or by a group), below its number, and not held above it.
* order: online ones first, then (draw x odd(wave)) mod 2147483647: the same integers in SQLite and PostgreSQL.
* A list of uuids of any length is looked up once, in one statement, into a temporary table of the matching ones.
* The draws of a fleet are as good as evenly spread, so the first N of a million are looked for among the lowest few of
  their order, and only if there are too few of them in a wider range: what is asked of each device beyond its index
  entry is asked of little more than N. The choice is the same as that of ordering all.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from ledger.application.facts import Reach
from ledger.domain.rollout import Choice, Limit, selection_order
from ledger.store import bulk
from projections.membership import held_above, in_wave

_MODULUS = 2147483647

_ORDER = f"((CAST(d.draw AS BIGINT) * :odd) % {_MODULUS})"
_IS_ONLINE = "coalesce(s.seen_at, 0) >= :since"
_ONLINE = "SELECT count(*) FROM sighting s WHERE s.seen_at >= :since"

_IN_WAVE = in_wave(":wave")
# A held device that is not known to run the number that holds it may not be asked to go back either.
_BELOW = f"d.number < :number AND NOT {held_above(':number')}"


def group_members(connection: Connection, reach: Reach) -> tuple[int, int]:
    """How many devices of the group do not have the wave yet, and how many do."""
    found = connection.execute(
        text(f"SELECT {_IN_WAVE}, count(*) FROM {_source(reach)} WHERE {_matching(reach)} GROUP BY 1"),
        _params(connection, reach),
    )
    counts = {bool(inside): count for inside, count in found}
    return counts.get(False, 0), counts.get(True, 0)


def group_now(connection: Connection, reach: Reach, *, candidates: bool) -> tuple[str, ...]:
    """The uuids of a group's production devices on the tag; of the candidates among them only, for a plan."""
    where = _matching(reach) + (f" AND {_BELOW} AND NOT {_IN_WAVE}" if candidates else "")
    params = {**_params(connection, reach), "number": reach.number}
    return tuple(
        connection.execute(text(f"SELECT d.uuid FROM fleet_device d WHERE {where} ORDER BY d.dev"), params).scalars()
    )


def not_eligible(connection: Connection, reach: Reach) -> list[str]:
    """The listed devices that the wave can't reach, each with the reason in words, in their order."""
    uuids = list(dict.fromkeys(reach.uuids or ()))
    if _list(connection, reach) == len(uuids):
        return []
    found = bulk.lookup(
        connection,
        "SELECT texts.value, d.dev, d.production, t.name, g.name, d.tag, d.grp FROM $texts "
        "LEFT JOIN fleet_device d ON d.uuid = texts.value AND d.tag > 0 "
        "LEFT JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag "
        "LEFT JOIN fleet_name g ON g.kind = 'group' AND g.id = d.grp ORDER BY texts.key",
        uuids,
    )
    ids = _params(connection, reach)
    return [
        f"{uuid} ({_reason(reach, dev, production, tag, group)})"
        for uuid, dev, production, tag, group, tag_id, group_id in found
        if dev is None or not production or tag_id != ids["tag"] or ids["grp"] not in (0, group_id)
    ]


def choose(connection: Connection, reach: Reach, limit: Limit | None, online_since: int) -> Choice:
    """Candidates in their order, as many as the limit allows; all of a list without a limit."""
    if reach.uuids is not None:
        matching = _list(connection, reach)
    else:
        statement = text(f"SELECT count(*) FROM {_source(reach)} WHERE {_matching(reach)}")
        matching = connection.execute(statement, _params(connection, reach)).scalar_one()
    quota = matching if limit is None else limit.quota(matching)
    params = {
        **_params(connection, reach),
        "since": online_since,
        "odd": selection_order(reach.wave),
        "number": reach.number,
    }
    # How many there are of each is only guessed: these are all that are online, on whatever tag.
    online = min(matching, connection.execute(text(_ONLINE), params).scalar_one())
    chosen = _first(connection, reach, _IS_ONLINE, params, quota, online) if online else []
    chosen += _first(connection, reach, f"NOT ({_IS_ONLINE})", params, quota - len(chosen), matching - online)
    return Choice(tuple(chosen), matching, _skipped(connection, reach, params) if reach.uuids is not None else 0)


def _first(
    connection: Connection, reach: Reach, condition: str, params: dict[str, Any], quota: int, among: int
) -> list[str]:
    """The first candidates of those under a condition, of whom there are perhaps `among`."""
    if quota <= 0:
        return []
    top = _MODULUS
    if reach.uuids is None:
        members = connection.execute(text("SELECT count(*) FROM fleet_member WHERE wave = :wave"), params).scalar_one()
        top = min(_MODULUS, _MODULUS * (quota + members + 100) * 9 // (8 * max(1, among)))
    while True:
        found = connection.execute(
            text(
                f"SELECT d.uuid FROM {_source(reach)} LEFT JOIN sighting s ON s.dev = d.dev "
                f"WHERE {_matching(reach)} AND {_ORDER} < :top AND {_BELOW} AND NOT {_IN_WAVE} AND {condition} "
                f"ORDER BY {_ORDER}, d.dev LIMIT :quota"
            ),
            {**params, "quota": quota, "top": top},
        )
        uuids = list(found.scalars())
        if len(uuids) == quota or top == _MODULUS:
            return uuids
        top = min(_MODULUS, 4 * top)


def _skipped(connection: Connection, reach: Reach, params: dict[str, Any]) -> int:
    """How many of the listed devices are in the wave, or at its number, already."""
    statement = f"SELECT count(*) FROM {_source(reach)} WHERE {_matching(reach)} AND (NOT ({_BELOW}) OR {_IN_WAVE})"
    return int(connection.execute(text(statement), params).scalar_one())


def _source(reach: Reach) -> str:
    """The devices to look at; of a list the matching ones, first: a planner might walk the whole tag for three."""
    return "fleet_device d" if reach.uuids is None else "rollout_list l CROSS JOIN fleet_device d"


def _matching(reach: Reach) -> str:
    if reach.uuids is not None:
        return "d.dev = l.dev"
    where = "d.tag = :tag AND d.production = 1"
    return where if reach.group is None else f"{where} AND d.grp = :grp"


def _params(connection: Connection, reach: Reach) -> dict[str, Any]:
    found = {
        kind: connection.execute(
            text("SELECT id FROM fleet_name WHERE kind = :kind AND name = :name"), {"kind": kind, "name": name}
        ).scalar()
        for kind, name in (("tag", reach.tag), ("group", reach.group), ("wave", reach.wave))
        if name is not None
    }
    # -1 is no device's: a tag without devices, not "any tag".
    return {"tag": found["tag"] or -1, "wave": found["wave"] or -1, "grp": (found["group"] or -1) if reach.group else 0}


def _list(connection: Connection, reach: Reach) -> int:
    """Look up the listed devices, into the table `rollout_list`; returns how many of them match."""
    bulk.stage(connection, "rollout_list", {"dev": "INTEGER PRIMARY KEY"}, ())
    ids = _params(connection, reach)
    bulk.over(
        connection,
        "INSERT INTO rollout_list (dev) SELECT d.dev FROM $texts CROSS JOIN fleet_device d "
        "WHERE d.uuid = texts.value AND d.tag = ? AND d.production = 1 AND (? = 0 OR d.grp = ?)",
        list(dict.fromkeys(reach.uuids or ())),
        (ids["tag"], ids["grp"], ids["grp"]),
    ).close()
    return int(connection.execute(text("SELECT count(*) FROM rollout_list")).scalar_one())


def _reason(reach: Reach, dev: int | None, production: int | None, tag: str | None, group: str | None) -> str:
    if dev is None:
        return "not in the fleet"
    if not production:
        return "a test device"
    if tag != reach.tag:
        return f"follows tag {tag}, not {reach.tag}"
    return f"in group {group}, not {reach.group}" if group else f"in no group, not in {reach.group}"
