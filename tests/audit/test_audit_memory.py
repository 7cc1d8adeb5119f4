"""What an audit keeps of the ledger grows with the fleet and the number of waves, not with what waves are made of."""

from __future__ import annotations

from projections.audit.history import Audit
from projections.audit.offline import Offline
from tests.support import Factory


def test_an_audit_keeps_the_headers_of_documents(lived: Factory) -> None:
    """No text of a targets document is kept, of none of the waves: a publication that shows one has it read again."""
    looked = Audit(lived.engine)

    assert list(looked.history()) == []

    (offline,) = [check for check in looked.checks if isinstance(check, Offline)]
    assert {signed.wave for signed in offline.signed.values()} >= {"w1", "w2", "w3", "w4"}
    assert [signed.document.view for signed in offline.signed.values() if signed.document.signed] == []
