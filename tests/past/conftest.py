"""Factories for the tests about the past."""

from __future__ import annotations

import pytest

from tests.support import Factory


@pytest.fixture(scope="session")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """A new factory to copy: one holder."""
    made = Factory(tmp_path_factory.mktemp("simple") / "ledger.db")
    made.close()
    return made
