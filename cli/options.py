"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

DryRun = Annotated[
    bool, typer.Option("--dry-run", "-d", help="Check and print what would be appended; append nothing.")
]
Keys = Annotated[
    str,
    typer.Option(
        "--keys", "-k", metavar="FILE|URI", help="Offline targets key: an archive, a PEM file or a signer URI."
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="How many on a page.")]
Page = Annotated[int, typer.Option(min=1, help="Which page, from 1.")]
OfflineThreshold = Annotated[
    int, typer.Option(min=0, metavar="HOURS", help="A device seen within these hours is online.")
]
