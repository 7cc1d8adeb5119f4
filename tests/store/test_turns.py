"""The queue of those who write to one SQLite file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ledger.store import turns
from ledger.store.engine import open_engine, writing
from ledger.store.errors import StoreBusy
from ledger.store.turns import SUFFIX, turn
from tests.stores import about_files

pytestmark = about_files


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A file to write to."""
    path = tmp_path / "ledger.db"
    path.touch(0o640)
    return str(path)


def free(store: str) -> bool:
    """Whether nobody has the turn, and nobody waits for it."""
    with turn(store, 0.0) as came:
        return came


def test_the_next_one_is_woken(store: str) -> None:
    """Each of several waits until the one before it is done, and not a moment longer than that."""
    inside: list[int] = []
    most: list[int] = []

    def write(number: int) -> None:
        for _ in range(50):
            with turn(store, 10) as came:
                assert came
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1] * 200


def test_who_gives_up_takes_nothing(store: str) -> None:
    """Nor when the lock would be theirs later: the next one finds it free."""
    with turn(store, 10) as first:
        with turn(store, 0.01) as second, turn(store, 0.01) as third:
            assert (first, second, third) == (True, False, False)
        assert not free(store)
    deadline = time.monotonic() + 10
    while not free(store):  # those who waited in their stead let go of it in a moment
        assert time.monotonic() < deadline


def test_an_exception_gives_the_turn_back(store: str) -> None:
    """As every other end does."""
    with pytest.raises(RuntimeError), turn(store, 10):
        raise RuntimeError

    assert free(store)


def test_a_child_that_was_forked_meanwhile_does_not_keep_it(store: str) -> None:
    """It inherits the open file; the lock ends all the same."""
    with turn(store, 10):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        assert free(store)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_killed_writer_leaves_it_free(store: str) -> None:
    """The kernel gives it back."""
    hold = f"from ledger.store.turns import turn\nwith turn({store!r}, 10) as came: print(came, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not free(store)
        holder.kill()

    assert free(store)


def test_where_there_can_be_no_queue(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then SQLite's own lock has to do: where there is no such file, and where a file system has no such locks."""
    with turn(str(tmp_path / "nowhere" / "ledger.db"), 0.0) as came:
        assert came

    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(turns.fcntl, "flock", none)
    with turn(store, 0.0) as first, turn(store, 0.0) as second:
        assert (first, second) == (True, True)


def test_the_lock_is_beside_the_store(store: str) -> None:
    """Readable for whom the store is: that is enough to wait there. It stays."""
    with turn(store, 0.0):
        pass

    assert Path(store + SUFFIX).stat().st_mode & 0o777 == 0o640
    assert Path(store + SUFFIX).read_bytes() == b""


def test_a_write_waits_for_its_turn(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says that the store is busy when it does not come; without any other sign of a lock."""
    monkeypatch.setattr("ledger.store.engine.BUSY_TIMEOUT_SECONDS", 0.05)
    engine = open_engine(f"sqlite:///{store}")
    with turn(store, 0.0), pytest.raises(StoreBusy), writing(engine):
        pytest.fail("it did not wait")
    with writing(engine):
        assert not free(store)
    engine.dispose()
