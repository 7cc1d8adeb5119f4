"""The use cases of CI targets: import and prune. They need access to the store only (DESIGN §2)."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.application.facts import ReleaseFacts
from ledger.domain import catalog
from ledger.domain.values import Target
from ledger.session import Ledger


def import_targets(
    ledger: Ledger, facts: ReleaseFacts, targets: Sequence[Target], source: str, *, dry_run: bool = False
) -> catalog.Import:
    """Take in what CI built, all or nothing. Raises: TargetContentChanged."""
    with ledger.writing(dry_run=dry_run) as session:
        names = [target.name for target in targets]
        known = facts.ci_bodies(session.connection, names)
        pruned = facts.pruned_bodies(session.connection, names)
        came = catalog.import_targets(known, targets, source, pruned)
        session.append("catalog", came.events)
        return came


def prune_named(ledger: Ledger, facts: ReleaseFacts, names: Sequence[str], *, dry_run: bool = False) -> catalog.Prune:
    """Serve these CI targets no more, all or none. Raises: UnknownCiTargets."""
    with ledger.writing(dry_run=dry_run) as session:
        came = catalog.prune_named(facts.ci_bodies(session.connection, names), names)
        session.append("catalog", came.events)
        return came


def prune_tagged(
    ledger: Ledger, facts: ReleaseFacts, tags: Sequence[str], keep: int = 0, *, dry_run: bool = False
) -> catalog.Prune:
    """Serve the CI targets with exactly these tags no more, but for the newest `keep` numbers. Raises: UnknownCiTag."""
    with ledger.writing(dry_run=dry_run) as session:
        known = facts.ci_tags(session.connection)
        for tag in tags:
            if tag not in known:
                raise catalog.UnknownCiTag(tag=tag)
        came = catalog.prune_tagged(facts.ci_tagged(session.connection, tags), tags, keep)
        session.append("catalog", came.events)
        return came
