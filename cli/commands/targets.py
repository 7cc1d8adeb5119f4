"""waveledger targets: what CI built, and what is in production."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.context import open_ledger, publish_now, reading, say_dry_run
from cli.options import DryRun, group
from cli.output import Format, FormatOption, Output, Table, chosen, show, when
from projections.queries import targets as query

app = group("CI targets and production targets.")


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
    line = ", ".join(f"{count} {what}" for what, count in counts.items())
    show(Output({**counts, "dry_run": dry_run}, lines=[f"CI targets: {line}"]), format)
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
        with reading(ctx) as connection:
            show(_ci_output(query.ci(connection, tag=by_tag)), format)
        return
    if by_tag is None:
        raise UsageError(problem="--production needs --by-tag TAG", command="waveledger targets list")
    with reading(ctx) as connection:
        found = query.production(connection, by_tag)
        if raw:
            _show_raw(connection, found)
            return
    document = {
        "tag": by_tag,
        "version": found.version,
        "expires": when(found.expires),
        "targets": found.targets,
    }
    rows = [(body["custom"]["version"], name, body["custom"]["hardwareIds"][0]) for name, body in found.targets.items()]
    line = f"production targets of tag {by_tag}" + (
        f", expire {when(found.expires)}" if found.expires else ": none yet"
    )
    tables = [Table(["version", "name", "hardware id"], rows)] if rows else []
    show(Output(document, tables, [line] if chosen(format) is not Format.CSV else []), format)


@app.command("show")
def show_targets(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(help="The target number: custom.version.")],
    format: FormatOption = None,
) -> None:
    """Show the CI targets of one build.

    Example: waveledger targets show 48
    """
    from ledger.domain.initiation import NoSuchTargets
    from ledger.domain.values import parse_number

    number = parse_number(version)
    with reading(ctx) as connection:
        found = query.ci(connection, version=number)
    if not found:
        raise NoSuchTargets(number=number)
    lines: list[str] = []
    for target in found:
        lines += [f"{target.name}", *(f"  {name}: {value}" for name, value in _facts(target)), ""]
    document = {"version": number, "targets": {target.name: target.body for target in found}}
    show(Output(document, [], lines[:-1]) if chosen(format) is not Format.CSV else _ci_output(found), format)


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
    typer.echo(orjson.dumps(publish.metadata_of(connection, found.wave, found.document), option=orjson.OPT_INDENT_2))
