"""Starting the program, as whole processes of the same interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from factory import Wave, new_ledger, run_wave
from measure import Entry, Sizes, Timed, interleaved

PROGRAM = (sys.executable, "-c", "from cli.main import main; main()")  # what the console script holds

ONE_COMMAND = """
import typer
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, select

app = typer.Typer()
wave = Table(
    "release_wave",
    MetaData(),
    Column("wave", Text, primary_key=True),
    Column("number", Integer),
    Column("tag", Text),
    Column("status", Text),
)


@app.command()
def show() -> None:
    with create_engine("sqlite:///FILE").connect() as connection:
        row = connection.execute(select(wave).order_by(wave.c.number).limit(1)).one()
    typer.echo("  ".join(map(str, row)))


app()
"""


def measure(directory: Path, sizes: Sizes) -> Sequence[Entry]:
    """`--help` against importing typer, and `waves list` against a small program that selects one row."""
    store = directory / "startup.db"
    with new_ledger(store, ["release"], numbers=3, hardware=2, seed=sizes.seed) as made:
        for number in (1, 2, 3):
            run_wave(made, Wave(f"v{number}", number, "release"))
    program = directory / "one_command.py"
    program.write_text(ONE_COMMAND.replace("FILE", str(store.absolute())))
    seconds = interleaved(
        sizes.starts,
        {
            "help": _process(PROGRAM, "--help", shows="Commands:"),
            "typer": _process((sys.executable, "-c", "import typer; print('typer')"), shows="typer"),
            "list": _process(PROGRAM, "--store", f"sqlite:///{store.absolute()}", "waves", "list", shows="v3"),
            "row": _process((sys.executable, str(program)), shows="v1"),
        },
    )
    size = {"waves": 3}
    return [
        Entry("help", seconds["help"], seconds["typer"], "time", 1.5, {},
              "`waveledger --help` against a process that imports typer"),
        Entry("waves_list", seconds["list"], seconds["row"], "time", 1.3, size,
              "`waveledger waves list` against a one-command Typer program that selects one row with SQLAlchemy"),
    ]  # fmt: skip


def _process(program: Sequence[str], *arguments: str, shows: str) -> Timed:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAVELEDGER_")}

    def run() -> float:
        start = time.perf_counter()
        done = subprocess.run([*program, *arguments], check=True, capture_output=True, text=True, env=environment)
        taken = time.perf_counter() - start
        if shows not in done.stdout:
            raise RuntimeError(f"{arguments} printed something else: {done.stdout}{done.stderr}")
        return taken

    return run
