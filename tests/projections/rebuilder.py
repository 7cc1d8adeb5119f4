"""A child process that rebuilds a projection and is killed in the middle: ``rebuilder.py URL NAME CHUNKS``."""

from __future__ import annotations

import os
import signal
import sys

from ledger.store.engine import open_engine
from projections import runner

url, name, chunks = sys.argv[1], sys.argv[2], int(sys.argv[3])
done = 0


def progress(position: int, head: int) -> None:
    """Count chunks. The last call is inside the transaction that swaps."""
    global done  # noqa: PLW0603
    done += 1
    if done == chunks or (chunks == 0 and position == head):
        os.kill(os.getpid(), signal.SIGKILL)


runner.CHUNK = 5
runner.rebuild(open_engine(url), name, progress)
