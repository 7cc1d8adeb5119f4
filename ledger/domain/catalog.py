"""CI targets: what CI built, as it was imported.

Rules of this module (DESIGN §2, "CI targets"):

* Import adds. A known name with another hash or length is refused; with other custom fields it replaces; absence
  removes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.errors import Refused
from ledger.domain.events import BATCH, CiTargetsImported
from ledger.domain.values import JsonObject, Target


class TargetContentChanged(Refused):
    """A target's name stands for its content."""

    message = "CI target {target} is known with another {field}: {known}, now {given}"
    hint = "a target's name stands for one content; give the new build a name of its own. Nothing was imported"
    target: str
    field: str
    known: str
    given: str


@dataclass(frozen=True, slots=True)
class Import:
    """What an import comes to: its events, and the names by what happened to them."""

    events: tuple[CiTargetsImported, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]


def import_targets(known: Mapping[str, JsonObject], targets: Sequence[Target], source: str) -> Import:
    """Compare what CI built with what is known. `known` maps names to TUF targets. Raises: TargetContentChanged."""
    added: list[str] = []
    changed: list[str] = []
    same: list[str] = []
    for target in targets:
        before = known.get(target.name)
        if before is None:
            added.append(target.name)
            continue
        for field in ("hashes", "length"):
            if before[field] != target.body[field]:
                raise TargetContentChanged(
                    target=target.name, field=field, known=str(before[field]), given=str(target.body[field])
                )
        (same if _same(before, target.body) else changed).append(target.name)
    moved = {*added, *changed}
    news = [(target.name, target.body) for target in targets if target.name in moved]
    events = tuple(CiTargetsImported(source, dict(news[start : start + BATCH])) for start in range(0, len(news), BATCH))
    return Import(events, tuple(added), tuple(changed), tuple(same))


def _same(before: JsonObject, after: JsonObject) -> bool:
    # To Python True == 1, to whoever reads the JSON it is not.
    return before == after and json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
