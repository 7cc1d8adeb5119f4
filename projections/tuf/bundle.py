"""An offline bundle: one view in a directory, for devices that have no network.

Rules of this module:

* The directory is a complete TUF metadata directory (root chain, timestamp, snapshot, targets), so any TUF client
  takes it as it takes a view: from a local server or a file: URL. It brings no target files.
* ``bundle.json`` lists what to bring along: it is not signed, and says nothing that the metadata does not say.
* It appears whole: written beside its place, synced, renamed. What was there before is never overwritten.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Engine
from tuf.api.exceptions import DownloadError, RepositoryError

from ledger.codec import decode
from ledger.domain.errors import Refused, StorageFailure
from ledger.domain.events import BundleExported, ViewPublished
from ledger.domain.values import format_time
from ledger.store import engine as store
from ledger.store import events
from projections.tuf import known, state
from projections.tuf.verify import Checked, Finding, Read, Start, finding, refresh, root_chain, starts

NAME = "bundle.json"
FORMAT = "waveledger-bundle/1"


class BundleExists(Refused):
    """Something is there already."""

    message = "{path} is there already, and not an empty directory"
    hint = "name a new directory: a bundle never overwrites anything"
    path: str


class BundleNotWritable(StorageFailure):
    """The directory can't be made there."""

    message = "cannot write the bundle {path}: {problem}"
    hint = "check permissions and space; on a mounted medium name a directory that is not there yet"
    path: str
    problem: str


class BundleUnreadable(StorageFailure):
    """A file of the bundle can't be read."""

    message = "cannot read the bundle {path}: {problem}"
    hint = "check the medium and its permissions"
    path: str
    problem: str


class Recorded(NamedTuple):
    """What the ledger knows of a bundle: whether it exported it, and what devices may have seen before."""

    event: BundleExported | None
    pasts: list[known.Past]


def describe(view: ViewPublished, targets: bytes, facts: Mapping[str, Any]) -> bytes:
    """The bytes of ``bundle.json``.

    Args:
        view: What the bundle shows.
        targets: Its targets file.
        facts: Whatever else is known: factory, repository, wave, who exported it and when.
    """
    document = {
        "format": FORMAT,
        **facts,
        "view": view.view,
        "version": view.version,
        "targets_version": view.targets_version,
        "expires": format_time(view.timestamp_expires),
        "targets": list_targets(targets),
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def list_targets(file: bytes) -> list[dict[str, Any]]:
    """What to bring along, by name: content, hardware, and from where to fetch it as far as CI said so."""
    targets = orjson.loads(file)["signed"]["targets"]
    return [{"name": name, **_listed(targets[name])} for name in sorted(targets)]


def _listed(target: Mapping[str, Any]) -> dict[str, Any]:
    custom = target.get("custom", {})
    apps = custom.get("fetched-apps")
    return {
        "length": target["length"],
        "hashes": target["hashes"],
        "version": custom.get("version"),
        "hardware_ids": custom.get("hardwareIds", []),
        "uri": custom.get("uri"),
        "apps_uri": apps.get("uri") if isinstance(apps, dict) else None,
    }


def require_free(directory: Path) -> None:
    """Refuse a place that holds anything. Raises: BundleExists, BundleNotWritable."""
    try:
        taken = directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir())))
        mounted = directory.is_mount()
    except OSError as problem:
        raise _not_writable(directory, problem) from None
    if mounted:
        raise BundleNotWritable(path=str(directory), problem="it is a mount point")
    if taken:
        raise BundleExists(path=str(directory))


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A directory beside `directory`, which takes its place at the end, or is gone after an error.

    Raises: BundleExists, BundleNotWritable.
    """
    require_free(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as problem:
        raise _not_writable(directory, problem) from None
    try:
        yield stage
        stage.chmod(0o755)
        stage.replace(directory)
        _sync(directory.parent)
    except OSError as problem:
        raise _not_writable(directory, problem) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write(stage: Path, files: Mapping[str, bytes]) -> None:
    """Put the files into a staged directory, each synced. Raises: OSError."""
    for name, data in files.items():
        with (stage / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync(stage)


def reader(directory: Path) -> Read:
    """Reads the files of a bundle. Raises, when called: BundleUnreadable."""

    def read(name: str) -> bytes | None:
        try:
            return (directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise BundleUnreadable(path=str(directory), problem=problem.strerror or str(problem)) from None

    return read


def check(read: Read, ledger: Engine | None, now: datetime | None = None) -> tuple[list[Checked], list[Finding]]:
    """Look at a bundle as clients do, from nothing and from what they may have seen before it was exported."""
    facts = _facts(read)
    view = str(facts.get("view", "bundle"))
    chain = root_chain(read, "")
    if not chain:
        return [], [Finding(view, "MissingFile", "it has no root: no client can begin")]
    recorded = _recorded(ledger, facts) if ledger else None
    roots = [known.Past(Start(version), chain[version], {}) for version in starts(chain)]
    checked: Checked | None = None
    findings: list[Finding] = []
    for past in [*roots, *(recorded.pasts if recorded else [])]:
        if past.start.view and checked is None:
            break
        try:
            found = refresh(read, "", past.root, now=now, local=past.files, newest_root=max(chain))
            checked = found._replace(view=view, starts=checked.starts + 1 if checked else 1)
        except (RepositoryError, DownloadError) as problem:
            findings.append(finding(view, problem, past.start))
    findings += _compare(read, facts, view)
    if recorded:
        findings += _compare_recorded(read, view, recorded.event)
    return [checked] if checked else [], findings


def _facts(read: Read) -> dict[str, Any]:
    try:
        facts = orjson.loads(read(NAME) or b"")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _compare(read: Read, facts: dict[str, Any], view: str) -> list[Finding]:
    """``bundle.json`` against the metadata."""
    if facts.get("format") != FORMAT:
        return [Finding(view, "Unreadable", f"{NAME} is not the list of a bundle")]
    try:
        timestamp = orjson.loads(read("timestamp.json") or b"")["signed"]
        found = {"version": timestamp["version"], "expires": timestamp["expires"]}
        found["targets"] = list_targets(read(f"{facts['targets_version']}.targets.json") or b"")
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # a client said so already
    wrong = [field for field in found if facts.get(field) != found[field]]
    return [Finding(view, "OtherList", f"{NAME} does not say what the metadata says: {', '.join(wrong)}")] * bool(wrong)


def _recorded(ledger: Engine, facts: dict[str, Any]) -> Recorded:
    repository, view, version = facts.get("repository"), facts.get("view"), facts.get("version")
    if not (isinstance(repository, str) and isinstance(view, str) and type(version) is int):
        return Recorded(None, [])
    with store.reading(ledger) as connection:
        stream = state.stream_of(repository)
        rows = events.read(connection, stream=stream, topics=[BundleExported.topic])
        exported = [event for row in rows if isinstance(event := decode(row.topic, row.payload), BundleExported)]
        found = next((event for event in exported if event.bundle.version == version), None)
        if found is None:
            return Recorded(None, [])
        return Recorded(found, known.read(connection, repository, version - 1, until=version).pasts.get(view, []))


def _compare_recorded(read: Read, view: str, event: BundleExported | None) -> list[Finding]:
    if event is None:
        return [Finding(view, "UnknownBundle", "the ledger never exported this bundle")]
    bundle = event.bundle
    files = {"timestamp.json": bundle.timestamp, f"{bundle.version}.snapshot.json": bundle.snapshot}
    return [
        Finding(view, "OtherBytes", f"{name} has other bytes than the ledger exported")
        for name, text in files.items()
        if read(name) != text.encode()
    ]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_writable(directory: Path, problem: OSError) -> BundleNotWritable:
    return BundleNotWritable(path=str(directory), problem=problem.strerror or str(problem))
