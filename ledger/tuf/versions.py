"""Versions of targets documents: lanes of a thousand (DESIGN §4, "Targets versions in lanes").

A wave takes new lanes at init; a re-sign for expiry or for a new key raises the revision inside the lane. So no
document that a client may see is ever numbered below one it saw.
"""

from __future__ import annotations

from ledger.domain.values import INTEGER_LIMIT
from ledger.tuf.errors import LaneExhausted

LANE = 1000  # versions in a lane: revisions 0 to 999
LANE_LIMIT = INTEGER_LIMIT // LANE  # exclusive; versions stay below 2**31, as every client reads them


def version_of(lane: int, revision: int = 0) -> int:
    """The targets version of a lane's revision."""
    if not 1 <= lane < LANE_LIMIT or not 0 <= revision < LANE:
        raise RuntimeError(f"no targets version for lane {lane}, revision {revision}")
    return lane * LANE + revision


def lane_of(version: int) -> int:
    """The lane that a targets version lies in."""
    return version // LANE


def revision_of(version: int) -> int:
    """Which revision of its lane a targets version is, 0 for the first."""
    return version % LANE


def next_revision(version: int) -> int:
    """The version of the same document signed anew. Raises: LaneExhausted."""
    if lane_of(version + 1) != lane_of(version):
        raise LaneExhausted(version=version)
    return version + 1
