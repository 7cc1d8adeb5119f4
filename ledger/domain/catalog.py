"""CI targets: what CI built, as it was imported.

Rules of this module (DESIGN §2, "CI targets"):

* Import adds. A known name with another hash or length is refused; with other custom fields it replaces; absence
  removes nothing.
* A name stands for one content for ever. A pruned target may come back, as an addition, but only as what it was.
* Prune removes by name, or by tags as fioctl does: targets whose tags are exactly those named, since one with another
  tag as well is still somebody's. The newest `keep` numbers of them stay, with all their hardware variants. Names are
  all known or nothing is pruned; that nothing is left to prune is no error, so that a cron job may ask every night.
* Pruning touches no wave and no production target: their documents hold what they promised.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.errors import NotFound, Refused
from ledger.domain.events import BATCH, CiTargetsImported, CiTargetsPruned
from ledger.domain.values import JsonObject, Target


class TargetContentChanged(Refused):
    """A target's name stands for its content."""

    message = "CI target {target} is known with another {field}: {known}, now {given}"
    hint = "a target's name stands for one content; give the new build a name of its own. Nothing was imported"
    target: str
    field: str
    known: str
    given: str


class UnknownCiTargets(NotFound):
    """Names that no CI target has now."""

    message = "there are no CI targets named: {names}"
    hint = "waveledger targets list shows them. Nothing was pruned"
    names: str


class UnknownCiTag(NotFound):
    """A tag that no CI target ever had."""

    message = "no CI target ever had the tag {tag!r}"
    hint = "waveledger targets list shows the tags of each target. Nothing was pruned"
    tag: str


@dataclass(frozen=True, slots=True)
class Import:
    """What an import comes to: its events, and the names by what happened to them."""

    events: tuple[CiTargetsImported, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prune:
    """What a prune comes to: its events, the names that go, and those that stay for the sake of their other tags."""

    events: tuple[CiTargetsPruned, ...]
    pruned: tuple[str, ...]
    shared: tuple[str, ...]


def import_targets(
    known: Mapping[str, JsonObject],
    targets: Sequence[Target],
    source: str,
    pruned: Mapping[str, JsonObject] | None = None,
) -> Import:
    """Compare what CI built with what is known. `known` and `pruned` map names to TUF targets.

    Raises: TargetContentChanged.
    """
    added: list[str] = []
    changed: list[str] = []
    same: list[str] = []
    for target in targets:
        before = known.get(target.name)
        _require_same_content(target, before or (pruned or {}).get(target.name))
        if before is None:
            added.append(target.name)
        else:
            (same if _same(before, target.body) else changed).append(target.name)
    moved = {*added, *changed}
    news = [(target.name, target.body) for target in targets if target.name in moved]
    events = tuple(CiTargetsImported(source, dict(news[start : start + BATCH])) for start in range(0, len(news), BATCH))
    return Import(events, tuple(added), tuple(changed), tuple(same))


def prune_named(known: Collection[str], names: Iterable[str]) -> Prune:
    """Prune exactly these; duplicates collapse. Raises: UnknownCiTargets."""
    asked = tuple(dict.fromkeys(names))
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UnknownCiTargets(names=", ".join(unknown))
    return _prune(sorted(asked), ())


def prune_tagged(tagged: Sequence[Target], tags: Collection[str], keep: int = 0) -> Prune:
    """Prune those that have these tags and no other, but for the newest `keep` numbers.

    Args:
        tagged: All targets that have one of the tags at least.
        tags: The tags.
        keep: How many target numbers stay, 0 for none.
    """
    exactly = [target for target in tagged if set(target.tags) == set(tags)]
    kept = sorted({target.number for target in exactly}, reverse=True)[:keep]
    shared = [target.name for target in tagged if set(target.tags) > set(tags)]
    return _prune(sorted(target.name for target in exactly if target.number not in kept), sorted(shared))


def _prune(names: Sequence[str], shared: Sequence[str]) -> Prune:
    events = (CiTargetsPruned(tuple(names[start : start + BATCH])) for start in range(0, len(names), BATCH))
    return Prune(tuple(events), tuple(names), tuple(shared))


def _require_same_content(target: Target, before: JsonObject | None) -> None:
    if before is None:
        return
    for field in ("hashes", "length"):
        if before[field] != target.body[field]:
            raise TargetContentChanged(
                target=target.name, field=field, known=str(before[field]), given=str(target.body[field])
            )


def _same(before: JsonObject, after: JsonObject) -> bool:
    # To Python True == 1, to whoever reads the JSON it is not.
    return before == after and json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
