"""A published tree as clients see it: the real client of python-tuf, view by view, from nothing.

Rules of this module:

* The client's workflow is python-tuf's `ngclient` (TUF 1.0 §5.3 to §5.6), fed from the destination instead of the
  network, with a metadata directory that is thrown away.
* A wave's view that was closed shows production's files one last time. It may expire: nobody is sent there any more,
  and it is deleted a day later.
* It starts from root version 1 of the tree, as a device that came from the factory; the tree vouches for itself, so an
  auditor compares that root with the one they were given.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import orjson
from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from projections.tuf.destination import Destination

_BASE = "tree:///"


class Finding(NamedTuple):
    """Something that a client would reject."""

    view: str
    kind: str
    message: str


class Checked(NamedTuple):
    """What a client found in a view."""

    view: str
    root_version: int
    version: int
    targets_version: int
    targets: tuple[str, ...]


class DestinationFetcher(FetcherInterface):
    """Fetches from a destination what a client would fetch over HTTP."""

    def __init__(self, destination: Destination) -> None:
        """Fetch from `destination`."""
        self._destination = destination

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._destination.read(unquote(url.removeprefix(_BASE)))
        if data is None:
            raise DownloadHTTPError(f"no file {url.removeprefix(_BASE)}", 404)
        yield data


def check_views(
    destination: Destination, views: list[str], *, now: datetime | None = None
) -> tuple[list[Checked], list[Finding]]:
    """Refresh a new client on each view. `now` is the client's clock; the real one if not said."""
    checked, findings = [], []
    for view in views:
        try:
            checked.append(check_view(destination, view, now=now))
        except ExpiredMetadataError as problem:
            if not _is_closed(destination, view, views):
                findings.append(Finding(view, type(problem).__name__, str(problem)))
        except (RepositoryError, DownloadError) as problem:
            findings.append(Finding(view, type(problem).__name__, str(problem)))
    return checked, findings


def check_view(destination: Destination, view: str, *, now: datetime | None = None) -> Checked:
    """Refresh a new client on one view. Raises: what the client raises."""
    bootstrap = destination.read(f"{view}/1.root.json")
    if bootstrap is None:
        raise DownloadHTTPError(f"no file {view}/1.root.json", 404)
    with tempfile.TemporaryDirectory() as directory:
        updater = Updater(
            metadata_dir=directory,
            metadata_base_url=f"{_BASE}{view}/",
            fetcher=DestinationFetcher(destination),
            bootstrap=bootstrap,
        )
        trusted = updater._trusted_set  # noqa: SLF001  the client has no public clock, and no public view of its state
        if now is not None:
            trusted.reference_time = now
        updater.refresh()
        targets = trusted.targets
        return Checked(
            view, trusted.root.version, trusted.timestamp.version, targets.version, tuple(sorted(targets.targets))
        )


def _is_closed(destination: Destination, view: str, views: list[str]) -> bool:
    """Whether a view shows the snapshot of a production view. Views that live never share one: each has its own."""
    timestamp = destination.read(f"{view}/timestamp.json")
    if timestamp is None:
        return False
    version = orjson.loads(timestamp)["signed"]["meta"]["snapshot.json"]["version"]
    snapshot = destination.read(f"{view}/{version}.snapshot.json")
    others = [other for other in views if other != view and other.startswith("production/")]
    return snapshot is not None and any(
        destination.read(f"{other}/{version}.snapshot.json") == snapshot for other in others
    )


def find_views(root: Path) -> list[str]:
    """The views of a published directory: everything with a root chain outside the pool."""
    return sorted(
        str(path.parent.relative_to(root))
        for path in root.glob("*/*/1.root.json")
        if path.parent.relative_to(root).parts[0] != "pool"
    )
