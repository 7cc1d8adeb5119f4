"""What an event changed, in words: a line for each row of the projections."""

from __future__ import annotations

from typing import Any

from cli.output import when
from projections.changes import Change

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
# In the JSON only: what is long, and what the tables have for themselves.
_LEFT_OUT = {"body", "metadata", "key", "signature", "digest", "draw", "position", "rank", "uuid", "joined", "moved"}
_TIMES = {"at", "expires"}
MOST = 60  # characters of a value


def rows(changes: list[Change]) -> list[tuple[str, str]]:
    """What, and how it changed."""
    return [(_NAMES[change.table].format(**change.key), _how(change)) for change in changes]


def document(changes: list[Change]) -> list[dict[str, Any]]:
    """The same as JSON."""
    return [{"table": c.table, "row": c.key, "before": c.before, "after": c.after} for c in changes]


def _how(change: Change) -> str:
    if change.before is None:
        told = ", ".join(
            f"{_word(name)} {_value(name, value)}"
            for name, value in (change.after or {}).items()
            if value is not None and name not in change.key and name not in _LEFT_OUT
        )
        return f"new: {told}" if told else "new"
    if change.after is None:
        return "gone"
    told = ", ".join(
        f"{_word(name)}: {_value(name, before)} -> {_value(name, change.after[name])}"
        for name, before in change.before.items()
        if name not in _LEFT_OUT
    )
    return told or "changed: " + ", ".join(map(_word, change.before))


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _value(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, int) and (name in _TIMES or name.endswith(("_at", "_expires"))):
        return str(when(value)) if value else "never"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if len(text) <= MOST else f"{text[:MOST]}..."
