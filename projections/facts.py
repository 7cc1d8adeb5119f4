"""What the use cases ask, answered from the projections inside their transaction (see `ledger.application.facts`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, text

from ledger.application.facts import Reach, Trusted
from ledger.domain.fleet import Device, Running
from ledger.domain.rollout import Choice, Limit
from ledger.domain.tag import Tag
from ledger.domain.values import JsonObject, Target, known_target, read_target
from ledger.store import bulk
from projections import select, tags
from projections.queries import expiry

_IN = 500  # values in one IN list: far below what SQLite (32,766) and PostgreSQL (65,535) take

_DEVICE = (
    "SELECT d.uuid, d.name, h.name, t.name, g.name, d.production, r.name, d.reported_at, s.confirmed_at, d.number "
    "FROM $texts CROSS JOIN fleet_device d JOIN fleet_name h ON h.kind = 'hardware' AND h.id = d.hw "
    "JOIN fleet_name t ON t.kind = 'tag' AND t.id = d.tag "
    "LEFT JOIN fleet_name g ON g.kind = 'group' AND g.id = d.grp "
    "LEFT JOIN fleet_name r ON r.kind = 'target' AND r.id = d.target "
    "LEFT JOIN sighting s ON s.dev = d.dev WHERE d.uuid = texts.value"
)

_SIGHTING_COLUMNS = {"uuid": "TEXT", "seen_at": "INTEGER", "confirmed_at": "INTEGER"}
_SAW = (
    "INSERT INTO sighting (dev, seen_at, confirmed_at) SELECT d.dev, max(b.seen_at), max(b.confirmed_at) "
    "FROM sighting_batch b CROSS JOIN fleet_device d WHERE d.uuid = b.uuid GROUP BY d.dev "
    "ON CONFLICT (dev) DO UPDATE SET "
    "seen_at = CASE WHEN excluded.seen_at > sighting.seen_at THEN excluded.seen_at ELSE sighting.seen_at END, "
    "confirmed_at = CASE WHEN excluded.confirmed_at > sighting.confirmed_at THEN excluded.confirmed_at "
    "ELSE sighting.confirmed_at END"
)


class Facts:
    """Both protocols of `ledger.application.facts`. Without state: every answer is asked of the connection."""

    def members(self, connection: Connection) -> dict[str, str]:
        """Names and roles."""
        return dict(connection.execute(text("SELECT member, role FROM release_member")).all())

    def ci_targets(self, connection: Connection, number: int) -> tuple[Target, ...]:
        """All CI targets with the number."""
        statement = text("SELECT name, body FROM release_ci_target WHERE number = :number ORDER BY name")
        found = connection.execute(statement, {"number": number})
        return tuple(read_target(name, orjson.loads(body)) for name, body in found)

    def ci_bodies(self, connection: Connection, names: Sequence[str]) -> dict[str, JsonObject]:
        """The TUF targets of those names that are known."""
        rows = _select_in(connection, "SELECT name, body FROM release_ci_target WHERE name IN", names)
        return {name: orjson.loads(body) for name, body in rows}

    def pruned_bodies(self, connection: Connection, names: Sequence[str]) -> dict[str, JsonObject]:
        """The TUF targets of those names that were pruned, and are not known now."""
        rows = _select_in(connection, "SELECT name, body FROM release_ci_pruned WHERE name IN", names)
        return {name: orjson.loads(body) for name, body in rows}

    def ci_tagged(self, connection: Connection, tags: Sequence[str]) -> tuple[Target, ...]:
        """The CI targets that have one of the tags at least."""
        statement = (
            "SELECT DISTINCT t.name, t.body FROM release_ci_tag g JOIN release_ci_target t ON t.name = g.name "
            "WHERE g.tag IN"
        )
        found = dict(tuple(row) for row in _select_in(connection, statement, tags))
        return tuple(known_target(name, orjson.loads(body)) for name, body in sorted(found.items()))

    def ci_tags(self, connection: Connection) -> frozenset[str]:
        """All tags that a CI target ever had: each has a view since then."""
        views = connection.execute(text("SELECT view FROM release_view WHERE view LIKE 'ci/%'")).scalars()
        return frozenset(view.removeprefix("ci/") for view in views)

    def tag(self, connection: Connection, name: str) -> Tag:
        """The state of a tag."""
        row = connection.execute(text("SELECT * FROM release_tag WHERE tag = :tag"), {"tag": name}).mappings().first()
        return Tag(name) if row is None else tags.from_row(dict(row))

    def production(self, connection: Connection, tag: str) -> dict[str, Target]:
        """The tag's production targets by name."""
        statement = text("SELECT name, body FROM release_view_target WHERE view = :view ORDER BY name")
        found = connection.execute(statement, {"view": f"production/{tag}"})
        return {name: known_target(name, orjson.loads(body)) for name, body in found}

    def production_numbers(self, connection: Connection, tag: str) -> dict[str, int]:
        """The numbers of the tag's production targets by name."""
        statement = text("SELECT name, number FROM release_view_target WHERE view = :view")
        return dict(connection.execute(statement, {"view": f"production/{tag}"}).all())

    def tags(self, connection: Connection) -> list[str]:
        """All tags that a wave was ever for."""
        return list(connection.execute(text("SELECT tag FROM release_tag ORDER BY tag")).scalars())

    def tag_of_wave(self, connection: Connection, wave: str) -> str | None:
        """The tag that a wave is for; None where there is no such wave."""
        return connection.execute(text("SELECT tag FROM release_wave WHERE wave = :wave"), {"wave": wave}).scalar()

    def resigned_at(self, connection: Connection, repository: str, version: int) -> int | None:
        """The position of the event that signed a live document anew under that version."""
        statement = text("SELECT position FROM release_resigned WHERE repository = :repository AND version = :version")
        return connection.execute(statement, {"repository": repository, "version": version}).scalar()

    def online_keyids(self, connection: Connection, repository: str) -> dict[str, str]:
        """The keyids of the online keys of ``production`` or ``ci``, by role."""
        statement = text("SELECT role, keyid FROM release_online_key WHERE repository = :repository")
        return dict(connection.execute(statement, {"repository": repository}).all())

    def trusted(self, connection: Connection, repository: str) -> Trusted:
        """The newest root of ``production`` or ``ci``."""
        key = {"repository": repository}
        statement = text(
            "SELECT version, metadata FROM release_root WHERE repository = :repository ORDER BY version DESC LIMIT 1"
        )
        version, metadata = connection.execute(statement, key).one()
        keyid = connection.execute(
            text("SELECT keyid FROM release_online_key WHERE repository = :repository AND role = 'targets'"), key
        ).scalar_one()
        return Trusted(version, metadata.encode(), keyid)

    def root_aged(self, connection: Connection, repository: str, now: int) -> bool:
        """Whether half of the life of the newest root of ``production`` or ``ci`` is over."""
        return expiry.root_aged(connection, repository, now)

    def is_empty(self, connection: Connection) -> bool:
        """Whether no device is in the fleet."""
        return bulk.query(connection, "SELECT 1 FROM fleet_device WHERE tag > 0 LIMIT 1").fetchone() is None

    def devices(self, connection: Connection, uuids: Sequence[str]) -> dict[str, Device]:
        """Those of the devices that are in the fleet."""
        rows = bulk.lookup(connection, _DEVICE, uuids)
        return {uuid: Device(uuid, name, hw, tag, grp, bool(p)) for uuid, name, hw, tag, grp, p, *_ in rows}

    def running(self, connection: Connection, uuids: Sequence[str]) -> dict[str, Running]:
        """What those of the devices that are in the fleet run."""
        rows = bulk.lookup(connection, _DEVICE, uuids)
        return {row[0]: Running(row[6], max(row[7], row[8] or 0), row[9]) for row in rows}

    def numbers(self, connection: Connection, targets: Sequence[str]) -> Mapping[str, int]:
        """The numbers of those targets that the ledger ever had."""
        found: dict[str, int] = {}
        # Pruned ones too: a device may run for months what CI serves no more.
        for table in ("release_ci_pruned", "release_ci_target", "release_view_target"):
            found.update(_select_in(connection, f"SELECT name, number FROM {table} WHERE name IN", targets))
        return found

    def saw(self, connection: Connection, sightings: Sequence[tuple[str, int, int]]) -> None:
        """Keep telemetry: uuid, seen at, confirmed its target at (0: it did not)."""
        bulk.stage(connection, "sighting_batch", _SIGHTING_COLUMNS, sightings)
        bulk.sweep(connection, _SAW).close()

    def group_exists(self, connection: Connection, group: str) -> bool:
        """Whether a device was ever in it."""
        statement = text("SELECT 1 FROM fleet_name WHERE kind = 'group' AND name = :name")
        return connection.execute(statement, {"name": group}).first() is not None

    def group_reached(self, connection: Connection, wave: str, group: str) -> bool:
        """Whether the wave was rolled out to the whole group."""
        statement = text("SELECT 1 FROM release_rollout WHERE wave = :wave AND grp = :grp AND full_group")
        return connection.execute(statement, {"wave": wave, "grp": group}).first() is not None

    def group_members(self, connection: Connection, reach: Reach) -> tuple[int, int]:
        """How many devices of the group a full rollout reaches now, and how many have the wave already."""
        return select.group_members(connection, reach)

    def choose(self, connection: Connection, reach: Reach, limit: Limit | None, online_since: int) -> Choice:
        """Candidates in their order, as many as the limit allows, and who of a list can't be reached."""
        return select.choose(connection, reach, limit, online_since)


def _select_in(connection: Connection, statement: str, values: Sequence[str]) -> Iterator[Any]:
    """The rows of a query that ends in ``IN``, for any number of values."""
    for start in range(0, len(values), _IN):
        part = values[start : start + _IN]
        names = ", ".join(f":v{place}" for place in range(len(part)))
        yield from connection.execute(
            text(f"{statement} ({names})"), {f"v{place}": value for place, value in enumerate(part)}
        )
