"""The tables of the event store, and the triggers that keep them append-only.

Rules of this module:

* Positions are 1, 2, 3 ... without gaps. The database itself refuses any other, and every change of what was appended:
  UPDATE, DELETE, and INSERT OR REPLACE, which in SQLite deletes rows without firing their delete triggers unless
  `recursive_triggers` is on. So the insert triggers look for the row that would be replaced: whoever opens the file
  with another program has the same protection.
* `head` (one row) and `tracking` (one row for each follower) are the only rows that change.
* On PostgreSQL the database itself writes the actor, the leaves and the head (`ledger.store.triggers`); texts are
  ordered byte by byte on both, and every number is a BIGINT there, which COPY in binary relies on.
* A changed table is a new SCHEMA_VERSION, and a step in `ledger.store.migrate`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1
COMPONENT = "ledger"  # the event store's own row in schema_version

# What the triggers say; the recorder tells them apart by it.
NOT_NEXT = "the position of an event is the next one"
TAKEN = "an event of this stream and version exists"

metadata = MetaData(info={"component": COMPONENT, "version": SCHEMA_VERSION})

WHOLE = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's rowid is spelled INTEGER, and 8 bytes anyway
TEXT = Text().with_variant(Text(collation="C"), "postgresql")

event = Table(
    "event",
    metadata,
    Column("position", WHOLE, primary_key=True, autoincrement=False),
    Column("stream", TEXT, nullable=False),
    Column("version", WHOLE, nullable=False),
    Column("topic", TEXT, nullable=False),
    Column("recorded_at", WHOLE, nullable=False),  # seconds since 1970
    Column("actor", TEXT, nullable=False),
    Column("encoding", TEXT, nullable=False),  # json, or json+zlib
    Column("leaf", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # last: a long one is on pages of its own, read only when asked for
    UniqueConstraint("stream", "version"),
    Index("event_topic_position", "topic", "position"),
)

head = Table(
    "head",
    metadata,
    Column("id", WHOLE, primary_key=True, autoincrement=False),
    Column("size", WHOLE, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("recorded_at", WHOLE, nullable=False),  # of the newest event, seconds since 1970
    CheckConstraint("id = 1", name="head_is_one_row"),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", WHOLE, primary_key=True, autoincrement=False),
    Column("note", TEXT, nullable=False),  # a C2SP signed note
)

tracking = Table(
    "tracking",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("position", WHOLE, nullable=False),
)

schema_version = Table(
    "schema_version",
    metadata,
    Column("component", TEXT, primary_key=True),
    Column("version", WHOLE, nullable=False),
)
