"""The key files of a new factory: written before the ledger is, so that no ledger is without its keys.

Crash cases: the files are written into a directory beside their place and moved there one by one, each move atomic; a
marker says that the ledger they are for is not committed yet. An init that finds the marker and no ledger takes those
keys away again: they never signed anything that exists.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ledger.application.factory import FactoryKeys
from ledger.tuf.archive import write_archive
from ledger.tuf.errors import KeyFileExists
from ledger.tuf.files import write_key_file
from ledger.tuf.online import write_online

MARKER = ".init-not-finished"
ROOT_ARCHIVE = "root.keys.tgz"


def targets_archives(count: int) -> list[str]:
    """The names of the archives of so many holders."""
    return ["targets.only.key.tgz", *(f"targets.only.key.{place}.tgz" for place in range(2, count + 1))]


@contextmanager
def written(directory: Path, keys: FactoryKeys) -> Iterator[Sequence[Path]]:
    """Write all key files; they stay when the block ends well, and are taken away again when it fails.

    Raises: KeyFileExists, and what writing a file raises.
    """
    archives = targets_archives(len(keys.targets))
    marker = directory / MARKER
    _clear_unfinished(directory, marker)
    for name in (ROOT_ARCHIVE, *archives, "online"):
        if (directory / name).exists():
            raise KeyFileExists(path=str(directory / name))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    online = {**keys.online, "ledger": keys.ledger}
    marker.write_text("\n".join([ROOT_ARCHIVE, *archives, *(f"online/{name}.pem" for name in online)]))
    try:
        write_key_file(directory / ROOT_ARCHIVE, write_archive("root", [keys.root]))
        for name, pair in zip(archives, keys.targets, strict=True):
            write_key_file(directory / name, write_archive("targets", [pair]))
        write_online(directory / "online", online)
        yield [directory / name for name in (ROOT_ARCHIVE, *archives, "online")]
    except BaseException:
        _clear_unfinished(directory, marker)
        raise
    marker.unlink()


def _clear_unfinished(directory: Path, marker: Path) -> None:
    if not marker.exists():
        return
    for name in marker.read_text().splitlines():
        (directory / name).unlink(missing_ok=True)
    for left in (directory / "online", directory):
        if left.is_dir() and {path.name for path in left.iterdir()} <= {MARKER}:
            shutil.rmtree(left)
    marker.unlink(missing_ok=True)
