"""An S3 server in this process, and what is at a place behind a URL."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from ledger.domain.values import from_epoch
from projections.tuf.objects import Objects, open_url


class Http(FetcherInterface):
    """Fetches as a device does: over HTTP, without any key of the store."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with urllib.request.urlopen(url) as answer:
                yield answer.read()
        except urllib.error.HTTPError as problem:
            with problem:
                raise DownloadHTTPError(str(problem), problem.code) from None


def refresh_over_http(directory: Path, base: str, now: int) -> tuple[str, ...]:
    """Refresh a client that is kept in `directory` from a base URL; the targets found. Raises: what the client does."""
    bootstrap = None
    if not directory.exists():
        directory.mkdir(parents=True)
        with urllib.request.urlopen(f"{base}1.root.json") as answer:
            bootstrap = answer.read()
    updater = Updater(metadata_dir=str(directory), metadata_base_url=base, fetcher=Http(), bootstrap=bootstrap)
    trusted = updater._trusted_set
    trusted.reference_time = from_epoch(now)
    updater.refresh()
    return tuple(sorted(trusted.targets.targets))


def contents(place: Objects) -> dict[str, bytes]:
    """All files of a place, hidden ones too, with their bytes."""
    found = place._fs.find(place._root)
    return {str(name).removeprefix(place._root).lstrip("/"): place._fs.cat_file(name) for name in sorted(found)}


class PowerCut(Exception):
    """The test's own failure."""


class Failing(Objects):
    """Counts writes, and fails before one of them."""

    def __init__(self, url: str, at: int | None = None) -> None:
        opened = open_url(url)
        super().__init__(opened._fs, opened._root, opened.place, url.partition("://")[0])
        self.at = at
        self.writes: list[str] = []

    def _put(self, path: str, *arguments: Any) -> bool:
        self.note(path)
        return super()._put(path, *arguments)

    def remove(self, path: str) -> None:
        """Fail in the middle: the timestamp is gone, the rest is there."""
        if self.exists(f"{path}/1.root.json"):
            self.note(path)
            if len(self.writes) == self.at:
                self._fs.rm_file(self._at(f"{path}/timestamp.json"))
                self.note(path)
        super().remove(path)

    def note(self, path: str) -> None:
        """One write more."""
        if len(self.writes) == self.at:
            raise PowerCut
        self.writes.append(path)
