"""The key files of a new factory: written before the ledger is, so that no ledger is without its keys.

Crash cases: a marker beside the keys names the ledger that they are for, by store and public key, until that ledger is
committed. An init that finds a marker looks there. No such ledger: the keys never signed anything that exists, and are
taken away again. There is one: they are its keys and stay, and only the marker goes. Only one init at a time works in a
directory (its lock goes with its process). Archives that an init is given to sign with are somebody's, and stay, even
when a marker has their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from ledger.application.factory import FactoryKeys
from ledger.tuf.archive import write_archive
from ledger.tuf.errors import KeyFileExists
from ledger.tuf.files import alone_in, write_key_file
from ledger.tuf.keypair import KeyPair
from ledger.tuf.online import write_online

MARKER = ".init-not-finished"
ROOT_ARCHIVE = "root.keys.tgz"

_KEY_FILE = re.compile(r"root\.keys\.tgz|targets\.only\.key(\.[0-9]+)?\.tgz|online/[a-z.]+\.pem")


def targets_archives(count: int) -> list[str]:
    """The names of the archives of so many holders."""
    return ["targets.only.key.tgz", *(f"targets.only.key.{place}.tgz" for place in range(2, count + 1))][:count]


@contextmanager
def written(
    directory: Path,
    keys: FactoryKeys,
    store: str,
    owns_ledger: Callable[[str, str], bool],
    given: Collection[Path] = (),
) -> Iterator[Sequence[Path]]:
    """Write all key files; they stay when the block ends well, and are taken away again when it fails.

    `owns_ledger(store, ledger key)` says whether there is a ledger with that key in that store; `given` are key files
    that are not this init's own, and are left alone.

    Raises: KeyFileExists, and what writing a file raises.
    """
    found = directory.exists()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with alone_in(directory):
            _clear_unfinished(directory, owns_ledger, given)
            yield from _write(directory, keys, store, owns_ledger)
    finally:
        if not found and not any(directory.iterdir()):
            directory.rmdir()


def archives_of(keys: FactoryKeys) -> dict[str, tuple[str, KeyPair]]:
    """The archives of offline keys that an init writes: role and key of each, by file name."""
    root = {ROOT_ARCHIVE: ("root", keys.root)} if keys.root else {}
    holders = zip(targets_archives(len(keys.targets)), keys.targets, strict=True)
    return {**root, **{name: ("targets", pair) for name, pair in holders}}


def _write(
    directory: Path, keys: FactoryKeys, store: str, owns_ledger: Callable[[str, str], bool]
) -> Iterator[Sequence[Path]]:
    archives, online = archives_of(keys), {**keys.online, "ledger": keys.ledger}
    for name in (*archives, "online"):
        if (directory / name).exists():
            raise KeyFileExists(path=str(directory / name))
    names = [*archives, *(f"online/{name}.pem" for name in online)]
    write_key_file(directory / MARKER, orjson.dumps([store, keys.ledger.key.keyval["public"], names]))
    try:
        for name, (role, pair) in archives.items():
            write_key_file(directory / name, write_archive(role, [pair]))
        write_online(directory / "online", online)
        yield [directory / name for name in (*archives, "online")]
    except BaseException:
        _clear_unfinished(directory, owns_ledger)
        raise
    (directory / MARKER).unlink()


def _clear_unfinished(directory: Path, owns_ledger: Callable[[str, str], bool], given: Collection[Path] = ()) -> None:
    marker = directory / MARKER
    if not marker.exists():
        return
    try:
        store, ledger_key, names = orjson.loads(marker.read_bytes())
    except ValueError:  # killed while it was written, so before any key
        store, ledger_key, names = "", "", []
    if not (store and owns_ledger(store, ledger_key)):
        keep = {path.resolve() for path in given}
        for name in names:
            if _KEY_FILE.fullmatch(name) and (directory / name).resolve() not in keep:
                (directory / name).unlink(missing_ok=True)
        online = directory / "online"
        if online.is_dir() and not any(online.iterdir()):
            online.rmdir()
    marker.unlink()
