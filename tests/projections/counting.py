"""What `waves status`, `status` and `devices list` print as JSON, counted from the model, device by device."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.projections.model import ONLINE_SECONDS, Model, ModelDevice

_KINDS = ("production", "wave", "ci")


def waves_status(model: Model, name: str, now: int, online_seconds: int = ONLINE_SECONDS) -> dict[str, Any]:
    """How far a wave is (DESIGN §2, "counts")."""
    wave = model.waves[name]
    on_tag = {u: d for u, d in model.devices.items() if d.present and d.production and d.tag == wave.tag}
    above = {u for u, d in on_tag.items() if d.number >= wave.number}
    below = set(on_tag) - above
    inside = wave.members if wave.status == "active" else set(on_tag)
    scheduled = below & inside if wave.status != "canceled" else set()
    known = model.known(wave.tag)

    def of(group: str) -> dict[str, Any]:
        part = {u: d for u, d in on_tag.items() if (d.group or "") == group}
        return {
            "name": group,
            "rollout_at": time(wave.reached_at.get(group)),
            "total": len(part),
            "online": sum(d.seen_at >= now - online_seconds for d in part.values()),
            "on_wave": sum(d.number == wave.number for d in part.values()),
            "on_newer": sum(d.number > wave.number for d in part.values()),
            "on_older": sum(d.number < wave.number for d in part.values()),
            "scheduled": len(scheduled & set(part)),
            "targets": _targets(part.values(), known),
        }

    others = {d.group or "" for d in on_tag.values()} - set(wave.named_groups)
    return {
        "name": name,
        "tag": wave.tag,
        "version": wave.number,
        "status": wave.status,
        "created_at": time(wave.created_at),
        "finished_at": time(wave.finished_at),
        "total": len(on_tag),
        "updated": len(above & inside),
        "scheduled": len(scheduled),
        "unscheduled": len(below - scheduled),
        "rollout_groups": [of(group) for group in wave.named_groups],
        "other_groups": [of(group) for group in sorted(others, key=lambda g: (g == "", g))],
    }


def status(model: Model, now: int, online_seconds: int = ONLINE_SECONDS) -> dict[str, Any]:
    """The fleet by what it is offered: `devices` and `tags`."""
    present = {u: d for u, d in model.devices.items() if d.present}
    production = sum(d.production for d in present.values())
    rows: dict[tuple[str, str], dict[str, ModelDevice]] = {key: {} for key in _offers(model)}
    for uuid, device in present.items():
        rows.setdefault((device.tag, _kind(model, uuid)), {})[uuid] = device
    order = sorted(rows, key=lambda key: (key[0], _KINDS.index(key[1])))
    return {
        "devices": {"total": len(present), "production": production, "test": len(present) - production},
        "tags": [_row(model, tag, kind, rows[tag, kind], now - online_seconds) for tag, kind in order],
    }


def devices(model: Model, uuids: Iterable[str]) -> list[dict[str, Any]]:
    """What is told of devices, but for what the model does not know: names, publications and words."""
    found = []
    for uuid in uuids:
        device = model.devices[uuid]
        view, targets = model.offered(uuid)
        found.append(
            {
                "uuid": uuid,
                "hardware_id": device.hardware,
                "tag": device.tag,
                "group": device.group,
                "production": device.production,
                "target": device.target,
                "seen_at": time(device.seen_at if device.seen_at >= 0 else None),
                "view": view,
                "targets": list(targets),
                "latest": targets[-1] if targets else None,
            }
        )
    return found


def time(seconds: int | None) -> str | None:
    """RFC 3339."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _offers(model: Model) -> set[tuple[str, str]]:
    """Which rows there are without any device: those that offer something."""
    found = {(tag, "ci") for tag in model.ci_views} | {(tag, "production") for tag in model.production}
    return found | {(w.tag, "wave") for w in model.waves.values() if w.status == "active" and w.rollouts}


def _kind(model: Model, uuid: str) -> str:
    device = model.devices[uuid]
    if not device.production:
        return "ci"
    active = model.active(device.tag)
    return "wave" if active and model.moves(active, uuid) else "production"


def _row(model: Model, tag: str, kind: str, part: Mapping[str, ModelDevice], online_since: int) -> dict[str, Any]:
    active = model.active(tag) if kind == "wave" else None
    if active:
        offered = {number for number, _ in model.waves[active].content.values()}
    elif kind == "production":
        offered = {number for number, _ in model.production.get(tag, {}).values()}
    else:
        offered = {number for number, _, tags, _ in model.ci.values() if tag in tags}
    latest = max(offered, default=0)
    known = offered if kind == "ci" else model.known(tag)

    def of(some: Mapping[str, ModelDevice]) -> dict[str, Any]:
        return {
            "devices": len(some),
            "on_latest": sum(d.number == latest > 0 for d in some.values()),
            "on_orphan": sum(d.number > 0 and d.number not in known for d in some.values()),
            "online": sum(d.seen_at >= online_since for d in some.values()),
            "held": sum(model.held(u) is not None for u in some) if kind == "production" else 0,
            "targets": _targets(some.values(), known),
        }

    groups = sorted({d.group or "" for d in part.values()})
    return {
        "tag": tag,
        "kind": kind,
        "wave": active,
        "latest": latest,
        **of(part),
        "groups": [
            {"name": group, **of({u: d for u, d in part.items() if (d.group or "") == group})} for group in groups
        ],
    }


def _targets(part: Iterable[ModelDevice], known: Collection[int]) -> list[dict[str, Any]]:
    runs = [device.number for device in part]
    return [
        {"version": number, "devices": runs.count(number), "orphan": number > 0 and number not in known}
        for number in sorted(set(runs))
    ]
