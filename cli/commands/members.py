"""waveledger members: who may act."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import text

from cli.context import open_ledger, reading, say_dry_run
from cli.options import At, DryRun, group
from cli.output import FormatOption, Output, Table, show
from projections import questions

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whom: an actor, as --actor names one.")]

app = group("Who may act: owners and admins.")


@app.command("list")
def list_members(ctx: typer.Context, at: At = None, format: FormatOption = None) -> None:
    """List the members of the factory.

    Example: waveledger members list --format json
    """
    with reading(ctx, at, questions.topics("member.added/1", "member.removed/1")) as connection:
        rows = connection.execute(text("SELECT member, role FROM release_member ORDER BY member")).all()
    members = [{"name": name, "role": role} for name, role in rows]
    show(Output({"members": members}, [Table(["name", "role"], [(m["name"], m["role"]) for m in members])]), format)


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    role: Annotated[str, typer.Option(metavar="owner|admin", help="An owner also manages members.")],
    dry_run: DryRun = False,
    format: FormatOption = None,
) -> None:
    """Add a member, or give one another role. Only owners do this.

    Example: waveledger members add bob --role admin
    """
    from ledger.application import members
    from projections.facts import Facts

    members.add(open_ledger(ctx), Facts(), name, role, dry_run=dry_run)
    done = "would be" if dry_run else "is now"
    show(Output({"name": name, "role": role, "dry_run": dry_run}, lines=[f"{name} {done} {role}"]), format)
    if dry_run:
        say_dry_run(["member.added/1"])


@app.command()
def remove(ctx: typer.Context, name: Name, dry_run: DryRun = False, format: FormatOption = None) -> None:
    """Remove a member. Only owners do this; the last owner stays.

    Example: waveledger members remove bob
    """
    from ledger.application import members
    from projections.facts import Facts

    members.remove(open_ledger(ctx), Facts(), name, dry_run=dry_run)
    done = "would be removed" if dry_run else "is no member any more"
    show(Output({"name": name, "dry_run": dry_run}, lines=[f"{name} {done}"]), format)
    if dry_run:
        say_dry_run(["member.removed/1"])
