"""waveledger audit: the history."""

from __future__ import annotations

from cli.commands import audit_diff, audit_read, audit_replay
from cli.options import group

app = group("The history of the ledger.")
audit_read.register(app)
app.command("diff")(audit_diff.diff)
app.command("replay")(audit_replay.replay)


@app.callback()
def audit() -> None:
    """The history of the ledger."""
