"""What an event changed, in words: a line for each row of the projections."""

from __future__ import annotations

from typing import Any

import orjson

from projections.changes import Change
from projections.compare import readable
from projections.tables import is_time

_NAMES = {
    "release_member": "member {member}",
    "release_root": "version {version} of the {repository} root",
    "release_online_key": "online {role} key of {repository}",
    "release_replaced_key": "replaced {role} key of {repository}",
    "release_ci_target": "CI target {name}",
    "release_ci_tag": "CI target {name} on tag {tag}",
    "release_ci_pruned": "pruned CI target {name}",
    "release_tag": "tag {tag}",
    "release_wave": "wave {wave}",
    "release_signature": "a signature of wave {wave}",
    "release_rollout": "rollout {rollout} of wave {wave}",
    "release_view": "view {view}",
    "release_view_target": "target {name} in view {view}",
    "release_publication": "publication of {repository}",
    "release_published": "view {view} as published",
    "release_resigned": "targets {version} of {repository}, signed anew",
    "release_raised": "versions of {repository}",
    "release_document": "targets {version} of {repository}, signed online",
    "fleet_tag": "waves of tag {tag}",
    "fleet_wave": "wave {wave} to its devices",
    "fleet_wave_target": "target {target}, new with wave {wave}",
    "fleet_wave_group": "group {grp} in wave {wave}",
    "fleet_device": "device {dev}",
    "fleet_member": "device {dev} in wave {wave}",
}
_WORDS = {"grp": "group", "hw": "hardware", "dev": "device"}
# In the JSON only: what is long, what only the emitter reckons with, and what the tables have for themselves.
_LEFT_OUT = {
    "body", "metadata", "key", "signature", "digest", "draw", "position", "rank", "uuid", "joined", "moved", "lane",
    "documents", "active_promoted", "content", "content_position",
}  # fmt: skip
_TRUTHS = {("fleet_device", "production"), ("fleet_member", "installed")}  # whole numbers in the tables
_JSON = {"held", "prune", "documents", "signatures", "body", "key"}  # texts that hold JSON
_HELD = ("wave", "number", "document_wave", "view", "version", "expires", "content")
_DOCUMENT = ("version", "expires", "content")
MOST = 60  # characters of a value


def rows(changes: list[Change]) -> list[tuple[str, str]]:
    """What, and how it changed."""
    return [(_NAMES[change.table].format(**change.key), _how(change)) for change in changes]


def document(changes: list[Change]) -> list[dict[str, Any]]:
    """The same as JSON: times in RFC 3339, texts of JSON as what they hold."""
    return [
        {
            "table": change.table,
            "row": change.key,
            "before": _values(change.table, change.before),
            "after": _values(change.table, change.after),
        }
        for change in changes
    ]


def _values(table: str, found: dict[str, Any] | None) -> dict[str, Any] | None:
    return found and {name: _read(table, name, value) for name, value in found.items()}


def _read(table: str, name: str, value: Any) -> Any:
    if (table, name) in _TRUTHS:
        return bool(value)
    if name in _JSON and table.startswith("release_") and value is not None:
        return _named(name, orjson.loads(value))
    return readable(name, value)


def _named(name: str, found: Any) -> Any:
    """What is kept as bare rows of values, with their names."""
    names = {"held": _HELD, "documents": _DOCUMENT}.get(name)
    if names is None:
        return found
    return [{of: readable(of, value) for of, value in zip(names, row, strict=True)} for row in found]


def _how(change: Change) -> str:
    before, after = _values(change.table, change.before), _values(change.table, change.after)
    if before is None:
        told = ", ".join(
            f"{_word(name)} {_told(name, value)}"
            for name, value in (after or {}).items()
            if value not in (None, []) and name not in change.key and name not in _LEFT_OUT
        )
        return f"new: {told}" if told else "new"
    if after is None:
        return "gone"
    told = ", ".join(
        f"{_word(name)}: {_told(name, value)} -> {_told(name, after[name])}"
        for name, value in before.items()
        if name not in _LEFT_OUT
    )
    return told or "changed: " + ", ".join(map(_word, change.before or {}))


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _told(name: str, value: Any) -> str:
    match value:
        case None:
            return "never" if is_time(name) else "none"
        case bool():
            return "yes" if value else "no"
        case list():
            text = ", ".join(str(row["wave"]) if name == "held" else str(row) for row in value) or "none"
        case _:
            text = str(value)
    return text if len(text) <= MOST else f"{text[:MOST]}..."
