"""Factories and destinations for the tests of the emitter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.tuf.destination import Directory
from tests.support import Factory


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[Factory]:
    """A new factory with one holder of a targets key."""
    made = Factory(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.fixture
def tree(tmp_path: Path) -> Directory:
    """A directory to publish to."""
    return Directory(tmp_path / "tree")
