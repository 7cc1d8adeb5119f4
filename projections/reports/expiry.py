"""What expires when, and which devices it would hit: from then on their clients refuse what they are shown.

Rules of this module:

* Everything that `projections.queries.expiry` lists, soonest first. A key has no expiry of its own: it counts until the
  root that lists it expires, and is told with that.
* The devices are those that are in the view now, as the ledger decides; a root hits all that trust it. A wave that was
  rolled out to nobody hits nobody yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, text

from projections.membership import holder, in_wave
from projections.queries import expiry
from projections.queries.expiry import Kind
from projections.reports.basis import Basis, basis_of
from projections.reports.source import Source
from projections.reports.values import Span, Time, Wanted

_VIEWS = f"""
SELECT t.name, c.production, g.name, c.inside, w.name, w2.number, h.name, hw.number, c.devices FROM (
  SELECT d.tag, d.production, d.grp, a.active,
    CASE WHEN d.production = 1 AND a.active > 0 AND {in_wave("a.active")} THEN 1 ELSE 0 END AS inside,
    CASE WHEN d.production = 1 AND a.held > 0 THEN {holder("a.number")} END AS holder,
    count(*) AS devices
  FROM fleet_device d LEFT JOIN fleet_tag a ON a.tag = d.tag WHERE d.tag > 0 GROUP BY 1, 2, 3, 4, 5, 6) c
JOIN fleet_name t ON t.kind = 'tag' AND t.id = c.tag
LEFT JOIN fleet_name g ON g.kind = 'group' AND g.id = c.grp
LEFT JOIN fleet_name w ON w.kind = 'wave' AND w.id = c.active
LEFT JOIN fleet_wave w2 ON w2.wave = c.active
LEFT JOIN fleet_wave hw ON hw.wave = c.holder
LEFT JOIN fleet_name h ON h.kind = 'wave' AND h.id = c.holder
"""


@dataclass(frozen=True, slots=True)
class GroupHit:
    """Devices of one group that it would hit; an empty name: those without a group."""

    group: str
    devices: int


@dataclass(frozen=True, slots=True)
class Expiring:
    """Something that expires; `left` is what is left of its life, below 0 when it expired; `state` says how it is.

    `state`: ``expired``, ``renew`` (half of its life is over) or ``fresh``. `renewal` is the command that renews it;
    `renewed_with` says whose keys that takes: ``root`` or ``targets``, which are offline, or ``online``.
    """

    what: str
    kind: str
    since: Time
    expires: Time
    left: Span
    state: str
    devices: int
    groups: tuple[GroupHit, ...]
    renewed_with: str
    renewal: str


@dataclass(frozen=True, slots=True)
class ExpiringKey:
    """A key that the newest root of a repository lists; it counts until the root expires."""

    repository: str
    keyid: str
    roles: tuple[str, ...]
    online: bool
    expires: Time


@dataclass(frozen=True, slots=True)
class Soonest:
    """All that expires next, in one second; `devices` would be hit by it, each counted once."""

    what: tuple[str, ...]
    expires: Time
    left: Span
    devices: int


@dataclass(frozen=True, slots=True)
class ExpiryReport:
    """What expires, soonest first; `refusing` devices are hit by what has expired, each counted once."""

    basis: Basis
    until: Time | None
    refusing: int
    soonest: Soonest | None
    expiring: tuple[Expiring, ...]
    keys: tuple[ExpiringKey, ...]


def build(source: Source, wanted: Wanted) -> ExpiryReport:
    """The report; with an end of the period only what expires up to it."""
    basis = basis_of(source)
    views = _devices(source.tables)
    found = expiry.expiries(source.tables)
    keys = _keys(source.tables)
    if wanted.until is not None:
        found = [one for one in found if one.expires <= wanted.until]
        keys = [key for key in keys if key.expires <= wanted.until]
    expired = [one for one in found if one.is_expired(basis.at)]
    return ExpiryReport(
        basis,
        Time.of(wanted.until),
        _hit(expired, views).total(),
        _soonest(found[len(expired) :], views, basis.at),
        tuple(_expiring(one, views, basis.at) for one in found),
        tuple(keys),
    )


Views = dict[str, Counter[str]]
"""The devices of each view by group."""


def _devices(connection: Connection) -> Views:
    found: Views = {}
    for tag, production, group, inside, wave, number, held, held_number, devices in connection.execute(text(_VIEWS)):
        if not production:
            view = f"ci/{tag}"
        elif inside and (held is None or number >= held_number):
            view = f"wave/{wave}"
        else:
            view = f"held/{held}" if held else f"production/{tag}"
        found.setdefault(view, Counter())[group or ""] += devices
    return found


def _soonest(left: Sequence[expiry.Expiry], views: Views, now: int) -> Soonest | None:
    """Of what has not expired yet."""
    if not left:
        return None
    at = left[0].expires
    together = [one for one in left if one.expires == at]
    return Soonest(tuple(map(_name, together)), Time(at), Span(at - now), _hit(together, views).total())


def _hit(found: Sequence[expiry.Expiry], views: Views) -> Counter[str]:
    """The devices that see any of these, by group."""
    hit: Counter[str] = Counter()
    for view, devices in views.items():
        if any(_hits(one, view) for one in found):
            hit.update(devices)
    return hit


def _expiring(found: expiry.Expiry, views: Views, now: int) -> Expiring:
    hit = _hit([found], views)
    state = "expired" if found.is_expired(now) else "renew" if found.is_aged(now) else "fresh"
    return Expiring(
        _name(found),
        _kind(found),
        Time(found.since),
        Time(found.expires),
        Span(found.expires - now),
        state,
        hit.total(),
        tuple(GroupHit(*pair) for pair in sorted(hit.items())),
        found.renewal().keys,
        found.renewal().command,
    )


def _name(found: expiry.Expiry) -> str:
    return found.what.rstrip(",")


def _hits(found: expiry.Expiry, view: str) -> bool:
    match found.kind:
        case Kind.PRODUCTION_ROOT:
            return not view.startswith("ci/")
        case Kind.CI_ROOT:
            return view.startswith("ci/")
        case Kind.DOCUMENT | Kind.ONLINE:
            return found.what.endswith(f" of view {view}")


def _kind(found: expiry.Expiry) -> str:
    if found.kind in {Kind.PRODUCTION_ROOT, Kind.CI_ROOT}:
        return "root"
    return "timestamp" if found.what.startswith("the timestamp ") else "targets"


def _keys(connection: Connection) -> list[ExpiringKey]:
    online = set(connection.execute(text("SELECT keyid FROM release_online_key")).scalars())
    roots = connection.execute(
        text(
            "SELECT repository, expires, metadata FROM release_root r WHERE version = (SELECT max(version) "
            "FROM release_root n WHERE n.repository = r.repository) ORDER BY expires, repository"
        )
    )
    return [
        ExpiringKey(repository, keyid, roles, keyid in online, Time(expires))
        for repository, expires, metadata in roots
        for keyid, roles in _roles(orjson.loads(metadata)).items()
    ]


def _roles(root: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for role, entry in root["signed"]["roles"].items():
        for keyid in entry["keyids"]:
            found.setdefault(keyid, []).append(role)
    return {keyid: tuple(roles) for keyid, roles in sorted(found.items())}
