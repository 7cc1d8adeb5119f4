"""Errors of the command line itself."""

from __future__ import annotations

from cli.lazy import NO_STDOUT
from ledger.domain.errors import CheckFailed, LedgerError, NotFound, Refused, StorageFailure


class UsageError(LedgerError):
    """The command line makes no sense in a way that Typer can't see."""

    exit_code = 2
    message = "{problem}"
    hint = "{command} --help shows how it is used"
    problem: str
    command: str


class BadFormat(LedgerError):
    """WAVELEDGER_FORMAT is no format."""

    exit_code = 2
    message = "WAVELEDGER_FORMAT is {text!r}, which is not a format"
    hint = "formats are table, json and csv"
    text: str


class NotText(LedgerError):
    """A variable of the environment whose bytes are no text."""

    exit_code = 2
    message = "{name} is not UTF-8 text"
    hint = "set it again, in a terminal or a script that speaks UTF-8"
    name: str


class UnknownDevice(NotFound):
    """No device of that uuid or name."""

    message = "there is no device {name!r}"
    hint = "waveledger devices list shows the fleet"
    name: str


class AmbiguousDevice(Refused):
    """Several devices have that name."""

    message = "{count} devices are named {name!r}: {uuids}"
    hint = "name one by its uuid"
    name: str
    count: int
    uuids: str


class NoActiveWave(NotFound):
    """Nothing to show without a name."""

    message = "no wave is active"
    hint = "name a finished one: waveledger waves status WAVE; waveledger waves list shows all"


class SeveralActiveWaves(Refused):
    """One must be named."""

    message = "several waves are active: {waves}"
    hint = "name one: waveledger waves status WAVE"
    waves: str


class UnknownPosition(NotFound):
    """The ledger does not have that many events."""

    message = "there is no position {position}; the ledger has {size} events"
    hint = "waveledger audit log lists them"
    position: int
    size: int


class NoSuchEvents(NotFound):
    """No event is about what a filter of the log names."""

    message = "no event is {what}"
    hint = "{lists}"
    what: str
    lists: str


class NotThen(NotFound):
    """What a question about the past is about was not there then."""

    message = "{problem}, as of --at {at}"
    hint = "it may have come later, or be gone since: ask about another moment; waveledger audit log shows the history"
    at: str
    problem: str


class NoRootYet(NotFound):
    """A moment of the past at which there was no root."""

    message = "there was no {repository} root yet"
    hint = "the first events of a ledger make its roots: ask about a later moment, or leave --at out"
    repository: str


class UnknownRoot(NotFound):
    """No root of that version."""

    message = "there is no version {version} of the {repository} root; the newest is {newest}"
    hint = "leave --version out to see the newest"
    repository: str
    version: int
    newest: int


class UnknownProjection(NotFound):
    """No projection of that name."""

    message = "there is no projection {name!r}"
    hint = "projections are: {known}"
    name: str
    known: str


class ProblemsFound(CheckFailed):
    """A check ran and found problems; they were printed."""

    message = "problems found in {what}: {count}"
    hint = "{advice}"
    count: int
    what: str
    advice: str


class UnknownSuffix(LedgerError):
    """A report's file whose name does not say which format it is to have."""

    exit_code = 2
    message = "{path}: its name does not say how to write it"
    hint = "end it in .txt, .json, .csv, .md or .html, or give --format"
    path: str


class UnknownReportTable(NotFound):
    """The report has no table of that name."""

    message = "the report has no table {table!r}"
    hint = "its tables are: {tables}"
    table: str
    tables: str


class PlanUnreadable(Refused):
    """A file that is no plan."""

    message = "{path} is not a rollout plan: {problem}"
    hint = "make one: waveledger waves rollout WAVE ... --dry-run -o PLAN.json"
    path: str
    problem: str


class NotWritable(LedgerError):
    """A file that the command was told to write."""

    exit_code = 7
    message = "cannot write {path}: {problem}"
    hint = "check the directory, its permissions and the space that is left there"
    path: str
    problem: str


class NotReadable(StorageFailure):
    """A file that the command was told to read."""

    message = "cannot read {path}: {problem}"
    hint = "check the path and its permissions"
    path: str
    problem: str


class FileExists(Refused):
    """A proof, a checkpoint or an export never takes the place of another file."""

    message = "{path} is there already"
    hint = "name a new file: what was kept as evidence is never overwritten"
    path: str


class DirectoryNotEmpty(Refused):
    """What is built anew is never mixed with what is there."""

    message = "{path} is not empty"
    hint = "name a new directory, or an empty one"
    path: str


class NoCheckpointFile(StorageFailure):
    """What should be a checkpoint that was kept elsewhere is none, so nothing can be compared with it."""

    message = "{path} is not a checkpoint: {problem}"
    hint = "give the file that waveledger audit checkpoint -o FILE wrote, as it was written"
    path: str
    problem: str


class NoLedgerKey(StorageFailure):
    """What should say which key is the ledger's does not."""

    message = "{path} does not give the ledger's key: {problem}"
    hint = "give a root of the ledger (--root ROOT.json), or its public key (--key): 64 hex digits, or a PEM file"
    path: str
    problem: str


class ProofBroken(CheckFailed):
    """A proof that does not hold, or is none."""

    message = "{path} proves nothing: {problem}"
    hint = (
        "get it again from the ledger (waveledger audit prove); if it still fails, that ledger is not what was signed"
    )
    path: str
    problem: str


class OutputLost(StorageFailure):
    """Stdout leads to a disk that is full, or that fails."""

    message = NO_STDOUT
    hint = "a command that appends was carried out all the same, unless it was a dry run: waveledger audit log shows it"
    problem: str


class NothingToPublishWith(LedgerError):
    """No online keys where they are said to be."""

    exit_code = 8
    message = "no online keys at {where}"
    hint = "say where they are: WAVELEDGER_ONLINE_KEYS=DIR (default: keys/online)"
    where: str


class NoDestination(LedgerError):
    """Nowhere to publish to."""

    exit_code = 2
    message = "where to publish to is not said"
    hint = "name a directory or a URL: waveledger tuf publish DIR, or set WAVELEDGER_PUBLISH"


class UnsupportedDestination(LedgerError):
    """A kind of destination that nothing is installed for, or that there is not."""

    exit_code = 2
    message = "cannot open {where}: {problem}"
    hint = (
        "name a directory, or a URL that fsspec has a driver for; s3://BUCKET/PREFIX needs: pip install "
        "'waveledger[s3]'"
    )
    where: str
    problem: str


class NothingPublishedThere(NotFound):
    """A repository has no metadata at a destination."""

    message = "there is nothing of {repository} at {where}"
    hint = "name the directory or URL that devices are served from, as for waveledger tuf publish"
    where: str
    repository: str


class NothingPublished(NotFound):
    """There is no tree to look at."""

    message = "nothing is published at {where}"
    hint = "waveledger tuf publish {where} writes the tree, from the ledger"
    where: str
