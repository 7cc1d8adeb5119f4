"""The tables of the event store, and the triggers that keep them append-only.

Rules of this module:

* Positions are 1, 2, 3 ... without gaps. The database itself refuses any other, and every change of what was appended:
  UPDATE, DELETE, and INSERT OR REPLACE, which in SQLite deletes rows without firing their delete triggers unless
  `recursive_triggers` is on. So the insert triggers look for the row that would be replaced: whoever opens the file
  with another program has the same protection.
* `head` (one row) and `tracking` (one row for each follower) are the only rows that change.
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

_WHOLE = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's rowid is spelled INTEGER, and 8 bytes anyway

event = Table(
    "event",
    metadata,
    Column("position", _WHOLE, primary_key=True, autoincrement=False),
    Column("stream", Text, nullable=False),
    Column("version", _WHOLE, nullable=False),
    Column("topic", Text, nullable=False),
    Column("recorded_at", _WHOLE, nullable=False),  # seconds since 1970
    Column("actor", Text, nullable=False),
    Column("encoding", Text, nullable=False),  # json, or json+zlib
    Column("leaf", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # last: a long one is on pages of its own, read only when asked for
    UniqueConstraint("stream", "version"),
    Index("event_topic_position", "topic", "position"),
)

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", _WHOLE, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("recorded_at", _WHOLE, nullable=False),  # of the newest event, seconds since 1970
    CheckConstraint("id = 1", name="head_is_one_row"),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", _WHOLE, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),  # a C2SP signed note
)

tracking = Table(
    "tracking",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", _WHOLE, nullable=False),
)

schema_version = Table(
    "schema_version",
    metadata,
    Column("component", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)

TRIGGERS = (
    f"""CREATE TRIGGER event_is_next BEFORE INSERT ON event
        WHEN NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM event)
        BEGIN SELECT RAISE(ABORT, '{NOT_NEXT}'); END""",
    f"""CREATE TRIGGER event_is_new BEFORE INSERT ON event
        WHEN EXISTS (SELECT 1 FROM event WHERE stream = NEW.stream AND version = NEW.version)
        BEGIN SELECT RAISE(ABORT, '{TAKEN}'); END""",
    """CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'events never change'); END""",
    """CREATE TRIGGER event_stays BEFORE DELETE ON event
        BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""",
    """CREATE TRIGGER checkpoint_is_new BEFORE INSERT ON checkpoint
        WHEN EXISTS (SELECT 1 FROM checkpoint WHERE size = NEW.size)
        BEGIN SELECT RAISE(ABORT, 'a checkpoint of this size exists'); END""",
    """CREATE TRIGGER checkpoint_never_changes BEFORE UPDATE ON checkpoint
        BEGIN SELECT RAISE(ABORT, 'checkpoints never change'); END""",
    """CREATE TRIGGER checkpoint_stays BEFORE DELETE ON checkpoint
        BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END""",
)
