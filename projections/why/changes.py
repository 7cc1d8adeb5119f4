"""What would change the answer about a device: what somebody has to do, and with which command.

Rules of this module:

* What helps at once comes first: publishing what is decided, or the device's own next look; then what concerns its tag.
* A change is named only where it would make a difference to this device.
* What a command needs besides is in capital letters: FILE, KEYS, NAME, NUMBER.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import NamedTuple

from projections.queries.devices import Rule
from projections.why.evidence import Lacking, Registered, Removed, Resting, Unknown, Wave


class Change(NamedTuple):
    """Something that would change the answer; `command` does it, None where no command of ours can."""

    code: str
    text: str
    command: str | None


def of(found: Registered | Removed | Unknown, excluded: str | None, *, expired: bool = False) -> tuple[Change, ...]:
    """All of them. `excluded` is the code of what keeps the device from its tag's active wave."""
    match found:
        case Unknown(asked):
            text = f"importing it: a row with uuid {asked}, its hardware, tag and group"
            return (Change("import", text, "waveledger devices import FILE.csv"),)
        case Removed():
            text = "importing it again: its history, and the waves it was in, go on where they were"
            return (Change("import", text, "waveledger devices import FILE.csv"),)
    publish = _publish(found, expired=expired)
    if found.row.production:
        return (*publish, *_production(found, excluded), *_return(found))
    return (*publish, *_test(found), *_return(found))


def rests(resting: Resting) -> str:
    """A membership that does not count now."""
    if resting.status == "active":
        return (
            f"it is in wave {resting.wave} (number {resting.number}) of tag {resting.tag}: that rests while it is no "
            "production device on this tag, and goes on when it is one again"
        )
    return (
        f"it ran number {resting.number} of the canceled wave {resting.wave} of tag {resting.tag}: it is held on that "
        "again when it is a production device on this tag again"
    )


def _publish(found: Registered, *, expired: bool) -> Iterator[Change]:
    if found.publication.state not in (Lacking.NOTHING, Lacking.NO_VIEW):
        yield Change("publish", "publishing what is decided", "waveledger tuf publish")
    elif expired:
        yield Change("refresh", "refreshing what is published: it has expired", "waveledger tuf refresh")
    elif found.row.latest not in (None, found.row.target):
        text = f"the device itself, when it next looks: it has not said yet that it runs {found.row.latest}"
        yield Change("install", text, None)


def _test(found: Registered) -> Iterator[Change]:
    row = found.row
    yield Change(
        "import-targets", f"CI targets with tag {row.tag} for {row.hardware_id}", "waveledger targets import FILE"
    )
    yield Change("make-production", "importing it with production true: then its tag's waves count", _IMPORT_DEVICES)


_IMPORT_DEVICES = "waveledger devices import FILE.csv"


def _production(found: Registered, excluded: str | None) -> Iterator[Change]:
    row, wave = found.row, found.wave
    if row.rule is Rule.HELD:
        yield Change("report", "its own report that it runs another target", "waveledger devices report FILE.csv")
        number = row.basis.holder_number
        if wave is None or wave.number < number:
            yield Change(
                "wave", f"a later wave of number {number} or above, rolled out to it or completed", _init(row.tag)
            )
    if wave is None:
        if row.rule is not Rule.HELD:
            yield Change("wave", f"a wave of a new number for tag {row.tag}", _init(row.tag))
        return
    if row.basis.in_wave and excluded != "held":
        yield from _in_wave(found, wave, excluded)
    elif excluded == "not-ready":
        yield Change(
            "sign", f"another holder's signature on wave {wave.name}", f"waveledger waves sign {wave.name} -k KEYS"
        )
    elif excluded != "held":
        yield from _not_in_wave(found, wave)


def _in_wave(found: Registered, wave: Wave, excluded: str | None) -> Iterator[Change]:
    if excluded:
        text = f"a build with a target for {found.row.hardware_id}, in a later wave"
        yield Change("wave", text, _init(found.row.tag))
    cancel = f"waveledger waves cancel {wave.name}"
    if found.row.target is not None and found.row.target == found.row.latest and not excluded:
        yield Change(
            "cancel", f"canceling wave {wave.name}: it is held on what it runs, asked for nothing else", cancel
        )
    else:
        yield Change("cancel", f"canceling wave {wave.name}: it goes back to the view it came from", cancel)
    yield Change(
        "complete",
        f"completing wave {wave.name}: its targets are production then, for all of tag {wave.tag}",
        f"waveledger waves complete {wave.name}",
    )


def _not_in_wave(found: Registered, wave: Wave) -> Iterator[Change]:
    row = found.row
    rollout = f"waveledger waves rollout {wave.name}"
    if row.basis.runs < wave.number:
        alone = _of_device(row.uuid, f"{rollout} --uuids {quote(row.uuid)}")
        yield Change("rollout", f"rolling wave {wave.name} out to it", alone)
    if row.group is not None and not any(r.full_group and r.group == row.group for r in wave.rollouts):
        yield Change("rollout-group", f"rolling it out to all of group {row.group}", f"{rollout} --group {row.group}")
    for group in dict.fromkeys(r.group for r in wave.rollouts if r.full_group and r.group):
        yield Change(
            "join-group",
            f"coming into group {group}, which the wave was rolled out to",
            _of_device(row.uuid, f"waveledger devices set {quote(row.uuid)} --group {group}"),
        )
    yield Change(
        "complete",
        f"completing it: then it is production, for all of tag {wave.tag}",
        f"waveledger waves complete {wave.name}",
    )


def _return(found: Registered) -> Iterator[Change]:
    row = found.row
    for tag in dict.fromkeys(one.tag for one in found.resting):
        if not row.production:
            yield Change("return", f"being a production device on tag {tag} again", _IMPORT_DEVICES)
        else:
            command = _of_device(row.uuid, f"waveledger devices set {quote(row.uuid)} --tag {tag}")
            yield Change("return", f"following tag {tag} again", command)


def _of_device(uuid: str, command: str) -> str | None:
    """A command to paste; none for a device whose name a command line would take for an option or a file."""
    return None if uuid.startswith(("-", "@")) else command


def _init(tag: str) -> str:
    return f"waveledger waves init NAME NUMBER {tag} -k KEYS"
