"""waveledger devices why: the answer to a customer's question, with what is behind it."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import reading, settings_of
from cli.output import FormatOption, show


def why_device(
    ctx: typer.Context,
    device: Annotated[str, typer.Argument(metavar="UUID|NAME")],
    format: FormatOption = None,
) -> None:
    """Say why a device gets what it gets: the rule, the events behind it, and what would change it.

    A device that is not in the fleet is answered, too.

    Example: waveledger devices why gw-001
    """
    from cli.device_why import Told, output_of
    from cli.errors import AmbiguousDevice
    from ledger.store import events
    from projections.why import gather, words

    with reading(ctx) as connection:
        found = gather.matching(connection, device)
        if len(found) > 1:
            raise AmbiguousDevice(count=len(found), name=device, uuids=", ".join(found[:20]))
        evidence = gather.evidence(connection, found[0] if found else device[:100])
        rows = [(about, events.get(connection, position)) for about, position in evidence.events]
    told = [Told(about, row) for about, row in rows if row]
    show(output_of(evidence, words.explain(evidence, settings_of(ctx).now), told), format)


def register(app: typer.Typer) -> None:
    """Add the command to the group of devices."""
    app.command("why")(why_device)
