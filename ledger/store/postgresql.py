"""A store in PostgreSQL: how it is connected to, its two kinds of transaction, and what its errors mean.

Rules of this module:

* A ledger has a database of its own, with two schemas: LEDGER holds the events and belongs to the owner of history,
  PROJECTIONS holds everything that can be rebuilt and belongs to the application's role. It may be one role for both.
* Whoever logs in works as the application's role, with no more rights than that; only `as_owner` leaves it, to create
  tables. Who acts is the role that logged in (`session_user`), which no statement of a client changes.
* Nothing depends on what a role or a database has as defaults: search path, role and time limits are set for each
  connection, isolation for each transaction; a commit waits for the disk, at least.
* Writers take turns by an advisory lock, in READ COMMITTED: whoever has it sees all that was committed before.
* A reader has one snapshot, in REPEATABLE READ. PostgreSQL shows a table that was swapped in to older snapshots, but
  not its rows: so a reader first takes a weak lock on the table of checkpoints, which a swap needs for itself.
* The driver is imported with the first URL of this kind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, InvalidRequestError, NoSuchModuleError

from ledger.store import foreign
from ledger.store.bulk import query
from ledger.store.errors import OTHER_TABLES, BadStoreUrl, DriverMissing, StoreBusy, StoreContended, StoreUnreadable

DRIVERS = ("postgresql", "postgresql+psycopg")
LEDGER = "waveledger"
PROJECTIONS = "waveledger_projections"
BUSY_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 15
LOOK_SECONDS = 1.0  # a connection that looked for foreign code does so again after that
SWAP_MILLISECONDS = 500  # all others wait behind who waits for the swap's lock
WRITER_LOCK = 0x77617665_6C656467  # "waveledg": one for each database, as advisory locks are

_PATH = f"{LEDGER}, {PROJECTIONS}"
_APPLICATION = f"""coalesce((SELECT pg_get_userbyid(nspowner) FROM pg_namespace
        WHERE nspname = '{PROJECTIONS}' AND pg_has_role(session_user, nspowner, 'MEMBER')), 'none')"""

_HAS_TABLE = """EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relname = %s)"""

# One statement: what is set, who logged in, and whether there is a table of checkpoints to lock.
_SET_UP = f"""
SELECT session_user::text, {_HAS_TABLE},
    set_config('search_path', '{_PATH}', false), set_config('lock_timeout', %s, false),
    set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false),
    set_config('idle_session_timeout', '0', false), set_config('quote_all_identifiers', 'off', false),
    set_config('standard_conforming_strings', 'on', false),
    CASE WHEN current_setting('transaction_timeout', true) <> '0'
        THEN set_config('transaction_timeout', '0', false) END,
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END,
    set_config('role', {_APPLICATION}, false)
"""

_NOT_RECORDED = "run the command again; nothing was changed"
_LOST = "look with `waveledger audit log` whether it was recorded, and run the command again if not"
_PARAMETERS = "check the URL, and the parameters after its question mark: those of libpq, each once"
_GRANTS = "a member of the application's role may read and append, one of the owner's may migrate: see README"


class _Problem(NamedTuple):
    """What a code or a text of PostgreSQL means, and what the user can do."""

    problem: str
    advice: str


# By SQLSTATE, or its class of two characters. {detail} is the server's first line.
_BY_CODE = {
    "42501": _Problem("access was denied: {detail}", _GRANTS),
    "42P01": _Problem("{detail}", OTHER_TABLES),
    "42703": _Problem("{detail}", OTHER_TABLES),
    "25006": _Problem("it is read-only", "connect to the primary server, not to a standby"),
    "53100": _Problem("the server's disk is full", "free some space there; " + _NOT_RECORDED),
    "53200": _Problem("the server is out of memory", _NOT_RECORDED),
    "53300": _Problem("the server has no connection left: {detail}", "try again later, or have more allowed there"),
    "58": _Problem("the server failed to read or write: {detail}", "look into the server's log"),
    "XX": _Problem("the database is damaged: {detail}", "look into the server's log; restore it from a backup"),
    "57014": _Problem("the server's administrator canceled it", _NOT_RECORDED),
    "57P03": _Problem("the server is starting up or shutting down", "try again in a moment"),
    "57P": _Problem("the connection was lost: {detail}", _LOST),
    "08": _Problem("the connection was lost: {detail}", _LOST),
}
# A connection that fails brings no code, only text. The first that is found in it counts.
_BY_TEXT = {
    "too many": _BY_CODE["53300"],
    "remaining connection slots": _BY_CODE["53300"],
    "not currently accepting": _Problem("{detail}", "ask the server's administrator, or name another with --store"),
    "invalid ": _Problem("it can't be connected to: {detail}", _PARAMETERS),
    "bad value for": _Problem("it can't be connected to: {detail}", _PARAMETERS),
    "definition of service": _Problem("it can't be connected to: {detail}", _PARAMETERS),
    "password authentication failed": _Problem("login failed: {detail}", "check user and password"),
    "permission denied": _Problem("login failed: {detail}", "ask for the right to connect, or log in as another role"),
    "no password supplied": _Problem("login failed: {detail}", "give a password: PGPASSWORD, ~/.pgpass or the URL"),
    "authentication failed": _Problem("login failed: {detail}", "check the user, and pg_hba.conf on the server"),
    "no pg_hba.conf entry": _Problem("login failed: {detail}", "check the user, and pg_hba.conf on the server"),
    "role ": _Problem("login failed: {detail}", "create the role on the server, or name another user in the URL"),
    "database ": _Problem("{detail}", "create it with createdb, then `waveledger init`, or name another with --store"),
    "starting up": _BY_CODE["57P03"],
    "shutting down": _BY_CODE["57P03"],
    "translate host name": _Problem("there is no such host: {detail}", "check the host in the URL"),
    "resolve host": _Problem("there is no such host: {detail}", "check the host in the URL"),
    "refused": _Problem("nobody answers there: {detail}", "check host and port in the URL, and that the server runs"),
    "No such file": _Problem("nobody answers there: {detail}", "check host and port in the URL, and that it runs"),
    "timeout expired": _Problem("nobody answers there: {detail}", "check host and port in the URL, and the network"),
    "connection failed": _Problem("{detail}", "check the URL, and what the server says"),
}


def open_engine(url: URL) -> Engine:
    """An engine for a database; the first transaction connects. Raises: DriverMissing."""
    given = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "waveledger"}
    arguments = {name: value for name, value in given.items() if name not in url.query}
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",  # transactions begin where this module says so
            use_native_hstore=False,  # spares a question to the server
            connect_args={**arguments, "client_encoding": "utf8"},
        )
    except ModuleNotFoundError as missing:
        raise DriverMissing(package=str(missing.name), extra="postgres") from None
    except (ArgumentError, InvalidRequestError, NoSuchModuleError, TypeError, ValueError) as error:
        shown = url.set(query={}).render_as_string(hide_password=True)
        raise BadStoreUrl(url=shown, problem=f"a parameter can't be: {error}") from None
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: Any, record: Any) -> None:
    from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper  # noqa: PLC0415  see the module's rules

    # All numbers of ours are BIGINT: COPY in binary has to say so, and a statement is prepared once, not for each size.
    for dumper in (Int8Dumper, Int8BinaryDumper):
        connection.adapters.register_dumper(int, dumper)
    values = (PROJECTIONS, "projection", str(int(BUSY_TIMEOUT_SECONDS * 1000)))
    found = connection.execute(_SET_UP, values).fetchone()
    record.info["actor"], record.info["checkpoints"] = found[:2]


def begin_reading(connection: Connection) -> None:
    """One snapshot, which changes nothing and does not see half of a swap."""
    lock = f"; LOCK TABLE {PROJECTIONS}.projection IN ACCESS SHARE MODE" if connection.info["checkpoints"] else ""
    _control(connection, f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{lock}")


def begin_writing(connection: Connection) -> None:
    """A transaction under the writers' lock. Raises: ForeignCode."""
    if time.monotonic() >= connection.info.get("looked", -LOOK_SECONDS) + LOOK_SECONDS:
        foreign.refuse(connection, PROJECTIONS)  # before all others wait for us
        connection.info["looked"] = time.monotonic()
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    _control(connection, f"{begin}; SELECT pg_advisory_xact_lock({WRITER_LOCK})")


def _control(connection: Connection, statements: str) -> None:
    # Two statements in one go can't be prepared.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(statements, prepare=False)


def actor(connection: Connection) -> str:
    """The role that logged in."""
    return str(connection.info["actor"])


def lock_for_swap(connection: Connection) -> bool:
    """Keep readers out until the end of the transaction; False where one reads for longer than a moment."""
    moment = f"SAVEPOINT swap; SET LOCAL lock_timeout = {SWAP_MILLISECONDS}"
    try:
        _control(connection, f"{moment}; LOCK TABLE {PROJECTIONS}.projection IN ACCESS EXCLUSIVE MODE")
    except connection.dialect.loaded_dbapi.Error as error:
        if getattr(error, "sqlstate", None) != "55P03":
            raise
        _control(connection, "ROLLBACK TO SAVEPOINT swap")
        return False
    _control(connection, f"SET LOCAL lock_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
    return True


def has_table(connection: Connection, schema: str, name: str) -> bool:
    """Whether a table exists."""
    # Asked of the catalog, which everybody may read: where there is no ledger yet, nothing is granted either.
    found = query(connection, "SELECT " + _HAS_TABLE.replace("%s", "?"), (schema, name)).fetchone()
    return found is not None and bool(found[0])


def create_schemas(connection: Connection) -> None:
    """Create the schemas that are not there; who may do that is the database's owner."""
    for schema in (LEDGER, PROJECTIONS):
        if owner_of(connection, schema) is None:
            query(connection, f"CREATE SCHEMA {schema}")


def owner_of(connection: Connection, schema: str) -> str | None:
    """The role that owns a schema; None where there is no such schema."""
    statement = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = ?"
    found = query(connection, statement, (schema,)).fetchone()
    return None if found is None else str(found[0])


@contextmanager
def as_owner(connection: Connection, schema: str) -> Iterator[None]:
    """Create tables in a schema: as the role that it belongs to, so that all of them belong to that role."""
    other = PROJECTIONS if schema == LEDGER else LEDGER
    local = "SELECT set_config('search_path', ?, true), set_config('role', ?, true)"
    query(connection, local, (f"{schema}, {other}", owner_of(connection, schema)))
    yield
    # After an error there is nothing to go back to: the transaction is over.
    query(connection, f"SELECT set_config('search_path', ?, true), set_config('role', {_APPLICATION}, true)", (_PATH,))


def translate(error: BaseException | None, store: str) -> StoreBusy | StoreContended | StoreUnreadable | None:
    """What a driver's error means for the store; None where it is the caller's own."""
    code = str(getattr(error, "sqlstate", None) or "")
    line = str(error).strip().partition("\n")[0]
    detail = line.partition("FATAL: ")[2].strip() or line.removeprefix("connection failed: ")
    if code == "55P03":
        return StoreBusy(store=store, waited_seconds=BUSY_TIMEOUT_SECONDS)
    if code in {"40001", "40P01"}:
        return StoreContended(store=store, problem=detail)
    found = next((_BY_CODE[part] for part in (code, code[:3], code[:2]) if part in _BY_CODE), None)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # Also its own kinds, as of a server that does not answer in time; the other kind is that of bad parameters.
    if found is None and not code and kinds & {"OperationalError", "ProgrammingError"}:
        by_text = (problem for text, problem in _BY_TEXT.items() if text in str(error))
        found = next(by_text, _BY_CODE["08"] if "OperationalError" in kinds else None)
    if found is None:
        return None
    return StoreUnreadable(store=store, problem=found.problem.format(detail=detail), advice=found.advice)
