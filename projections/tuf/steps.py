"""What a repository has to show between its last publication and the next: one step for a root that was not shown.

Rules of this module (DESIGN §4, "Rotation and re-signing"; ADR 0029):

* A document that is signed anew for a root is signed by the keys of that root and of the one before it. So clients are
  led from root to root, and never over two at once: each root is shown with the documents of the moment when it was
  recorded, and what was signed under the newest root alone comes after it.
* Roots between which no document changed are one step: what is right under the first of them is right under the last.
* A view that nobody saw and that is over, like that of a wave that was canceled meanwhile, is in no step.
* The past is folded in memory, from the events of roots, of keys and of the tags that are asked for. Nothing is folded
  where the next publication is such a step itself: one root was recorded, and nothing after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from ledger.store import events
from ledger.store.bulk import query
from projections import at
from projections.releases import Releases
from projections.tuf import state
from projections.tuf.moment import Trust

PRODUCTION = "production"

# CI's documents are signed when they are published, by all keys at hand: its roots need no steps.
_ABOUT = ("root", "online-key", "wave", "tag", "targets")
_WITH_ROOT = ("online-key.set/1", "root.update-closed/1", "roots.taken-in/1")  # what may follow a root at once
_MOST_WITH_ROOT = 5  # an online key for each of three roles, and two more


class Step(NamedTuple):
    """What a repository is to show next: the root and the online keys to sign with, and the views."""

    trust: Trust
    views: list[state.View]


def pending(connection: Connection, given_out: Mapping[str, state.GivenOut]) -> dict[str, list[Step]]:
    """The steps of those repositories that need any, oldest first; what they are to show now is none of them."""
    shown = _shown_roots(given_out)
    recorded = _recorded_roots(connection, min(shown.values(), default=0)) if shown else []
    if not recorded or (len(recorded) == 1 and not _anything_since(connection, recorded[0][1])):
        return {}
    now = state.views_of(connection, list(shown))
    published = state.published_of(connection, list(shown))
    seen = {
        name: {view.view for view in now.get(name, ())}
        | {view for view, last in published.get(name, {}).items() if not last.closed}
        for name in shown
    }
    found: dict[str, list[Step]] = {name: [] for name in shown}
    for version, trust, views in _moments(connection, recorded, list(shown)):
        for name in shown:
            there = [view for view in views.get(name, ()) if view.view in seen[name]]
            if version > shown[name] and there:
                found[name].append(Step(trust, there))
    return {name: steps for name in shown if (steps := _needed(found[name], now.get(name, [])))}


def _shown_roots(given_out: Mapping[str, state.GivenOut]) -> dict[str, int]:
    """The root that clients of each repository have; a repository that has no clients has none."""
    of_production = {name: before for name, before in given_out.items() if name.startswith(f"{PRODUCTION}/")}
    return {name: before.root_version for name, before in of_production.items() if before.root_version}


def _recorded_roots(connection: Connection, after: int) -> list[tuple[int, int]]:
    """Version and position of the roots above one, oldest first."""
    statement = (
        "SELECT version, position FROM release_root WHERE repository = 'production' AND version > ? ORDER BY version"
    )
    return [(version, position) for version, position in query(connection, statement, (after,)).fetchall()]


def _topics() -> list[str]:
    return [topic for topic in Releases().topics if topic.partition(".")[0] in _ABOUT]


def _anything_since(connection: Connection, position: int) -> bool:
    """Whether a view may have changed after a root was recorded."""
    return next(events.read(connection, after=_end(connection, position), topics=_topics(), limit=1), None) is not None


def _end(connection: Connection, position: int) -> int:
    """The last position of what was recorded together with a root."""
    for row in events.read(connection, after=position, limit=_MOST_WITH_ROOT):
        if row.topic not in _WITH_ROOT:
            break
        position = row.position
    return position


def _moments(
    connection: Connection, recorded: Sequence[tuple[int, int]], names: Sequence[str]
) -> Iterator[tuple[int, Trust, dict[str, list[state.View]]]]:
    """Each root, with the trust and the views as they were when it was recorded."""
    fold, done, streams = Releases(), 0, _streams(connection, names)
    with at.memory() as past:
        for version, position in recorded:
            until = _end(connection, position)
            rows = events.read(connection, topics=_topics(), after=done, until=until)
            fold.fold(past, (row for row in rows if row.stream in streams))
            done = until
            yield version, Trust.read(past, PRODUCTION), state.views_of(past, names)


def _streams(connection: Connection, names: Sequence[str]) -> set[str]:
    """The streams that the views of repositories come from."""
    tags = {name.partition("/")[2] for name in names}
    waves = query(connection, "SELECT wave, tag FROM release_wave").fetchall()
    return {"trust", *(f"tag:{tag}" for tag in tags), *(f"wave:{wave}" for wave, tag in waves if tag in tags)}


def _needed(steps: Sequence[Step], now: list[state.View]) -> list[Step]:
    """The last of each run of steps that show the same, without those that show what is to be shown now."""
    following = [*(step.views for step in steps[1:]), now]
    return [step for step, after in zip(steps, following, strict=True) if step.views != after]
