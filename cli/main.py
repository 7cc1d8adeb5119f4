"""The program: options before the command, and the list of commands."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import typer

from cli import settings
from cli.lazy import NO_STDOUT, OUTPUT_LOST, Lazy, LazyGroup, stdout_is_lost, tell

VERSION = "0.1.0"


class Main(LazyGroup):
    """All commands, by noun."""

    lazy: ClassVar[Mapping[str, Lazy]] = {
        "init": Lazy("cli.commands.init", "Create a ledger, its keys and its first TUF roots."),
        "members": Lazy("cli.commands.members", "Who may act: owners and admins."),
        "targets": Lazy("cli.commands.targets", "CI targets and production targets."),
        "devices": Lazy("cli.commands.devices", "The fleet: import, list, change, report."),
        "waves": Lazy("cli.commands.waves", "Promote a target to production devices, wave by wave."),
        "wave": Lazy("cli.commands.waves", "The same as waves.", hidden=True),
        "status": Lazy("cli.commands.status", "The whole factory at a glance."),
        "tuf": Lazy("cli.commands.tuf", "Publish, refresh and verify the TUF repositories."),
        "keys": Lazy("cli.commands.keys", "The TUF roots and their keys."),
        "report": Lazy("cli.commands.report", "Reports: waves, tags, the fleet, activity, expiry; also as HTML."),
        "audit": Lazy("cli.commands.audit", "The history of the ledger."),
        "store": Lazy("cli.commands.store", "The store that the ledger is in, and copies of it."),
        "migrate": Lazy("cli.commands.migrate", "Bring an older store's schema up to date."),
        "projections": Lazy("cli.commands.projections", "The answers that are kept ready, and how to rebuild them."),
    }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse bytes that are no text here, for all commands: a database, JSON and a message could not take them."""
        for arg in args:
            if not settings.is_text(arg):
                raise typer.BadParameter(f"{arg!a} is not UTF-8 text", ctx=ctx)
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=Main,
    name="waveledger",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"waveledger {VERSION}")
        raise typer.Exit


@app.callback()
def waveledger(
    ctx: typer.Context,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Event store. Environment: WAVELEDGER_STORE.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who acts. Environment: WAVELEDGER_ACTOR. Default: login name.")
    ] = None,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Show tracebacks.")] = 0,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Release waves of a device fleet: an event-sourced ledger that any TUF client can trust.

    A wave promotes a CI build to production devices: init, sign, rollout, then complete or cancel. Every step is an
    event in the ledger (default: sqlite:///waveledger.db, here); what devices see is signed TUF metadata made from it.
    """
    ctx.obj = settings.read(store, actor, verbose)


@app.command(hidden=True)
def nothing() -> None:
    """Typer needs one command of its own to build a group; all others are lazy."""


def main(*arguments: Any) -> None:
    """The console script."""
    try:
        app(*arguments)
    except OSError as problem:
        # What is printed before a command runs: help, the version, and usage errors, which have a code of their own.
        if stdout_is_lost():
            tell(f"error: {NO_STDOUT.format(problem=problem.strerror)}")
            sys.exit(OUTPUT_LOST)
        sys.stderr = None
        sys.exit(getattr(problem.__context__, "exit_code", 1))
