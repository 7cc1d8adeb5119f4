"""Factories for the tests of the projections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Factory


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[Factory]:
    """A new factory with one holder of a targets key."""
    made = Factory(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.fixture(scope="session")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """A new factory to copy: one holder."""
    made = Factory(tmp_path_factory.mktemp("simple") / "ledger.db")
    made.close()
    return made


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """A new factory to copy: two holders, both of whom must sign."""
    made = Factory(tmp_path_factory.mktemp("template") / "ledger.db", holders=2, threshold=3)
    made.close()
    return made
