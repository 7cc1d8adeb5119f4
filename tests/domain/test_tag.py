"""The production line of one tag (DESIGN §2 init, complete, cancel; §4 lanes)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ledger.domain import tag
from ledger.domain.events import (
    Document,
    Recovery,
    TargetsPromoted,
    TargetsPruned,
    TargetsResigned,
    WaveClosed,
    WaveOpened,
)
from ledger.domain.tag import HeldView, LiveDocument, OpenWave, Tag
from ledger.domain.transition import IllegalEvent

EXPIRES = datetime(2027, 11, 23, tzinfo=UTC)
OPENED = WaveOpened("release", "v48", 48, 1, 2)
PROMOTED = TargetsPromoted("release", "v48", 48, 1000, EXPIRES)
PRUNED = TargetsPruned("release", "v48", (40,), ("a-40",))
COMPLETE = WaveClosed("release", "v48", "complete", ())
BACK = Recovery("production/release", 2000, EXPIRES, None)
CANCELED = WaveClosed("release", "v48", "canceled", (BACK,))
HELD = WaveClosed("release", "v48", "canceled", (Recovery("held/v48", 1000, EXPIRES, "v48"), BACK))
LATER = datetime(2028, 2, 1, tzinfo=UTC)
AGAIN = Document("production/release", 1001, LATER, "v48", None)
RESIGNED = TargetsResigned("release", 2, 2, (AGAIN,), (), ())
NEXT = WaveOpened("release", "v60", 60, 3, 4)


@pytest.fixture
def given(scenario):
    return scenario(tag.evolve, Tag("release"))


def test_a_new_tag_has_nothing(given):
    """No number, no lane, no wave, no production; its view has its name."""
    state = given().state

    assert state == Tag("release", 0, 0, None, None)
    assert state.view == "production/release"


def test_init_takes_the_place_and_the_lanes(given):
    """The lanes are taken at init, shown or not."""
    assert given(OPENED).state == Tag("release", 0, 2, OpenWave("v48", 48), None)


def test_complete_makes_the_waves_document_production(given):
    """The number grows, the wave's own document is live, the place is free."""
    live = LiveDocument("v48", "wave/v48", 1000, EXPIRES, "v48")

    assert given(OPENED, PROMOTED, PRUNED, COMPLETE).state == Tag("release", 48, 2, None, live)


def test_cancel_after_a_rollout_makes_the_recovery_document_production(given):
    """Before the first complete it is the empty list; the number stays."""
    live = LiveDocument("v48", "production/release", 2000, EXPIRES, None)

    assert given(OPENED, CANCELED).state == Tag("release", 0, 2, None, live)


def test_cancel_of_a_wave_never_rolled_out_changes_nothing_but_the_lanes(given):
    """The lanes stay taken."""
    assert given(OPENED, replace(CANCELED, recovered=())).state == Tag("release", 0, 2, None, None)


def test_cancel_after_a_rollout_leaves_a_held_view(given):
    """Its document is the wave's own; the production view gets its recovery document."""
    state = given(OPENED, HELD).state

    document = LiveDocument("v48", "wave/v48", 1000, EXPIRES, "v48")
    assert state.held == (HeldView("v48", 48, document),)
    assert list(state.live) == ["held/v48", "production/release"]


def test_a_later_cancel_moves_a_held_view_to_its_recovery_document(given):
    """The same content under a higher version, signed with the later wave."""
    back = Recovery("held/v48", 5000, EXPIRES, "v48")
    own = Recovery("held/v60", 3000, EXPIRES, "v60")
    closed = WaveClosed("release", "v60", "canceled", (own, back))

    state = given(OPENED, HELD, replace(NEXT, last_lane=5), closed).state

    assert state.live["held/v48"] == LiveDocument("v60", "held/v48", 5000, EXPIRES, "v48")
    assert state.live["held/v60"] == LiveDocument("v60", "wave/v60", 3000, EXPIRES, "v60")


def test_a_held_view_closes_when_a_wave_of_its_number_or_above_completes(given):
    """A lower one leaves it open."""
    low = (replace(NEXT, number=47), TargetsPromoted("release", "v60", 47, 3000, EXPIRES))
    high = (replace(NEXT, number=48), TargetsPromoted("release", "v60", 48, 3000, EXPIRES))

    assert list(given(OPENED, HELD, *low).state.live) == ["held/v48", "production/release"]
    assert list(given(OPENED, HELD, *high).state.live) == ["production/release"]


def test_a_resign_raises_the_versions_of_live_documents(given):
    """Content and origin stay; the lanes stay taken."""
    document = Document("held/v48", 1001, LATER, "v48", None)

    state = given(OPENED, HELD, TargetsResigned("release", 2, 2, (document,), (), ())).state

    assert state.live["held/v48"] == LiveDocument("v48", "wave/v48", 1001, LATER, "v48")
    assert state.live["production/release"].version == 2000


def test_a_canceled_number_may_be_waved_again(given):
    """Under a new name, in new lanes."""
    again = WaveOpened("release", "v48b", 48, 3, 4)

    assert given(OPENED, CANCELED, again).state.active == OpenWave("v48b", 48)


ILLEGAL = {
    "a second active wave": (OPENED, NEXT),
    "the number of production": (OPENED, PROMOTED, COMPLETE, replace(NEXT, number=48)),
    "a number below production": (OPENED, PROMOTED, COMPLETE, replace(NEXT, number=47)),
    "number zero": (replace(OPENED, number=0),),
    "a lane taken before": (OPENED, CANCELED, replace(NEXT, first_lane=2)),
    "a recovery of no view": (OPENED, replace(CANCELED, recovered=(replace(BACK, view="held/v40"),))),
    "a resign of no document": (OPENED, RESIGNED),
    "a resign of other content": (
        OPENED,
        PROMOTED,
        COMPLETE,
        replace(RESIGNED, documents=(replace(AGAIN, content=None),)),
    ),
    "a resign at the same version": (
        OPENED,
        PROMOTED,
        COMPLETE,
        replace(RESIGNED, documents=(replace(AGAIN, version=1000),)),
    ),
    "a resign of one view twice": (OPENED, PROMOTED, COMPLETE, replace(RESIGNED, documents=(AGAIN, AGAIN))),
    "a resign that gives lanes back": (OPENED, PROMOTED, COMPLETE, replace(RESIGNED, last_lane=1)),
    "no lane at all": (replace(OPENED, last_lane=0),),
    "promoted without a wave": (PROMOTED,),
    "promoted by another wave": (OPENED, replace(PROMOTED, wave="v60")),
    "promoted with another number": (OPENED, replace(PROMOTED, number=49)),
    "promoted twice": (OPENED, PROMOTED, PROMOTED),
    "pruned before promotion": (OPENED, PRUNED),
    "pruned without a wave": (PRUNED,),
    "pruned by another wave": (OPENED, PROMOTED, replace(PRUNED, wave="v60")),
    "closed without a wave": (COMPLETE,),
    "closed by another wave": (OPENED, replace(CANCELED, wave="v60")),
    "complete without promotion": (OPENED, COMPLETE),
    "canceled after promotion": (OPENED, PROMOTED, CANCELED),
    "closed twice": (OPENED, CANCELED, CANCELED),
    "closed with an outcome that is none": (OPENED, replace(CANCELED, outcome="forgotten")),
    "complete with recovery documents": (OPENED, PROMOTED, replace(COMPLETE, recovered=(BACK,))),
    "opened for another tag": (replace(OPENED, tag="beta"),),
    "closed for another tag": (OPENED, replace(CANCELED, tag="beta")),
}


@pytest.mark.parametrize("history", ILLEGAL.values(), ids=ILLEGAL)
def test_evolve_refuses_a_history_that_no_rule_allows(given, history):
    """At most one active wave, numbers and lanes only grow, each step in its place."""
    given(*history[:-1])

    with pytest.raises(IllegalEvent, match="illegal history"):
        given(*history)
