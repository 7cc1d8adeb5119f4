"""waveledger devices: the fleet."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import documents
from cli.commands import devices_why
from cli.context import open_ledger, publish_now, reading, say_dry_run
from cli.options import At, DryRun, Limit, Page, group
from cli.output import FormatOption, Output, Table, counted, say, show, warn, when, yes
from projections import questions
from projections.queries import devices as query

if TYPE_CHECKING:
    from ledger.store.scratch import Names

app = group("The fleet: import, list, change, report.")

Uuids = Annotated[list[str], typer.Argument(metavar="UUID", help="Device uuids; @FILE reads them from a file.")]


@app.command("import")
def import_devices(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.csv|-", help="The fleet, or a part of it.")],
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Import devices from CSV.

    Columns: uuid,name,hardware_id,tag,group,production. Known devices are updated; absence removes none.
    All or nothing.

    Example: waveledger devices import devices.csv
    """
    from cli.formats.devices import read_devices
    from cli.progress import counter
    from ledger.application import devices
    from projections.facts import Facts

    found = read_devices(file)
    if not Path(file).is_file():
        found = iter(list(found))  # to the end, before the ledger is locked: a pipe can be slow
    with counter("devices") as progress:
        came = devices.import_devices(open_ledger(ctx), Facts(), found, dry_run=dry_run, progress=progress)
    counts = {"added": came.added, "changed": came.changed, "same": came.same}
    show(Output({**counts, "dry_run": dry_run}, lines=[counted("devices", counts, dry_run=dry_run)]), format)
    if dry_run:
        say_dry_run(_topics(registered=came.added, changed=came.changed))


@app.command("list")
def list_devices(
    ctx: typer.Context,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only those that follow this tag.")] = None,
    group: Annotated[str | None, typer.Option(metavar="GROUP", help="Only those in this group.")] = None,
    production: Annotated[
        bool | None, typer.Option("--production/--test", help="Only production, or only test devices.")
    ] = None,
    limit: Limit = 1000,
    page: Page = 1,
    at: At = None,
    format: FormatOption = None,
) -> None:
    """List devices with what they run and what they are offered.

    Example: waveledger devices list --tag release --group canary
    """
    with reading(ctx, at) as connection:
        found = query.page(connection, tag=tag, group=group, production=production, limit=limit, number=page)
    document = {
        "devices": [documents.of_device(device) for device in found.devices],
        "total": found.total,
        "next": found.next,
    }
    rows = [
        (d.name, d.uuid, d.hardware_id, d.tag, d.group, yes(d.production), d.target, d.view, d.latest)
        for d in found.devices
    ]
    columns = ["name", "uuid", "hardware id", "tag", "group", "production", "runs", "view", "offered"]
    show(Output(document, [Table(columns, rows)]), format)
    if found.next:
        say(f"{found.total} devices in all; the next page: --page {found.next}")


@app.command("show")
def show_device(
    ctx: typer.Context,
    device: Annotated[str, typer.Argument(metavar="UUID|NAME", help="The device.")],
    at: At = None,
    format: FormatOption = None,
) -> None:
    """Show one device: what it runs, what it is offered, and why.

    Example: waveledger devices show gw-001
    """
    from cli.errors import AmbiguousDevice, UnknownDevice

    with reading(ctx, at, questions.of_device(device)) as connection:
        found = query.show(connection, device)
        if not found:
            raise UnknownDevice(name=device[:100])
    if len(found) > 1:
        raise AmbiguousDevice(count=len(found), name=device, uuids=", ".join(d.uuid for d in found[:20]))
    one = found[0]
    facts = [
        ("uuid", one.uuid),
        ("name", one.name),
        ("hardware id", one.hardware_id),
        ("tag", one.tag),
        ("group", one.group),
        ("production", yes(one.production)),
        ("runs", one.target),
        ("seen at", when(one.seen_at)),
        ("view", one.view),
        ("offered", one.latest),
        ("all it may install", ", ".join(one.targets) or None),
        ("published", yes(one.published)),
        ("because", one.reason),
    ]
    show(Output(documents.of_device(one), [Table.of_facts(facts)]), format)


@app.command("set")
def set_devices(
    ctx: typer.Context,
    uuids: Uuids,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="The tag to follow.")] = None,
    group: Annotated[str | None, typer.Option(metavar="GROUP", help="The group to be in.")] = None,
    no_group: Annotated[bool, typer.Option("--no-group", help="Be in no group.")] = False,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Change the tag or group of devices, all or none of them.

    Example: waveledger devices set 8a119b9e-16bc-4732-8f7b-7676d015b0dc --group canary
    """
    from cli.errors import UsageError
    from cli.formats.uuids import read_many
    from ledger.application import devices
    from projections.facts import Facts

    if tag is None and group is None and not no_group:
        raise UsageError(problem="nothing to set: --tag, --group or --no-group", command="waveledger devices set")
    if group is not None and no_group:
        raise UsageError(problem="--group and --no-group contradict each other", command="waveledger devices set")
    setting = devices.Setting(tag, group, no_group)
    came = devices.set_devices(open_ledger(ctx), Facts(), read_many(uuids), setting, dry_run=dry_run)
    counts = {"changed": came.changed, "same": came.same}
    show(Output({**counts, "dry_run": dry_run}, lines=[counted("devices", counts, dry_run=dry_run)]), format)
    if dry_run:
        say_dry_run(_topics(changed=came.changed))


@app.command("remove")
def remove_devices(ctx: typer.Context, uuids: Uuids, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Remove devices from the fleet, all or none of them. Their history stays.

    Example: waveledger devices remove @retired.txt
    """
    from cli.formats.uuids import read_many
    from ledger.application import devices
    from projections.facts import Facts

    count = devices.remove_devices(open_ledger(ctx), Facts(), read_many(uuids), dry_run=dry_run)
    lines = [counted("devices", {"removed": count}, dry_run=dry_run)]
    show(Output({"removed": count, "dry_run": dry_run}, lines=lines), format)
    if dry_run:
        say_dry_run(_topics(removed=count))


@app.command("report")
def report(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.csv|-", help="What they say.")],
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Take in what devices say they run: CSV with uuid,target,seen_at. Unknown devices are counted, never fatal.

    Publishes when a device no longer runs the target that it was held on: it goes to production with that publication.

    Example: waveledger devices report reports.csv
    """
    from cli.formats.lines import settled
    from cli.formats.reports import read_reports
    from cli.progress import counter
    from cli.streaming import show_listing
    from ledger.application import devices
    from ledger.store.events import head
    from projections.facts import Facts

    ledger = open_ledger(ctx)
    with ledger.reading() as connection:
        before = head(connection).size
    strangers = devices.Strangers()
    with strangers.devices as unknown, strangers.targets as unknown_targets:
        # Read to the end before the ledger is locked: standard input can be slow.
        with settled(file) as (source, stdin), counter("reports") as progress:
            reports = read_reports(source, stdin)
            came = devices.report(ledger, Facts(), reports, strangers, dry_run=dry_run, progress=progress)
        document = {**asdict(came), "dry_run": dry_run}
        line = "would take in " if dry_run else ""
        line += f"reports: {came.changed} with another target, {came.sightings} sightings, {came.late} late"
        line += f", {came.of_unknown} of unknown devices" if came.of_unknown else ""
        show_listing(document, {"unknown": unknown, "unknown_targets": unknown_targets}, line, format)
        if dry_run:
            say_dry_run(_topics(reported=came.changed))
        _warn_of("not in the fleet", "device", unknown)
        _warn_of("never seen here", "target", unknown_targets)
    with ledger.reading() as connection:
        moved = query.moved_since(connection, before)
    if moved:
        publish_now(ctx, ledger)


def _warn_of(what: str, noun: str, names: Names, most: int = 20) -> None:
    count = len(names)
    if count:
        more = f" and {count - most:,} more (all of them with --format json)" if count > most else ""
        warn(f"{what}: {count:,} {noun}{'' if count == 1 else 's'}: {', '.join(names.first(most))}{more}")


def _topics(**counts: int) -> list[str]:
    return [f"devices.{what}/1" for what, count in counts.items() if count]


devices_why.register(app)
