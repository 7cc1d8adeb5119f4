"""Names in a temporary file: distinct, in order, and no matter how many."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from ledger.store.scratch import Names


@given(st.lists(st.lists(st.text(max_size=4), max_size=8), max_size=8), st.integers(0, 10))
def test_names_are_distinct_and_in_order(parts: list[list[str]], most: int) -> None:
    """As a dict would keep them, whatever is added together."""
    expected = list(dict.fromkeys(name for part in parts for name in part))
    with Names() as names:
        for part in parts:
            names.add(part)

        assert (list(names), len(names), list(names.first(most))) == (expected, len(expected), expected[:most])


def test_names_do_not_fill_the_memory() -> None:
    """50,000 of them take less than a megabyte of Python's memory; a dict would take five times that."""
    tracemalloc.start()
    with Names() as names:
        names.add(f"device-{number}" for number in range(50_000))
        assert sum(1 for _ in names) == 50_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1_000_000
