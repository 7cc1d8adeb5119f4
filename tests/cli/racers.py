"""Run commands of the program at once, each in a process of its own.

Usage: racers.py '[["waves", "init", ...], ...]'

Python and the modules are loaded once; then one process for each command is forked, and all of them wait at a pipe for
the start. So they race for the ledger, not for the processor. Prints a list of [exit code, stdout, stderr].
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import cli.commands.waves
import cli.signing
import ledger.application.waves
import ledger.tuf.keys
import projections.facts
import projections.runner
import projections.tuf.emitter
from cli.main import main

LOADED = (cli, ledger, projections)


def run(command: list[str], gate: int, out: Path, err: Path) -> None:
    """What a child does, to its end: nothing of the parent's is cleaned up by a child."""
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), stream)
    sys.argv = ["waveledger", *command]
    os.read(gate, 1)  # ends when the parent closes the other end
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 -- a forked child must never return into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def race(commands: list[list[str]], place: Path) -> list[tuple[int, str, str]]:
    """Start, wait, collect."""
    gate, start = os.pipe()
    racers = []
    for number, command in enumerate(commands):
        out, err = place / f"{number}.out", place / f"{number}.err"
        child = os.fork()
        if child == 0:
            os.close(start)
            run(command, gate, out, err)
        racers.append((child, out, err))
    os.close(start)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, _, _ in racers]
    return [(code, out.read_text(), err.read_text()) for code, (_, out, err) in zip(codes, racers, strict=True)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        results = race(json.loads(sys.argv[1]), Path(directory))
        print(json.dumps(results))  # noqa: T201
