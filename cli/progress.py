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
    with _line() as draw:
        yield lambda done, total: draw(_bar(what, done, total))


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """One bar after the other, each with a name of its own."""
    with _line() as draw:
        yield lambda what, done, total: draw(_bar(what, done, total))


def _bar(what: str, done: int, total: int) -> str:
    filled = _WIDTH * done // total if total else _WIDTH
    return f"{what} [{'#' * filled}{'.' * (_WIDTH - filled)}] {done:,} of {total:,}"


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    started = monotonic()
    shown = {"at": 0.0, "width": 0}

    def draw(text: str) -> None:
        now = monotonic()
        if not sys.stderr.isatty() or now - started < _PATIENCE or now - shown["at"] < _EVERY:
            return
        sys.stderr.write(f"\r{text:<{int(shown['width'])}}")  # the stage before may have had a longer one
        shown.update(at=now, width=max(len(text), int(shown["width"])))
        sys.stderr.flush()

    try:
        yield draw
    finally:
        if shown["width"]:
            sys.stderr.write("\r" + " " * int(shown["width"]) + "\r")
            sys.stderr.flush()
