"""waveledger audit diff: what is not as it was."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.context import moment_of, reading_ledger
from cli.output import Format, FormatOption, Output, Table, chosen, say, show, when

_TITLES = {"targets": "CI targets"}
MOST = 20  # lines of a section for people

_Moment = Annotated[str, typer.Argument(metavar="POSITION|TIME", help="A position, or a time (RFC 3339).")]


def diff(ctx: typer.Context, a: _Moment, b: _Moment, format: FormatOption = None) -> None:
    """Show what changed between two moments: tags, waves, published metadata, devices, members, CI targets and keys.

    A moment is a position or a time (RFC 3339). Devices are named that an event was about in between; how many are
    offered what is told with the tags.

    Example: waveledger audit diff 100 2027-01-31T12:00:00Z
    """
    from projections.difference import SECTIONS, between

    with reading_ledger(ctx) as connection:
        now = ctx.obj
        first = moment_of(ctx, connection, a)
        ctx.obj = now  # both are looked for from today
        second = moment_of(ctx, connection, b)
        found = between(connection, first.position, second.position)
    document: dict[str, Any] = {
        "from": {"position": first.position, "at": when(first.now)},
        "to": {"position": second.position, "at": when(second.now)},
    }
    for section in SECTIONS:
        document[section] = [
            {"name": d.name, "before": _timed(d.before), "after": _timed(d.after)}
            for d in found
            if d.section == section
        ]
    lines = [f"from position {first.position} ({when(first.now)}) to position {second.position} ({when(second.now)})"]
    if not found:
        between_ = abs(second.position - first.position)
        events = "1 event" if between_ == 1 else f"{between_:,} events"
        lines.append(f"nothing that is compared changed; {events} in between, see audit log")
    show(Output(document, _tables(document, SECTIONS, whole=chosen(format) is Format.CSV), lines), format)
    for section in SECTIONS:
        if chosen(format) is Format.TABLE and len(document[section]) > MOST:
            say(f"{section}: {len(document[section]) - MOST:,} more (all of them with --format json)")


def _tables(document: dict[str, Any], sections: tuple[str, ...], *, whole: bool) -> list[Table]:
    rows = {
        section: [(found["name"], _how(found["before"], found["after"])) for found in document[section]]
        for section in sections
    }
    if whole:
        every = [(section, name, how) for section in sections for name, how in rows[section]]
        return [Table(["what", "name", "change"], every)]
    return [
        Table(["name", "change"], rows[section][:MOST], _TITLES.get(section, section.capitalize()))
        for section in sections
        if rows[section]
    ]


def _how(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    if before is None:
        return "new: " + ", ".join(f"{_word(n)} {_text(v)}" for n, v in (after or {}).items() if v not in (None, [], 0))
    if after is None:
        return "gone"
    return ", ".join(f"{_word(name)}: {_step(value, after[name])}" for name, value in before.items())


def _step(before: Any, after: Any) -> str:
    """Of a list, what came and what went: both may be long, and most of them the same."""
    if not (isinstance(before, list) and isinstance(after, list)):
        return f"{_text(before)} -> {_text(after)}"
    came, went = ([entry for entry in one if entry not in other] for one, other in ((after, before), (before, after)))
    return " ".join([*(f"+{entry}" for entry in came), *(f"-{entry}" for entry in went)])


def _word(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return " ".join(map(str, value)) or "none"
    return str(value)


def _timed(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {name: when(value) if name.endswith(("_at", "expires")) else value for name, value in facts.items()}
