"""waveledger audit checkpoint, prove, check: what people need who don't have to trust the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import reading
from cli.options import MOST
from cli.output import Format, FormatOption, Output, Table, chosen, put, say, show

if TYPE_CHECKING:
    from ledger.check import Note, Proven

OutFile = Annotated[str | None, typer.Option("-o", metavar="FILE", help="A new file; it is never overwritten.")]


def register(app: typer.Typer) -> None:
    """Add the commands to their group."""
    app.command("checkpoint")(checkpoint)
    app.command("prove")(prove)
    app.command("check")(check)


def checkpoint(ctx: typer.Context, out: OutFile = None, format: FormatOption = None) -> None:
    """Sign a checkpoint of the ledger, for a third party to keep.

    It is a signed note (c2sp.org/tlog-checkpoint) of size and Merkle root. Where the ledger's key is not among the
    online keys, it is the newest one that is kept. Kept elsewhere, it shows any later change of what it covers:
    audit verify --checkpoint FILE.

    Example: waveledger audit checkpoint -o /mnt/safe/2027-01.note
    """
    from cli import files
    from cli.auditing import newest_checkpoint
    from ledger.application.proofs import read_tree

    with reading(ctx) as connection:
        tree = read_tree(connection)
    found = newest_checkpoint(ctx, tree)
    text = found.note()
    if out:
        with files.new(out) as file:
            file.write(text.encode())
    if found.size < tree.size:
        say(f"without the ledger's key: the newest that is kept, of {found.size:,} of {tree.size:,} events")
    if out is None and chosen(format) is Format.TABLE:
        put(text, nl=False)
        return
    document = {"origin": found.origin, "size": found.size, "root": found.root.hex(), "note": text, "file": out}
    facts = Table.of_facts([("origin", found.origin), ("size", found.size), ("root", found.root.hex()), ("file", out)])
    show(Output(document, [facts]), format)


def prove(
    ctx: typer.Context,
    position: Annotated[
        int | None, typer.Argument(metavar="POSITION", min=1, max=MOST, help="The event to prove.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="SIZE|FILE", help="Prove that the ledger only grew since then.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--checkpoint", metavar="SIZE|FILE", help="Up to this one; the newest if not said.")
    ] = None,
    out: OutFile = None,
    format: FormatOption = None,
) -> None:
    """Prove that an event is in the ledger, or that the ledger only grew between two checkpoints.

    The proof is one JSON file with all that it takes to check it: the event, the path in the Merkle tree and the signed
    checkpoint. A checkpoint is given by its size, if the ledger keeps it, or as a file. With -o the summary is printed.

    Example: waveledger audit prove 12 -o proof.json

    Example: waveledger audit prove --from /mnt/safe/2027-01.note -o grown.json
    """
    import orjson

    from cli import files
    from cli.errors import UsageError

    if (position is None) == (since is None):
        raise UsageError(problem="name a position, or a checkpoint with --from", command="waveledger audit prove")
    proof = _prove(ctx, position, since, to)
    data = orjson.dumps(proof, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if out is None:
        put(data, nl=False)
        return
    with files.new(out) as file:
        file.write(data)
    size = int(proof.get("checkpoint", proof.get("new", "")).split("\n")[1])
    what = f"position {position}" if position else f"growth from size {proof['old'].splitlines()[1]}"
    document = {"kind": proof["kind"], "position": position, "size": size, "file": out}
    told = f"{out} proves {what} under the checkpoint of size {size:,}; waveledger audit check {out} --root ROOT.json"
    show(Output(document, lines=[told]), format)


def _prove(ctx: typer.Context, position: int | None, since: str | None, to: str | None) -> dict[str, Any]:
    from cli.auditing import find_checkpoint, newest_checkpoint
    from cli.errors import UnknownPosition
    from ledger.application import proofs
    from ledger.store import events

    with reading(ctx) as connection:
        tree = proofs.read_tree(connection)
        old = find_checkpoint(connection, since) if since else None
        new = find_checkpoint(connection, to) if to else None
        row = events.get(connection, position) if position else None
    if position is not None and row is None:
        raise UnknownPosition(position=position, size=tree.size)
    new = new or newest_checkpoint(ctx, tree)
    with reading(ctx) as connection:
        if row is not None:
            return proofs.inclusion(connection, row, new)
        assert old is not None  # one of the two was asked for
        return proofs.consistency(connection, old, new)


def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A proof, or a checkpoint.")],
    root: Annotated[str | None, typer.Option("--root", metavar="ROOT.json", help="A root of the ledger.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The ledger's key: hex, or a PEM file.")
    ] = None,
    format: FormatOption = None,
) -> None:
    """Check a proof, or a checkpoint, offline: no store, no network, nothing believed but the key.

    What does it is one file, ledger/check.py, which also runs alone: python check.py FILE ROOT.json. Take the root, or
    the key, from somewhere else than the proof. Exit 6: it proves nothing.

    Example: waveledger audit check proof.json --root root.json
    """
    from cli import files
    from cli.auditing import given_key
    from cli.errors import ProofBroken, UsageError
    from ledger.check import NotProven
    from ledger.check import check as look

    if (root is None) == (key is None):
        raise UsageError(problem="give the ledger's key: --root or --key", command="waveledger audit check")
    ledger_key = given_key(root, key)
    try:
        proven = look(files.read(file), ledger_key)
    except NotProven as problem:
        if chosen(format) is Format.JSON:
            show(Output({"ok": False, "kind": None, "checkpoints": [], "event": None, "problem": str(problem)}), format)
        raise ProofBroken(path=file, problem=str(problem)) from None
    show(_proven(proven), format)


def _proven(proven: Proven) -> Output:
    import orjson

    newest = proven.checkpoints[-1]
    under = f"under the checkpoint of {newest.origin} at size {newest.size:,}"
    event = proven.event and {**proven.event, "payload": _payload(proven.event["payload"])}
    document = {"ok": True, "kind": proven.kind, "checkpoints": [_note(n) for n in proven.checkpoints], "event": event}
    if event is None:
        oldest = proven.checkpoints[0]
        told = {
            "checkpoint": f"signed by the ledger: {newest.origin} at size {newest.size:,}, root {newest.root.hex()}",
            "consistency": f"proven: since size {oldest.size:,} the ledger only grew, {under}",
        }
        return Output(document, lines=[told[proven.kind]])
    facts = [(name, value) for name, value in event.items() if name != "payload"]
    payload = orjson.dumps(event["payload"]).decode()
    return Output(document, [Table.of_facts([*facts, ("payload", payload)])], [f"proven: this event is there, {under}"])


def _payload(text: str) -> Any:
    """A payload as JSON; as it is, where a stranger's ledger holds something else, or nests too deep to be printed."""
    import orjson

    try:
        found = orjson.loads(text)
        orjson.dumps([found])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text
    return found


def _note(note: Note) -> dict[str, Any]:
    return {"origin": note.origin, "size": note.size, "root": note.root.hex()}
