"""Groups whose commands are imported when they are used: ``--help`` and each command load what they need.

The error boundary is here too, so that a process and a test see the same: data on stdout, ``error:`` and ``hint:`` on
stderr, and the exit code of the error's family.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup

from ledger.domain.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERRUPTED = 130
OUTPUT_LOST = 7
NO_STDOUT = "cannot write to stdout: {problem}"


class Lazy(NamedTuple):
    """Where a command group is, and its line in the list of commands."""

    module: str
    help: str
    hidden: bool = False


class LazyGroup(TyperGroup):
    """A group of groups; subclasses name them in `lazy`."""

    lazy: ClassVar[Mapping[str, Lazy]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order they were written."""
        return [name for name, entry in self.lazy.items() if not entry.hidden]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a group or command."""
        entry = self.lazy.get(cmd_name)
        if entry is None:
            return None
        command = typer.main.get_command(import_module(entry.module).app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.lazy.items() if not entry.hidden])

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn errors into messages and exit codes."""
        try:
            return super().invoke(ctx)
        except LedgerError as error:
            _report(str(error), error.render_hint(), verbose=_verbose(ctx))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _report(
                "interrupted",
                "nothing was half-written: audit log shows whether it was recorded, tuf publish publishes what was",
                verbose=0,
            )
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of stdout left (head, less): not an error of ours. Keep Python from complaining at exit.
            sys.stdout = None
            raise typer.Exit(0) from None
        except Exception as error:
            if isinstance(error, OSError) and stdout_is_lost():  # the help of a command; its output has its own error
                tell(f"error: {NO_STDOUT.format(problem=error.strerror)}")
                raise typer.Exit(OUTPUT_LOST) from None
            if type(error).__module__.partition(".")[0] == "typer":
                raise  # how Typer ends a command, and its usage errors: it prints those itself
            _report(f"unexpected: {type(error).__name__}: {error}", "a bug; run with -v and report it", _verbose(ctx))
            raise typer.Exit(1) from None


def stdout_is_lost() -> bool:
    """After an error: whether stdout is where it came from. What waits to be written there fails once more."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None  # else Python tries again at exit, and ends with a code of its own
    return sys.stdout is None


def _verbose(ctx: Any) -> int:
    return int(ctx.params.get("verbose") or 0)


def _report(message: str, hint: str, verbose: int) -> None:
    if verbose:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    tell(f"error: {message}")
    if hint:
        tell(f"hint: {hint}")


def tell(text: str) -> None:
    """A line to stderr. One that can't be written changes nothing: what was done is done, with its own exit code."""
    try:
        typer.echo(printable(text), err=True)
    except OSError:
        sys.stderr = None  # all the lines that follow, and Python's own at exit


def printable(text: str) -> str:
    """Without what a terminal would act on: names that a user typed or a file held are repeated in messages."""
    return "".join(c if c.isprintable() else "?" for c in text)
