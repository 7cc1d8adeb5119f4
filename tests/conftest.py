"""What holds for all tests."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """An engine that a test leaves to the garbage collector closes its connections there."""
    config.addinivalue_line("filterwarnings", "ignore:.* was deleted while still open:ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that in the end no worker waits for it alone."""
    items.sort(key=lambda item: item.name != "test_every_command_in_the_readme_runs")
