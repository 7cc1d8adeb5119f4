"""Which devices a rollout chooses.

Rules of this module (DESIGN §2, §6; the arithmetic is in `ledger.domain.rollout`):

* matching = production devices on the wave's tag, within the group and the list.
* candidates = matching, not yet in the wave (listed, or by a group), below its number, and not held above it.
* order: online ones first, then (draw x odd(wave)) mod 2147483647: the same integers in SQLite and PostgreSQL.
* A list of uuids of any length is looked up once, in one statement, which says of each what it takes to choose.
* The draws of a fleet are as good as evenly spread, so the first N of a million are looked for among the lowest few of
  their order, and if there are too few of them, among the next: what is asked of each device beyond its index entry is
  asked of little more than N. The choice is the same as that of ordering all.
* What can't be true of any device now is asked of none: a wave that has reached nobody has no members, and a tag with
  no held view above the wave's number holds none back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection

from ledger.application.facts import Reach
from ledger.domain.rollout import Choice, Limit, selection_order
from ledger.store import bulk
from projections.membership import grouped, held_above, in_wave, listed

_MODULUS = 2147483647

_ORDER = f"((CAST(d.draw AS BIGINT) * :odd) % {_MODULUS})"
_IS_ONLINE = "coalesce(s.seen_at, 0) >= :since"
_ONLINE = "SELECT count(*) FROM sighting s WHERE s.seen_at >= :since"

# All that is known of wave, tag and group. An id of -1 is no device's: a tag without devices is not "any tag".
_SCENE = """
SELECT x.tag, x.wave, x.grp, coalesce((SELECT a.held FROM fleet_tag a WHERE a.tag = x.tag), 0),
  (SELECT count(*) FROM fleet_member m WHERE m.wave = x.wave),
  (SELECT count(*) FROM fleet_wave_group g WHERE g.wave = x.wave)
FROM (SELECT coalesce((SELECT id FROM fleet_name WHERE kind = 'tag' AND name = :tag), -1) AS tag,
  coalesce((SELECT id FROM fleet_name WHERE kind = 'wave' AND name = :wave), -1) AS wave,
  coalesce((SELECT id FROM fleet_name WHERE kind = 'group' AND name = :group), -1) AS grp) x
"""


class _Scene(NamedTuple):
    """What a rollout meets: ids; the highest number that is held on the tag; and how much the wave has reached."""

    tag: int
    wave: int
    grp: int
    held: int
    members: int
    groups: int


class _Question(NamedTuple):
    """Conditions over ``fleet_device d``, with the parameters that they need."""

    matching: str
    candidate: str
    params: dict[str, Any]
    scene: _Scene


def group_members(connection: Connection, reach: Reach) -> tuple[int, int]:
    """How many devices of the group do not have the wave yet, and how many do."""
    ask = _question(connection, reach)
    sql = f"SELECT {in_wave(':wave')}, count(*) FROM fleet_device d WHERE {ask.matching} GROUP BY 1"
    counts = {bool(inside): count for inside, count in bulk.ask(connection, sql, ask.params).fetchall()}
    return counts.get(False, 0), counts.get(True, 0)


def group_now(connection: Connection, reach: Reach, *, candidates: bool) -> tuple[str, ...]:
    """The uuids of a group's production devices on the tag; of the candidates among them only, for a plan."""
    ask = _question(connection, reach)
    where = f"{ask.matching} AND {ask.candidate}" if candidates else ask.matching
    found = bulk.ask(connection, f"SELECT d.uuid FROM fleet_device d WHERE {where} ORDER BY d.dev", ask.params)
    return tuple(uuid for (uuid,) in found.fetchall())


def choose(connection: Connection, reach: Reach, limit: Limit | None, online_since: int) -> Choice:
    """Candidates in their order, as many as the limit allows; all of a list without a limit."""
    ask = _question(connection, reach)
    ask.params.update(since=online_since, odd=selection_order(reach.wave))
    if reach.uuids is not None:
        return _of_list(connection, reach, ask, limit)
    assert limit is not None  # else it is a list, or a whole group
    sql = f"SELECT count(*) FROM fleet_device d WHERE {ask.matching}"
    matching = _number(connection, sql, ask.params)
    quota = limit.quota(matching)
    # How many there are of each is only guessed: these are all that are online, on whatever tag.
    online = min(matching, _number(connection, _ONLINE, ask.params))
    chosen = _first(connection, ask, _IS_ONLINE, quota, online) if online else []
    chosen += _first(connection, ask, f"NOT ({_IS_ONLINE})", quota - len(chosen), matching - online)
    return Choice(tuple(chosen), matching, 0)


def _of_list(connection: Connection, reach: Reach, ask: _Question, limit: Limit | None) -> Choice:
    uuids = list(dict.fromkeys(reach.uuids or ()))
    sql = (
        f"SELECT d.uuid, CASE WHEN {ask.candidate} THEN 1 ELSE 0 END FROM $texts CROSS JOIN fleet_device d "
        f"LEFT JOIN sighting s ON s.dev = d.dev WHERE d.uuid = texts.value AND {ask.matching} "
        f"ORDER BY CASE WHEN {_IS_ONLINE} THEN 0 ELSE 1 END, {_ORDER}, d.dev"
    )
    found = bulk.ask(connection, sql, ask.params, uuids).fetchall()
    chosen = [uuid for uuid, candidate in found if candidate]
    quota = len(found) if limit is None else limit.quota(len(found))
    problems = () if len(found) == len(uuids) else _problems(connection, reach, ask.scene, uuids)
    return Choice(tuple(chosen[:quota]), len(found), len(found) - len(chosen), problems)


def _problems(connection: Connection, reach: Reach, scene: _Scene, uuids: list[str]) -> tuple[str, ...]:
    """The listed devices that the wave can't reach, each with the reason in words, in their order."""
    found = bulk.lookup(
        connection,
        "SELECT texts.value, d.dev, d.production, t.name, g.name, d.tag, d.grp FROM $texts "
        "LEFT JOIN fleet_device d ON d.uuid = texts.value AND d.tag > 0 "
        "LEFT JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag "
        "LEFT JOIN fleet_name g ON g.kind = 'group' AND g.id = d.grp ORDER BY texts.key",
        uuids,
    )
    return tuple(
        f"{uuid} ({_reason(reach, dev, production, tag, group)})"
        for uuid, dev, production, tag, group, tag_id, group_id in found
        if dev is None or not production or tag_id != scene.tag or (reach.group and group_id != scene.grp)
    )


def _first(connection: Connection, ask: _Question, condition: str, quota: int, among: int) -> list[str]:
    """The first candidates of those under a condition, of whom there are perhaps `among`."""
    found: list[str] = []
    low, high = 0, min(_MODULUS, _MODULUS * (quota + ask.scene.members + 100) * 9 // (8 * max(1, among)))
    sql = (
        f"SELECT d.uuid FROM fleet_device d LEFT JOIN sighting s ON s.dev = d.dev WHERE {ask.matching} "
        f"AND {_ORDER} >= :low AND {_ORDER} < :high AND {ask.candidate} AND {condition} "
        f"ORDER BY {_ORDER}, d.dev LIMIT :quota"
    )
    while len(found) < quota and low < _MODULUS:
        params = {**ask.params, "low": low, "high": high, "quota": quota - len(found)}
        found += [uuid for (uuid,) in bulk.ask(connection, sql, params).fetchall()]
        # As far as the missing ones reach if they are as dense as those so far, and a little more: a walk along the
        # index costs as much as asking some.
        missing = quota - len(found)
        low, high = high, min(_MODULUS, high + max(high // 8, high * (missing * 5 // 4 + 20) // max(1, len(found))))
    return found


def _question(connection: Connection, reach: Reach) -> _Question:
    names = {"tag": reach.tag, "wave": reach.wave, "group": reach.group}
    scene = _Scene(*(bulk.ask(connection, _SCENE, names).fetchone() or ()))
    matching = "d.tag = :tag AND d.production = 1"
    if reach.group is not None:
        matching += " AND d.grp = :grp"
    candidate = "d.number < :number"
    if scene.held > reach.number:
        # A held device that is not known to run the number that holds it may not be asked to go back either.
        candidate += f" AND NOT {held_above(':number')}"
    if scene.members:
        candidate += f" AND NOT {listed(':wave')}"
    if scene.groups:
        candidate += f" AND NOT {grouped(':wave')}"
    params = {"tag": scene.tag, "wave": scene.wave, "grp": scene.grp, "number": reach.number}
    return _Question(matching, candidate, params, scene)


def _number(connection: Connection, sql: str, params: dict[str, Any]) -> int:
    found = bulk.ask(connection, sql, params).fetchone()
    return int(found[0]) if found else 0


def _reason(reach: Reach, dev: int | None, production: int | None, tag: str | None, group: str | None) -> str:
    if dev is None:
        return "not in the fleet"
    if not production:
        return "a test device"
    if tag != reach.tag:
        return f"follows tag {tag}, not {reach.tag}"
    return f"in group {group}, not {reach.group}" if group else f"in no group, not in {reach.group}"
