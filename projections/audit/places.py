"""To which stream each event belongs."""

from __future__ import annotations

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
    TargetsPromoted,
    TargetsPruned,
    TargetsResigned,
    VersionsRaised,
    WaveCanceled,
    WaveClosed,
    WaveCompleted,
    WaveHoldersChanged,
    WaveInitialized,
    WaveOpened,
    WaveResigned,
    WaveRolledOut,
    WaveSigned,
)

_STREAMS: dict[tuple[type[Event], ...], tuple[str, tuple[str, ...]]] = {
    (FactoryInitialized, MemberAdded, MemberRemoved): ("factory", ()),
    (CiTargetsImported, CiTargetsPruned): ("catalog", ()),
    (WaveOpened, TargetsPromoted, TargetsPruned, TargetsResigned, WaveClosed): ("tag", ("tag",)),
    (WaveInitialized, WaveSigned, WaveResigned, WaveHoldersChanged): ("wave", ("wave",)),
    (WaveRolledOut, WaveCompleted, WaveCanceled): ("wave", ("wave",)),
    (DevicesStaged,): ("rollout", ("wave", "rollout")),
    (DevicesRegistered, DevicesChanged, DevicesRemoved, DevicesReported): ("fleet", ()),
    (MetadataPublished, DocumentCosigned, VersionsRaised, BundleExported): ("publication", ("repository",)),
}


def stream_of(event: Event) -> str:
    """The stream of an event."""
    kind, fields = next((found for classes, found in _STREAMS.items() if isinstance(event, classes)), ("trust", ()))
    return ":".join([kind, *(str(getattr(event, field)).replace("/", ":", 1) for field in fields)])
