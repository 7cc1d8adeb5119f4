"""Everything that can go wrong with a store, one class per cause.

`store` is always the store's URL without its password, as the user may type it again.
"""

from __future__ import annotations

from ledger.domain.errors import Conflict, StorageFailure

OTHER_TABLES = (
    "a table is not this version's: waveledger audit verify says whether only a projection is, which waveledger "
    "projections rebuild makes anew; waveledger migrate brings an older store up to date"
)


class BadStoreUrl(StorageFailure):
    """The store's URL names no kind of store that this version can open."""

    message = "{url!r} is not a store that waveledger can open: {problem}"
    hint = (
        "write it like sqlite:///waveledger.db, sqlite:////srv/waveledger.db for an absolute path, or "
        "postgresql+psycopg://USER@HOST/DATABASE"
    )
    url: str
    problem: str


class DriverMissing(StorageFailure):
    """The database's driver is not installed."""

    message = "this kind of store needs the package {package}, which is not installed"
    hint = "pip install 'waveledger[{extra}]'"
    package: str
    extra: str


class StoreMissing(StorageFailure):
    """There is no ledger where the URL points. Nothing was created."""

    message = "there is no ledger at {store}"
    hint = "create one with `waveledger init`, or name another with --store"
    store: str


class StoreExists(StorageFailure):
    """A ledger was to be created where one already is. Nothing was changed."""

    message = "there already is a ledger at {store}"
    hint = "use it as it is, or name another place with --store"
    store: str


class CopyExists(StoreExists):
    """A ledger was to be copied to where one already is. Nothing was changed."""

    message = "there already is a ledger at {store}, which a copy never takes the place of"
    hint = "use it as it is, or copy to another place"
    store: str


class SchemaMismatch(StorageFailure):
    """The store's tables are of another version than this program's."""

    message = "the store's schema has version {found}, this program needs version {expected}"
    found: int
    expected: int

    def render_hint(self) -> str:
        """Forward where there is a way forward."""
        if self.found < self.expected:
            return "bring the store up to date with `waveledger migrate`"
        return "the store was written by a newer version of waveledger: install that one"


class StoreUnreadable(StorageFailure):
    """The database could not be read or written: not a database, damaged, disk full, read-only, not reachable."""

    message = "the store {store} cannot be used: {problem}"
    hint = "{advice}"
    store: str
    problem: str
    advice: str


class PayloadDamaged(StorageFailure):
    """An event's payload can't be brought back to what was appended."""

    message = "the payload of event {position} is damaged: {problem}"
    hint = "run `waveledger audit verify` to see what else is, and restore the store from a copy"
    position: int
    problem: str


class LeafDamaged(StorageFailure):
    """An event is not what its leaf in the Merkle tree stands for."""

    message = "event {position} is not what its leaf stands for"
    hint = "run `waveledger audit verify` to see what else is, and restore the store from a copy"
    position: int


class CopyDiffers(StorageFailure):
    """A copy of a ledger did not come out as its source. Nothing was kept of it."""

    message = "the copy was given up: {problem}"
    hint = "run `waveledger audit verify` on the source, and copy again"
    problem: str


class HeadDamaged(StorageFailure):
    """The row that holds the ledger's size and Merkle frontier is missing, or not what was written."""

    message = "the ledger's head is damaged: {problem}"
    hint = "run `waveledger audit verify` to see what else is, and restore the store from a copy"
    problem: str


class NotNextPosition(StorageFailure):
    """The database refused an event because its position is not the next one: head and events disagree."""

    message = "the database refused an event: its position is not the next one, so head and events disagree"
    hint = "run `waveledger audit verify`; somebody wrote to the store without waveledger"


class CheckpointTaken(StorageFailure):
    """Another note is kept for the ledger's size. Notes are never changed, so this size has none of ours."""

    message = "another checkpoint of size {size} is kept already, and checkpoints never change"
    hint = (
        "look at it with `waveledger audit verify`: the online key was replaced since, or somebody wrote to the store "
        "without waveledger; append anything, and do it again at the next size"
    )
    size: int


class ForeignCode(StorageFailure):
    """Somebody hung code on the projections in PostgreSQL that would run as whoever writes. Nothing was changed."""

    message = "the schema {schema} holds what waveledger did not make and would run under your name: {found}"
    hint = (
        "find out who made it and drop it with psql; look with `waveledger audit log` what was recorded since, and run "
        "`waveledger projections verify`"
    )
    schema: str
    found: str


class NetworkFileSystem(StorageFailure):
    """The store's file is on a network file system, where SQLite's locks can't be relied on."""

    message = "{path} is on a network file system ({filesystem}), where SQLite loses data"
    hint = "put the store on a local disk; a ledger for several machines belongs in PostgreSQL"
    path: str
    filesystem: str


class StoreBusy(Conflict):
    """The wait for other writers ran out. Nothing was changed."""

    message = "the store {store} is busy: other commands held it for {waited_seconds} seconds"
    hint = "try again; if it stays so, look for a hanging waveledger process"
    store: str
    waited_seconds: int


class StoreContended(Conflict):
    """The database gave up on a transaction because of others. Nothing was changed."""

    message = "the store {store} gave up, because of what others did meanwhile: {problem}"
    hint = "try again"
    store: str
    problem: str


class StreamChanged(Conflict):
    """Somebody appended to the stream since it was read. Nothing was appended."""

    message = "{stream} changed in between: expected version {expected}, found {found}"
    hint = "read again and retry"
    stream: str
    expected: int
    found: int
