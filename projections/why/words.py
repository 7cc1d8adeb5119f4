"""The answer in plain words, from `projections.why.evidence` alone: no database, no clock.

Rules of this module:

* Sentences that a support engineer can read to a customer: who gets what, by which rule, and what would change it.
* The rule and its reason are the ones of `devices show`. What is added here never contradicts them.
* Every sentence has a code beside it where a script may want to know; commands are as they can be typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from ledger.domain.values import format_time, from_epoch
from projections.queries.devices import Rule
from projections.why import changes
from projections.why.changes import Change
from projections.why.evidence import By, Evidence, Lacking, Publication, Reached, Registered, Removed, Unknown, Wave

UNKNOWN_DEVICE, REMOVED_DEVICE = "unknown-device", "removed-device"


class Exclusion(NamedTuple):
    """Why a device does not get what its tag's active wave brings."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What `devices why` says. `rule` is one of `Rule`, or says that the device is not in the fleet."""

    summary: str
    rule: str
    reason: str
    runs: str
    wave: str
    exclusion: Exclusion | None
    resting: tuple[str, ...]
    published: str
    changes: tuple[Change, ...]


def explain(evidence: Evidence, now: int) -> Answer:
    """The answer about a device; `now` is in seconds since 1970."""
    match evidence:
        case Registered():
            return _registered(evidence, now)
        case Removed():
            return _removed(evidence)
        case Unknown(asked):
            reason = "no device of that uuid or name was ever in the fleet"
            return _outsider(f"{asked} gets nothing: {reason}", UNKNOWN_DEVICE, reason, evidence)
    assert_never(evidence)


def _removed(found: Removed) -> Answer:
    reason = f"it was removed from the fleet at {_time(found.at)} by {found.by}"
    return _outsider(f"{found.name} gets nothing: {reason}", REMOVED_DEVICE, reason, found, found.target)


def _outsider(summary: str, rule: str, reason: str, found: Removed | Unknown, target: str | None = None) -> Answer:
    resting = tuple(changes.rests(one) for one in found.resting)
    runs = target or "not known: it never reported"
    return Answer(
        f"{summary}.",
        rule,
        reason,
        runs,
        "none: it is not in the fleet",
        None,
        resting,
        "no: there is nothing for it",
        changes.of(found, None),
    )


def _registered(found: Registered, now: int) -> Answer:
    excluded = exclusion(found)
    return Answer(
        _summary(found),
        found.row.rule.value,
        found.row.reason,
        _runs(found),
        _wave(found, excluded),
        excluded,
        tuple(changes.rests(one) for one in found.resting),
        _published(found.publication, now),
        changes.of(found, excluded.code if excluded else None, expired=_expired(found.publication, now)),
    )


def _summary(found: Registered) -> str:
    row = found.row
    if row.latest is None:
        if row.view is None:
            return f"{row.name} gets nothing: {row.reason}."
        fits = f"they are for {_and(found.hardware)}" if found.hardware else "there is none in it now"
        return f"{row.name} gets nothing: no target of view {row.view} fits its hardware, {row.hardware_id}; {fits}."
    excluded = exclusion(found)
    but = ""
    if excluded and row.basis.in_wave and row.view == f"wave/{row.basis.wave}":
        but = f", but {excluded.text}: so it is what was production before"
    if row.target == row.latest:
        return f"{row.name} runs what it is to run, {row.latest}: {row.reason}{but}."
    not_yet = "" if row.published else " That is decided, but devices can't see it yet."
    return f"{row.name} is to run {row.latest}: {row.reason}{but}.{not_yet}"


def _runs(found: Registered) -> str:
    row, number = found.row, found.row.basis.runs
    if row.target is None:
        return "not known: it never reported"
    if not number:
        return f"{row.target}, which this ledger never had"
    said = f"{row.target} (number {number})"
    if found.orphan and row.production:
        said += f", an orphan: neither in tag {row.tag}'s production targets nor in an active wave of it"
    elif found.orphan:
        said += f", an orphan: no CI target of tag {row.tag} has that number"
    if 0 < found.offered < number:
        said += f"; that is above the {found.offered} that it is offered"
    return said


def exclusion(found: Registered) -> Exclusion | None:
    """What keeps a device from the target of its tag's active wave; None if there is none, or it gets that target."""
    wave, row = found.wave, found.row
    if wave is None:
        return None
    if not row.production:
        return Exclusion("test-device", "it is a test device, and waves are for production devices")
    if row.rule in (Rule.IN_WAVE, Rule.IN_WAVE_BY_GROUP):
        if row.hardware_id in wave.hardware:
            return None
        text = f"number {wave.number} has no target for its hardware, {row.hardware_id}, only for {_and(wave.hardware)}"
        return Exclusion("no-target-for-hardware", text)
    if row.basis.holder_number > wave.number:
        text = f"it is held on number {row.basis.holder_number} of the canceled wave {row.basis.holder}, above this one"
        return Exclusion("held", text)
    return _not_chosen(found, wave) if wave.rollouts else _before_rollout(wave)


def _before_rollout(wave: Wave) -> Exclusion:
    if not wave.ready:
        text = f"it has {wave.signatures} of the {wave.needed} offline signatures that it needs to reach anybody"
        return Exclusion("not-ready", text)
    return Exclusion("not-rolled-out", "it was not rolled out to anybody yet")


def _not_chosen(found: Registered, wave: Wave) -> Exclusion:
    row, runs = found.row, found.row.basis.runs
    if runs >= wave.number:
        how = "the same" if runs == wave.number else "a newer one"
        return Exclusion(
            "at-number" if runs == wave.number else "above-number",
            f"it runs number {runs}, {how}, and rollouts choose among devices below number {wave.number}",
        )
    groups = list(dict.fromkeys(rollout.group for rollout in wave.rollouts if rollout.group is not None))
    if row.group not in groups and all(rollout.group is not None for rollout in wave.rollouts):
        mine = f"in group {row.group}" if row.group else "in no group"
        return Exclusion("other-group", f"it was rolled out in {_groups(groups)} only, and the device is {mine}")
    reached = sum(rollout.devices for rollout in wave.rollouts)
    return Exclusion("not-selected", f"its rollouts chose {_devices(reached)} so far, and this one was not among them")


def _wave(found: Registered, excluded: Exclusion | None) -> str:
    wave = found.wave
    if wave is None:
        others = [f"{name} ({tag})" for name, tag in found.others]
        on_others = f"; active for other tags: {_some(others)}" if others else ""
        return f"none is active for tag {found.row.tag}{on_others}"
    named = f"{wave.name} (number {wave.number})"
    if wave.reached and found.row.basis.in_wave:
        but = f", but {excluded.text}" if excluded else ""
        return f"in {named}: {_how(wave.reached)}{but}"
    return f"not in {named}: {excluded.text}" if excluded else f"in {named}"


def _how(reached: Reached) -> str:
    match reached.by:
        case By.LIST:
            within = f" within group {reached.group}" if reached.group else ""
            return f"a rollout{within} chose it"
        case By.GROUP:
            return f"it was rolled out to all of group {reached.group}, in which the device was"
        case By.JOINED:
            return f"it was rolled out to all of group {reached.group}, into which the device came later"
    assert_never(reached.by)


def _published(shown: Publication, now: int) -> str:
    if _expired(shown, now):
        until = f"expired at {_time(shown.first_expiry())}: clients refuse it until the next refresh"
    else:
        until = f"valid until {_time(shown.first_expiry())}"
    versions = f"timestamp and snapshot {shown.metadata}, targets {shown.targets}, root {shown.root}"
    match shown.state:
        case Lacking.NOTHING:
            return f"yes, since {_time(shown.signed_at)}: {versions}; {until}"
        case Lacking.NO_VIEW:
            return "no: there is nothing for it"
        case Lacking.NEVER:
            return "not yet: nothing of this view was published"
        case Lacking.SIGNED:
            return f"not yet: signed at {_time(shown.signed_at)}, but not written to where devices look"
        case Lacking.OLDER:
            return f"not yet: devices see what was published at {_time(shown.signed_at)} ({versions}; {until})"
        case Lacking.WAITS:
            return "not yet: it goes there with the next publication, so that no version goes down for it"
    assert_never(shown.state)


def _expired(shown: Publication, now: int) -> bool:
    return (shown.first_expiry() or now + 1) <= now


def _time(seconds: int | None) -> str:
    return "(never)" if seconds is None else format_time(from_epoch(seconds))


def _devices(count: int) -> str:
    return f"{count:,} device" + ("" if count == 1 else "s")


def _groups(names: Sequence[str]) -> str:
    return ("group " if len(names) == 1 else "groups ") + _and(names)


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
