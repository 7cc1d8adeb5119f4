"""Why a device gets what it gets, as JSON and as tables.

The JSON has all that `devices show` has, under the same names, and more; a device that is not in the fleet has the same
keys with nothing in them. The tables are the same in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cli import documents
from cli.output import Output, Table, when, yes
from ledger.store.events import Row
from projections.queries.audit import summary
from projections.why.evidence import About, Evidence, Publication, Registered, Removed, Resting, Wave
from projections.why.words import Answer

_FIELDS = ("uuid", "name", "hardware_id", "tag", "group", "production", "target", "seen_at")


class Told(NamedTuple):
    """An event behind an answer, and what it is about."""

    about: About
    row: Row


def output_of(evidence: Evidence, answer: Answer, events: Sequence[Told]) -> Output:
    """The document and the tables; CSV is the table of facts."""
    tables = [Table.of_facts(_facts(evidence, answer))]
    if answer.changes:
        ways = [(change.text, change.command) for change in answer.changes]
        tables.append(Table(["what", "command"], ways, "What would change it"))
    if events:
        rows = [(e.row.position, when(e.row.recorded_at), e.row.actor, e.about, summary(e.row)) for e in events]
        columns = ["position", "recorded at", "actor", "about", "what happened"]
        tables.append(Table(columns, rows, "The events behind it"))
    return Output(_document(evidence, answer, events), tables, [answer.summary])


def _facts(evidence: Evidence, answer: Answer) -> list[tuple[str, object]]:
    known = _known(evidence, answer)
    facts: list[tuple[str, object]] = [(name, known[name]) for name in ("uuid", "name") if known[name]]
    if isinstance(evidence, Registered):
        row = evidence.row
        facts += [
            ("hardware id", row.hardware_id),
            ("follows tag", row.tag),
            ("in group", row.group),
            ("production", yes(row.production)),
            ("reported at", when(evidence.reported_at)),
            ("seen at", when(row.seen_at)),
        ]
    facts += [
        ("runs", answer.runs),
        ("view", known["eligible"]["view"]),
        ("offered", known["eligible"]["latest"]),
        ("rule", answer.rule),
        ("because", answer.reason),
        ("active wave", answer.wave),
        *(("resting", text) for text in answer.resting),
        ("published", answer.published),
    ]
    return facts


def _document(evidence: Evidence, answer: Answer, events: Sequence[Told]) -> dict[str, Any]:
    registered = evidence if isinstance(evidence, Registered) else None
    wave = registered.wave if registered else None
    holder = registered.holder if registered else None
    return {
        **_known(evidence, answer),
        "registered": registered is not None,
        "summary": answer.summary,
        "runs": {
            "version": registered.row.basis.runs if registered else None,
            "orphan": registered.orphan if registered else False,
            "reported_at": when(registered.reported_at) if registered else None,
            "text": answer.runs,
        },
        "wave": _wave(wave, answer, in_wave=registered.row.basis.in_wave) if registered and wave else None,
        "held_by": _holder(holder) if holder else None,
        "resting": [_resting(one, text) for one, text in zip(evidence.resting, answer.resting, strict=True)],
        "other_waves": [{"wave": name, "tag": tag} for name, tag in registered.others] if registered else [],
        "publication": _publication(registered.publication if registered else Publication(), answer),
        "changes": [change._asdict() for change in answer.changes],
        "events": [{"about": e.about.value, **documents.of_event(e.row, summary(e.row))} for e in events],
    }


def _known(evidence: Evidence, answer: Answer) -> dict[str, Any]:
    """What `devices show` has."""
    if isinstance(evidence, Registered):
        return documents.of_device(evidence.row)
    known = dict.fromkeys(_FIELDS, None)
    if isinstance(evidence, Removed):
        known |= {"uuid": evidence.uuid, "name": evidence.name, "target": evidence.target}
    nothing: dict[str, Any] = {"view": None, "targets": [], "latest": None, "published": False}
    return {**known, "eligible": {**nothing, "reason": answer.reason, "rule": answer.rule}}


def _wave(wave: Wave, answer: Answer, *, in_wave: bool) -> dict[str, Any]:
    reached = wave.reached if in_wave else None
    return {
        "name": wave.name,
        "version": wave.number,
        "tag": wave.tag,
        "signatures": {"have": wave.signatures, "need": wave.needed},
        "rollouts": len(wave.rollouts),
        "hardware_ids": list(wave.hardware),
        "in_wave": in_wave,
        "reached": {**reached._asdict(), "by": reached.by.value} if reached else None,
        "excluded": answer.exclusion._asdict() if answer.exclusion else None,
        "text": answer.wave,
    }


def _holder(wave: Wave) -> dict[str, Any]:
    return {
        "name": wave.name,
        "version": wave.number,
        "tag": wave.tag,
        "canceled_at": when(wave.closed_at),
        "canceled_by": wave.closed_by,
    }


def _resting(resting: Resting, text: str) -> dict[str, Any]:
    return {
        "name": resting.wave,
        "version": resting.number,
        "tag": resting.tag,
        "status": resting.status,
        "text": text,
    }


def _publication(shown: Publication, answer: Answer) -> dict[str, Any]:
    return {
        "state": shown.state.value,
        "position": shown.position,
        "signed_at": when(shown.signed_at),
        "versions": {
            "timestamp": shown.metadata,
            "snapshot": shown.metadata,
            "targets": shown.targets,
            "root": shown.root,
        },
        "expires": {
            "timestamp": when(shown.timestamp_expires),
            "snapshot": when(shown.snapshot_expires),
            "targets": when(shown.targets_expires),
            "root": when(shown.root_expires),
        },
        "text": answer.published,
    }
