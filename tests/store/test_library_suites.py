"""The eventsourcing library's own suites hold our recorder to its interfaces: in files of both modes, in PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase
from uuid import UUID, uuid4

from eventsourcing.persistence import Tracking
from eventsourcing.tests import persistence as suites
from eventsourcing.tests import projection as projection_suites
from sqlalchemy import Engine

from ledger.store import bulk, migrate
from ledger.store.engine import open_engine, opened, reading, writing
from ledger.store.recorder import LedgerRecorder
from tests.postgres import server


class OnStore(TestCase):
    """A store of its own for each test."""

    def create_engine(self) -> Engine:
        """A new ledger."""
        raise NotImplementedError

    def create_recorder(self) -> LedgerRecorder:
        """What the suites ask for."""
        return LedgerRecorder(self.create_engine())

    def new_originator_id(self) -> UUID | str:
        """Our streams have names."""
        return str(uuid4())


class OnFile(OnStore):
    """In a file, in the journal mode that the subclass names."""

    journal_mode: str

    def create_engine(self) -> Engine:
        """A new ledger in the mode of the class."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        url = f"sqlite:///{Path(directory.name) / 'ledger.db'}"
        engine = open_engine(url, must_exist=False, journal_mode=self.journal_mode)
        self.addCleanup(engine.dispose)
        with writing(engine) as connection:
            migrate.create(connection)
            assert bulk.query(connection, "PRAGMA journal_mode").fetchone() == (self.journal_mode.lower(),)
        return engine


class InPostgresql(OnStore):
    """In a database, with the rights of the application's role and no more."""

    def create_engine(self) -> Engine:
        """A new ledger that somebody else owns."""
        running = server()
        running.role("bob")
        database = running.database()
        self.addCleanup(running.drop, database)
        with opened(running.url(database, "alice"), must_exist=False) as owner, writing(owner) as connection:
            migrate.create(connection)
        engine = open_engine(running.url(database, "bob"))
        self.addCleanup(engine.dispose)
        return engine


class CountersView(projection_suites.EventCountersView):
    """The suite's view: two counters, changed in the transaction that moves the tracking position."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with writing(engine) as connection, migrate.changing_projections(connection):
            connection.exec_driver_sql("CREATE TABLE counter (name TEXT PRIMARY KEY, count BIGINT NOT NULL)")
            bulk.insert(connection, "counter", ("name", "count"), [("created", 0), ("subsequent", 0)])

    def insert_tracking(self, tracking: Tracking) -> None:
        """As the recorder does it."""
        LedgerRecorder(self.engine).insert_tracking(tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """As the recorder does it."""
        return LedgerRecorder(self.engine).max_tracking_id(application_name)

    def get_created_event_counter(self) -> int:
        """How many were created."""
        return self._get("created")

    def get_subsequent_event_counter(self) -> int:
        """How many came after."""
        return self._get("subsequent")

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        """One more created."""
        self._increment("created", tracking)

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        """One more after."""
        self._increment("subsequent", tracking)

    def _get(self, name: str) -> int:
        with reading(self.engine) as connection:
            row = bulk.query(connection, "SELECT count FROM counter WHERE name = ?", (name,)).fetchone()
            assert row is not None
            return int(row[0])

    def _increment(self, name: str, tracking: Tracking) -> None:
        with writing(self.engine) as connection:
            bulk.execute(connection, "UPDATE counter SET count = count + 1 WHERE name = ?", [(name,)])
            LedgerRecorder(connection=connection).insert_tracking(tracking)


class InWal(OnFile):
    journal_mode = "WAL"


class InTruncate(OnFile):
    journal_mode = "TRUNCATE"


class TestApplicationRecorderWal(InWal, suites.ApplicationRecorderTestCase[LedgerRecorder]):
    """Events are appended and read as an application recorder has to, in WAL."""

    def test_insert_subscribe(self) -> None:
        """A subscription yields what is there and what comes, until it is stopped."""
        self.optional_test_insert_subscribe()


class TestApplicationRecorderTruncate(InTruncate, suites.ApplicationRecorderTestCase[LedgerRecorder]):
    """Events are appended and read as an application recorder has to, with a truncated rollback journal."""

    def test_insert_subscribe(self) -> None:
        """A subscription yields what is there and what comes, until it is stopped."""
        self.optional_test_insert_subscribe()


class TestTrackingRecorderWal(InWal, suites.TrackingRecorderTestCase):
    """Tracking positions only move forward, in WAL."""


class TestTrackingRecorderTruncate(InTruncate, suites.TrackingRecorderTestCase):
    """Tracking positions only move forward, with a truncated rollback journal."""


class TestProcessRecorderWal(InWal, suites.ProcessRecorderTestCase):
    """Events and tracking are written together or not at all, in WAL."""


class TestProcessRecorderTruncate(InTruncate, suites.ProcessRecorderTestCase):
    """Events and tracking are written together or not at all, with a truncated rollback journal."""


class TestNonInterleavingWal(InWal, suites.NonInterleavingNotificationIDsBaseCase):
    """Two big appends at once don't mix their positions, in WAL."""


class TestNonInterleavingTruncate(InTruncate, suites.NonInterleavingNotificationIDsBaseCase):
    """Two big appends at once don't mix their positions, with a truncated rollback journal."""


class TestEventCountersWal(InWal, projection_suites.EventCountersViewTestCase):
    """A view and its tracking position change together, in WAL."""

    def construct_event_counters_view(self) -> CountersView:
        """What the suite asks for."""
        return CountersView(self.create_engine())


class TestEventCountersTruncate(InTruncate, projection_suites.EventCountersViewTestCase):
    """A view and its tracking position change together, with a truncated rollback journal."""

    def construct_event_counters_view(self) -> CountersView:
        """What the suite asks for."""
        return CountersView(self.create_engine())


class TestApplicationRecorderPostgresql(InPostgresql, suites.ApplicationRecorderTestCase[LedgerRecorder]):
    """Events are appended and read as an application recorder has to, on PostgreSQL."""

    def test_insert_subscribe(self) -> None:
        """A subscription yields what is there and what comes, until it is stopped."""
        self.optional_test_insert_subscribe()


class TestTrackingRecorderPostgresql(InPostgresql, suites.TrackingRecorderTestCase):
    """Tracking positions only move forward, on PostgreSQL."""


class TestProcessRecorderPostgresql(InPostgresql, suites.ProcessRecorderTestCase):
    """Events and tracking are written together or not at all, on PostgreSQL."""


class TestNonInterleavingPostgresql(InPostgresql, suites.NonInterleavingNotificationIDsBaseCase):
    """Two big appends at once don't mix their positions, on PostgreSQL."""


class TestEventCountersPostgresql(InPostgresql, projection_suites.EventCountersViewTestCase):
    """A view and its tracking position change together, on PostgreSQL."""

    def construct_event_counters_view(self) -> CountersView:
        """What the suite asks for."""
        return CountersView(self.create_engine())
