"""A TUF repository in a directory: its root chain as bytes, and the highest versions that its clients can have seen.

Rules of this module:

* ``N.root.json`` are the chain. A ``root.json`` beside them must be one of them: else the chain is not all there is.
* Of timestamps, snapshots and targets only versions are read. They need no trust: a version that is too high costs
  numbers, and nothing else.
* Other files are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cli.formats.errors import FileMissing, FileTooLarge, FileUnreadable, MetadataUnreadable, RootNotInChain
from cli.formats.lines import open_source
from ledger.domain.values import INTEGER_LIMIT

ROOT_LIMIT = 512_000  # bytes; python-tuf's clients read no longer one
METADATA_LIMIT = 64 * 1024 * 1024  # bytes

_ROOT = re.compile(r"([1-9][0-9]{0,9})\.root\.json")
_VERSIONED = re.compile(r"([1-9][0-9]{0,9})\.(snapshot|targets)\.json")


class Repository(NamedTuple):
    """Path and bytes of each root by the version in its name; the highest ``metadata`` and ``targets`` versions."""

    roots: dict[int, tuple[str, bytes]]
    versions: dict[str, int]


def read_repository(directory: str) -> Repository:
    """What is in a directory of TUF metadata.

    Raises:
        RootNotInChain: its root.json is none of the versioned roots.
        MetadataUnreadable: a timestamp, snapshot or targets file is none.
        FileMissing, FileUnreadable, FileTooLarge: it could not be read.
    """
    paths = _files(directory)
    roots = {int(found[1]): path for path in paths if (found := _ROOT.fullmatch(path.name))}
    chain = {version: (str(path), read_bytes(str(path), ROOT_LIMIT)) for version, path in sorted(roots.items())}
    current = Path(directory) / "root.json"
    if current in paths and read_bytes(str(current), ROOT_LIMIT) not in [data for _, data in chain.values()]:
        raise RootNotInChain(file=str(current), directory=directory)
    return Repository(chain, _versions(paths))


def read_bytes(file: str, limit: int = METADATA_LIMIT) -> bytes:
    """All of a file of at most `limit` bytes. Raises: FileTooLarge and those of `open_source`."""
    with open_source(file) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise FileTooLarge(file=file, limit=limit)
    return data


def _files(directory: str) -> list[Path]:
    try:
        return sorted(path for path in Path(directory).iterdir() if path.is_file())
    except FileNotFoundError:
        raise FileMissing(file=directory) from None
    except (OSError, ValueError) as problem:
        raise FileUnreadable(file=directory, problem=getattr(problem, "strerror", None) or str(problem)) from None


def _versions(paths: list[Path]) -> dict[str, int]:
    found = {"metadata": [0], "targets": [0]}
    newest: dict[str, tuple[int, Path]] = {}
    for path in paths:
        if named := _VERSIONED.fullmatch(path.name):
            version, role = int(named[1]), named[2]
            found["metadata" if role == "snapshot" else "targets"].append(version)
            newest[role] = max(newest.get(role, (0, path)), (version, path))
        elif path.name in {"timestamp.json", "snapshot.json", "targets.json"}:
            newest[path.name] = (0, path)
    for _, path in newest.values():
        for kind, version in _inside(path):
            found[kind].append(version)
    return {kind: max(versions) for kind, versions in found.items()}


def _inside(path: Path) -> Iterator[tuple[str, int]]:
    """The versions that a file has, and names."""
    try:
        signed: Any = json.loads(read_bytes(str(path)))["signed"]
        role = str(signed["_type"]).lower()
        yield ("targets" if role == "targets" else "metadata"), _version(signed)
        for name, meta in signed.get("meta", {}).items():
            if name in {"snapshot.json", "targets.json"}:
                yield ("targets" if name == "targets.json" else "metadata"), _version(meta)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise MetadataUnreadable(file=str(path), problem=f"{type(problem).__name__}: {problem}") from None


def _version(part: Any) -> int:
    version = part["version"]
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < INTEGER_LIMIT:
        raise ValueError("its version is not a number from 1 to 2147483647")
    return version
