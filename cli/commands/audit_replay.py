"""waveledger audit replay: the ledger built again from its events, and looked at."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import moment_of, reading_ledger, settings_of
from cli.output import Format, FormatOption, Output, Table, say, show, when

if TYPE_CHECKING:
    from projections.at import Moment
    from projections.replay import Replayed


def replay(
    ctx: typer.Context,
    until: Annotated[
        str | None, typer.Option(metavar="POSITION|TIME", help="Up to this position or time (RFC 3339).")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-o", metavar="DIR", help="New, or empty: keep ledger.db and public/ there."),
    ] = None,
    format: FormatOption = None,
) -> None:
    """Build everything again from the events alone, up to a moment, and say what was found.

    A new store, its projections and the published metadata, without any private key; clients look at the result, with
    the clock of that moment: what they would have refused for its age is told. The ledger itself is not changed.
    Exit 6: something is not as the events say.

    Example: waveledger audit replay --until 2027-01-31T12:00:00Z -o past
    """
    from cli.errors import ProblemsFound
    from projections.replay import TREE

    with reading_ledger(ctx) as connection, _place(directory) as place:
        moment = _moment(ctx, connection, until)
        found = _replay(connection, Path(place), moment)
    _show(found, moment, directory, format)
    if directory and found.views:
        say(f"as clients saw it: waveledger tuf verify {directory / TREE} --no-ledger --now {when(moment.now)}")
    if found.problems:
        raise ProblemsFound(
            count=len(found.problems),
            what="the replay",
            advice="waveledger audit verify tells which events are not what was appended",
        )


def _moment(ctx: typer.Context, connection: Any, until: str | None) -> Moment:
    from ledger.store import events
    from projections.at import Moment

    if until is not None:
        return moment_of(ctx, connection, until)
    return Moment(events.head(connection).size, settings_of(ctx).now)


def _place(directory: Path | None) -> AbstractContextManager[Path | str]:
    """Where to build: the directory that was named, or one that is gone afterwards.

    Raises: DirectoryNotEmpty, NotWritable.
    """
    from cli.errors import DirectoryNotEmpty, NotWritable

    if directory is None:
        return tempfile.TemporaryDirectory(prefix="waveledger-replay-")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise DirectoryNotEmpty(path=str(directory))
    except OSError as problem:
        raise NotWritable(path=str(directory), problem=problem.strerror or str(problem)) from None
    return nullcontext(directory)


def _replay(connection: Any, place: Path, moment: Moment) -> Replayed:
    from cli.progress import stages
    from projections.replay import replay as build

    with stages() as progress:
        return build(connection, place, moment, progress)


def _show(found: Replayed, moment: Moment, directory: Path | None, format: Format | None) -> None:
    from projections.replay import STORE, TREE

    counts = {
        "position": found.position,
        "root": found.root.hex(),
        "at": when(moment.now),
        "devices": found.devices,
        "waves": found.waves,
        "tags": found.tags,
        "checkpoints": found.checkpoints,
    }
    kept = {"store": str(directory / STORE), "tree": str(directory / TREE)} if directory else {}
    document = {
        "ok": not found.problems,
        **counts,
        "store": kept.get("store"),
        "tree": kept.get("tree"),
        "views": [
            {"view": v.view, "version": v.version, "targets_version": v.targets_version, "targets": list(v.targets)}
            for v in found.views
        ],
        "expired": found.expired,
        "findings": [problem._asdict() for problem in found.problems],
    }
    views = [(v.view, v.version, v.targets_version, len(v.targets)) for v in found.views]
    tables = [Table.of_facts([*counts.items(), *kept.items()])]
    if views:
        tables.append(Table(["view", "timestamp", "targets version", "targets"], views, "Views, as clients see them"))
    if found.expired:
        tables.append(Table(["view"], [(view,) for view in found.expired], "Expired at that moment"))
    if found.problems:
        tables.append(Table(["where", "kind", "message"], found.problems, "Findings"))
    said = "differs from what the ledger keeps" if found.problems else "equal to what the ledger keeps"
    old = f"; at {when(moment.now)} clients refused {_views(len(found.expired))} for their age" if found.expired else ""
    show(Output(document, tables, [f"replayed {found.position:,} events: {said}{old}"]), format)


def _views(count: int) -> str:
    return "1 view" if count == 1 else f"{count:,} views"
