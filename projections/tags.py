"""A tag's state as a row: folding 10,000 waves to decide one init took 258 ms, reading the row 1.2 (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.domain.tag import LiveDocument, OpenWave, Tag
from ledger.domain.values import from_epoch, to_epoch

COLUMNS = (
    "tag", "number", "lane", "active_wave", "active_number", "active_promoted", "production_wave", "production_view",
    "production_version", "production_expires", "production_content",
)  # fmt: skip


def to_row(tag: Tag) -> tuple[Any, ...]:
    """The row of a tag, in the order of `COLUMNS`."""
    active = (tag.active.wave, tag.active.number, tag.active.promoted) if tag.active else (None,) * 3
    p = tag.production
    production = (p.wave, p.view, p.version, to_epoch(p.expires), p.content) if p else (None,) * 5
    return (tag.name, tag.number, tag.lane, *active, *production)


def from_row(row: Mapping[str, Any]) -> Tag:
    """The tag of a row."""
    active = (
        OpenWave(row["active_wave"], row["active_number"], bool(row["active_promoted"])) if row["active_wave"] else None
    )
    production = None
    if row["production_wave"]:
        production = LiveDocument(
            row["production_wave"],
            row["production_view"],
            row["production_version"],
            from_epoch(row["production_expires"]),
            row["production_content"],
        )
    return Tag(row["tag"], row["number"], row["lane"], active, production)
