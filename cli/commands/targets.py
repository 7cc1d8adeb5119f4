"""waveledger targets: what CI built, and what is in production."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.commands import targets_resign
from cli.context import open_ledger, publish_now, reading, say_dry_run
from cli.options import MOST, At, DryRun, group
from cli.output import Format, FormatOption, Output, Table, chosen, counted, put, say, show, when
from projections import questions
from projections.queries import targets as query

app = group("CI targets and production targets.")
app.command("resign")(targets_resign.resign)


@app.command("import")
def import_targets(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="TUF metadata, Foundries' dialect of it, or a map.")],
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Import CI targets.

    From TUF targets metadata, Foundries' dialect of it, or a plain map from names to targets. New ones are added,
    known ones may change their custom fields. All or nothing; absence removes nothing.

    Example: waveledger targets import ci-targets.json
    """
    from pathlib import PurePath

    from cli.formats.targets import read_targets
    from ledger.application import targets
    from projections.facts import Facts

    found = read_targets(file)
    ledger = open_ledger(ctx)
    source = "stdin" if file == "-" else PurePath(file).name
    came = targets.import_targets(ledger, Facts(), found, source, dry_run=dry_run)
    counts = {"added": len(came.added), "changed": len(came.changed), "same": len(came.same)}
    show(Output({**counts, "dry_run": dry_run}, lines=[counted("CI targets", counts, dry_run=dry_run)]), format)
    if dry_run:
        say_dry_run([event.topic for event in came.events])
    elif came.events:
        publish_now(ctx, ledger)


@app.command("list")
def list_targets(
    ctx: typer.Context,
    by_tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only those of this tag.")] = None,
    production: Annotated[bool, typer.Option("--production", help="The tag's production targets.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The signed metadata. With --production.")] = False,
    at: At = None,
    format: FormatOption = None,
) -> None:
    """List CI or production targets.

    CI targets, or with --production the production targets of a tag.

    Example: waveledger targets list --production --by-tag release --format json
    """
    from cli.errors import UsageError

    if not production:
        if raw:
            raise UsageError(problem="--raw goes with --production", command="waveledger targets list")
        with reading(ctx, at, questions.catalog(by_tag)) as connection:
            show(_ci_output(query.ci(connection, tag=by_tag)), format)
        return
    if by_tag is None:
        raise UsageError(problem="--production needs --by-tag TAG", command="waveledger targets list")
    with reading(ctx, at, questions.of_tag(by_tag, publications=raw)) as connection:
        found = query.production(connection, by_tag)
        if raw:
            _show_raw(connection, found)
            return
    document = {
        "tag": by_tag,
        "version": found.version,
        "expires": when(found.expires),
        "targets": found.targets,
        "wave": found.content,
    }
    rows = [(body["custom"]["version"], name, body["custom"]["hardwareIds"][0]) for name, body in found.targets.items()]
    line = f"production targets of tag {by_tag}" + (
        f" (wave {found.content}), expire {when(found.expires)}" if found.expires else ": none yet"
    )
    tables = [Table(["version", "name", "hardware id"], rows)] if rows else []
    show(Output(document, tables, [line] if chosen(format) is not Format.CSV else []), format)


@app.command("show")
def show_targets(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The target number: custom.version.")],
    at: At = None,
    format: FormatOption = None,
) -> None:
    """Show the CI targets of one build.

    Example: waveledger targets show 48
    """
    from ledger.domain.initiation import NoSuchTargets
    from ledger.domain.values import parse_number

    number = parse_number(version)
    with reading(ctx, at, questions.catalog()) as connection:
        found = query.ci(connection, version=number)
    if not found:
        raise NoSuchTargets(number=number)
    lines: list[str] = []
    for target in found:
        lines += [f"{target.name}", *(f"  {name}: {value}" for name, value in _facts(target)), ""]
    document = {"version": number, "targets": {target.name: target.body for target in found}}
    show(Output(document, [], lines[:-1]) if chosen(format) is not Format.CSV else _ci_output(found), format)


@app.command("prune")
def prune(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="CI targets by name.")] = None,
    by_tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Those with this tag alone; given again, with exactly these tags."),
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option(min=1, max=MOST, metavar="N", help="With --by-tag: the newest N target numbers stay.")
    ] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Serve CI targets no more. Waves and production targets keep what they have.

    By name, all or none; or by tag: a target that has another tag as well stays, as with fioctl. Nothing to prune is
    no error. A name stays taken: CI may bring the same target again, never another content under its name.

    Example: waveledger targets prune --by-tag main --keep-last 20
    """
    from cli.errors import UsageError
    from ledger.application import targets
    from projections.facts import Facts

    if bool(names) == bool(by_tag) or (keep_last and not by_tag):
        problem = "name targets, or a tag with --by-tag TAG [--keep-last N]"
        raise UsageError(problem=problem, command="waveledger targets prune")
    ledger = open_ledger(ctx)
    if by_tag:
        tags = list(dict.fromkeys(by_tag))
        came = targets.prune_tagged(ledger, Facts(), tags, keep_last or 0, dry_run=dry_run)
    else:
        came = targets.prune_named(ledger, Facts(), names or [], dry_run=dry_run)
    count = f"{len(came.pruned)} CI target" + ("" if len(came.pruned) == 1 else "s")
    lines = [f"{'would prune' if dry_run else 'pruned'} {count}", *(f"  {name}" for name in came.pruned)]
    table = Table(["name"], [(name,) for name in came.pruned])
    document = {"pruned": list(came.pruned), "dry_run": dry_run}
    show(Output(document, [table], lines) if chosen(format) is Format.CSV else Output(document, [], lines), format)
    if came.shared:
        say(f"{len(came.shared)} more have other tags too and stay, e.g. {came.shared[0]}: prune them by name")
    if dry_run:
        say_dry_run([event.topic for event in came.events])
    elif came.events:
        publish_now(ctx, ledger)


def _ci_output(found: list[query.CiTarget]) -> Output:
    document = {
        "targets": [{"name": t.name, "version": t.version, "hardware_id": t.hardware_id, "tags": t.tags} for t in found]
    }
    rows = [(t.version, t.name, t.hardware_id, ",".join(t.tags)) for t in found]
    return Output(document, [Table(["version", "name", "hardware id", "tags"], rows)])


def _facts(target: query.CiTarget) -> list[tuple[str, Any]]:
    custom = target.body["custom"]
    apps = custom.get("docker_compose_apps")
    facts = [
        ("hardware id", target.hardware_id),
        ("tags", ", ".join(target.tags) or "-"),
        ("length", target.body["length"]),
        *target.body["hashes"].items(),
        ("static delta", "yes" if custom.get("delta-stats") else "no"),
    ]
    if isinstance(apps, dict):
        facts.append(("apps", ", ".join(sorted(apps))))
    return facts + [(name, custom[name]) for name in ("createdAt", "uri") if name in custom]


def _show_raw(connection: Any, found: query.Production) -> None:
    import orjson

    from ledger.domain.initiation import NoProductionYet
    from projections.tuf import publish

    if found.wave is None or found.document is None:
        raise NoProductionYet(tag=found.tag)
    metadata = publish.metadata_of(connection, f"production/{found.tag}", found.wave, found.document)
    put(orjson.dumps(metadata, option=orjson.OPT_INDENT_2))
