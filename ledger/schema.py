"""The JSON Schema of an export's lines, made from the classes of the events, which are what is decoded."""

from __future__ import annotations

import dataclasses
import types
from datetime import datetime
from typing import Any, Union, get_args, get_origin, get_type_hints

from ledger.codec import REGISTRY

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TIME = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_PLAIN = {str: "string", int: "integer", bool: "boolean", dict: "object"}
_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_COUNT = {"type": "integer", "minimum": 0}
_ONE_UP = {"type": "integer", "minimum": 1}
_TEXT = {"type": "string"}


def export_schema() -> dict[str, Any]:
    """The schema of a line: the manifest, a checkpoint, or an event, whose payload is that of its topic."""
    manifest = {
        "format": {"const": "waveledger-export/1"},
        "factory": _TEXT,
        "ledger_key": _HASH,
        "size": _COUNT,
        "root": _HASH,
        "checkpoints": _COUNT,
        "checkpoint": {"type": ["string", "null"], "description": "a signed note (c2sp.org/tlog-checkpoint)"},
    }
    event = {
        "position": _ONE_UP,
        "stream": _TEXT,
        "version": _ONE_UP,
        "topic": {"enum": sorted(REGISTRY)},
        "recorded_at": _TIME,
        "actor": _TEXT,
        "payload": True,
    }
    payloads = [
        {
            "if": {"properties": {"topic": {"const": topic}}},
            "then": {"properties": {"payload": {"$ref": f"#/$defs/{topic.replace('/', '~1')}"}}},
        }
        for topic in sorted(REGISTRY)
    ]
    return {
        "$schema": DIALECT,
        "title": "a line of waveledger-export/1",
        "oneOf": [
            _object(manifest, "the first line"),
            _object({"size": _ONE_UP, "checkpoint": _TEXT}, "a checkpoint, after the event of its size"),
            {**_object(event, "an event"), "allOf": payloads},
        ],
        "$defs": {topic: event_schema(topic) for topic in sorted(REGISTRY)},
    }


def event_schema(topic: str) -> dict[str, Any]:
    """The schema of an event's payload."""
    return _schema(REGISTRY[topic])


def _schema(kind: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, localns={"JsonObject": dict})
        fields = {field.name: _schema(hints[field.name]) for field in dataclasses.fields(kind)}
        return _object(fields, " ".join((kind.__doc__ or "").split()))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin in (types.UnionType, Union):
        inner = next(argument for argument in arguments if argument is not types.NoneType)
        return {"anyOf": [_schema(inner), {"type": "null"}]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    return _TIME if kind is datetime else {"type": _PLAIN[kind]}


def _object(properties: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
