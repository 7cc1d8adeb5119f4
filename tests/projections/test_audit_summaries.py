"""One line for each kind of event, for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.codec import REGISTRY
from ledger.store.events import Row
from projections.queries import audit

GOLDEN = Path(__file__).parents[1] / "golden" / "events"


@pytest.mark.parametrize("topic", sorted(REGISTRY))
def test_every_event_has_a_line_that_says_what_happened(topic: str) -> None:
    """In words: not its topic, and not longer than a line should be."""
    payload = (GOLDEN / f"{topic.replace('/', '_')}.json").read_bytes()

    line = audit.summary(Row(1, "stream", 1, topic, 0, "alice", payload))

    assert line != topic
    assert 10 <= len(line) <= 120
