"""To which stream each event belongs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias, get_args

from ledger.domain.events import (
    BundleExported,
    CiTargetsImported,
    CiTargetsPruned,
    DevicesChanged,
    DevicesRegistered,
    DevicesRemoved,
    DevicesReported,
    DevicesStaged,
    DocumentCosigned,
    Event,
    FactoryInitialized,
    MemberAdded,
    MemberRemoved,
    MetadataPublished,
    VersionsRaised,
)
from ledger.domain.tag import TagEvent
from ledger.domain.trust import TrustEvent
from ledger.domain.wave import WaveEvent

_Place: TypeAlias = tuple[str, tuple[str, ...]]


def _places() -> Iterator[tuple[type[Event], _Place]]:
    """Each class of events with the kind of its stream, and the fields that name it."""
    told: tuple[tuple[Any, _Place], ...] = (
        (FactoryInitialized | MemberAdded | MemberRemoved, ("factory", ())),
        (TrustEvent, ("trust", ())),
        (CiTargetsImported | CiTargetsPruned, ("catalog", ())),
        (TagEvent, ("tag", ("tag",))),
        (WaveEvent, ("wave", ("wave",))),
        (DevicesStaged, ("rollout", ("wave", "rollout"))),
        (DevicesRegistered | DevicesChanged | DevicesRemoved | DevicesReported, ("fleet", ())),
        (MetadataPublished | DocumentCosigned | VersionsRaised | BundleExported, ("publication", ("repository",))),
    )
    for events, place in told:
        for one in get_args(events) or (events,):
            yield one, place


_PLACES = dict(_places())


def stream_of(event: Event) -> str:
    """The stream of an event."""
    kind, fields = _PLACES[type(event)]
    return ":".join([kind, *(str(getattr(event, field)).replace("/", ":", 1) for field in fields)])
