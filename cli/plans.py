"""Rollout plans: a choice of devices in a file, looked at before it is committed."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cli import files
from cli.errors import PlanUnreadable
from ledger.application.waves import RolledOut
from ledger.domain.rollout import PlanForAnotherWave, digest_of
from ledger.domain.values import check_name, check_uuid

_FORMAT = "waveledger-plan/1"
_SIZE_LIMIT = 256 * 1024 * 1024  # bytes; a million devices take a fifth of it


class Plan(NamedTuple):
    """The devices that a plan names; `group` is the group that the choice was made in."""

    group: str | None
    devices: tuple[str, ...]


def write(path: str, came: RolledOut, devices: tuple[str, ...], limit: str | None) -> None:
    """Write the choice of a dry run. Raises: NotWritable."""
    document = {
        "format": _FORMAT,
        "wave": came.event.wave,
        "tag": came.tag,
        "version": came.number,
        "group": came.event.selector.group,
        "limit": limit,
        "plan": digest_of(came.event.wave, devices),
        "devices": list(devices),
    }
    files.write(path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read(path: str, wave: str) -> Plan:
    """Read a plan for this wave. Raises: PlanUnreadable, PlanForAnotherWave."""
    try:
        document = _document(path)
        if document["format"] != _FORMAT:
            raise PlanUnreadable(path=path, problem=f"its format is not {_FORMAT}")
        planned, group, devices, plan = (document[key] for key in ("wave", "group", "devices", "plan"))
        if not isinstance(devices, list) or not isinstance(group, str | None):
            raise PlanUnreadable(path=path, problem="its devices are no list, or its group no name")
        uuids = tuple(check_uuid(uuid) for uuid in devices)
        if group is not None:
            check_name("group", group)
    except OSError as problem:
        raise PlanUnreadable(path=path, problem=problem.strerror or str(problem)) from None
    except KeyError as missing:
        raise PlanUnreadable(path=path, problem=f"it has no {missing}") from None
    except (ValueError, TypeError) as problem:
        raise PlanUnreadable(path=path, problem=str(problem)[:200]) from None
    if planned != wave:
        raise PlanForAnotherWave(planned=str(planned)[:100], wave=wave)
    if not uuids:
        raise PlanUnreadable(path=path, problem="it names no device")
    if len(set(uuids)) < len(uuids):
        raise PlanUnreadable(path=path, problem="it names a device twice")
    if digest_of(wave, uuids) != plan:
        raise PlanUnreadable(path=path, problem="its devices are not those that its hash was made of")
    return Plan(group, uuids)


def _document(path: str) -> dict[str, Any]:
    with Path(path).open("rb") as file:
        data = file.read(_SIZE_LIMIT + 1)
    if len(data) > _SIZE_LIMIT:
        raise PlanUnreadable(path=path, problem=f"it is larger than {_SIZE_LIMIT} bytes")
    document = orjson.loads(data.removeprefix(BOM_UTF8))
    if not isinstance(document, dict):
        raise PlanUnreadable(path=path, problem="it is no JSON object")
    return document
