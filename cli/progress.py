"""A progress bar on stderr for work over about a second, when stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

_PATIENCE = 1.0  # seconds before anything is shown
_EVERY = 0.1  # seconds between two redraws
_WIDTH = 30


@contextmanager
def counter(what: str) -> Iterator[Callable[[int], None]]:
    """Counts up: ``123,456 devices``."""
    with _line() as draw:
        yield lambda done: draw(f"{done:,} {what}")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar from 0 to the total."""
    with steps() as progress:
        yield lambda done, total: progress(what, done, total)


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each of several steps, one after the other in the same line."""
    with _line() as draw:

        def progress(what: str, done: int, total: int) -> None:
            filled = _WIDTH * done // total if total else _WIDTH
            draw(f"{what} [{'#' * filled}{'.' * (_WIDTH - filled)}] {done:,} of {total:,}")

        yield progress


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    started = monotonic()
    shown = {"at": 0.0, "width": 0}

    def draw(text: str) -> None:
        now = monotonic()
        if not sys.stderr.isatty() or now - started < _PATIENCE or now - shown["at"] < _EVERY:
            return
        shown.update(at=now, width=len(text))
        sys.stderr.write(f"\r{text}")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        if shown["width"]:
            sys.stderr.write("\r" + " " * int(shown["width"]) + "\r")
            sys.stderr.flush()
