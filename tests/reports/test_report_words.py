"""Counts and durations as reports put them into words."""

from __future__ import annotations

import pytest

from cli.reports import words


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 seconds"), (90, "1 minute 30 seconds"), (-2 * 86_400 - 3600, "2 days 1 hour ago"), (-1, "1 second ago")],
)
def test_a_duration_that_is_over_is_ago(seconds: int, told: str) -> None:
    """What expired two days ago has no minus two days left."""
    assert words.span(seconds) == told


@pytest.mark.parametrize(
    ("count", "whole", "told"),
    [
        (0, 0, ""),
        (0, 1000, "0 %"),
        (1, 1_000_000, "under 1 %"),
        (9, 1000, "under 1 %"),
        (10, 1000, "1 %"),
        (999_999, 1_000_000, "99 %"),
        (1000, 1000, "100 %"),
    ],
)
def test_a_part_that_is_there_is_never_nothing_and_never_all(count: int, whole: int, told: str) -> None:
    """0 % is none, 100 % all of it, whatever lies between is neither."""
    assert words.part(count, whole) == told
