"""What an audit keeps of the ledger grows with the fleet and the number of waves, not with what waves are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from projections.audit import offline
from projections.audit.history import Audit
from projections.audit.offline import Offline
from projections.audit.roots import Roots
from tests.support import Factory


def test_an_audit_keeps_the_headers_of_documents(lived: Factory) -> None:
    """No text of a targets document is kept, of none of the waves: a publication that shows one has it read again."""
    looked = Audit(lived.engine)

    assert list(looked.history()) == []

    (offline,) = [check for check in looked.checks if isinstance(check, Offline)]
    assert {signed.wave for signed in offline.signed.values()} >= {"w1", "w2", "w3", "w4"}
    assert [signed.document.view for signed in offline.signed.values() if signed.document.signed] == []


def test_targets_of_many_tags_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags take turns, and the way back of each wave has its tag's production: it is at hand, within the bound."""
    factory = Factory(tmp_path / "ledger.db")
    factory.build(1, 2)
    tags = [f"tag{number}" for number in range(20)]
    for number in (1, 2):
        for tag in tags:
            factory.init(f"{tag}-w{number}", number, tag)
            factory.complete(f"{tag}-w{number}")
    reads: dict[int, list[int]] = {}

    for kept in (offline._KEPT_BYTES, 1):
        monkeypatch.setattr(offline, "_KEPT_BYTES", kept)
        looked = Audit(factory.engine)
        (check,) = [check for check in looked.checks if isinstance(check, Offline)]
        read, reads[kept] = check.read, []
        check.read = lambda position, read=read, into=reads[kept]: into.append(position) or read(position)

        assert list(looked.history()) == []

    factory.close()
    roomy, tight = reads.values()
    assert roomy == []
    assert len(tight) >= len(tags)


def test_targets_that_were_asked_for_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the bound all are kept, whatever replaced what; above it those go that were asked for longest ago."""
    monkeypatch.setattr(offline, "_KEPT_BYTES", 30)
    check = Offline(Roots(), lambda _: None)
    for wave in ("a", "b", "a", "c", "b"):
        check._keep(wave, wave.encode() * 10)
    assert list(check.bodies) == ["a", "c", "b"]

    assert check._body("a") == b"a" * 10
    check._keep("d", b"d" * 11)

    assert list(check.bodies) == ["a", "d"]
    assert check.kept_bytes == 21
