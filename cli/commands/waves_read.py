"""waveledger waves list, show, status: what became of waves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import completion
from cli.context import reading
from cli.options import At, Limit, OfflineThreshold, Page, Wave
from cli.output import Format, FormatOption, Output, Table, chosen, say, show, when, yes
from projections import questions
from projections.queries import waves as query


def list_waves(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option(metavar="active|complete|canceled", help="Only those that are so.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option(metavar="TAG", help="Only those of this tag.", autocompletion=completion.tags)
    ] = None,
    limit: Limit = 20,
    page: Page = 1,
    at: At = None,
    format: FormatOption = None,
) -> None:
    """List waves, newest first.

    Example: waveledger waves list --status active
    """
    from cli.errors import UsageError

    if status not in (None, "active", "complete", "canceled"):
        raise UsageError(problem=f"{status!r} is not a status: active, complete, canceled", command="waves list")
    with reading(ctx, at, questions.waves()) as connection:
        waves, total = query.listing(connection, status=status, tag=tag, limit=limit, page=page)
    following = page + 1 if limit * page < total else None
    rows = [
        (w.name, w.version, w.tag, w.status, when(w.created_at), w.created_by, when(w.finished_at), w.finished_by)
        for w in waves
    ]
    columns = ["name", "version", "tag", "status", "created at", "created by", "finished at", "finished by"]
    document = {"waves": [_document(wave) for wave in waves], "total": total, "next": following}
    show(Output(document, [Table(columns, rows)]), format)
    if following:
        say(f"{total} waves in all; the next page: --page {following}")


def show_wave(
    ctx: typer.Context,
    wave: Wave,
    show_targets: Annotated[bool, typer.Option("--show-targets", help="Also the signed targets metadata.")] = False,
    at: At = None,
    format: FormatOption = None,
) -> None:
    """Show a wave: content, signers, rollouts.

    Example: waveledger waves show v48
    """
    with reading(ctx, at, questions.of_wave(wave)) as connection:
        found = query.details(connection, _find(connection, wave))
        targets = _targets(connection, wave) if show_targets else None
    document = _details_document(found)
    tables = _details_tables(found)
    if targets is not None:
        document["targets"] = targets
        if chosen(format) is Format.TABLE:
            names = [(name, body["custom"]["version"]) for name, body in targets["signed"]["targets"].items()]
            tables.append(Table(["target", "version"], names, "Targets"))
    show(Output(document, tables), format)


def status(
    ctx: typer.Context,
    wave: Annotated[
        str | None, typer.Argument(metavar="WAVE", help="Its name.", autocompletion=completion.waves)
    ] = None,
    offline_threshold: OfflineThreshold = 4,
    at: At = None,
    format: FormatOption = None,
) -> None:
    """Show how far a wave is, by group.

    Without a name the active one. Finished waves are counted as of now, or of --at.

    Example: waveledger waves status v48
    """
    from cli.context import settings_of
    from cli.errors import NoActiveWave, SeveralActiveWaves
    from cli.wave_status import output_of

    with reading(ctx, at, questions.counts()) as connection:
        if wave is None:
            names = query.active(connection)
            if not names:
                raise NoActiveWave
            if len(names) > 1:
                raise SeveralActiveWaves(waves=", ".join(names))
            wave = names[0]
        since = None if at else settings_of(ctx).now - offline_threshold * 3600
        counted = query.count(connection, _find(connection, wave), online_since=since)
    show(output_of(counted, at), format)


def _details_document(found: query.WaveDetails) -> dict[str, Any]:
    return _document(found.wave) | {
        "prune": found.prune,
        "expires": when(found.expires),
        "signatures": {"threshold": found.threshold, "keyids": found.keyids},
        "rollouts": [
            {
                "at": when(r.at),
                "by": r.by,
                "group": r.group,
                "full_group": r.full_group,
                "factory_wide": r.group is None and not r.listed,
                "devices": r.devices,
                "plan": r.digest,
                "planned": r.planned,
            }
            for r in found.rollouts
        ],
        "reason": found.reason,
    }


def _details_tables(found: query.WaveDetails) -> list[Table]:
    w = found.wave
    facts = [
        ("wave", w.name),
        ("version", w.version),
        ("tag", w.tag),
        ("status", w.status),
        ("created", f"{when(w.created_at)} by {w.created_by}"),
        ("finished", f"{when(w.finished_at)} by {w.finished_by}" if w.finished_at else None),
        ("reason", found.reason),
        ("prune", ", ".join(map(str, found.prune)) or None),
        ("expires", when(found.expires)),
        ("offline signatures", f"{len(found.keyids)} of {found.threshold - 1}; the online one comes at publication"),
        ("signed with keys", ", ".join(found.keyids)),
    ]
    rows = [
        (
            when(r.at),
            r.by,
            r.group or ("(listed devices)" if r.listed else "(some of the tag)"),
            r.devices,
            yes(r.full_group),
            r.digest[:12] if r.planned else None,
        )
        for r in found.rollouts
    ]
    columns = ["at", "by", "group", "devices", "future members", "plan"]
    return [Table.of_facts(facts), *([Table(columns, rows, "Rollouts")] if rows else [])]


def _targets(connection: Any, wave: str) -> dict[str, Any]:
    import orjson

    from projections.tuf import drafts

    found = drafts.document_of_wave(connection, wave)
    signatures = [{"keyid": keyid, "sig": signature} for keyid, signature in found.offline]
    return {"signatures": signatures, "signed": orjson.loads(found.signed)}


def _find(connection: Any, name: str) -> query.WaveRow:
    from ledger.domain.wave import UnknownWave

    found = query.find(connection, name)
    if found is None:
        raise UnknownWave(wave=name[:100])
    return found


def _document(wave: query.WaveRow) -> dict[str, Any]:
    return {
        "name": wave.name,
        "version": wave.version,
        "tag": wave.tag,
        "status": wave.status,
        "created_at": when(wave.created_at),
        "created_by": wave.created_by,
        "finished_at": when(wave.finished_at),
        "finished_by": wave.finished_by,
    }


def register(app: typer.Typer) -> None:
    """Add the reading commands to the group of waves."""
    app.command("list")(list_waves)
    app.command("show")(show_wave)
    app.command("status")(status)
