"""A published view as a client sees it: the real client of python-tuf, from nothing or from what it saw before.

Rules of this module:

* The client's workflow is python-tuf's `ngclient` (TUF 1.0 §5.3 to §5.6), fed from the destination instead of the
  network, with a metadata directory that is thrown away.
* From nothing means from the first root of the tree, as a device that came from the factory; the tree vouches for
  itself, so an auditor compares that root with the one they were given. Later roots may be what a device was made
  with: the chain from there is a part of the one from the first root, whose walk proves each of its steps. They are
  tried on their own all the same; of a long chain those nearest to the newest, and then at doubling distances.
* A refresh without an error is not enough: the client must end with the newest root and with the timestamp that the
  view has. A timestamp of equal version and other bytes is silently ignored by clients.
* A wave's view that was closed shows production's files one last time. It may expire: nobody is sent there any more,
  and it is deleted a day later.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote

import orjson
from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from projections.tuf.destination import Destination

Read: TypeAlias = Callable[[str], bytes | None]
"""From a path to its bytes, None where there is no such file."""

NEAR = 8  # roots below the newest that are all tried
_BASE = "tree:///"
FIRST_ROOT_LIMIT = 256  # a chain that begins later is not looked for; clients can't walk that many roots either


class Start(NamedTuple):
    """Where a client started: the root it trusted, and what it had seen before, if anything."""

    root_version: int
    view: str | None = None
    version: int | None = None
    targets_version: int | None = None
    bundle: bool = False

    def __str__(self) -> str:
        if self.view is None:
            return f"nothing but root {self.root_version}"
        return f"{'a bundle of ' if self.bundle else ''}{self.view} at version {self.version}"


class Finding(NamedTuple):
    """Something that a client would reject, or that should not be as it is. `start` is the client's, if one says so."""

    view: str
    kind: str
    message: str
    start: Start | None = None


class Checked(NamedTuple):
    """What a client found in a view, and how many ways to start it was tried from."""

    view: str
    root_version: int
    version: int
    targets_version: int
    targets: tuple[str, ...]
    starts: int = 1


ROOTS_TO_FOLLOW = 255  # above the one that a client starts from; python-tuf's loads one more


class RootNotReached(RepositoryError):
    """The client stopped before the newest root."""


class Stale(RepositoryError):
    """The client keeps an older timestamp of the same number."""


class DestinationFetcher(FetcherInterface):
    """Fetches from a destination, or whatever can be read, what a client would fetch over HTTP."""

    def __init__(self, source: Destination | Read) -> None:
        """Fetch from `source`."""
        self._read: Read = source if callable(source) else source.read
        self.fetched: dict[str, bytes] = {}

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = unquote(url.removeprefix(_BASE))
        data = self._read(path)
        if data is None:
            raise DownloadHTTPError(f"no file {path}", 404)
        self.fetched[path] = data
        yield data


def check_views(
    destination: Destination, views: list[str], *, now: datetime | None = None
) -> tuple[list[Checked], list[Finding]]:
    """Refresh a new client on each view. `now` is the client's clock; the real one if not said."""
    checked, findings = [], []
    for view in views:
        try:
            checked.append(check_view(destination, view, now=now))
        except (RepositoryError, DownloadError) as problem:
            expected = isinstance(problem, ExpiredMetadataError) and _is_closed(destination, view, views)
            if not expected:
                findings.append(finding(view, problem, None))
    return checked, findings


def check_view(destination: Destination, view: str, *, now: datetime | None = None) -> Checked:
    """Refresh a new client on one view. Raises: what the client raises.

    It starts from the oldest root that can still be followed to the newest: `status` warns of clients with older ones,
    which nothing that is published could help.
    """
    chain = root_chain(destination.read, view)
    if not chain:
        raise DownloadHTTPError(f"no root in {view}", 404)
    newest = max(chain)
    start = min(version for version in chain if version >= newest - ROOTS_TO_FOLLOW)
    return refresh(destination.read, view, chain[start], now=now, newest_root=newest)


def refresh(
    read: Read,
    view: str,
    bootstrap: bytes,
    *,
    now: datetime | None = None,
    local: Mapping[str, bytes] | None = None,
    newest_root: int = 0,
) -> Checked:
    """Refresh one client on a view.

    Args:
        read: Where the view is; its paths begin with the view's name, or with nothing where that is empty.
        view: The view's name.
        bootstrap: The root that the client trusts.
        now: The client's clock; the real one if not said.
        local: What it saw before: its timestamp.json, snapshot.json and targets.json.
        newest_root: The root version that it has to reach.

    Raises:
        RepositoryError, DownloadError: What the client raises; RootNotReached and Stale, which it does not notice.
    """
    prefix = f"{view}/" if view else ""
    fetcher = DestinationFetcher(read)
    with tempfile.TemporaryDirectory(prefix="waveledger-client-") as directory:
        for name, data in (local or {}).items():
            Path(directory, name).write_bytes(data)
        updater = Updater(directory, f"{_BASE}{prefix}", fetcher=fetcher, bootstrap=bootstrap)
        trusted = updater._trusted_set  # noqa: SLF001  the client has no public clock, and no public view of its state
        if now is not None:
            trusted.reference_time = now
        updater.refresh()
        kept = Path(directory, "timestamp.json").read_bytes()
    if kept != fetcher.fetched[f"{prefix}timestamp.json"]:
        raise Stale(f"the client keeps its own timestamp {trusted.timestamp.version}, which has other bytes")
    if trusted.root.version < newest_root:
        raise RootNotReached(f"the client ends with root {trusted.root.version} of {newest_root}")
    targets = trusted.targets
    return Checked(
        view, trusted.root.version, trusted.timestamp.version, targets.version, tuple(sorted(targets.targets))
    )


def finding(view: str, problem: Exception, start: Start | None) -> Finding:
    """What a client's error comes to."""
    return Finding(view, type(problem).__name__, str(problem), start)


def root_chain(read: Read, view: str) -> dict[int, bytes]:
    """The roots that a view has, from its first on without a gap. An adopted chain may begin above version 1."""
    prefix = f"{view}/" if view else ""
    chain: dict[int, bytes] = {}
    for version in itertools.count(1):
        data = read(f"{prefix}{version}.root.json")
        if data is not None:
            chain[version] = data
        elif chain or version == FIRST_ROOT_LIMIT:
            break
    return chain


def starts(chain: Mapping[int, bytes]) -> list[int]:
    """The roots of a chain that clients are started from, in order: all of a short one."""
    newest = max(chain)
    distances = [*range(NEAR + 1), *(2**power for power in range(newest.bit_length())), ROOTS_TO_FOLLOW]
    return sorted({min(chain), *(newest - distance for distance in distances)} & chain.keys())


def _is_closed(destination: Destination, view: str, views: list[str]) -> bool:
    """Whether a view shows the snapshot of a production view, or its wave's held view is there.

    Views that live never share a snapshot: each has its own.
    """
    if view.startswith("wave/") and view.replace("wave/", "held/", 1) in views:
        return True
    snapshot = _snapshot_of(destination, view)
    if snapshot is None:
        return False
    version, data = snapshot
    others = [other for other in views if other != view and other.startswith("production/")]
    return any(destination.read(f"{other}/{version}.snapshot.json") == data for other in others)


def _snapshot_of(destination: Destination, view: str) -> tuple[int, bytes] | None:
    timestamp = destination.read(f"{view}/timestamp.json")
    if timestamp is None:
        return None
    version = orjson.loads(timestamp)["signed"]["meta"]["snapshot.json"]["version"]
    snapshot = destination.read(f"{view}/{version}.snapshot.json")
    return None if snapshot is None else (version, snapshot)


def find_views(root: Path) -> list[str]:
    """The views of a published directory: everything with a root chain outside the pool."""
    found = {path.parent.relative_to(root) for path in root.glob("*/*/*.root.json")}
    return sorted(str(view) for view in found if view.parts[0] != "pool")
