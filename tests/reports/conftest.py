"""Ledgers for the tests of reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports.telling import Story, hostile
from tests.support import Factory


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[Factory]:
    """A new factory with one holder of a targets key."""
    made = Factory(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A small factory whose numbers were counted by hand."""
    made = Story(tmp_path_factory.mktemp("story"))
    yield made
    made.factory.close()


@pytest.fixture(scope="module")
def hostile_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """A factory in which everything that can be named freely is markup."""
    made = hostile(tmp_path_factory.mktemp("hostile"))
    yield made
    made.close()
