"""What auditors bring along: checkpoints, roots and keys in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli import files
from cli.errors import NoCheckpointFile, NoLedgerKey
from cli.signing import open_online

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ledger.application.proofs import Tree
    from ledger.tuf.note import Checkpoint


def read_checkpoint(path: str) -> Checkpoint:
    """A checkpoint in a file. Raises: NotReadable, NoCheckpointFile."""
    from ledger.tuf import note
    from ledger.tuf.errors import NoteDamaged

    data = files.read(path)
    try:
        return note.parse_note(data.decode())
    except UnicodeDecodeError:
        raise NoCheckpointFile(path=path, problem="it is not text") from None
    except NoteDamaged as problem:
        raise NoCheckpointFile(path=path, problem=problem.problem) from None


def read_root(path: str) -> bytes:
    """A root in a file, as it is. Raises: NotReadable, NoLedgerKey."""
    data = files.read(path)
    ledger_key(path, data, only_root=True)
    return data


def ledger_key(path: str, data: bytes, *, only_root: bool = False) -> bytes:
    """The ledger's public key in a root, a PEM file or text. Raises: NoLedgerKey."""
    from ledger import check

    try:
        if only_root and not data.strip().startswith(b"{"):
            raise NoLedgerKey(path=path, problem="it is no root")
        return check.read_key(data)
    except check.NotProven as problem:
        raise NoLedgerKey(path=path, problem=str(problem)) from None


def given_key(root: str | None, key: str | None) -> bytes:
    """The key given with ``--root`` or ``--key``: a file, or the hex digits. Raises: NoLedgerKey, NotReadable."""
    if root is not None:
        return ledger_key(root, files.read(root), only_root=True)
    assert key is not None  # the command asked for one of the two
    try:
        is_file = Path(key).exists()
    except OSError:  # a key in PEM may be too long for a name
        is_file = False
    return ledger_key(key, files.read(key) if is_file else key.encode())


def newest_checkpoint(ctx: typer.Context, tree: Tree) -> Checkpoint:
    """The checkpoint of all of the ledger, signed now if its key is here. Raises: NoCheckpoint."""
    from ledger.application import proofs

    return proofs.newest_checkpoint(tree, open_online(ctx))


def checkpoint_or_none(ctx: typer.Context, tree: Tree) -> Checkpoint | None:
    """As `newest_checkpoint`; None where none was ever signed, and none can be."""
    from ledger.application.proofs import NoCheckpoint

    try:
        return newest_checkpoint(ctx, tree)
    except NoCheckpoint:
        return None


def find_checkpoint(connection: Connection, given: str) -> Checkpoint:
    """A checkpoint by its size in the ledger, or in a file.

    Raises: NoCheckpointOfSize, NoCheckpointFile, NotReadable.
    """
    from ledger.application.proofs import kept_checkpoint

    if given.isascii() and given.isdigit():
        return kept_checkpoint(connection, int(given))
    return read_checkpoint(given)
