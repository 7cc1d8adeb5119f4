"""waveledger audit: the history."""

from __future__ import annotations

from cli.commands import audit_diff, audit_exchange, audit_proof, audit_read, audit_replay, audit_verify
from cli.options import group

app = group("The history of the ledger.")
audit_read.register(app)
app.command("diff")(audit_diff.diff)
app.command("replay")(audit_replay.replay)
audit_verify.register(app)
audit_proof.register(app)
audit_exchange.register(app)


@app.callback()
def audit() -> None:
    """The history of the ledger."""
