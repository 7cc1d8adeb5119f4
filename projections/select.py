"""Which devices a rollout chooses.

Rules of this module (DESIGN §2, §6; the arithmetic is in `ledger.domain.rollout`):

* matching = production devices on the wave's tag, within the group and the list.
* candidates = matching, not yet in the wave (listed, or by a group), below its number, and not held above it.
* order: online ones first, then (draw x odd(wave)) mod 2147483647: the same integers in SQLite and PostgreSQL.
* A list of uuids of any length goes through a temporary table.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from ledger.application.facts import Reach
from ledger.domain.rollout import Choice, Limit, selection_order
from ledger.store import bulk
from projections.membership import held_above, in_wave

_MODULUS = 2147483647

_IN_WAVE = in_wave(":wave")
# A held device that is not known to run the number that holds it may not be asked to go back either.
_BELOW = f"d.number < :number AND NOT {held_above(':number')}"


def group_members(connection: Connection, reach: Reach) -> tuple[int, int]:
    """How many devices of the group do not have the wave yet, and how many do."""
    found = connection.execute(
        text(f"SELECT {_IN_WAVE}, count(*) FROM fleet_device d WHERE {_matching(reach)} GROUP BY 1"),
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
    _list(connection, reach)
    found = connection.execute(
        text(
            "SELECT l.uuid, d.dev, d.production, t.name, g.name FROM rollout_list l "
            "LEFT JOIN fleet_device d ON d.uuid = l.uuid AND d.tag > 0 "
            "LEFT JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag "
            "LEFT JOIN fleet_name g ON g.kind = 'group' AND g.id = d.grp "
            "WHERE d.dev IS NULL OR d.production = 0 OR d.tag <> :tag OR (:grp > 0 AND d.grp <> :grp) ORDER BY l.place"
        ),
        _params(connection, reach),
    )
    return [f"{uuid} ({_reason(reach, dev, production, tag, group)})" for uuid, dev, production, tag, group in found]


def choose(connection: Connection, reach: Reach, limit: Limit | None, online_since: int) -> Choice:
    """Candidates in their order, as many as the limit allows; all of a list without a limit."""
    if reach.uuids is not None:
        _list(connection, reach)
    params = _params(connection, reach)
    where = _matching(reach)
    matching = connection.execute(text(f"SELECT count(*) FROM fleet_device d WHERE {where}"), params).scalar_one()
    quota = matching if limit is None else limit.quota(matching)
    chosen = connection.execute(
        text(
            f"SELECT d.uuid FROM fleet_device d LEFT JOIN sighting s ON s.dev = d.dev "
            f"WHERE {where} AND {_BELOW} AND NOT {_IN_WAVE} "
            f"ORDER BY CASE WHEN s.seen_at >= :since THEN 0 ELSE 1 END, (d.draw * :odd) % {_MODULUS}, d.dev "
            "LIMIT :quota"
        ),
        {**params, "since": online_since, "odd": selection_order(reach.wave), "quota": quota, "number": reach.number},
    )
    uuids = tuple(uuid for (uuid,) in chosen)
    return Choice(uuids, matching, _skipped(connection, reach, params) if reach.uuids is not None else 0)


def _skipped(connection: Connection, reach: Reach, params: dict[str, Any]) -> int:
    """How many of the listed devices are in the wave, or at its number, already."""
    statement = f"SELECT count(*) FROM fleet_device d WHERE {_matching(reach)} AND (NOT ({_BELOW}) OR {_IN_WAVE})"
    return int(connection.execute(text(statement), {**params, "number": reach.number}).scalar_one())


def _matching(reach: Reach) -> str:
    where = "d.tag = :tag AND d.production = 1"
    if reach.group is not None:
        where += " AND d.grp = :grp"
    if reach.uuids is not None:
        where += " AND d.uuid IN (SELECT uuid FROM rollout_list)"
    return where


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


def _list(connection: Connection, reach: Reach) -> None:
    connection.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS rollout_list (uuid TEXT PRIMARY KEY, place BIGINT)"))
    connection.execute(text("DELETE FROM rollout_list"))
    rows = [(uuid, place) for place, uuid in enumerate(dict.fromkeys(reach.uuids or ()))]
    bulk.insert(connection, "rollout_list", ("uuid", "place"), rows)


def _reason(reach: Reach, dev: int | None, production: int | None, tag: str | None, group: str | None) -> str:
    if dev is None:
        return "not in the fleet"
    if not production:
        return "a test device"
    if tag != reach.tag:
        return f"follows tag {tag}, not {reach.tag}"
    return f"in group {group}, not {reach.group}" if group else f"in no group, not in {reach.group}"
