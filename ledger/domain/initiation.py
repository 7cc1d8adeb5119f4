"""What a wave may begin with: the checks of init, in their order, and the targets that come out of it.

Rules of this module (DESIGN §2, "init", in this order; number and keys were checked before):

1. CI targets with the number exist (with a source tag: those whose tags contain it, at least one).
2. The tag has no active wave. 3. The wave's name was never used.
4. The number is greater than the tag's highest production number.
5. No new target has the name of a production target of this tag.
6. One target for each hardware id and number.
7. Every pruned number is in this tag's production and is not the wave's own.
8. The expiry is in the future.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.errors import NotFound, Refused
from ledger.domain.tag import Tag
from ledger.domain.values import Target, format_time


class NoSuchTargets(NotFound):
    """No CI target has that number."""

    message = "there are no CI targets with the number {number}"
    hint = "waveledger targets list shows the CI targets; waveledger targets import FILE brings in new ones"
    number: int


class NoTargetsWithSourceTag(NotFound):
    """CI targets have that number, but not that tag."""

    message = "none of the CI targets with the number {number} has the tag {source_tag}; they have {found}"
    hint = "leave --source-tag out, or name one of those tags"
    number: int
    source_tag: str
    found: str


class NoProductionYet(NotFound):
    """No wave ever ended on that tag in a way that devices saw."""

    message = "tag {tag} has no production targets yet"
    hint = "waveledger waves complete makes a wave's targets the production targets of its tag"
    tag: str


class TagHasActiveWave(Refused):
    """One wave at a time on a tag."""

    message = "tag {tag} already has an active wave, {wave}"
    hint = "first end it: waveledger waves complete {wave}, or waveledger waves cancel {wave}"
    tag: str
    wave: str


class WaveNameUsed(Refused):
    """A wave's name is used once, so that the history reads without doubt."""

    message = "the wave name {wave} was used before"
    hint = "choose another name; waveledger waves show {wave} shows the earlier one"
    wave: str


class NumberInProduction(Refused):
    """That number already is the tag's production, or was."""

    message = "number {number} is already in production on tag {tag}"
    hint = "devices on {tag} are offered it without a wave"
    number: int
    tag: str


class NumberTooLow(Refused):
    """Production never goes back."""

    message = "number {number} is not above {highest}, the highest production number of tag {tag}"
    hint = "wave a build with a number above {highest}"
    number: int
    tag: str
    highest: int


class TargetNameInProduction(Refused):
    """A name means one target."""

    message = "tag {tag} already has a production target named {target}"
    hint = "CI must give each build's targets names of their own, such as NAME-{number}"
    tag: str
    target: str
    number: int


class SeveralTargetsForHardware(Refused):
    """A device would not know which one is meant."""

    message = "number {number} has several targets for hardware id {hardware_id}: {targets}"
    hint = "narrow it down with --source-tag TAG, or prune the wrong CI target"
    number: int
    hardware_id: str
    targets: str


class PrunesItself(Refused):
    """A wave can't remove what it brings."""

    message = "a wave of number {number} can't prune {number}"
    hint = "leave {number} out of --prune"
    number: int


class PrunedNumberNotInProduction(Refused):
    """Only what is there can leave."""

    message = "tag {tag} has no production targets with the number {numbers} to prune; it has {found}"
    hint = "waveledger targets list --production --by-tag {tag} shows them"
    tag: str
    numbers: str
    found: str


class ExpiryInPast(Refused):
    """No client would accept the wave's metadata."""

    message = "the wave would expire at {expires}, which is not in the future"
    hint = "set --expires-days N or --expires-at TIME; 365 days if not said"
    expires: str


@dataclass(frozen=True, slots=True)
class WaveRequest:
    """What the user asks init for."""

    wave: str
    number: int
    tag: str
    expires: datetime
    prune: tuple[int, ...] = ()
    source_tag: str | None = None


@dataclass(frozen=True, slots=True)
class WaveFacts:
    """What is true when init decides.

    `ci_targets` are all CI targets with the number, `production` the tag's production targets by name.
    """

    ci_targets: tuple[Target, ...]
    tag: Tag
    name_used: bool
    production: Mapping[str, Target]


@dataclass(frozen=True, slots=True)
class WaveTargets:
    """What the wave's document will hold: `all` by name, of which `new` come with this wave."""

    new: tuple[Target, ...]
    all: Mapping[str, Target]
    pruned: tuple[str, ...]


def decide_targets(request: WaveRequest, facts: WaveFacts, now: datetime) -> WaveTargets:
    """The targets of the wave, when every rule of init admits it. Raises: the errors of this module, in their order."""
    chosen = _chosen(request, facts.ci_targets)
    if facts.tag.active:
        raise TagHasActiveWave(tag=request.tag, wave=facts.tag.active.wave)
    if facts.name_used:
        raise WaveNameUsed(wave=request.wave)
    _check_number(request, facts)
    new = tuple(target.retagged(request.tag) for target in sorted(chosen, key=lambda t: t.name))
    for target in new:
        if target.name in facts.production:
            raise TargetNameInProduction(tag=request.tag, target=target.name, number=request.number)
    _check_hardware(request.number, new)
    pruned = _pruned(request, facts)
    if request.expires <= now:
        raise ExpiryInPast(expires=format_time(request.expires))
    kept = {name: target for name, target in facts.production.items() if name not in pruned}
    return WaveTargets(new, {**kept, **{target.name: target for target in new}}, pruned)


def without_static_delta(targets: Iterable[Target]) -> tuple[str, ...]:
    """New targets that devices would download whole, which deserves a warning (fioctl)."""
    return tuple(target.name for target in targets if not target.has_static_delta)


def _chosen(request: WaveRequest, ci_targets: tuple[Target, ...]) -> list[Target]:
    if not ci_targets:
        raise NoSuchTargets(number=request.number)
    chosen = [t for t in ci_targets if request.source_tag is None or request.source_tag in t.tags]
    if not chosen:
        found = ", ".join(sorted({tag for target in ci_targets for tag in target.tags})) or "none"
        raise NoTargetsWithSourceTag(number=request.number, source_tag=str(request.source_tag), found=found)
    return chosen


def _check_number(request: WaveRequest, facts: WaveFacts) -> None:
    in_production = {target.number for target in facts.production.values()} | {facts.tag.number}
    if request.number in in_production:
        raise NumberInProduction(number=request.number, tag=request.tag)
    highest = max(in_production)
    if request.number < highest:
        raise NumberTooLow(number=request.number, tag=request.tag, highest=highest)


def _check_hardware(number: int, new: tuple[Target, ...]) -> None:
    by_hardware: dict[str, list[str]] = {}
    for target in new:
        by_hardware.setdefault(target.hardware_id, []).append(target.name)
    for hardware_id, names in sorted(by_hardware.items()):
        if len(names) > 1:
            raise SeveralTargetsForHardware(number=number, hardware_id=hardware_id, targets=", ".join(names))


def _pruned(request: WaveRequest, facts: WaveFacts) -> tuple[str, ...]:
    if request.number in request.prune:
        raise PrunesItself(number=request.number)
    found = sorted({target.number for target in facts.production.values()})
    missing = [number for number in request.prune if number not in found]
    if missing:
        raise PrunedNumberNotInProduction(
            tag=request.tag,
            numbers=", ".join(map(str, missing)),
            found=", ".join(map(str, found)) or "none",
        )
    return tuple(sorted(name for name, target in facts.production.items() if target.number in request.prune))
