"""Commands of the program in processes that can be killed at a moment, or right before one of their writes.

Python and the modules are loaded once, then each command is forked: so a round of two costs a tenth of a second, and
hundreds of them are affordable. What a command runs is its own `main`, with its own arguments, environment and streams.

A traced child is stopped by the kernel (ptrace) at each system call that changes a file or sends to a server, before it
takes effect; also those that SQLite and libpq make, which Python sees nothing of. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

# What writes, by its number: to files (also their names and lengths), and to a server.
WRITES: Mapping[str, Mapping[int, str]] = {
    "x86_64": {
        1: "write", 18: "pwrite64", 20: "writev", 44: "sendto", 46: "sendmsg", 74: "fsync", 75: "fdatasync",
        77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir", 86: "link", 87: "unlink", 258: "mkdirat",
        263: "unlinkat", 264: "renameat", 265: "linkat", 316: "renameat2",
    },
    "aarch64": {
        64: "write", 66: "writev", 68: "pwrite64", 206: "sendto", 211: "sendmsg", 82: "fsync", 83: "fdatasync",
        46: "ftruncate", 34: "mkdirat", 35: "unlinkat", 37: "linkat", 38: "renameat", 276: "renameat2",
    },
}  # fmt: skip

# <sys/ptrace.h>
TRACE_ME, POKE_USER, SET_OPTIONS, SYSCALL, GET_SYSCALL_INFO = 0, 6, 0x4200, 24, 0x420E
TRACE_SYSCALL_GOOD, KILL_WITH_TRACER = 1, 0x100000
INFO_BYTES, ENTRY = 128, 1
RAX, ORIG_RAX = 10 * 8, 15 * 8  # of x86_64's registers: what a call returns, and its number


@dataclass(frozen=True)
class Child:
    """A process that runs one command; where its streams go; and the gate that lets it begin."""

    pid: int
    out: Path
    err: Path
    gate: int

    def begin(self) -> None:
        """Open the gate. With a byte: its closing would not be seen, for children forked later have it open, too."""
        os.write(self.gate, b"!")
        os.close(self.gate)

    def kill(self) -> None:
        """The end, without a chance to do anything about it."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code, or the signal that ended it, negative."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def start(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], place: Path, prepare: Callable[[], object] = int
) -> Child:
    """Fork a child that waits at its gate. `prepare` is what it does then, before the command."""
    out, err = place.with_suffix(".out"), place.with_suffix(".err")
    gate, start_ = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(start_)
        _run(command, cwd, environment, (out, err), gate, prepare)
    os.close(gate)
    return Child(child, out, err, start_)


def trace_me() -> None:
    """What a child does that is to be traced: it stops, and its parent finds it stopped."""
    _ptrace(TRACE_ME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


class Traced:
    """The parent's side of a traced child, from its gate to a write, or to its end."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.writes = 0  # that it got through
        self.code: int | None = None
        self._to_stream = False
        child.begin()
        _, status = os.waitpid(child.pid, 0)
        if not os.WIFSTOPPED(status):
            raise RuntimeError("the child did not stop to be traced")
        _ptrace(SET_OPTIONS, child.pid, 0, TRACE_SYSCALL_GOOD | KILL_WITH_TRACER)

    def run_to(self, write: int) -> bool:
        """Let it run up to a write, numbered from 0, which it has not made then; False when it ended before it."""
        while self._to_next_call() is not None:
            if self.writes == write:
                return True
            self.writes += 1
        return False

    def fail_from(self, write: int, errno: int) -> int:
        """Let it run to its end, each write from that one on failing with an error; its exit code. x86_64 only.

        What it has to say on stdout and stderr gets through.
        """
        stopped = self.run_to(write)
        while stopped:
            if not self._to_stream:
                self._fail(errno)
            stopped = self._to_next_call() is not None
        assert self.code is not None
        return self.code

    def kill(self) -> int:
        """Kill it where it stands."""
        self.child.kill()
        self.code = self.child.wait()
        return self.code

    def _fail(self, errno: int) -> None:
        """Have the call that it is about to make fail."""
        _ptrace(POKE_USER, self.child.pid, ORIG_RAX, -1)
        self._step()
        _ptrace(POKE_USER, self.child.pid, RAX, -errno)

    def _to_next_call(self) -> str | None:
        """Run to the entry of the next call that writes, and name it; None at its end."""
        calls = WRITES[platform.machine()]
        info = ctypes.create_string_buffer(INFO_BYTES)
        while self._step():
            _ptrace(GET_SYSCALL_INFO, self.child.pid, INFO_BYTES, ctypes.addressof(info))
            number, first = struct.unpack_from("QQ", info.raw, 24)
            if info.raw[0] == ENTRY and number in calls:
                self._to_stream = calls[number] in {"write", "writev"} and first in {1, 2}
                return calls[number]
        return None

    def _step(self) -> bool:
        """Run to the next entry or exit of a system call; False at its end. Signals are passed on."""
        passed = 0
        while True:
            _ptrace(SYSCALL, self.child.pid, 0, passed)
            _, status = os.waitpid(self.child.pid, 0)
            if not os.WIFSTOPPED(status):
                self.code = os.waitstatus_to_exitcode(status)
                return False
            if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
                return True
            passed = os.WSTOPSIG(status)


def _run(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    streams: tuple[Path, Path],
    gate: int,
    prepare: Callable[[], object],
) -> NoReturn:
    """What a child does, to its end: it must never return into the parent's code."""
    code = 1
    try:
        for stream, path in enumerate(streams, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = str(cwd)  # what a killed command leaves goes with it
        sys.argv = ["waveledger", *command]
        from cli.main import main

        os.read(gate, 1)
        prepare()
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, pid, address & (2**64 - 1), data & (2**64 - 1)) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request}: {os.strerror(ctypes.get_errno())}")
