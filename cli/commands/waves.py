"""waveledger waves: promote a target to production devices."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import completion
from cli.context import open_ledger, publish_now, reading, say_dry_run
from cli.options import DryRun, Keys, Limit, OfflineThreshold, Page
from cli.output import Format, FormatOption, Output, Table, devices, say, show, warn, when, yes
from projections.queries import waves as query

app = typer.Typer(
    help="Promote a target to production devices, wave by wave.", rich_markup_mode=None, no_args_is_help=True
)

Wave = Annotated[str, typer.Argument(metavar="WAVE", autocompletion=completion.waves)]


@app.command("init")
def init(
    ctx: typer.Context,
    wave: Annotated[str, typer.Argument(help="A name that no wave had before.")],
    version: Annotated[str, typer.Argument(help="The target number: custom.version of the CI targets.")],
    tag: Annotated[str, typer.Argument(autocompletion=completion.tags)],
    keys: Keys,
    expires_days: Annotated[
        int | None, typer.Option("--expires-days", "-e", metavar="N", help="Metadata expires in N days; default 365.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", "-E", metavar="T", help="Metadata expires then (RFC 3339).")
    ] = None,
    prune: Annotated[
        list[str] | None, typer.Option(metavar="1,2", help="Production numbers that leave with this wave.")
    ] = None,
    source_tag: Annotated[str | None, typer.Option(metavar="T", help="Only CI targets that have this tag.")] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Prepare and sign a wave: a target number for the devices on a tag. Delivers nothing, publishes nothing.

    Go on with waves rollout (to some devices), waves complete (to all on the tag) or waves cancel.

    Example: waveledger waves init v48 48 release -k keys/targets.only.key.tgz
    """
    from cli.signing import find_with
    from ledger.application import waves
    from ledger.domain.initiation import WaveRequest, without_static_delta
    from ledger.domain.values import check_name, parse_number
    from projections.facts import Facts

    number = parse_number(version)
    request = WaveRequest(
        check_name("wave", wave),
        number,
        check_name("tag", tag),
        _expiry(ctx, expires_days, expires_at),
        tuple(dict.fromkeys(parse_number(n.strip()) for part in prune or [] for n in part.split(","))),
        check_name("tag", source_tag) if source_tag is not None else None,
    )
    find = find_with(keys)
    prepared = waves.init(open_ledger(ctx), Facts(), request, find, dry_run=dry_run)
    for name in without_static_delta(prepared.new):
        warn(f"{name} has no static delta (custom.delta-stats): devices will download all of it")
    needed = prepared.initialized.threshold - 1
    document = {
        "wave": wave,
        "version": number,
        "tag": tag,
        "targets": [target.name for target in prepared.new],
        "prune": list(request.prune),
        "expires": when(int(request.expires.timestamp())),
        "signatures": {"have": 1, "need": needed},
        "dry_run": dry_run,
    }
    lines = [
        f"wave {wave}: number {number} for tag {tag}, {', '.join(document['targets'])}",  # type: ignore[arg-type]
        f"signed by 1 of {needed} offline keys; no device sees it yet",
    ]
    show(Output(document, lines=lines), format)
    if dry_run:
        say_dry_run([prepared.opened.topic, prepared.initialized.topic, "wave.signed/1"])
    elif needed > 1:
        say(f"next, another key holder: waveledger waves sign {wave} -k KEYS")
    else:
        say(f"next: waveledger waves rollout {wave} --group GROUP, or waveledger waves complete {wave}")


@app.command("sign")
def sign(ctx: typer.Context, wave: Wave, keys: Keys, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Add an offline signature to a wave, where the root asks for more than one.

    Example: waveledger waves sign v48 -k keys/targets.only.key.2.tgz
    """
    from cli.signing import find_with
    from ledger.application import waves
    from ledger.domain.wave import ActiveWave
    from projections.facts import Facts

    find = find_with(keys)
    state = waves.sign(open_ledger(ctx), Facts(), wave, find, dry_run=dry_run)
    assert isinstance(state, ActiveWave)
    have, need = len(state.signed), state.needed
    document = {"wave": wave, "signatures": {"have": have, "need": need}, "ready": state.ready, "dry_run": dry_run}
    line = f"wave {wave} has {have} of {need} offline signatures" + (": ready" if state.ready else "")
    show(Output(document, lines=[line]), format)
    if dry_run:
        say_dry_run(["wave.signed/1"])


@app.command("rollout")
def rollout(
    ctx: typer.Context,
    wave: Wave,
    group: Annotated[
        str | None, typer.Option("--group", "-g", help="Devices of this group.", autocompletion=completion.groups)
    ] = None,
    limit: Annotated[
        str | None, typer.Option("--limit", "-l", metavar="N|N%", help="At most N devices, or N% of the matching.")
    ] = None,
    uuids: Annotated[
        str | None, typer.Option("--uuids", metavar="a,b|@FILE|-", help="Exactly these devices, or a choice of them.")
    ] = None,
    dry_run: DryRun = False,
    out: Annotated[
        str | None, typer.Option("-o", metavar="PLAN.json", help="With --dry-run: write the choice.")
    ] = None,
    plan: Annotated[str | None, typer.Option(metavar="PLAN.json", help="Commit exactly this choice.")] = None,
    print_uuids: Annotated[bool, typer.Option("--print-uuids", help="Print the uuids of the chosen devices.")] = False,
    print_names: Annotated[bool, typer.Option("--print-names", help="Print the names of the chosen devices.")] = False,
    format: FormatOption = None,
) -> None:
    """Deliver an active wave to some of the production devices on its tag. Repeatable.

    --group alone reaches all of the group and whoever joins it while the wave is active. Every other form is a
    choice of devices, made now. To reach all devices on the tag there is waves complete.

    Example: waveledger waves rollout v48 --limit 25%
    """
    from cli import plans
    from cli.errors import UsageError
    from cli.formats.uuids import read_uuids
    from ledger.application import waves
    from ledger.domain.rollout import parse_limit
    from projections.facts import Facts

    usage = "waveledger waves rollout"
    if out is not None and not dry_run:
        raise UsageError(problem="-o goes with --dry-run", command=usage)
    if plan is not None and any(given is not None for given in (group, limit, uuids)):
        raise UsageError(problem="--plan is the selection: no --group, --limit or --uuids with it", command=usage)
    planned = plans.read(plan, wave) if plan is not None else None
    request = waves.RolloutRequest(
        wave,
        group if planned is None else planned.group,
        parse_limit(limit) if limit is not None else None,
        tuple(read_uuids(uuids)) if uuids is not None else None,
        planned.devices if planned is not None else None,
    )
    ledger = open_ledger(ctx)
    came = waves.roll_out(ledger, Facts(), Facts(), request, dry_run=dry_run)
    listed = came.uuids
    if request.full_group and (print_uuids or print_names or out):
        listed = _group_now(ctx, came.tag, str(request.group))
    _show_rollout(ctx, came, listed, format, uuids=print_uuids, names=print_names, dry_run=dry_run)
    if request.full_group and not came.event.devices:
        warn(f"group {request.group} has no device now that this reaches; whoever joins it gets the wave")
    if dry_run:
        if out is not None:
            plans.write(out, came, listed, limit)
            say(f"plan written to {out}; commit it: waveledger waves rollout {wave} --plan {out}")
        say_dry_run([came.event.topic] + (["devices.staged/1"] if came.uuids else []))
    else:
        publish_now(ctx, ledger)


@app.command("complete")
def complete(ctx: typer.Context, wave: Wave, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Make the wave's targets the production targets of its tag, for all its devices. For good.

    Example: waveledger waves complete v48
    """
    from ledger.application import waves
    from projections.facts import Facts

    ledger = open_ledger(ctx)
    init_ = waves.complete(ledger, Facts(), wave, dry_run=dry_run)
    document = {"wave": wave, "version": init_.number, "tag": init_.tag, "status": "complete", "dry_run": dry_run}
    done = "would be" if dry_run else "is"
    line = f"wave {wave} {done} complete: number {init_.number} {done} production for all devices on tag {init_.tag}"
    show(Output(document, lines=[line]), format)
    if dry_run:
        say_dry_run(["wave.completed/1", "targets.promoted/1", "tag.wave-closed/1"])
    else:
        publish_now(ctx, ledger)


@app.command("cancel")
def cancel(
    ctx: typer.Context,
    wave: Wave,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the history.")] = None,
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """End a wave without making its target a production target. Its number may be waved again under a new name.

    Example: waveledger waves cancel v52 --reason "battery drain on us-west"
    """
    from ledger.application import waves
    from ledger.domain.values import check_text
    from projections.facts import Facts

    ledger = open_ledger(ctx)
    text = check_text("reason", reason) if reason is not None else None
    active = waves.cancel(ledger, Facts(), wave, text, dry_run=dry_run)
    done = "would be" if dry_run else "is"
    document = {
        "wave": wave, "version": active.init.number, "tag": active.init.tag, "status": "canceled", "dry_run": dry_run,
    }  # fmt: skip
    show(
        Output(document, lines=[f"wave {wave} {done} canceled; tag {active.init.tag} {done} free for another"]), format
    )
    if dry_run:
        say_dry_run(["wave.canceled/1", "tag.wave-closed/1"])
    elif active.rollouts:
        publish_now(ctx, ledger)


@app.command("list")
def list_waves(
    ctx: typer.Context,
    status: Annotated[str | None, typer.Option(metavar="active|complete|canceled")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", autocompletion=completion.tags)] = None,
    limit: Limit = 20,
    page: Page = 1,
    format: FormatOption = None,
) -> None:
    """List waves, newest first.

    Example: waveledger waves list --status active
    """
    from cli.errors import UsageError

    if status not in (None, "active", "complete", "canceled"):
        raise UsageError(problem=f"{status!r} is not a status: active, complete, canceled", command="waves list")
    with reading(ctx) as connection:
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


@app.command("show")
def show_wave(
    ctx: typer.Context,
    wave: Wave,
    show_targets: Annotated[bool, typer.Option("--show-targets", help="Also the signed targets metadata.")] = False,
    format: FormatOption = None,
) -> None:
    """Show a wave: what is in it, who signed it, whom it was rolled out to.

    Example: waveledger waves show v48
    """
    with reading(ctx) as connection:
        found = query.details(connection, _find(connection, wave))
        targets = query.targets_document(connection, wave) if show_targets else None
    need = found.threshold - 1
    document = _document(found.wave) | {
        "prune": found.prune,
        "expires": when(found.expires),
        "signatures": {"threshold": found.threshold, "keyids": found.keyids},
        "rollouts": [
            {
                "at": when(r.at),
                "by": r.by,
                "group": r.group,
                "full_group": r.full_group,
                "factory_wide": r.group is None,
                "devices": r.devices,
                "plan": r.plan,
            }
            for r in found.rollouts
        ],
        "reason": found.reason,
    }
    if targets is not None:
        document["targets"] = targets
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
        ("offline signatures", f"{len(found.keyids)} of {need}: {', '.join(k[:12] for k in found.keyids)}"),
    ]
    rollouts = [
        (when(r.at), r.by, r.group or "(all of the tag)", r.devices, yes(r.full_group), (r.plan or "")[:12])
        for r in found.rollouts
    ]
    tables = [Table.of_facts(facts)]
    if rollouts:
        tables.append(Table(["at", "by", "group", "devices", "future members", "plan"], rollouts, "Rollouts"))
    if targets is not None and format in (None, Format.TABLE):
        names = [(name, body["custom"]["version"]) for name, body in targets["signed"]["targets"].items()]
        tables.append(Table(["target", "version"], names, "Targets"))
    show(Output(document, tables), format)


@app.command("status")
def status(
    ctx: typer.Context,
    wave: Annotated[str | None, typer.Argument(metavar="[WAVE]", autocompletion=completion.waves)] = None,
    offline_threshold: OfflineThreshold = 4,
    format: FormatOption = None,
) -> None:
    """Show how far a wave is: its devices by group, and what they run. Without a name the active one.

    Finished waves are counted as of now.

    Example: waveledger waves status v48
    """
    from cli.context import settings_of
    from cli.errors import NoActiveWave, SeveralActiveWaves
    from cli.wave_status import output_of

    with reading(ctx) as connection:
        if wave is None:
            names = query.active(connection)
            if not names:
                raise NoActiveWave
            if len(names) > 1:
                raise SeveralActiveWaves(waves=", ".join(names))
            wave = names[0]
        since = settings_of(ctx).now - offline_threshold * 3600
        counted = query.count(connection, _find(connection, wave), online_since=since)
    show(output_of(counted), format)


def _expiry(ctx: typer.Context, days: int | None, at: str | None) -> Any:
    from datetime import timedelta

    from cli.context import settings_of
    from cli.errors import UsageError
    from ledger.domain.values import from_epoch, parse_time

    if days is not None and at is not None:
        raise UsageError(problem="--expires-days and --expires-at contradict each other", command="waves init")
    if at is not None:
        return parse_time(at)
    if days is not None and not -36_500 <= days <= 36_500:
        raise UsageError(problem=f"--expires-days {days} is more than a hundred years", command="waves init")
    return from_epoch(settings_of(ctx).now) + timedelta(days=365 if days is None else days)


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


def _show_rollout(
    ctx: typer.Context,
    came: Any,
    listed: tuple[str, ...],
    format: Format | None,
    *,
    uuids: bool,
    names: bool,
    dry_run: bool,
) -> None:
    event = came.event
    document: dict[str, Any] = {
        "wave": event.wave,
        "devices": event.devices,
        "skipped": event.skipped,
        "plan": event.digest,
        "dry_run": dry_run,
    }
    done = "would be rolled out" if dry_run else "is rolled out"
    to = f" of group {event.selector.group}" if event.selector.group else ""
    line = f"wave {event.wave} {done} to {devices(event.devices)}{to}"
    if event.full_group:
        line += ", and to whoever joins the group"
    if event.skipped:
        line += f"; {event.skipped} had it already"
    columns, cells = [], []
    if uuids:
        document["uuids"] = list(listed)
        columns.append("uuid")
        cells.append(listed)
    if names:
        named = _names(ctx, listed)
        document["names"] = named
        columns.append("name")
        cells.append(tuple(named))
    tables = [Table(columns, list(zip(*cells, strict=True)))] if columns else []
    show(Output(document, tables, [line]), format)


def _names(ctx: typer.Context, uuids: tuple[str, ...]) -> list[str]:
    from projections.facts import Facts

    with reading(ctx) as connection:
        found = Facts().devices(connection, uuids)
    return [found[uuid].name for uuid in uuids]


def _group_now(ctx: typer.Context, tag: str, group: str) -> tuple[str, ...]:
    from projections import select

    with reading(ctx) as connection:
        return select.group_now(connection, tag, group)
