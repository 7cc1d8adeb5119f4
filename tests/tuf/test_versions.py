from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tuf import versions
from ledger.tuf.errors import LaneExhausted


@pytest.mark.property
@given(st.integers(1, versions.LANE_LIMIT - 1), st.integers(0, versions.LANE - 1))
def test_lane_and_revision_round_trip(lane, revision):
    """A version tells its lane and its revision, and any version of a higher lane is higher."""
    version = versions.version_of(lane, revision)

    assert (lane, revision) == (versions.lane_of(version), versions.revision_of(version))
    assert version < 2**31
    assert version < (lane + 1) * versions.LANE


def test_revisions_stay_in_their_lane():
    """The first thousand versions of a lane are its revisions; there is no next one after the last."""
    assert versions.version_of(7) == 7000
    assert versions.next_revision(7000) == 7001
    with pytest.raises(LaneExhausted):
        versions.next_revision(7999)


@pytest.mark.parametrize(("lane", "revision"), [(0, 0), (-1, 0), (1, -1), (1, 1000), (2**31 // 1000, 0)])
def test_no_version_outside(lane, revision):
    """Asking for a version that no client could hold, or of no lane, is a programming error."""
    with pytest.raises(RuntimeError):
        versions.version_of(lane, revision)
