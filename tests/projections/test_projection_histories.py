"""Random histories against a model of plain sets."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections import runner
from tests import stores
from tests.projections.history import ACTIONS, HELD_ACTIONS, History, Step
from tests.support import Factory

numbers = st.tuples(*[st.integers(0, 1000)] * 4)
steps = st.lists(st.tuples(st.sampled_from(ACTIONS), numbers), min_size=10, max_size=60)
held_steps = st.lists(st.tuples(st.sampled_from(HELD_ACTIONS), numbers), min_size=30, max_size=80)


def play(template: Factory, history: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        factory = template.copy(Path(directory) / "ledger.db")
        try:
            told = History(factory)
            told.start()
            for action, numbers in history:
                told.act(action, numbers)
                told.check()
            assert factory.differences() == []
            before = factory.rows()
            for fold in runner.folds():
                runner.rebuild(factory.engine, fold.name)
            assert factory.rows() == before
            told.check()
            told.act("devices", (0, 3, 0, 1))  # and life goes on after a rebuild
            told.check()
            assert factory.differences() == []
        finally:
            factory.close()


@pytest.mark.property
@settings(
    max_examples=stores.examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=steps)
def test_a_history_offers_and_counts_what_the_model_says(template: Factory, history: list[Step]) -> None:
    """Views, targets, refusals and counts are the model's after every step; a rebuild gives the same rows."""
    play(template, history)


@pytest.mark.property
@settings(max_examples=stores.examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=held_steps)
def test_a_history_of_canceled_waves_holds_whom_the_model_holds(simple: Factory, history: list[Step]) -> None:
    """The same where waves are installed and canceled, one over another, on a fleet that moves about."""
    play(simple, history)


@pytest.mark.slow
@pytest.mark.property
@settings(max_examples=stores.examples(250), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=held_steps)
def test_many_histories_of_canceled_waves(simple: Factory, history: list[Step]) -> None:
    """The same for many of those."""
    play(simple, history)


@pytest.mark.slow
@pytest.mark.property
@settings(max_examples=stores.examples(250), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=steps)
def test_many_histories(template: Factory, history: list[Step]) -> None:
    """The same for as many histories as DESIGN §6 speaks of."""
    play(template, history)
