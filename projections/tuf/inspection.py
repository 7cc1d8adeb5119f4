"""The files of a published tree, without any client: do they belong together, and are they the ledger's?

Rules of this module:

* With the ledger at hand every file is compared with what it published. That is complete: what the ledger published
  belongs together. A tree may lag behind the ledger; it may not lack what it already led clients to.
* Without it, a view's files are compared with the pool's, and each file with the hash that leads to it.
* Hidden files are left-overs of writes that were killed. Files whose names are not those of metadata are not ours.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from projections.tuf.destination import Destination
from projections.tuf.known import Known
from projections.tuf.verify import Finding, Read

KINDS = ("production", "ci", "wave", "held")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_VIEW_FILE = re.compile(
    rf"(?P<view>(?:pool/)?(?:{'|'.join(KINDS)})/{_NAME.pattern})/"
    r"(?P<name>(?:(?P<version>[1-9][0-9]*)\.(?P<role>root|snapshot|targets)|timestamp)\.json)"
)


class File(NamedTuple):
    """A metadata file of the tree. `view` may be a directory of the pool; a timestamp has version 0."""

    path: str
    view: str
    name: str
    role: str
    version: int


class Tree(NamedTuple):
    """The metadata files of a tree: their digests (SHA-256 in hex) by path, and by view."""

    digests: Mapping[str, str]
    views: Mapping[str, tuple[File, ...]]


def parse(path: str) -> File | None:
    """What a path says, None when it is no metadata file of ours."""
    found = _VIEW_FILE.fullmatch(path)
    if found is None:
        return None
    return File(path, found["view"], found["name"], found["role"] or "timestamp", int(found["version"] or 0))


def paths_of(destination: Destination) -> list[str]:
    """All metadata files of a destination. Raises: DestinationUnusable."""
    kinds = [*KINDS, *(f"pool/{kind}" for kind in KINDS)]
    views = [f"{kind}/{name}" for kind in kinds for name in destination.names(kind) if _NAME.fullmatch(name)]
    paths = [f"{view}/{name}" for view in views for name in destination.names(view)]
    return [path for path in paths if parse(path)]


def look(read: Read, paths: Iterable[str]) -> Tree:
    """Read every metadata file once."""
    digests: dict[str, str] = {}
    views: dict[str, list[File]] = {}
    for path in sorted(paths):
        file = parse(path)
        data = read(path) if file else None
        if file and data is not None:
            digests[path] = hashlib.sha256(data).hexdigest()
            views.setdefault(file.view, []).append(file)
    return Tree(digests, {view: tuple(files) for view, files in views.items()})


def versions_of(read: Read, view: str) -> int:
    """The version of a view's timestamp, 0 where it has none that can be read."""
    data = read(f"{view}/timestamp.json")
    signed = _signed(data) if data is not None else {}
    version = signed.get("version")
    return version if type(version) is int else 0


def compare(tree: Tree, read: Read, known: Known) -> list[Finding]:
    """A repository's files against the ledger."""
    findings: list[Finding] = []
    reached = max((versions_of(read, view) for view in known.shown), default=0)
    for view, shown in known.shown.items():
        if view not in tree.views:
            # One that was closed before numbers were raised is written nowhere any more.
            if view in known.live or known.lost[0] < shown.version <= reached:
                findings.append(Finding(view, "MissingView", "the ledger published it, and nothing of it is there"))
            continue
        findings += _compare_timestamp(read, view, shown.version, shown.data)
    for path, at in known.required.items():
        file = parse(path)
        assert file is not None  # we made the path
        if file.view in known.removed or (not file.view.startswith("pool/") and file.view not in tree.views):
            continue
        if _given_twice(file, known):
            continue
        if path not in tree.digests:
            if at <= reached:
                findings.append(Finding(file.view, "MissingFile", f"{path} was published, and is not there"))
        elif tree.digests[path] != known.digests[path]:
            findings.append(Finding(file.view, "OtherBytes", f"{path} has other bytes than the ledger published"))
    return findings + _unknown(tree, known)


def check(tree: Tree, read: Read) -> list[Finding]:
    """A whole tree against itself: views against the pool, and files against the hashes that lead to them."""
    findings: list[Finding] = []
    pools = {
        tree.digests[file.path]: view
        for view, files in tree.views.items()
        for file in files
        if view.startswith("pool/production/") and file.role != "root"
    }
    for view, files in tree.views.items():
        if not view.startswith("pool/"):
            # A wave's name does not tell its tag: it is the pool that has most of the wave's files.
            found = Counter(pools.get(tree.digests[file.path]) for file in files)
            pool = f"pool/{view}" if f"pool/{view}" in tree.views else next(filter(None, dict(found.most_common())), "")
            findings += _compare_pool(tree, view, pool)
        for file in files:
            if file.role in {"snapshot", "timestamp"}:
                findings += _compare_link(tree, read, file)
    return findings


def _compare_timestamp(read: Read, view: str, version: int, data: bytes) -> list[Finding]:
    path = f"{view}/timestamp.json"
    found = read(path)
    if found == data:
        return []
    if found is None:
        return [Finding(view, "MissingFile", f"{path} was published, and is not there")]
    shows = versions_of(read, view)
    if shows < version:
        return [Finding(view, "Behind", f"{path} is version {shows}, the ledger published {version}")]
    if shows > version:
        return [Finding(view, "Ahead", f"{path} is version {shows}, the ledger knows of {version}")]
    return [Finding(view, "OtherBytes", f"{path} has other bytes than the ledger published")]


def _unknown(tree: Tree, known: Known) -> list[Finding]:
    """Metadata files among the repository's own that the ledger never published."""
    files = [file for view in (f"pool/{known.repository}", *known.shown) for file in tree.views.get(view, ())]
    return [
        Finding(file.view, "UnknownFile", f"the ledger never published {file.path}")
        for file in files
        if file.version and file.path not in known.digests and not _given_twice(file, known)
    ]


def _given_twice(file: File, known: Known) -> bool:
    """Whether a ledger that is lost gave out that number too: which of the two is there can't be told."""
    limits = {"snapshot": known.lost[0], "targets": known.lost[1]}
    return file.version <= limits.get(file.role, 0)


def _compare_pool(tree: Tree, view: str, pool: str) -> list[Finding]:
    return [
        Finding(view, "NotAsInPool", f"{file.path} is not the file of that name in {pool or 'any pool'}")
        for file in tree.views[view]
        if file.version and tree.digests.get(f"{pool}/{file.name}") != tree.digests[file.path]
    ]


def _compare_link(tree: Tree, read: Read, file: File) -> list[Finding]:
    """A snapshot or timestamp against the file that it leads to."""
    data = read(file.path)
    leads = "targets" if file.role == "snapshot" else "snapshot"
    meta = _signed(data or b"").get("meta")
    entry = meta.get(f"{leads}.json") if isinstance(meta, dict) else None
    if not isinstance(entry, dict) or type(entry.get("version")) is not int:
        return [Finding(file.view, "Unreadable", f"{file.path} leads to no {leads}")]
    path = f"{file.view}/{entry['version']}.{leads}.json"
    if path not in tree.digests:
        return [Finding(file.view, "MissingFile", f"{file.path} leads to {path}, which is not there")]
    hashes = entry.get("hashes")
    if isinstance(hashes, dict) and hashes.get("sha256", tree.digests[path]) != tree.digests[path]:
        return [Finding(file.view, "OtherHash", f"{path} is not the file that {file.path} leads to")]
    return []


def _signed(data: bytes) -> dict[str, object]:
    try:
        signed = orjson.loads(data)["signed"]
    except (ValueError, KeyError, TypeError):
        return {}
    return signed if isinstance(signed, dict) else {}
