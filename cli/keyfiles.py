"""The key files of a new factory: written before the ledger is, so that no ledger is without its keys.

Crash cases: a marker beside the keys names the ledger that they are for, by store and public key, until that ledger is
committed. An init that finds a marker looks there. No such ledger: the keys never signed anything that exists, and are
taken away again. There is one: they are its keys and stay, and only the marker goes. Only one init at a time works in a
directory (its lock goes with its process).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from ledger.application.factory import FactoryKeys
from ledger.tuf.archive import write_archive
from ledger.tuf.errors import KeyFileExists
from ledger.tuf.files import write_key_file
from ledger.tuf.online import write_online

MARKER = ".init-not-finished"
ROOT_ARCHIVE = "root.keys.tgz"

_KEY_FILE = re.compile(r"root\.keys\.tgz|targets\.only\.key(\.[0-9]+)?\.tgz|online/[a-z.]+\.pem")


def targets_archives(count: int) -> list[str]:
    """The names of the archives of so many holders."""
    return ["targets.only.key.tgz", *(f"targets.only.key.{place}.tgz" for place in range(2, count + 1))]


@contextmanager
def written(
    directory: Path, keys: FactoryKeys, store: str, owns_ledger: Callable[[str, str], bool]
) -> Iterator[Sequence[Path]]:
    """Write all key files; they stay when the block ends well, and are taken away again when it fails.

    `owns_ledger(store, ledger key)` says whether there is a ledger with that key in that store.

    Raises: KeyFileExists, and what writing a file raises.
    """
    archives = targets_archives(len(keys.targets))
    online = {**keys.online, "ledger": keys.ledger}
    names = [ROOT_ARCHIVE, *archives, *(f"online/{name}.pem" for name in online)]
    found = directory.exists()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with _locked(directory):
            yield from _write(directory, keys, names, store, owns_ledger)
    finally:
        if not found and not any(directory.iterdir()):
            directory.rmdir()


def _write(
    directory: Path, keys: FactoryKeys, names: Sequence[str], store: str, owns_ledger: Callable[[str, str], bool]
) -> Iterator[Sequence[Path]]:
    archives = targets_archives(len(keys.targets))
    online = {**keys.online, "ledger": keys.ledger}
    _clear_unfinished(directory, owns_ledger)
    for name in (ROOT_ARCHIVE, *archives, "online"):
        if (directory / name).exists():
            raise KeyFileExists(path=str(directory / name))
    write_key_file(directory / MARKER, orjson.dumps([store, keys.ledger.key.keyval["public"], names]))
    try:
        write_key_file(directory / ROOT_ARCHIVE, write_archive("root", [keys.root]))
        for name, pair in zip(archives, keys.targets, strict=True):
            write_key_file(directory / name, write_archive("targets", [pair]))
        write_online(directory / "online", online)
        yield [directory / name for name in (ROOT_ARCHIVE, *archives, "online")]
    except BaseException:
        _clear_unfinished(directory, owns_ledger)
        raise
    (directory / MARKER).unlink()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear_unfinished(directory: Path, owns_ledger: Callable[[str, str], bool]) -> None:
    marker = directory / MARKER
    if not marker.exists():
        return
    try:
        store, ledger_key, names = orjson.loads(marker.read_bytes())
    except ValueError:  # killed while it was written, so before any key
        store, ledger_key, names = "", "", []
    if not (store and owns_ledger(store, ledger_key)):
        for name in names:
            if _KEY_FILE.fullmatch(name):
                (directory / name).unlink(missing_ok=True)
        online = directory / "online"
        if online.is_dir() and not any(online.iterdir()):
            online.rmdir()
    marker.unlink()
