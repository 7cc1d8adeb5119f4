"""What several commands share: the way a group is made, and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli import completion

MOST = 1_000_000_000  # of events or pages; what is larger is a mistake, and in the end no integer of a database

DryRun = Annotated[
    bool, typer.Option("--dry-run", "-d", help="Check and print what would be appended; append nothing.")
]
Keys = Annotated[
    str,
    typer.Option(
        "--keys", "-k", metavar="FILE|URI", help="Offline targets key: an archive, a PEM file or a signer URI."
    ),
]
Wave = Annotated[str, typer.Argument(metavar="WAVE", help="Its name.", autocompletion=completion.waves)]
Limit = Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="How many on a page.")]
Page = Annotated[int, typer.Option(min=1, max=MOST, metavar="N", help="Which page, from 1.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="POSITION|TIME", help="As it was then: at a position, or a time (RFC 3339)."),
]
OfflineThreshold = Annotated[
    int, typer.Option(min=0, max=1_000_000, metavar="HOURS", help="A device seen within these hours is online.")
]


class KeyKind(StrEnum):
    """What a new offline key can be."""

    ED25519 = "ed25519"
    RSA4096 = "rsa4096"


def group(help: str) -> typer.Typer:
    """A noun with several commands."""
    return typer.Typer(help=help, rich_markup_mode=None, no_args_is_help=True, add_completion=False)


def single() -> typer.Typer:
    """A noun that is a command itself."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)
