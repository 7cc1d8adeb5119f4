"""The use cases of members: add, remove."""

from __future__ import annotations

from ledger.application.facts import ReleaseFacts
from ledger.domain import members
from ledger.session import Ledger


def add(ledger: Ledger, facts: ReleaseFacts, member: str, role: str, *, dry_run: bool = False) -> None:
    """Add a member, or give one another role."""
    with ledger.writing(dry_run=dry_run) as session:
        event = members.add(facts.members(session.connection), session.actor, member, role)
        session.append("factory", [event])


def remove(ledger: Ledger, facts: ReleaseFacts, member: str, *, dry_run: bool = False) -> None:
    """Remove a member; the last owner stays."""
    with ledger.writing(dry_run=dry_run) as session:
        event = members.remove(facts.members(session.connection), session.actor, member)
        session.append("factory", [event])
