"""`status`, `waves status` and `devices list` as commands, at the end of random histories, against the model.

`tests.projections.history` compares the same figures after every step of its histories; here the commands print them.
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.main import app
from tests.projections import counting
from tests.projections.history import ACTIONS, GROUPS, HELD_ACTIONS, TAGS, History, Step
from tests.support import Factory

numbers = st.tuples(*[st.integers(0, 1000)] * 4)
steps = st.lists(st.tuples(st.sampled_from((*ACTIONS, *HELD_ACTIONS)), numbers), min_size=20, max_size=40)


class Asked:
    """The commands on a factory's ledger, at its moment."""

    def __init__(self, factory: Factory) -> None:
        """Ask of the ledger's file."""
        self.factory = factory

    def now(self, zone: tzinfo) -> datetime:
        """The clock, as the settings read it."""
        return datetime.fromtimestamp(self.factory.now, zone)

    def __call__(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        environment: dict[str, str | None] = {name: None for name in os.environ if name.startswith("WAVELEDGER_")}
        environment["WAVELEDGER_STORE"] = self.factory.url
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cli.settings.datetime", self)
            came = CliRunner().invoke(app, [*arguments, "--format", "json"], env=environment)
        assert came.exit_code == 0, (arguments, came.output)
        return orjson.loads(came.stdout)


def check(told: History, hours: int) -> None:
    """All commands, all waves, all filters."""
    ask, model, now = Asked(told.factory), told.model, told.factory.now
    threshold = ("--offline-threshold", str(hours))
    shown = ask("status", *threshold)
    assert {key: shown[key] for key in ("devices", "tags")} == counting.status(model, now, hours * 3600), told.done
    assert shown["head"]["position"] == told.factory.head()[0]
    for name in model.waves:
        assert ask("waves", "status", name, *threshold) == counting.waves_status(model, name, now, hours * 3600)
    for tag in (None, *TAGS):
        for group in (None, *GROUPS):
            if group is None or group in model.groups:
                check_list(told, ask, tag, group)


def check_list(told: History, ask: Asked, tag: str | None, group: str | None) -> None:
    """`devices list` with filters: the right ones in all, on pages of three."""
    options = [*(("--tag", tag) if tag else ()), *(("--group", group) if group else ())]
    wanted = {
        uuid
        for uuid, d in told.model.devices.items()
        if d.present and tag in (None, d.tag) and group in (None, d.group)
    }
    pages = []
    number: int | None = 1
    while number:
        page = ask("devices", "list", *options, "--limit", "3", "--page", str(number))
        assert page["total"] == len(wanted)
        pages += page["devices"]
        number = page["next"]
    assert len(pages) == len(wanted)
    flat = [
        {**{k: v for k, v in d.items() if k not in ("name", "eligible")},
         **{k: d["eligible"][k] for k in ("view", "targets", "latest")}}
        for d in pages
    ]  # fmt: skip
    assert {d["uuid"] for d in flat} == wanted
    assert flat == counting.devices(told.model, [d["uuid"] for d in flat]), told.done


def play(template: Factory, history: list[Step], hours: int) -> None:
    """Carry out a history and ask at its end."""
    with tempfile.TemporaryDirectory() as directory:
        factory = template.copy(Path(directory) / "ledger.db")
        try:
            told = History(factory)
            told.start()
            for action, numbers in history:
                told.act(action, numbers)
            check(told, hours)
        finally:
            factory.close()


@pytest.mark.property
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=steps, hours=st.integers(0, 9))
def test_commands_count_what_the_model_counts(simple: Factory, history: list[Step], hours: int) -> None:
    """Every figure and every field of their JSON, finished waves too."""
    play(simple, history, hours)


@pytest.mark.slow
@pytest.mark.property
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=steps, hours=st.integers(0, 9))
def test_commands_count_what_the_model_counts_in_many_histories(
    template: Factory, history: list[Step], hours: int
) -> None:
    """The same for many."""
    play(template, history, hours)
