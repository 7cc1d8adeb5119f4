"""A tag's state as a row: folding 10,000 waves to decide one init took 258 ms, reading the row 1.2 (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ledger.domain.tag import HeldView, LiveDocument, OpenWave, Tag
from ledger.domain.values import from_epoch, to_epoch

COLUMNS = (
    "tag", "number", "lane", "active_wave", "active_number", "active_promoted", "production_wave", "production_view",
    "production_version", "production_expires", "production_content", "held",
)  # fmt: skip


def to_row(tag: Tag) -> tuple[Any, ...]:
    """The row of a tag, in the order of `COLUMNS`. Held views are few and only ever asked for together: JSON."""
    active = (tag.active.wave, tag.active.number, tag.active.promoted) if tag.active else (None,) * 3
    production = _to_fields(tag.production) if tag.production else (None,) * 5
    held = [(view.wave, view.number, *_to_fields(view.document)) for view in tag.held]
    return (tag.name, tag.number, tag.lane, *active, *production, orjson.dumps(held).decode())


def from_row(row: Mapping[str, Any]) -> Tag:
    """The tag of a row."""
    active = (
        OpenWave(row["active_wave"], row["active_number"], bool(row["active_promoted"])) if row["active_wave"] else None
    )
    fields = [row[f"production_{field}"] for field in ("wave", "view", "version", "expires", "content")]
    production = _from_fields(*fields) if row["production_wave"] else None
    held = tuple(HeldView(wave, number, _from_fields(*rest)) for wave, number, *rest in orjson.loads(row["held"]))
    return Tag(row["tag"], row["number"], row["lane"], active, production, held)


def _to_fields(document: LiveDocument) -> tuple[str, str, int, int, str | None]:
    return document.wave, document.view, document.version, to_epoch(document.expires), document.content


def _from_fields(wave: str, view: str, version: int, expires: int, content: str | None) -> LiveDocument:
    return LiveDocument(wave, view, version, from_epoch(expires), content)
