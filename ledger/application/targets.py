"""The use case of CI targets: import. It needs access to the store only (DESIGN §2)."""

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
        known = facts.ci_bodies(session.connection, [target.name for target in targets])
        came = catalog.import_targets(known, targets, source)
        session.append("catalog", came.events)
        return came
