"""What the commands that change roots print: the new root, what was signed anew, who is concerned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from cli.context import publish_now, reading, say_dry_run
from cli.output import Format, Output, devices, say, say_devices, show, warn, when
from projections.queries import risk

if TYPE_CHECKING:
    from tuf.api.metadata import Root

    from ledger.application.live import SignedAnew
    from ledger.application.rootchange import Changed
    from ledger.application.waiting import Waiting
    from ledger.session import Ledger


def warn_of_devices(ctx: typer.Context) -> list[dict[str, Any]]:
    """Name the devices that could be asked to go back: after a change of keys clients forget what versions they saw."""
    with reading(ctx) as connection:
        found = risk.devices_above_offer(connection)
    held = [device for device in found if device.held]
    above = [device for device in found if not device.held]
    if above:
        warn(f"{devices(len(above))} above what is offered, which could be asked to go back:")
        say_devices(f"{d.uuid} runs {d.target}, is offered {d.offered or 'nothing'}" for d in above)
    if held:
        warn(f"{devices(len(held))} on the target of a canceled wave, and kept on it by a held view:")
        say_devices(f"{d.uuid} runs {d.target} on {d.view}" for d in held)
    return [d._asdict() for d in found]


def show_change(
    changed: Changed,
    what: dict[str, Any],
    lines: Sequence[str],
    format: Format | None,
    *,
    risk: Sequence[dict[str, Any]],
    dry_run: bool,
) -> None:
    """Print a change of the production root: what it is, and the documents that were signed anew."""
    document = {
        "repository": "production",
        "version": changed.root.version,
        "expires": when(int(changed.root.expires.timestamp())),
        **what,
        "resigned": resigned_document(changed.resigned),
        "waiting": waiting_document(changed.waiting),
        "unbridged": list(changed.unbridged),
        "devices_at_risk": list(risk),
        "dry_run": dry_run,
    }
    would = "would make " if dry_run else ""
    said = [f"{would}production root {changed.root.version}, expires {document['expires']}", *lines]
    show(Output(document, lines=said + resigned_lines(changed.resigned, dry_run=dry_run)), format)
    say_waiting(changed.resigned)
    for line in waiting_lines(changed.waiting):
        say(line)
    if changed.unbridged:
        warn_once(
            f"{', '.join(one.replace(':', ' ') for one in changed.unbridged)}: not signed by enough of the old keys"
        )


def warn_once(why: str) -> None:
    """What the owner of a lost key may see."""
    warn(
        f"{why}; a client that is in the middle of a refresh when this is published may fail once, and succeeds at its "
        "next try"
    )


def resigned_document(resigned: Sequence[SignedAnew]) -> list[dict[str, Any]]:
    """What was signed anew, as JSON."""
    return [
        {
            "owner": one.anew.before.owner,
            "keyids": [signer.keyid for signer in one.signers],
            "missing": one.waits,
            "documents": [
                {"view": d.view, "version": d.version, "expires": when(int(d.expires.timestamp()))}
                for d in one.anew.documents
            ],
        }
        for one in resigned
        if one.anew.documents
    ]


def resigned_lines(resigned: Sequence[SignedAnew], *, dry_run: bool = False) -> list[str]:
    """What was signed anew, in words."""
    return [
        f"{'would be ' if dry_run else ''}signed anew, {one.anew.before.owner.replace(':', ' ')}: "
        + ", ".join(f"{d.view} {d.version} until {when(int(d.expires.timestamp()))}" for d in one.anew.documents)
        for one in resigned
        if one.anew.documents
    ]


def waiting_document(waiting: Sequence[Waiting]) -> list[dict[str, Any]]:
    """The waves that go on waiting for signatures, as JSON: whose they keep, and whose count no more."""
    return [
        {
            "owner": one.owner,
            "keyids": list(one.keyids),
            "removed": list(one.changed.removed),
            "missing": one.missing,
        }
        for one in waiting
    ]


def waiting_lines(waiting: Sequence[Waiting]) -> list[str]:
    """The same in words."""
    return [
        f"wave {one.changed.wave} waits for {one.missing} more: waveledger waves sign {one.changed.wave} -k KEYS"
        + (f"; of no account any more: key {', '.join(one.changed.removed)}" if one.changed.removed else "")
        for one in waiting
    ]


def say_waiting(resigned: Sequence[SignedAnew]) -> None:
    """Which waves wait for holders: the change of keys did not sign for them."""
    for one in resigned:
        if one.waits:
            name = one.anew.before.owner.partition(":")[2]
            say(f"wave {name} waits for {one.waits} more: waveledger waves sign {name} -k KEYS")


def changes_of(before: Root, root: Root) -> list[dict[str, Any]]:
    """What is different for holders of keys."""
    changes: list[dict[str, Any]] = []
    for role in ("root", "targets"):
        old, new = before.roles[role], root.roles[role]
        changes += [{"role": role, "added": keyid} for keyid in new.keyids if keyid not in old.keyids]
        changes += [{"role": role, "removed": keyid} for keyid in old.keyids if keyid not in new.keyids]
        if old.threshold != new.threshold:
            changes.append({"role": role, "threshold": new.threshold, "before": old.threshold})
    return changes


def change_lines(changes: Sequence[dict[str, Any]]) -> list[str]:
    """The same in words."""
    return [
        f"{change['role']}: "
        + (
            f"threshold {change['before']} becomes {change['threshold']}"
            if "threshold" in change
            else f"adds key {change['added']}"
            if "added" in change
            else f"removes key {change['removed']}"
        )
        for change in changes
    ]


def finish(
    ctx: typer.Context,
    ledger: Ledger,
    resigned: Sequence[SignedAnew],
    topics: Sequence[str],
    *,
    waiting: Sequence[Waiting] = (),
    dry_run: bool,
) -> None:
    """Publish, or say what a dry run would have appended."""
    if dry_run:
        say_dry_run([*(one.event(0).topic for one in resigned), *(one.changed.topic for one in waiting), *topics])
    else:
        publish_now(ctx, ledger)
