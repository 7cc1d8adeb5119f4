"""waveledger devices why: the answer to a customer's question, with what is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import past, reading_ledger, settings_of
from cli.options import At
from cli.output import FormatOption, show

if TYPE_CHECKING:
    from projections.why.source import Source


def why_device(
    ctx: typer.Context,
    device: Annotated[str, typer.Argument(metavar="UUID|NAME", help="The device.")],
    at: At = None,
    format: FormatOption = None,
) -> None:
    """Say why a device gets what it gets: the rule, the events behind it, and what would change it.

    A device that is not in the fleet is answered, too.

    Example: waveledger devices why gw-001
    """
    from cli.device_why import Told, output_of
    from cli.errors import AmbiguousDevice
    from projections.why import gather, words

    with _source(ctx, at, device) as source:
        found = gather.matching(source.tables, device)
        if len(found) > 1:
            raise AmbiguousDevice(count=len(found), name=device, uuids=", ".join(found[:20]))
        evidence = gather.evidence(source, found[0] if found else device[:100])
        rows = [(about, source.event(position)) for about, position in evidence.events]
    told = [Told(about, row) for about, row in rows if row]
    show(output_of(evidence, words.explain(evidence, settings_of(ctx).now), told), format)


@contextmanager
def _source(ctx: typer.Context, at: str | None, device: str) -> Iterator[Source]:
    from projections.why.source import Source, question

    with reading_ledger(ctx) as ledger:
        if at is None:
            yield Source.of_now(ledger)
            return
        with past(ctx, ledger, at, question(device)) as (tables, moment):
            yield Source(tables, ledger, moment.position)


def register(app: typer.Typer) -> None:
    """Add the command to the group of devices."""
    app.command("why")(why_device)
