"""Places that a URL leads to: s3://bucket/prefix, and whatever else fsspec opens (gs://, az://, sftp://, memory://).

Rules of this module:

* The contract is `destination.Destination`'s. There are no links here: a view holds copies.
* Object stores show an object when its put is complete. Everywhere else a file is written beside its place and moved.
* S3 is asked for conditional puts: a versioned file is created only where there is none (If-None-Match), a timestamp
  replaces the very object that was read (If-Match). A store that doesn't know them is looked at before and after.
* Nothing is taken from a listing that was kept. What this process read or wrote of versioned files it need not read
  again: they never change.

fsspec and its drivers are imported when such a URL is opened, and not before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ledger.domain.errors import LedgerError
from projections.tuf.destination import (
    DestinationHasOtherBytes,
    DestinationUnusable,
    check_directory,
    check_path,
)

_S3 = frozenset({"s3", "s3a"})
# Where a put shows the whole object or none.
_WHOLE = _S3 | {"memory", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss"}
_TRIES = 20  # lost races for one timestamp in a row
# What another publisher was faster with, in S3's words; and what a store says that has no conditions.
_LOST = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412"})
_NO_CONDITIONS = frozenset({"NotImplemented", "501"})

_JSON = {"ContentType": "application/json"}
_FOREVER = _JSON | {"CacheControl": "public, max-age=31536000, immutable"}
_FRESH = _JSON | {"CacheControl": "no-cache, max-age=0"}  # a cache in between has to ask each time


def open_url(url: str) -> Objects:
    """Open what a URL leads to. Raises: DestinationUnusable; ImportError or ValueError where fsspec has no driver."""
    from fsspec.core import url_to_fs  # noqa: PLC0415  see above

    scheme = url.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme in _S3:
        options["max_concurrency"] = 1  # else each read of a small file asks for its size first
    place = without_password(url)
    try:
        filesystem, root = url_to_fs(url, **options)
    except (ImportError, ValueError):
        raise
    except Exception as problem:
        raise DestinationUnusable(path=place, problem=_told(problem)) from problem
    return Objects(filesystem, root, place, scheme)


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    try:
        parts = urlsplit(url)
        if parts.password is None:
            return url
        where = f"{parts.username or ''}@{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    except ValueError:  # where the password would be can't be told
        return f"{url.partition('://')[0]}://…"
    return urlunsplit(parts._replace(netloc=where))


class Objects:
    """A place behind an fsspec file system, below the path `root` in it."""

    def __init__(self, filesystem: Any, root: str, place: str, scheme: str) -> None:
        """Publish there. `place` is the URL without a password."""
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._place = place
        self._s3 = scheme in _S3
        self._whole = scheme in _WHOLE
        self._conditions = self._s3
        self._known: dict[str, bytes] = {}  # digests of versioned files that are there
        self._recent: dict[str, bytes] = {}  # those of the publication under way, whole

    @property
    def key(self) -> str:
        """The URL: the same place for every machine."""
        return self._place.rstrip("/")

    @property
    def place(self) -> str:
        """The URL, without a password."""
        return self._place

    @property
    def exclusive(self) -> bool:
        """There is no lock here: see `advance`."""
        return False

    def locked(self) -> AbstractContextManager[None]:
        """There is no lock here: see `advance`."""
        return nullcontext()

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, None when there is none."""
        with self._telling():
            try:
                return bytes(self._fs.cat_file(self._at(path)))
            except (FileNotFoundError, IsADirectoryError):
                return None

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with self._telling():
            return bool(self._fs.isfile(self._at(path)))

    def names(self, directory: str) -> list[str]:
        """What lies directly in a directory, in order; nothing when there is none."""
        where = f"{self._root}/{check_directory(directory)}".rstrip("/")
        with self._telling():
            self._fs.invalidate_cache()
            try:
                found = [str(name).rstrip("/") for name in self._fs.ls(where, detail=False)]
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = [name.rpartition("/")[2] for name in found if name.strip("/") != where.strip("/")]
        return sorted(name for name in names if name and not name.startswith("."))

    def views(self) -> list[str]:
        """The views that are there: every directory with a root chain outside the pool, in order."""
        kinds = [kind for kind in self.names("") if kind != "pool"]
        found = [f"{kind}/{name}" for kind in kinds for name in self.names(kind)]
        return [view for view in found if any(name.endswith(".root.json") for name in self.names(view))]

    def write_once(self, path: str, data: bytes) -> None:
        """Write a versioned file. Raises: DestinationHasOtherBytes."""
        digest = hashlib.sha256(data).digest()
        if path.startswith("pool/"):
            self._recent[path] = data
        if self._known.get(path) == digest:
            return
        present = self.read(path)
        if present is None:
            created = self._put(path, data, _FOREVER, {"IfNoneMatch": "*"})
            present = data if created and self._conditions else self.read(path)
        if present != data:
            raise DestinationHasOtherBytes(path=path, place=self.place)
        self._known[path] = digest

    def link(self, source: str, path: str) -> None:
        """Make a copy of a pool's file in a view. Raises: DestinationHasOtherBytes."""
        if source in self._known and self._known[source] == self._known.get(path):
            return
        data = self._recent.get(source) or self.read(source)
        if data is None:
            raise DestinationUnusable(path=self.place, problem=f"{source} has disappeared")
        self.write_once(path, data)

    def settle(self) -> None:
        """A put that returned has survived."""
        self._recent.clear()

    def advance(self, path: str, data: bytes, older: Callable[[bytes], bool]) -> bool:
        """Write a timestamp over the one that was looked at, if that was `older`; who loses a race looks again."""
        for _ in range(_TRIES):
            condition = self._as_it_is(path)
            present = self.read(path)
            if present is not None and not older(present):
                return False
            if self._put(path, data, _FRESH, condition) and (self._conditions or self.read(path) == data):
                return True
        raise DestinationUnusable(path=self.place, problem=f"other publishers keep changing {path}")

    def remove(self, path: str) -> None:
        """Delete a view and all in it: its timestamp first, so that no client finds half of a view."""
        view = self._at(path)
        with self._telling():
            self._fs.invalidate_cache()
            found = [str(name) for name in self._fs.find(view)]
            for name in found:
                if name.endswith("/timestamp.json"):
                    self._fs.rm_file(name)
            if found or self._fs.isdir(view):
                self._fs.rm(view, recursive=True)
        self._known = {known: digest for known, digest in self._known.items() if not known.startswith(f"{path}/")}

    def _as_it_is(self, path: str) -> Mapping[str, str]:
        """The condition that a file is still as it is now; read after it, so what was read is no older."""
        if not self._conditions:
            return {}
        with self._telling():
            try:
                return {"IfMatch": self._fs.info(self._at(path), refresh=True)["ETag"]}
            except FileNotFoundError:
                return {"IfNoneMatch": "*"}

    def _put(self, path: str, data: bytes, headers: Mapping[str, str], condition: Mapping[str, str]) -> bool:
        """Write a file; False when the condition did not hold any more."""
        where = self._at(path)
        with self._telling():
            if not self._whole:
                self._move_in(where, data)
                return True
            if not self._s3:
                self._fs.pipe_file(where, data)
                return True
            try:
                self._fs.pipe_file(where, data, **headers, **(condition if self._conditions else {}))
            except Exception as problem:
                code = _code(problem)
                if code in _NO_CONDITIONS and self._conditions:
                    self._conditions = False
                    return self._put(path, data, headers, {})
                if code in _LOST or isinstance(problem, FileExistsError):
                    return False
                raise
            return True

    def _move_in(self, where: str, data: bytes) -> None:
        directory, _, name = where.rpartition("/")
        temporary = f"{directory}/.{name}.tmp"
        self._fs.makedirs(directory, exist_ok=True)
        self._fs.pipe_file(temporary, data)
        self._fs.mv(temporary, where)

    def _at(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Drivers raise what they like: to whoever publishes it is all the same, the place can't be used."""
        try:
            yield
        except LedgerError:
            raise
        except Exception as problem:
            raise DestinationUnusable(path=self.place, problem=_told(problem)) from problem


def _code(problem: BaseException) -> str:
    """The error code of S3's answer, where there is one."""
    answer = getattr(problem.__cause__ or problem, "response", None)
    found = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
    return str(found)


def _told(problem: BaseException) -> str:
    text = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return str(text).partition("\n")[0]
