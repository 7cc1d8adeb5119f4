"""A wave's commands after many earlier waves on its tag, against the same commands for a tag's first wave."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from factory import Made, Wave, hurrying, init_wave, new_ledger, roll_out_wave, run_wave
from measure import Entry, Sizes, Timed, interleaved, say

from ledger.application import waves
from projections.facts import Facts

TAG = "release"
BAR = 1.3
COMMANDS = ("init", "complete", "cancel")


@dataclass
class Late:
    """A tag with many waves behind it. Each new one prunes the last, so production stays as large as it was."""

    made: Made
    number: int = 0
    production: tuple[int, ...] = ()

    def next(self) -> Wave:
        """The next wave."""
        self.number += 1
        return Wave(f"late-{self.number}", self.number, TAG, self.production)

    def completed(self, wave: Wave) -> None:
        """What the next one prunes."""
        self.production = (wave.number,)


@dataclass
class First:
    """Tags that never had a wave, a new one each time."""

    made: Made
    used: int = 0

    def next(self) -> Wave:
        """The first wave of the next tag."""
        self.used += 1
        # A number of its own: targets that no other wave brought, as in the late waves.
        return Wave(f"first-{self.used}", self.used, f"tag-{self.used}")

    def completed(self, wave: Wave) -> None:
        """The tag is not used again."""


def measure(directory: Path, sizes: Sizes) -> Sequence[Entry]:
    """Init, complete and cancel; every wave is rolled out to a few devices before it ends."""
    needed = len(COMMANDS) * (sizes.rounds + 1)
    tags = [f"tag-{number}" for number in range(1, needed + 1)]
    numbers, hardware = sizes.waves + needed, sizes.production
    size = {"earlier_waves": sizes.waves, "production_targets": hardware, "ci_targets": numbers * hardware}
    with ExitStack() as stack:
        # Both have the same catalog and as many devices: only the waves differ.
        made = [
            stack.enter_context(
                new_ledger(directory / name, [TAG, *tags], numbers=numbers, hardware=hardware, seed=sizes.seed)
            )
            for name in ("first.db", "late.db")
        ]
        first, late = First(made[0]), Late(made[1])
        say(f"waves: {sizes.waves} earlier ones ...")
        with hurrying(late.made.ledger.engine):
            for _ in range(sizes.waves):
                wave = late.next()
                run_wave(late.made, wave)
                late.completed(wave)
        return [_entry(command, first, late, sizes.rounds, size) for command in COMMANDS]


def _entry(command: str, first: First, late: Late, rounds: int, size: dict[str, int]) -> Entry:
    timed = _COMMANDS[command]
    seconds = interleaved(rounds, {"late": timed(late), "first": timed(first)})
    note = f"`waves {command}` after {size['earlier_waves']} waves on the tag against the tag's first wave"
    return Entry(f"wave_{command}", seconds["late"], seconds["first"], "time", BAR, size, note)


def _init(tag: First | Late) -> Timed:
    def run() -> float:
        wave = tag.next()
        start = time.perf_counter()
        init_wave(tag.made, wave)
        taken = time.perf_counter() - start
        waves.cancel(tag.made.ledger, Facts(), wave.name, None)
        return taken

    return run


def _complete(tag: First | Late) -> Timed:
    def run() -> float:
        wave = tag.next()
        init_wave(tag.made, wave)
        roll_out_wave(tag.made, wave)
        start = time.perf_counter()
        waves.complete(tag.made.ledger, Facts(), wave.name)
        taken = time.perf_counter() - start
        tag.completed(wave)
        return taken

    return run


def _cancel(tag: First | Late) -> Timed:
    def run() -> float:
        wave = tag.next()
        init_wave(tag.made, wave)
        roll_out_wave(tag.made, wave)
        start = time.perf_counter()
        waves.cancel(tag.made.ledger, Facts(), wave.name, None)
        return time.perf_counter() - start

    return run


_COMMANDS: dict[str, Callable[[First | Late], Timed]] = {"init": _init, "complete": _complete, "cancel": _cancel}
