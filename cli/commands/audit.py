"""waveledger audit: the history."""

from __future__ import annotations

from cli.commands import audit_read
from cli.options import group

app = group("The history of the ledger.")
audit_read.register(app)


@app.callback()
def audit() -> None:
    """The history of the ledger."""
