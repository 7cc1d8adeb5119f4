"""Production targets that a ledger begins with: to which tag each belongs, and what brought it.

Rules of this module:

* A target belongs to the production line of each tag that it has, and has one at least.
* A tag's targets are in one file: two would be two answers to what its devices get now.
* One target for each hardware id and number, as in a wave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ledger.domain.errors import Refused
from ledger.domain.values import NAME_LIMIT, Target


class TargetWithoutTag(Refused):
    """A production target that belongs to no production line."""

    message = "{file}: target {target!r} has no tag, so no device would be offered it"
    hint = "say in custom.tags which devices follow it, sign the file again, and start from that"
    file: str
    target: str


class TagInTwoFiles(Refused):
    """Which of the two is the tag's production can't be known."""

    message = "tag {tag} has production targets in {first} and in {second}"
    hint = "give each tag's targets in one file: the one that its devices get now"
    tag: str
    first: str
    second: str


class HardwareTwice(Refused):
    """A device would not know which one is meant."""

    message = "tag {tag} has several targets with number {number} for hardware id {hardware_id}: {targets}"
    hint = "keep one of them in the production targets, sign the file again, and start from that"
    tag: str
    number: int
    hardware_id: str
    targets: str


def by_tag(files: Sequence[tuple[str, Sequence[Target]]]) -> dict[str, list[Target]]:
    """Each tag's production targets, tagged with that one alone, as a wave's are.

    Args:
        files: The name of each file, and its targets.

    Raises:
        TargetWithoutTag, TagInTwoFiles, HardwareTwice: They don't say which device gets which.
    """
    found: dict[str, list[Target]] = {}
    origin: dict[str, int] = {}
    for place, (file, targets) in enumerate(files):
        for target in targets:
            if not target.tags:
                raise TargetWithoutTag(file=file, target=target.name)
            for tag in dict.fromkeys(target.tags):
                if origin.setdefault(tag, place) != place:
                    raise TagInTwoFiles(tag=tag, first=files[origin[tag]][0], second=file)
                found.setdefault(tag, []).append(target.retagged(tag))
    for tag, of_tag in found.items():
        _check_hardware(tag, of_tag)
    return found


def _check_hardware(tag: str, targets: Sequence[Target]) -> None:
    seen: dict[tuple[int, str], str] = {}
    for target in targets:
        first = seen.setdefault((target.number, target.hardware_id), target.name)
        if first != target.name:
            raise HardwareTwice(
                tag=tag, number=target.number, hardware_id=target.hardware_id, targets=f"{first}, {target.name}"
            )


def wave_name(tag: str) -> str:
    """What the wave that brings a tag's first production targets is called: ``adopted-<tag>``, cut where too long."""
    name = f"adopted-{tag}"
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 9]}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"
