"""waveledger waves: promote a target to production devices."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Annotated, Any

import typer

from cli import completion
from cli.commands import waves_read
from cli.context import open_ledger, publish_now, reading, say_dry_run
from cli.expiry import expiry
from cli.options import DryRun, Keys, Wave, group
from cli.output import Format, FormatOption, Output, Table, devices, say, show, warn, when
from ledger.domain.values import check_name, check_text, parse_number

app = group("Promote a target to production devices, wave by wave.")


@app.command("init")
def init(
    ctx: typer.Context,
    wave: Annotated[str, typer.Argument(metavar="WAVE", help="A name that no wave had before.")],
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="The target number: custom.version of the CI targets.")
    ],
    tag: Annotated[
        str,
        typer.Argument(metavar="TAG", help="The tag whose devices it is for.", autocompletion=completion.tags),
    ],
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
    """Prepare and sign a wave.

    It takes a target number to the devices on a tag. Nothing is delivered yet, nothing published.

    Go on with waves rollout (to some devices), waves complete (to all on the tag) or waves cancel.

    Example: waveledger waves init v48 48 release -k keys/targets.only.key.tgz
    """
    from cli.signing import find_with
    from ledger.application import waves
    from ledger.domain.initiation import WaveRequest, without_static_delta
    from projections.facts import Facts

    number = parse_number(version)
    request = WaveRequest(
        check_name("wave", wave),
        number,
        check_name("tag", tag),
        expiry(ctx, expires_days, expires_at, "waves init"),
        _numbers(prune or []),
        check_name("tag", source_tag) if source_tag is not None else None,
    )
    prepared = waves.init(open_ledger(ctx), Facts(), request, find_with(ctx, keys), dry_run=dry_run)
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
    names = ", ".join(target.name for target in prepared.new)
    lines = [
        f"wave {wave}{' would be' if dry_run else ':'} number {number} for tag {tag}, {names}",
        f"{'would be ' if dry_run else ''}signed by 1 of {needed} offline keys; no device sees it yet",
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
    """Add an offline signature to a wave.

    Where the root asks for more than one, the other holders of targets keys do this after init.

    Example: waveledger waves sign v48 -k keys/targets.only.key.2.tgz
    """
    from cli.signing import find_with
    from ledger.application import waves
    from ledger.domain.wave import ActiveWave
    from projections.facts import Facts

    find = find_with(ctx, keys)
    state = waves.sign(open_ledger(ctx), Facts(), wave, find, dry_run=dry_run)
    assert isinstance(state, ActiveWave)
    have, need = len(state.signed), state.needed
    document = {"wave": wave, "signatures": {"have": have, "need": need}, "ready": state.ready, "dry_run": dry_run}
    line = f"wave {wave} {'would have' if dry_run else 'has'} {have} of {need} offline signatures" + (
        ": ready" if state.ready else ""
    )
    show(Output(document, lines=[line]), format)
    if dry_run:
        say_dry_run(["wave.signed/1"])


@app.command("rollout")
def rollout(
    ctx: typer.Context,
    wave: Wave,
    group: Annotated[
        str | None,
        typer.Option("--group", "-g", metavar="GROUP", help="Devices of this group.", autocompletion=completion.groups),
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
    """Deliver a wave to some devices on its tag.

    Repeatable. --group alone reaches all of the group and whoever joins it while the wave is active. Every other
    form is a choice of devices, made now. To reach all devices on the tag there is waves complete.

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
        planned.group if planned is not None else check_name("group", group) if group is not None else None,
        parse_limit(limit) if limit is not None else None,
        tuple(read_uuids(uuids)) if uuids is not None else None,
        planned.devices if planned is not None else None,
    )
    ledger = open_ledger(ctx)
    came = waves.roll_out(ledger, Facts(), Facts(), request, dry_run=dry_run)
    listed = came.uuids
    if request.full_group and (print_uuids or print_names or out):
        listed = _group_now(ctx, came, dry_run=dry_run)
    if dry_run and out is not None:
        plans.write(out, came, listed, limit)
    _show_rollout(ctx, came, listed, format, uuids=print_uuids, names=print_names, dry_run=dry_run)
    if request.full_group and not came.event.devices:
        warn(f"group {request.group} has no device now that this reaches; whoever joins it gets the wave")
    if dry_run:
        if out is not None:
            say(f"plan written to {out}; commit it: waveledger waves rollout {wave} --plan {quote(str(out))}")
            if request.full_group:
                warn(f"a plan is these devices: for the wave to go to whoever joins group {group}, commit no plan")
        say_dry_run([came.event.topic] + (["devices.staged/1"] if came.uuids else []))
    else:
        publish_now(ctx, ledger)


@app.command("complete")
def complete(ctx: typer.Context, wave: Wave, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Make a wave production, for good.

    Its targets become the production targets of its tag, for all devices on it.

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
        pruned = ["targets.pruned/1"] if init_.prune else []
        say_dry_run(["wave.completed/1", "targets.promoted/1", *pruned, "tag.wave-closed/1"])
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
    """End a wave without making it production.

    Devices go back to the production targets of their tag. The number may be waved again under a new name.

    Example: waveledger waves cancel v52 --reason "battery drain on us-west"
    """
    from ledger.application import waves
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


def _numbers(given: list[str]) -> tuple[int, ...]:

    return tuple(dict.fromkeys(parse_number(number.strip()) for part in given for number in part.split(",")))


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
    columns: dict[str, Sequence[str]] = {}
    if uuids:
        document["uuids"] = columns["uuid"] = listed
    if names:
        document["names"] = columns["name"] = _names(ctx, listed)
    tables = [Table(list(columns), list(zip(*columns.values(), strict=True)))] if columns else []
    show(Output(document, tables, [line]), format)


def _names(ctx: typer.Context, uuids: tuple[str, ...]) -> list[str]:
    from projections.facts import Facts

    with reading(ctx) as connection:
        found = Facts().devices(connection, uuids)
    return [found[uuid].name for uuid in uuids]


def _group_now(ctx: typer.Context, came: Any, *, dry_run: bool) -> tuple[str, ...]:
    """The group as it is; in a dry run whom the wave would be news to, which is what a plan may name."""
    from ledger.application.facts import Reach
    from projections import select

    reach = Reach(came.event.wave, came.tag, came.number, came.event.selector.group, None)
    with reading(ctx) as connection:
        return select.group_now(connection, reach, candidates=dry_run)


waves_read.register(app)
