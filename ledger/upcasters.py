"""From the shapes of earlier releases to today's: topic → (next topic, what to do to the decoded payload).

An upcaster sees plain JSON data, so that it never depends on a class that will have changed again. Chains are
followed to their end. There is no entry yet because no released shape was ever changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Upcaster: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Mapping[str, tuple[str, Upcaster]] = {}


def upcast(
    topic: str, data: dict[str, Any], upcasters: Mapping[str, tuple[str, Upcaster]] = UPCASTERS
) -> tuple[str, dict[str, Any]]:
    """The topic and payload in today's shape; the same ones where they already have it."""
    while topic in upcasters:
        topic, change = upcasters[topic]
        data = change(data)
    return topic, data
