"""JSON of what several commands print: a device, an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.output import when

if TYPE_CHECKING:
    from ledger.store.events import Row
    from projections.queries.devices import DeviceRow


def of_device(device: DeviceRow) -> dict[str, Any]:
    """A device with what it is offered."""
    return {
        "uuid": device.uuid,
        "name": device.name,
        "hardware_id": device.hardware_id,
        "tag": device.tag,
        "group": device.group,
        "production": device.production,
        "target": device.target,
        "seen_at": when(device.seen_at),
        "eligible": {
            "view": device.view,
            "targets": list(device.targets),
            "latest": device.latest,
            "published": device.published,
            "reason": device.reason,
            "rule": device.rule.value,
        },
    }


EVENT = ("position", "stream", "version", "topic", "recorded_at", "actor", "summary")


def of_event(row: Row, summary: str) -> dict[str, Any]:
    """An event with its line of text, without its payload."""
    return dict(zip(EVENT, (*row[:4], when(row.recorded_at), row.actor, summary), strict=True))
