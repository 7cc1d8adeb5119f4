"""Children that SIGKILL ends right before one of their writes."""

from __future__ import annotations

import io
import os
import signal
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn

CALLS = ("fsync", "link", "replace", "rename", "unlink", "rmdir", "mkdir")


def killed_at(at: int, action: Callable[[], object], meanwhile: Callable[[], object] | None = None) -> bool:
    """Run an action in a child that SIGKILL ends right before one of its writes; False when it got through.

    Counted are the system calls that change what is on the disk, and the opening of files to write. `meanwhile` is
    what the parent does before it waits.
    """
    with tempfile.TemporaryDirectory() as scratch:  # what a killed child leaves goes with it
        child = os.fork()
        if child == 0:
            tempfile.tempdir = scratch
            _count(at)
            try:
                action()
            except BaseException:  # noqa: BLE001  the parent sees the code
                _leave(1)
            _leave(0)
        if meanwhile:
            meanwhile()
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
    return os.waitstatus_to_exitcode(status) != 0


def _count(at: int) -> None:
    calls = 0

    def tick() -> None:
        nonlocal calls
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1

    def counted(function: Callable[..., object], *, always: bool = True) -> Callable[..., object]:
        def call(*args: Any, **kwargs: Any) -> object:
            if always or (len(args) > 1 and "w" in args[1]):
                tick()
            return function(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    io.open = counted(io.open, always=False)  # type: ignore[assignment]


def _leave(code: int) -> NoReturn:
    os._exit(code)
