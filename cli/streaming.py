"""A document with lists that may be too long for memory: printed name by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import orjson
import typer

from cli.output import Format, Output, chosen, show

_AT_ONCE = 1_000  # names written together


def show_listing(
    document: Mapping[str, Any], lists: Mapping[str, Iterable[str]], line: str, wanted: Format | None
) -> None:
    """Print a document that has the lists under their names, as JSON; else the line. Raises: BadFormat."""
    if chosen(wanted) is not Format.JSON:
        show(Output(document, lines=[line]), wanted)
        return
    head = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    typer.echo(head.removesuffix("\n}"), nl=False)
    for name, found in lists.items():
        typer.echo(f",\n  {_quoted(name)}: [", nl=False)
        between = "\n    "
        for part in _parts(found):
            typer.echo(between + ",\n    ".join(map(_quoted, part)), nl=False)
            between = ",\n    "
        typer.echo("]" if between == "\n    " else "\n  ]", nl=False)
    typer.echo("\n}")


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(names)
    while part := list(islice(iterator, _AT_ONCE)):
        yield part


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
