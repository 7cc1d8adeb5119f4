"""Python's garbage collector, switched off where millions of rows go by."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No walks over what holds no cycles: they took 9 of a replay's 12 seconds (DESIGN §5)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
