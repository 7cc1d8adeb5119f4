"""The whole factory at a glance: what each tag's devices are offered and run.

Rules of this module:

* A row for each set of devices that is offered something of its own: a tag's production targets, its active wave, its
  CI targets. Every device is in exactly one row. A held device counts with production, which it is to return to; `held`
  says how many there are.
* latest = the highest number offered. on latest = devices that run it: one that is in the active wave is compared with
  the wave's, any other one with production's. So it is said everywhere, and a tag's rows add up.
* An orphan is a version (never 0) that is neither in the tag's production targets nor in its active wave's; for a test
  device, none of its CI targets'.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from ledger.garbage import uncollected
from projections.queries.cells import Cell, cells

NUMBERS = (
    "SELECT DISTINCT view, number FROM release_view_target UNION ALL "
    "SELECT DISTINCT 'ci/' || g.tag, t.number FROM release_ci_tag g JOIN release_ci_target t ON t.name = g.name"
)


@dataclass
class Part:
    """The devices of one group within a row; `name` is empty for those without a group.

    `online` is None for the past, of which nobody kept who was seen when.
    """

    name: str
    devices: int = 0
    on_latest: int = 0
    on_orphan: int = 0
    online: int | None = 0
    held: int = 0
    versions: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, cell: Cell, *, latest: int, known: frozenset[int], inside: bool) -> None:
        """Count devices of a row that offers `latest` at most."""
        _, _, _, number, _, _, held, devices, online = cell
        self.devices += devices
        if number == latest and latest:
            self.on_latest += devices
        if number > 0 and number not in known:
            self.on_orphan += devices
        if self.online is not None:
            self.online += online
        if held and not inside:
            self.held += devices
        self.versions[number] += devices

    def join(self, other: Part) -> None:
        """Count the devices of another part, too."""
        self.devices += other.devices
        self.on_latest += other.on_latest
        self.on_orphan += other.on_orphan
        if self.online is not None:
            self.online += other.online or 0
        self.held += other.held
        for number, devices in other.versions.items():
            self.versions[number] += devices


@dataclass
class TagRow:
    """The devices that are offered one thing; `kind` is ``production``, ``wave`` or ``ci``."""

    tag: str
    kind: str
    wave: str | None
    latest: int
    known: frozenset[int]
    all: Part
    groups: dict[str, Part] = field(default_factory=dict)


def devices(connection: Connection) -> tuple[int, int]:
    """How many production and test devices there are."""
    rows = connection.execute(text("SELECT production, count(*) FROM fleet_device WHERE tag > 0 GROUP BY production"))
    counts: dict[int, int] = dict(rows.all())
    return counts.get(1, 0), counts.get(0, 0)


def tags(connection: Connection, *, online_since: int | None, tag: str | None = None) -> list[TagRow]:
    """All rows, or those of one tag: with devices, or offering something. `online_since`: None for the past."""
    unseen = 0 if online_since is not None else None
    offers = _Offers(connection)
    rows = {(row.tag, row.kind): row for row in offers.rows() if tag in {None, row.tag}}
    for row in rows.values():
        row.all.online = unseen
    with uncollected():  # there may be a cell for every other device
        for cell in cells(connection, online_since=online_since, tag=tag):
            inside = (cell.listed or cell.grouped) and cell.held <= offers.active[cell.tag][1]
            kind = "wave" if inside else "production" if cell.production else "ci"
            if (cell.tag, kind) not in rows:
                known = offers.known(cell.tag) if cell.production else frozenset()
                rows[cell.tag, kind] = TagRow(cell.tag, kind, None, 0, known, Part("", online=unseen))
            row, group = rows[cell.tag, kind], cell.group or ""
            if group not in row.groups:
                row.groups[group] = Part(group, online=unseen)
            row.groups[group].add(cell, latest=row.latest, known=row.known, inside=inside)
        for row in rows.values():
            for part in row.groups.values():
                row.all.join(part)
    order = {"production": 0, "wave": 1, "ci": 2}
    return sorted(rows.values(), key=lambda row: (row.tag, order[row.kind]))


class _Offers:
    """What all views offer, read at once; `active` are name and number of each tag's active wave."""

    def __init__(self, connection: Connection) -> None:
        views = connection.execute(text("SELECT view, repository FROM release_view WHERE view NOT LIKE 'held/%'"))
        self._views = sorted((view, repository.partition("/")[2]) for view, repository in views)
        self._numbers: dict[str, set[int]] = {}
        found = connection.execute(text(NUMBERS))
        for view, number in found:
            self._numbers.setdefault(view, set()).add(number)
        waves = connection.execute(text("SELECT tag, wave, number FROM release_wave WHERE status = 'active'"))
        self.active = {tag: (wave, number) for tag, wave, number in waves}

    def known(self, tag: str) -> frozenset[int]:
        """The numbers in a tag's production targets and in its active wave's: what is no orphan."""
        production = self._numbers.get(f"production/{tag}", set())
        wave = self.active.get(tag)
        return frozenset(production | self._numbers.get(f"wave/{wave[0]}", set()) if wave else production)

    def rows(self) -> Iterator[TagRow]:
        """A row for each view, without devices."""
        for view, tag in self._views:
            kind, _, name = view.partition("/")
            numbers = frozenset(self._numbers.get(view, ()))
            known = numbers if kind == "ci" else self.known(tag)
            yield TagRow(tag, kind, name if kind == "wave" else None, max(numbers, default=0), known, Part(""))


def unpublished(connection: Connection) -> list[str]:
    """The views that devices can't see yet as they were decided."""
    return list(
        connection.execute(
            text(
                "SELECT v.view FROM release_view v LEFT JOIN written w ON w.repository = v.repository "
                "LEFT JOIN release_published p ON p.view = v.view AND NOT p.closed AND p.version <= w.version "
                "WHERE p.view IS NULL OR p.targets_version <> v.version OR p.content_position <> v.content_position "
                # Who left a held view waits for a publication after that.
                "OR EXISTS (SELECT 1 FROM fleet_tag a JOIN fleet_name t ON t.kind = 'tag' AND t.id = a.tag "
                "WHERE v.view = 'production/' || t.name AND a.moved > p.position) "
                "ORDER BY v.view"
            )
        ).scalars()
    )
