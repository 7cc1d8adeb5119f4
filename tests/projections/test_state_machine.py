"""Whole histories on both stores side by side: the decisions are the model's, and all hold the same ledger."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from projections import runner
from tests.postgres import server
from tests.projections.history import History
from tests.support import Factory

numbers = st.tuples(*[st.integers(0, 1000)] * 4)


class OnSqlite(Factory):
    """A factory in a file, whatever the other tests run on."""

    @property
    def url(self) -> str:
        """The file's."""
        return f"sqlite:///{self.path}"


class OnPostgresql(Factory):
    """A factory in a database of its own."""

    @cached_property
    def database(self) -> str:
        """Its name; it is there from the first question on."""
        return server().database()

    @property
    def url(self) -> str:
        """For whoever acts."""
        return server().url(self.database, self.actor)

    def close(self) -> None:
        """Drop the database."""
        super().close()
        server().drop(self.database)


STORES = (OnSqlite, OnPostgresql)


class SideBySide(History):
    """A history that several factories live through at once; their answers must not differ."""

    def __init__(self, factories: list[Factory]) -> None:
        super().__init__(factories[0])
        self.factories = factories

    def _try(self, told: str, expected: str | None, action: Any) -> Any:
        answers = []
        for factory in self.factories:
            self.factory = factory
            answers.append(super()._try(told, expected, action))
        self.done = self.done[: len(self.done) - len(answers) + 1]
        assert all(answer == answers[0] for answer in answers), (answers, self.done)
        return answers[0]

    def _wait(self, minutes: int, _b: int, _c: int, _d: int) -> None:
        super()._wait(minutes, 0, 0, 0)
        self._same_time()

    def _wait_long(self, days: int, _b: int, _c: int, _d: int) -> None:
        super()._wait_long(days, 0, 0, 0)
        self._same_time()

    def _same_time(self) -> None:
        for factory in self.factories:
            factory.now = self.factory.now

    def check(self) -> None:
        """As the model says, on each of them; and each has the same events at the same positions."""
        for factory in self.factories:
            self.factory = factory
            super().check()
        assert len({factory.head() for factory in self.factories}) == 1, self.done


class Histories(RuleBasedStateMachine):
    """What people, CI and devices do, in any order."""

    holders: int

    @initialize()
    def begin(self) -> None:
        """A factory with builds, a small fleet and a wave, on each store."""
        self.directory = tempfile.TemporaryDirectory()
        made = [kind(Path(self.directory.name) / kind.__name__, self.holders, self.holders + 1) for kind in STORES]
        self.history = SideBySide(made)
        self.history.start()

    @rule(kind=st.sampled_from(["set_tag", "set_group", "no_group", "remove", "test_device", "devices"]), n=numbers)
    def change_the_fleet(self, kind: str, n: tuple[int, int, int, int]) -> None:
        """Devices come, move about, and go."""
        self.history.act(kind, n)

    @rule(kind=st.sampled_from(["report", "report_offered", "sighting", "late", "install", "leave"]), n=numbers)
    def report(self, kind: str, n: tuple[int, int, int, int]) -> None:
        """Devices say what they run."""
        self.history.act(kind, n)

    @rule(n=numbers)
    def build(self, n: tuple[int, int, int, int]) -> None:
        """CI imports targets."""
        self.history.act("targets", n)

    @rule(n=numbers)
    def begin_a_wave(self, n: tuple[int, int, int, int]) -> None:
        """A wave is prepared, or refused."""
        self.history.act("init", n)

    @rule(n=numbers)
    def sign(self, n: tuple[int, int, int, int]) -> None:
        """Another holder signs, or one who did."""
        self.history.act("sign", n)

    @rule(kind=st.sampled_from(["group", "group", "limit", "percent", "uuids", "some_of"]), n=numbers)
    def roll_out(self, kind: str, n: tuple[int, int, int, int]) -> None:
        """A wave reaches some, or nobody."""
        self.history.act(kind, n)

    @rule(kind=st.sampled_from(["complete", "cancel", "hold"]), n=numbers)
    def end_a_wave(self, kind: str, n: tuple[int, int, int, int]) -> None:
        """A wave ends, once."""
        self.history.act(kind, n)

    @rule(kind=st.sampled_from(["wait", "wait_long"]), n=numbers)
    def let_time_pass(self, kind: str, n: tuple[int, int, int, int]) -> None:
        """Devices go offline, what was signed gets older."""
        self.history.act(kind, n)

    @precondition(lambda self: len(self.history.done) % 5 == 0)
    @rule(name=st.sampled_from([fold.name for fold in runner.folds()]))
    def rebuild(self, name: str) -> None:
        """A projection is made anew, with the same rows."""
        for factory in self.history.factories:
            before = factory.rows()
            runner.rebuild(factory.engine, name)
            assert factory.rows() == before, self.history.done

    @invariant()
    def as_the_model_says(self) -> None:
        """Views, counts and heads after every step."""
        self.history.check()

    def teardown(self) -> None:
        """In the end, projections are what a replay gives."""
        if not hasattr(self, "history"):
            return
        try:
            for factory in self.history.factories:
                assert factory.differences() == [], self.history.done
        finally:
            for factory in self.history.factories:
                factory.close()
            self.directory.cleanup()


def play(holders: int, examples: int, steps: int) -> None:
    stateful.run_state_machine_as_test(
        type("Histories", (Histories,), {"holders": holders}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.property
def test_histories_are_the_same_on_both_stores() -> None:
    """Whatever is done in whatever order: SQLite and PostgreSQL decide as the model does, and hold the same ledger."""
    play(2, 2, 20)


@pytest.mark.slow
@pytest.mark.property
@pytest.mark.parametrize("holders", [1, 2])
def test_many_histories_are_the_same_on_both_stores(holders: int) -> None:
    """The same many times over, with one holder of a targets key and with two."""
    play(holders, 25, 40)
