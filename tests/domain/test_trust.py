"""The trust stream: root chains, and an update of the root from its proposal to its end."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce

import pytest

from ledger.domain import trust
from ledger.domain.events import (
    Document,
    OnlineKeySet,
    ProposedTargetsSigned,
    RootProposed,
    RootPublished,
    RootSigned,
    RootUpdateClosed,
)
from ledger.domain.transition import IllegalEvent
from ledger.domain.trust import NoRootUpdate, RootUpdateOpen, Trust, TrustEvent
from tests.domain.conftest import EXPIRES, Given

LATER = datetime(2028, 11, 23, tzinfo=UTC)
ALICE, BOB = "aa" * 32, "bb" * 32
DOCUMENT = Document("production/release", 2001, EXPIRES, "w41", None)

PUBLISHED = RootPublished("production", 1, EXPIRES, "{}")
OF_CI = RootPublished("ci", 1, EXPIRES, "{}")
ONLINE = OnlineKeySet("production", "timestamp", ALICE, {})
PROPOSED = RootProposed(1, "root 2", None)
SIGNED = RootSigned(1, ALICE, "06")
DOCUMENTS_SIGNED = ProposedTargetsSigned(1, "tag:release", (DOCUMENT,), BOB, ("07",))
APPLIED = RootUpdateClosed(1, "applied")
CANCELED = RootUpdateClosed(1, "canceled")


def given(*events: TrustEvent) -> Given:
    """The state after these events."""
    return Given(reduce(trust.evolve, events, Trust()))


def test_roots_follow_each_other() -> None:
    """Each repository has its own chain, which grows by one; the first may be any, for chains that were adopted."""
    adopted = RootPublished("production", 7, EXPIRES, "{}")
    state = given(adopted, OF_CI, RootPublished("production", 8, LATER, "{}")).state
    assert state.versions == (("ci", 1), ("production", 8))
    assert trust.evolve(state, ONLINE) == state


def test_an_update_collects_signatures() -> None:
    """Over the proposed root, and over live documents."""
    update = trust.require_open(given(PUBLISHED, PROPOSED, SIGNED, DOCUMENTS_SIGNED).state)
    assert update.signatures == ((ALICE, "06"),)
    assert update.documents == (DOCUMENTS_SIGNED,)


def test_another_proposal_drops_signatures() -> None:
    """What was signed is not what is proposed now; documents stay what they were, whatever the root will be."""
    again = RootProposed(1, "another root 2", None)
    update = trust.require_open(given(PUBLISHED, PROPOSED, SIGNED, DOCUMENTS_SIGNED, again).state)
    assert (update.root, update.signatures, update.documents) == ("another root 2", (), (DOCUMENTS_SIGNED,))


def test_another_expiry_drops_documents() -> None:
    """Documents with another expiry are other documents."""
    update = trust.require_open(given(PUBLISHED, PROPOSED, DOCUMENTS_SIGNED, RootProposed(1, "root 2", LATER)).state)
    assert (update.targets_expires, update.documents) == (LATER, ())


@pytest.mark.parametrize("end", [APPLIED, CANCELED])
def test_an_update_ends(end: RootUpdateClosed) -> None:
    """Applied or canceled, it is over, and the next one has the next number."""
    state = given(PUBLISHED, PROPOSED, SIGNED, end).state
    assert (state.updates, state.open) == (1, None)
    Given(state).when(trust.require_open).refused(NoRootUpdate, exit_code=4)
    assert trust.evolve(state, RootProposed(2, "root 2", None)).open is not None


def test_only_one_at_a_time() -> None:
    """Who would change the root beside it is told which update is open."""
    given(PUBLISHED, PROPOSED).when(trust.require_none_open).refused(RootUpdateOpen, update=1)
    assert given(PUBLISHED).when(trust.require_none_open).error is None


ILLEGAL: dict[str, tuple[TrustEvent, ...]] = {
    "a root left out": (PUBLISHED, RootPublished("production", 3, LATER, "{}")),
    "the same root again": (PUBLISHED, PUBLISHED),
    "an update with a number left out": (RootProposed(2, "root 2", None),),
    "an update with a number of old": (PROPOSED, CANCELED, PROPOSED),
    "a proposal of another update": (PROPOSED, RootProposed(2, "root 2", None)),
    "a signature without an update": (SIGNED,),
    "a signature for another update": (PROPOSED, RootSigned(2, ALICE, "06")),
    "a key that signs twice": (PROPOSED, SIGNED, SIGNED),
    "documents without an update": (DOCUMENTS_SIGNED,),
    "documents of an update that ended": (PROPOSED, APPLIED, DOCUMENTS_SIGNED),
    "an end without an update": (APPLIED,),
    "two ends": (PROPOSED, CANCELED, APPLIED),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_cannot_have_happened(name: str) -> None:
    """A history that no command writes is refused, with event and state."""
    *before, event = ILLEGAL[name]
    state = reduce(trust.evolve, before, Trust())
    with pytest.raises(IllegalEvent):
        trust.evolve(state, event)
