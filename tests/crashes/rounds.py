"""Rounds of two writers at one ledger, at least one of which is killed; then the ledger is looked at, all of it.

Rules that must hold after every round, whoever was killed where:

* what was acknowledged (exit code 0) is there; of every other command there is all or nothing, in one piece;
* positions and versions of streams have no gaps, and the head is the Merkle root of the events that are there;
* projections are what a replay gives; SQLite finds no damage in its file;
* who was not killed ends as it would have ended anyway: well, refused (3, 4), or as the loser of a race (5);
* whose writes or whose server failed says so, with one error, one hint and exit code 7, and all of it is there or
  nothing; where all is there, it does not say that nothing was changed;
* now and then: what was published, finished by one more publication, is a tree that TUF clients take.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cli.commands.devices
import cli.commands.init
import cli.commands.members
import cli.commands.projections
import cli.commands.targets
import cli.commands.tuf
import cli.commands.waves
import cli.main
import cli.newledger
import cli.signing
import ledger.application.devices
import ledger.application.targets
import ledger.application.waves
import ledger.tuf.archive
import projections.facts
import projections.tuf.emitter
from ledger import merkle
from ledger.store import engine as store
from ledger.store import events
from ledger.store.events import Row
from projections import runner
from projections.tuf import verify
from projections.tuf.destination import Directory
from tests.crashes import processes
from tests.crashes.commands import DEVICES, GROUPS, HEADER, NUMBERS, TAGS, WAVE_KINDS, Command, Known, Writer
from tests.crashes.stores import ERROR, MOMENT, SERVER, STATEMENT, WRITE, Store
from tests.support import target

LOADED = (cli, ledger, projections)  # once, before the forks
ACTORS = ("alice", "bob")
ORDINARY, FAILED, BROKEN = {0, 3, 4, 5}, 7, {ERROR, SERVER}
TREE_EVERY = 10  # rounds


@dataclass
class Seen:
    """What rounds came to."""

    rounds: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)  # and failures, by mode
    killed: Counter[str] = field(default_factory=Counter)  # by kind of command
    writes: dict[str, int] = field(default_factory=dict)  # the most that a command of a kind made
    problems: list[str] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        """Both together."""
        self.rounds += other.rounds
        for mine, theirs in ((self.commands, other.commands), (self.ends, other.ends), (self.kills, other.kills)):
            mine.update(theirs)
        self.killed.update(other.killed)
        for kind, most in other.writes.items():
            self.writes[kind] = max(most, self.writes.get(kind, 0))
        self.problems += other.problems


@dataclass
class Run:
    """A command that a writer runs in a round."""

    actor: str
    command: Command
    code: int | None = None
    how: str = ""  # it was to be killed, if at all


class World:
    """A factory, its two writers, and what was seen of them."""

    def __init__(self, directory: Path, store_: Store, seed: int) -> None:
        self.directory, self.store = directory, store_
        self.random = random.Random(seed)
        self.writers = [Writer(directory, actor, str(seed)) for actor in ACTORS]
        self.seen = Seen()
        self.known = Known()
        self.size = 0
        self.usual: dict[str, float] = {}  # seconds that a kind of command takes
        directory.mkdir(parents=True)
        self._begin()

    def _begin(self) -> None:
        made = [target(n, hardware) for n in range(1, NUMBERS + 1) for hardware in ("arm64", "amd64")]
        targets = ", ".join(f'"{t.name}": {json.dumps(t.body)}' for t in made)
        (self.directory / "targets.json").write_text("{" + targets + "}", encoding="ascii")
        rows = [
            f"device-{n},,{('arm64', 'amd64')[n % 2]},{TAGS[n % 3 % 2]},{GROUPS[n % len(GROUPS)]},{n % 7 != 0}"
            for n in range(DEVICES)
        ]
        (self.directory / "devices.csv").write_text("\n".join([HEADER, *rows, ""]), encoding="ascii")
        two = ["--offline-key", "ed25519"] * 2
        self.store.prepare(self.directory)
        self.must("init", "--factory", "acme", *two, "--threshold", "3")
        self.must("members", "add", "bob", "--role", "admin")
        self.must("targets", "import", "targets.json")
        self.must("devices", "import", "devices.csv")
        self.look()

    def must(self, *arguments: str) -> None:
        """A command of alice's that ends well."""
        child = self._start("alice", arguments)
        child.begin()
        code = child.wait()
        if code:
            raise RuntimeError(f"{' '.join(arguments)} ended with {code}: {child.err.read_text()}")

    def _start(self, actor: str, arguments: tuple[str, ...], prepare: Callable[[], object] = int) -> processes.Child:
        environment = {
            "HOME": str(self.directory), "PATH": os.defpath, "COLUMNS": "200", "LC_ALL": "C.UTF-8",
            "WAVELEDGER_STORE": self.store.url(actor), "WAVELEDGER_ACTOR": actor, "WAVELEDGER_PUBLISH": "tree",
        }  # fmt: skip
        return processes.start(arguments, self.directory, environment, self.directory / actor, prepare)

    # A round.

    def round(self, mode: str, kind: str | None = None, at: int | None = None) -> bool:
        """Two commands, one killed for sure if it does not end before; whether it was.

        Args:
            mode: How: killed at a moment, at a statement, at a write; or not, and its writes fail from one on, or
                its server does.
            kind: The kind of command that the first writer carries out, and is killed in; any if not said.
            at: At which statement or write; any if not said.
        """
        runs = [Run(w.actor, w.draw(self.known, kind if n == 0 else None)) for n, w in enumerate(self.writers)]
        if kind is None:
            self.random.shuffle(runs)
        runs[0].how = mode
        if self.random.random() < 0.3:
            runs[1].how = MOMENT
        ways = {
            MOMENT: self._moment, STATEMENT: self._statement, WRITE: self._write, ERROR: self._error,
            SERVER: self._server,
        }  # fmt: skip
        ways[mode](*runs, at)
        self.seen.rounds += 1
        for run in runs:
            self._count(run)
        self._check(runs)
        return runs[0].code == -9

    def sweep(self, kind: str, step: int) -> None:
        """Rounds in which a kind of command is killed at every so many of its writes, until one gets through."""
        at = 0
        self.ready(kind)
        while self.round(WRITE, kind, at):
            at += step
            self.ready(kind)

    def ready(self, kind: str) -> None:
        """See to it that a command of that kind would be carried out."""
        if kind not in {"init", *WAVE_KINDS}:
            return
        for wave in list(self.known.active.values()):
            self.must("waves", "cancel", wave)
        self.look()
        if kind == "init":
            return
        self.must(*self.writers[0].draw(self.known, "init").arguments)
        self.look()
        if kind != "sign":
            self.must(*self.writers[0].draw(self.known, "sign").arguments)
            self.look()

    def _moment(self, victim: Run, other: Run, at: int | None) -> None:
        started = [(run, self._start(run.actor, run.command.arguments)) for run in (victim, other)]
        for _, child in started:
            child.begin()
        self._end(started)

    def _statement(self, victim: Run, other: Run, at: int | None) -> None:
        chosen = self.random.randrange(60) if at is None else at
        prepare = self.store.dying_at_statement(chosen)
        started = [
            (victim, self._start(victim.actor, victim.command.arguments, prepare)),
            (other, self._start(other.actor, other.command.arguments)),
        ]
        for _, child in started:
            child.begin()
        self._end([(run, child) for run, child in started if run is not victim])
        victim.code = started[0][1].wait()

    def _write(self, victim: Run, other: Run, at: int | None) -> None:
        kind = victim.command.kind
        chosen = self.random.randrange(self.seen.writes.get(kind, 60) + 1) if at is None else at
        child = self._start(victim.actor, victim.command.arguments, processes.trace_me)
        beside = self._start(other.actor, other.command.arguments)
        traced = processes.Traced(child)
        traced.run_to(chosen)
        self.seen.writes[kind] = max(self.seen.writes.get(kind, 0), traced.writes)
        beside.begin()  # while the first one holds what it holds, so that this one finds it left behind
        if traced.code is None:
            time.sleep(self.random.random() * 0.03)
            traced.kill()
        victim.code = traced.code
        self._end([(other, beside)])

    def _server(self, victim: Run, other: Run, at: int | None) -> None:
        other.how = SERVER
        started = [(run, self._start(run.actor, run.command.arguments)) for run in (victim, other)]
        for _, child in started:
            child.begin()
        time.sleep(self.usual.get(victim.command.kind, 0.1) * self.random.uniform(0, 1.2))
        self.store.strike(self.random)
        self._end(started)

    def _error(self, victim: Run, other: Run, at: int | None) -> None:
        chosen = self.random.randrange(self.seen.writes.get(victim.command.kind, 60) + 1) if at is None else at
        child = self._start(victim.actor, victim.command.arguments, processes.trace_me)
        beside = self._start(other.actor, other.command.arguments)
        traced = processes.Traced(child)
        beside.begin()
        victim.code = self.store.fail(traced, victim.actor, chosen, self.random)
        self._end([(other, beside)])

    def _end(self, started: list[tuple[Run, processes.Child]]) -> None:
        """Wait for the ends, and hasten those that are to be killed at a moment."""
        began = time.monotonic()
        moments = {
            run.actor: self.usual.get(run.command.kind, 0.1) * self.random.uniform(0, 1.2)
            for run, _ in started
            if run.how == MOMENT
        }
        for run, child in sorted(started, key=lambda pair: moments.get(pair[0].actor, 1e9)):
            if run.actor in moments:
                time.sleep(max(0.0, began + moments[run.actor] - time.monotonic()))
                child.kill()
            run.code = child.wait()
            if run.code == 0 and not moments:
                self.usual[run.command.kind] = time.monotonic() - began

    def _count(self, run: Run) -> None:
        self.seen.commands[run.command.kind] += 1
        if run.code == -9:
            self.seen.kills[run.how] += 1
            self.seen.killed[run.command.kind] += 1
        if run.how in BROKEN and run.code == FAILED:
            self.seen.kills[run.how] += 1

    # After a round.

    def _check(self, runs: list[Run]) -> None:
        before = self.size
        try:
            fresh = self.look()
        except Exception as problem:  # noqa: BLE001  whatever it is, it is what was looked for
            self._problem(runs, f"the ledger cannot be read: {problem!r}")
            return
        for run in runs:
            own = [row for row in fresh if row.actor == run.actor]
            problem = run.command.problem(own, acknowledged=run.code == 0)
            if problem:
                self._problem(runs, problem)
            elif run.code == -9:
                self.seen.ends["killed, all of it there" if own else "killed, nothing there"] += 1
            elif run.how in BROKEN and run.code == FAILED and self._told(run):
                self.seen.ends["failed, all of it there" if own else "failed, nothing there"] += 1
                if own and "nothing was changed" in (self.directory / run.actor).with_suffix(".err").read_text():
                    self._problem(runs, f"{run.command.kind} says that nothing was changed, and it was")
            elif run.code in ORDINARY:
                self.seen.ends["acknowledged" if run.code == 0 else f"refused with exit code {run.code}"] += 1
            else:
                text = (self.directory / run.actor).with_suffix(".err").read_text()
                self._problem(runs, f"{run.command.kind} ended with {run.code}: {text}")
        if len(fresh) != self.size - before or {row.actor for row in fresh} - set(ACTORS):
            self._problem(runs, "there are events of nobody's")
        if self.seen.rounds % TREE_EVERY == 0:
            self._check_tree(runs)

    def _told(self, run: Run) -> bool:
        """Whether a writer said what happened and what can be done, and no more than that."""
        lines = (self.directory / run.actor).with_suffix(".err").read_text().splitlines()
        return [line.partition(":")[0] for line in lines[-2:]] == ["error", "hint"] and "Traceback" not in str(lines)

    def _problem(self, runs: list[Run], text: str) -> None:
        told = "; ".join(f"{run.actor}: {' '.join(run.command.arguments)} ({run.how}, {run.code})" for run in runs)
        self.seen.problems.append(f"round {self.seen.rounds}: {text} [{told}]")

    def look(self) -> list[Row]:
        """The events since the last look, after the whole ledger was checked. Raises: AssertionError."""
        engine = store.open_engine(self.store.url("alice"))
        try:
            with store.reading(engine) as connection:
                rows = list(events.read(connection))
                head = events.head(connection)
                self.store.check(connection)
            leaves = (merkle.leaf_hash(merkle.entry(*row)) for row in rows)
            assert [row.position for row in rows] == list(range(1, head.size + 1)), "positions have gaps"
            assert merkle.root_of(leaves) == head.root, "the head is not the root of the events"
            streams: Counter[str] = Counter()
            for row in rows:
                streams[row.stream] += 1
                assert row.version == streams[row.stream], f"{row.stream} has gaps"
            found = [difference for fold in runner.folds() for difference in runner.verify(engine, fold.name)]
            assert not found, f"projections are not what a replay gives: {found[:3]}"
        finally:
            engine.dispose()
        fresh = rows[self.size :]
        for row in fresh:
            self.known.take(row)
        self.size = len(rows)
        return fresh

    def _check_tree(self, runs: list[Run]) -> None:
        try:
            self.must("tuf", "publish")
            self.look()
        except (RuntimeError, AssertionError) as problem:
            self._problem(runs, f"publishing after it: {problem}")
            return
        tree = Directory(self.directory / "tree")
        found = verify.check_views(tree, verify.find_views(tree.root))[1]
        if found:
            self._problem(runs, f"what is published is not whole: {found}")

    def close(self) -> None:
        """Remove it all."""
        self.store.close()
        shutil.rmtree(self.directory)
