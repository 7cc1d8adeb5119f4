"""Turns: those who write to one SQLite file wait for each other in the kernel, which wakes the next one at once.

Rules of this module:

* It only puts writers into a queue. What keeps them apart is SQLite's own lock, as for programs that don't come here.
* Left to itself SQLite sleeps, for up to 100 ms, and asks again. A writer that is done wakes nobody, and wins its next
  turn against all who sleep (ADR 35).
* The lock is on an empty file beside the store, never on the store: to close that would drop SQLite's own locks ("How
  To Corrupt An SQLite Database File", 2.2). Where it can't be had there is no queue, and writers ask as before.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = "-turn"


@contextmanager
def turn(store: str, seconds: float) -> Iterator[bool]:
    """Wait for one's turn to write to the store at a path, so many seconds at most; whether it came."""
    try:
        mode = Path(store).stat().st_mode & 0o666
        descriptor = os.open(f"{store}{SUFFIX}", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, mode)
    except OSError:
        yield True
        return
    waiting = _Waiting(descriptor)
    try:
        yield waiting.wait(seconds)
    finally:
        waiting.end()


class _Waiting:
    """A wait for a lock that may be given up, which flock(2) has no way for: somebody else waits in our stead."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._done = threading.Event()
        self._given_up = False
        self._guard = threading.Lock()

    def wait(self, seconds: float) -> bool:
        """Whether the lock came in time."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Thread(target=self._take, daemon=True).start()
            return self._done.wait(seconds)
        except OSError:
            pass  # a file system without such locks
        self._done.set()
        return True

    def _take(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is for the thread that waits
        with suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._guard:
            self._done.set()
            if self._given_up:
                os.close(self._descriptor)

    def end(self) -> None:
        """Give the lock back, or the waiting up."""
        with self._guard:
            self._given_up = not self._done.is_set()
            if not self._given_up:
                with suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # also for a child that got it by a fork
                os.close(self._descriptor)
