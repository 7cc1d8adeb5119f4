"""The tables of the projections. All of them can be dropped and rebuilt, and the result is the same rows.

Two self-contained projections, each with its own tables and nothing of the other's:

* ``release_*``: members, roots, CI targets, tags, waves, views and what is published of them.
* ``fleet_*``: devices, membership in waves, history. Everything that devices refer to is a dense integer
  (`fleet_name`), 0 for none: a tag of 0 is a device that was removed, a group of 0 no group.

``projection`` says how far each one is. ``sighting`` is telemetry, not history: a rebuild leaves it alone.
Tables of a rebuild under way carry the suffix `NEW`.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Boolean, Column, Index, MetaData, PrimaryKeyConstraint, Table, text

from ledger.store.tables import TEXT, WHOLE

NEW = "__new"
# What a rebuild makes when rows are there, at a third of the cost: an index or a key that no fold asks (LATE), an index
# that a fold asks from some event on, by the name that the fold has for it (ASKED).
LATE, ASKED = "late", "asked"
# A table whose rows nearly all change while it is filled: PostgreSQL finds room for the new ones beside the old ones.
ROOM = "room"
BY_UUID, BY_TARGET = "by uuid", "by target"
SCHEMA_VERSION = 5  # of all projection tables; a change of any of them raises it, and migrate rebuilds them

_TableMaker = Callable[..., None]


def shared_tables() -> MetaData:
    """What is not rebuilt: checkpoints, what reached a destination, and telemetry (times in seconds since 1970)."""
    metadata = MetaData(info={"component": "projections", "version": SCHEMA_VERSION})
    Table(
        "projection",
        metadata,
        Column("name", TEXT, primary_key=True),
        Column("position", WHOLE, nullable=False),
        Column("generation", WHOLE, nullable=False),
    )
    Table(
        "written",
        metadata,
        Column("repository", TEXT, primary_key=True),
        Column("version", WHOLE, nullable=False),  # of the timestamps that reached a destination
    )
    # Publications up to `position` are at a destination in full, of all repositories ("") but those with a row.
    Table(
        "reached",
        metadata,
        Column("destination", TEXT, primary_key=True),
        Column("repository", TEXT, primary_key=True),
        Column("position", WHOLE, nullable=False),
    )
    Table(
        "sighting",
        metadata,
        Column("dev", WHOLE, primary_key=True),
        Column("seen_at", WHOLE, nullable=False),
        Column("confirmed_at", WHOLE, nullable=False),  # the last time it confirmed the target that is known
    )
    return metadata


def is_time(column: str) -> bool:
    """Whether a column of any projection holds seconds since 1970 (0: never)."""
    return column in {"at", "expires"} or column.endswith(("_at", "_expires"))


def release_tables(suffix: str = "", generation: int = 0) -> MetaData:
    """The tables of the projection ``releases``; a publication's `root_at` is when its root was shown first."""
    metadata = MetaData()
    table = _maker(metadata, "release_", suffix, generation)
    table("member", "member* role")
    table("root", "repository* version#* expires# metadata position#")
    table("online_key", "repository* role* keyid key")
    table("replaced_key", "repository* role* keyid* replaced_at# position#")
    table("ci_target", "name* number# hardware_id body position#", indexes=["number"])
    table("ci_tag", "tag* name*")
    table("ci_pruned", "name* number# body")
    table(
        "tag",
        "tag* number# lane# active_wave? active_number#? active_promoted!? production_wave? production_view? "
        "production_version#? production_expires#? production_content? held",
    )
    table(
        "wave",
        "wave* tag number# status created_at# created_by finished_at#? finished_by? position# expires# "
        "version# threshold# source_tag? prune reason? documents?",
        indexes=["tag status", "status", "position"],
        unique=[("tag", "status = 'active'")],
    )
    table("signature", "wave* place#* keyid signatures")
    table("rollout", "wave* rollout#* at# by grp? full_group! listed! devices# skipped# digest plan? position#")
    table(
        "view",
        "view* repository rank# version#? expires#? wave? document? content? content_position#?",
        indexes=["repository"],
    )
    table("view_target", "view* name* number# hardware_id body")
    table("publication", "repository* version# root_version# root_at# position#")  # the root was first shown at root_at
    table(
        "published",
        "view* repository version# targets_version# targets_length# targets_sha256 content_position#? "
        "snapshot_expires# timestamp_expires# signed_at# position# closed!",
        indexes=["repository"],
    )
    table("resigned", "repository* version#* position#")
    table("raised", "repository* metadata# targets# position#")
    table("document", "repository* version#* wave? view keyid signature content_position#? position#")
    return metadata


def fleet_tables(suffix: str = "", generation: int = 0) -> MetaData:
    """The tables of the projection ``fleet``."""
    metadata = MetaData()
    table = _maker(metadata, "fleet_", suffix, generation)
    table("name", "kind* id#* name", unique=[("kind name", None)])
    # number: the highest that completed; held: the highest of a held view, 0 for none; moved: when one was last left.
    table("tag", "tag#* active# number# held# moved#")
    table("wave", "wave#* tag# number# status opened# closed#?", indexes=["tag"])
    table("wave_target", "wave#* target#*")
    table("wave_group", "tag#* grp#* wave#* position#", indexes=["wave"])
    table(
        "device",
        "dev#* uuid name hw# tag# grp# production# joined# number# target# reported_at# draw#",
        late=["tag production grp number draw", "name"],
        partial=[("target tag grp", "target > 0"), ("dev", "tag = 0")],
        unique=[("uuid", None)],
        asked={"uuid": BY_UUID, "target tag grp": BY_TARGET},
        room=True,
    )
    table("member", "dev#* tag#* wave#* installed# moved#", late=["wave installed"])
    table("history", "dev#* position#*", late_key=True)
    return metadata


def all_tables() -> list[MetaData]:
    """What `init` creates."""
    return [shared_tables(), release_tables(), fleet_tables()]


def _maker(metadata: MetaData, prefix: str, suffix: str, generation: int) -> _TableMaker:
    """A function that adds a table from a line of columns: ``*`` key, ``#`` integer, ``!`` boolean, ``?`` nullable."""

    def add(
        name: str,
        columns: str,
        indexes: list[str] | None = None,
        partial: list[tuple[str, str]] | None = None,
        unique: list[tuple[str, str | None]] | None = None,
        late: list[str] | None = None,
        asked: dict[str, str] | None = None,
        late_key: bool = False,
        room: bool = False,
    ) -> None:
        words = columns.split()
        keys = [_bare(word) for word in words if "*" in word]
        # A key of several columns is the table itself, not an index beside it.
        made = Table(
            prefix + name + suffix,
            metadata,
            *map(_column, words),
            sqlite_with_rowid=len(keys) == 1,
            info={LATE: late_key, ROOM: room},
        )
        made.append_constraint(PrimaryKeyConstraint(*(made.c[key] for key in keys)))
        # Index names are unique in a whole schema and a renamed table keeps them: the generation tells them apart.
        stem = f"ix_{prefix}{name}_g{generation}"
        for place, (index, where) in enumerate([*((i, None) for i in indexes or []), *(partial or [])]):
            _index(made, f"{stem}_{place}", index, where, unique=False)
        for place, (index, where) in enumerate(unique or []):
            _index(made, f"{stem}_u{place}", index, where, unique=True)
        for place, index in enumerate(late or []):
            _index(made, f"{stem}_l{place}", index, None, unique=False, late=True)
        for index_ in made.indexes:
            index_.info[ASKED] = (asked or {}).get(" ".join(index_.columns.keys()))

    return add


def _index(table: Table, name: str, columns: str, where: str | None, *, unique: bool, late: bool = False) -> None:
    condition = text(where) if where else None
    found = [table.c[column] for column in columns.split()]
    Index(name, *found, unique=unique, sqlite_where=condition, postgresql_where=condition, info={LATE: late})


def _bare(word: str) -> str:
    return word.rstrip("*#!?")


def _column(word: str) -> Column[object]:
    kind = Boolean() if "!" in word else WHOLE if "#" in word else TEXT
    return Column(_bare(word), kind, nullable="?" in word, autoincrement=False)
