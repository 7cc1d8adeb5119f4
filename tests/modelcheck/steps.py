"""What a random history is made of: steps of a name and a few integers, so that any part of a history is one too.

The integers choose among what is there when the step is carried out. A poll holds the steps that happen in the middle
of it, each before one of its HTTP requests.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """One thing that happens; `inside` is for polls: before which request, and what."""

    action: str
    numbers: tuple[int, int, int, int]
    inside: tuple[tuple[int, Step], ...] = ()


# How often each action is drawn. Those that need the clock to move are never drawn for the middle of a refresh.
WEIGHTS = {
    "build": 3, "retag_build": 1,
    "init": 14, "sign": 20,
    "rollout_group": 8, "rollout_limit": 8, "rollout_percent": 6, "rollout_uuids": 12, "rollout_held": 38,
    "complete": 6, "complete_held": 15, "cancel": 7, "cancel_installed": 30, "next_wave": 16,
    "report_offered": 24, "report_other": 4, "report_away": 18, "report_nothing": 2,
    "set_tag": 5, "set_group": 4, "no_group": 1, "make_test": 2, "make_production": 12, "rest": 38,
    "remove": 1, "come_back": 6,
    "publish": 5, "refresh": 5, "force": 1,
    "hours": 8, "days": 3, "week": 1, "outage": 3,
    "renew_root": 1, "rotate_root": 1, "rotate_targets": 2, "rotate_online": 3, "rotate_ci": 2,
    "add_targets_key": 1, "remove_targets_key": 1, "threshold": 1, "updates": 2, "resign": 4,
}  # fmt: skip
KEYS_ABOVE_ALL = {**WEIGHTS, "rotate_targets": 20, "rotate_online": 20, "updates": 10, "hours": 1, "days": 1, "week": 0}
OUTSIDE_ONLY = {"hours", "days", "week", "outage"}
POLLS_PER_ACTION = 1.3
BUSY = 0.5  # of polls
REQUESTS = 6  # how many requests a refresh may have, roughly


def draw(seed: int, length: int, weights: dict[str, int] | None = None) -> list[Step]:
    """A history of that many steps, the same for the same seed."""
    chance = random.Random(seed)
    table = weights or WEIGHTS
    inside = {name: weight for name, weight in table.items() if name not in OUTSIDE_ONLY}
    return [_step(chance, table, inside) for _ in range(length)]


def _numbers(chance: random.Random) -> tuple[int, int, int, int]:
    return chance.randrange(1000), chance.randrange(1000), chance.randrange(1000), chance.randrange(1000)


def _step(chance: random.Random, table: dict[str, int], inside: dict[str, int]) -> Step:
    if chance.random() * (1 + POLLS_PER_ACTION) < 1:
        return Step(*_draw(chance, table))
    happening: list[tuple[int, Step]] = []
    if chance.random() < BUSY:
        when = sorted(chance.randrange(REQUESTS) for _ in range(chance.choice((1, 2, 2, 3, 4))))
        happening = [(request, Step(*_draw(chance, inside))) for request in when]
    return Step("poll", _numbers(chance), tuple(happening))


def _draw(chance: random.Random, table: dict[str, int]) -> tuple[str, tuple[int, int, int, int]]:
    return chance.choices(list(table), list(table.values()))[0], _numbers(chance)


def without(steps: Sequence[Step], size: int) -> Iterator[list[Step]]:
    """Smaller histories: pieces of that size left out, the last ones first; at 0 steps in the middle of polls."""
    if size:
        for start in range(len(steps) - 1, -1, -size):
            yield [*steps[: max(0, start + 1 - size)], *steps[start + 1 :]]
        return
    for place, step in enumerate(steps):
        for which in range(len(step.inside)):
            smaller = step._replace(inside=(*step.inside[:which], *step.inside[which + 1 :]))
            yield [*steps[:place], smaller, *steps[place + 1 :]]


def without_kinds(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Smaller histories: but for the last step nothing in the middle of polls, no polls, none of any one action."""
    *early, last = steps
    if any(step.inside for step in early):
        yield [*(step._replace(inside=()) for step in early), last]
    for action in sorted({step.action for step in early}, key=lambda name: (name != "poll", name)):
        yield [*(step for step in early if step.action != action), last]
