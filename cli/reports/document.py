"""A report as JSON: its dataclass as it is. Moments are RFC 3339; a duration's key says that it is in seconds.

CSV has the values of JSON, written as JSON writes them, but text without quotes and null as nothing.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from cli.output import when
from cli.reports.page import Cell, Said
from projections.reports.values import Time

_OMITTED = {"began"}  # what was only needed to build it


def document(kind: str, report: Any) -> dict[str, Any]:
    """The document of a report; what it was made from comes first, at the top level."""
    found = _plain(report)
    return {"report": kind, **found.pop("basis"), **found}


def field_of(cell: Cell) -> str:
    """A cell of a table as CSV has it, and HTML in its attributes."""
    value = _plain(cell.value if isinstance(cell, Said) else cell)
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Time):
        return when(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            _key(field): _plain(getattr(value, field.name)) for field in fields(value) if field.name not in _OMITTED
        }
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def _key(field: Any) -> str:
    return f"{field.name}_seconds" if str(field.type).startswith("Span") else str(field.name)
