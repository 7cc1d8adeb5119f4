"""One wave: active (signed until ready, then rolled out), then complete or canceled, for good.

Rules of this module (DESIGN §2; fioctl's `waves`):

* A wave is ready with (threshold - 1) valid offline signatures over all its documents; the online key signs at
  publication. Once ready, sign is refused. A wave that is not ready can be canceled, not rolled out or completed.
* A finished wave stays finished: a completed one can't be canceled, a canceled one can't be rolled out.
* An active wave's documents can be signed anew, under higher versions; from then on those count, and who signed them.
* Where keys change while a wave waits, the signatures of those who stay go on counting. It never needs fewer than it
  was begun for: what its holders were promised is not taken from them.
* Whether a signature is valid is not for this module: it needs cryptography. The use case asks before it records.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, assert_never

from ledger.domain.errors import NotFound, Refused
from ledger.domain.events import (
    Document,
    KeySignatures,
    Recovery,
    Selector,
    TargetsPromoted,
    TargetsPruned,
    WaveCanceled,
    WaveClosed,
    WaveCompleted,
    WaveHoldersChanged,
    WaveInitialized,
    WaveResigned,
    WaveRolledOut,
    WaveSigned,
)
from ledger.domain.transition import IllegalEvent
from ledger.domain.values import format_time


class UnknownWave(NotFound):
    """No wave of that name."""

    message = "there is no wave {wave}"
    hint = "waveledger waves list shows all waves"
    wave: str


class WaveNotReady(Refused):
    """Offline signatures are missing."""

    message = "wave {wave} is not ready: it has {have} of {need} offline signatures"
    hint = "another holder of a targets key signs it: waveledger waves sign {wave} -k KEYS"
    wave: str
    have: int
    need: int


class WaveAlreadyReady(Refused):
    """More signatures would change nothing."""

    message = "wave {wave} is already signed: it has the {need} offline signatures it needs"
    hint = "go on with waveledger waves rollout {wave}, or waveledger waves complete {wave}"
    wave: str
    need: int


class AlreadySigned(Refused):
    """The same key again is not another signature."""

    message = "wave {wave} already has the signature of the key {keyid}"
    hint = "sign with the key of another holder"
    wave: str
    keyid: str


class WaveIsComplete(Refused):
    """The wave was completed, and that is for good."""

    message = "wave {wave} is complete, and that is for good"
    hint = "to take its target out of production, prune it with a later wave: waves init ... --prune {number}"
    wave: str
    number: int


class WaveIsCanceled(Refused):
    """The wave was canceled, and that is for good."""

    message = "wave {wave} is canceled, and that is for good"
    hint = "wave the same target again under a new name: waveledger waves init NEW-NAME {number} {tag} -k KEYS"
    wave: str
    number: int
    tag: str


class WaveExpired(Refused):
    """Every client would refuse the wave's metadata."""

    message = "wave {wave} expired at {expires}: no client would accept it"
    hint = "sign it anew (waveledger targets resign {wave} -k KEYS), or cancel it (waveledger waves cancel {wave})"
    wave: str
    expires: str


@dataclass(frozen=True, slots=True)
class ActiveWave:
    """A wave on its way: its `documents` as they are now, who `signed` them, in that order, and how many rollouts."""

    init: WaveInitialized
    documents: tuple[Document, ...]
    threshold: int
    signed: tuple[KeySignatures, ...] = ()
    rollouts: int = 0

    @property
    def needed(self) -> int:
        """How many offline signatures make it ready: never none, whatever a root says."""
        return max(1, self.threshold - 1)

    @property
    def ready(self) -> bool:
        """Whether it may be rolled out and completed."""
        return len(self.signed) >= self.needed


@dataclass(frozen=True, slots=True)
class CompleteWave:
    """A wave that became production."""

    init: WaveInitialized
    signed: tuple[KeySignatures, ...]


@dataclass(frozen=True, slots=True)
class CanceledWave:
    """A wave that did not."""

    init: WaveInitialized
    signed: tuple[KeySignatures, ...]
    reason: str | None


Wave: TypeAlias = ActiveWave | CompleteWave | CanceledWave
WaveEvent: TypeAlias = (
    WaveInitialized | WaveSigned | WaveResigned | WaveHoldersChanged | WaveRolledOut | WaveCompleted | WaveCanceled
)


def evolve(state: Wave | None, event: WaveEvent) -> Wave:
    """The wave after the event; None is a wave that does not exist yet. Raises: IllegalEvent."""
    if state is not None and event.wave != state.init.wave:
        raise IllegalEvent(event=f"{type(event).__name__} of {event.wave}", state=f"wave {state.init.wave}")
    match state, event:
        case None, WaveInitialized():
            return ActiveWave(event, event.documents, event.threshold)
        case ActiveWave(), WaveSigned() | WaveResigned() | WaveHoldersChanged():
            return _evolve_signatures(state, event)
        case ActiveWave(), WaveRolledOut() if state.ready and event.rollout == state.rollouts + 1:
            return replace(state, rollouts=event.rollout)
        case ActiveWave(), WaveCompleted() if state.ready:
            return CompleteWave(state.init, state.signed)
        case ActiveWave(), WaveCanceled():
            return CanceledWave(state.init, state.signed, event.reason)
    raise IllegalEvent(event=type(event).__name__, state=type(state).__name__)


def _evolve_signatures(state: ActiveWave, event: WaveSigned | WaveResigned | WaveHoldersChanged) -> ActiveWave:
    by = {signed.keyid: signed for signed in state.signed}
    match event:
        case WaveSigned(_, keyid, signatures) if (
            not state.ready and keyid not in by and len(signatures) == len(state.documents)
        ):
            return replace(state, signed=(*state.signed, KeySignatures(keyid, signatures)))
        case WaveResigned(_, _, threshold, documents, signers) if _renews(documents, state.documents):
            return replace(state, documents=documents, threshold=threshold, signed=signers)
        case WaveHoldersChanged(_, _, threshold, removed) if (
            not state.ready and threshold >= state.threshold and by.keys() >= set(removed)
        ):
            kept = tuple(signed for keyid, signed in by.items() if keyid not in removed)
            return replace(state, threshold=threshold, signed=kept)
    raise IllegalEvent(event=type(event).__name__, state=type(state).__name__)


def _renews(documents: tuple[Document, ...], before: tuple[Document, ...]) -> bool:
    """Whether these are the same documents, each under a higher version."""
    return len(documents) == len(before) and all(
        new.view == old.view and new.version > old.version for new, old in zip(documents, before, strict=True)
    )


def require_active(state: Wave) -> ActiveWave:
    """The wave, when it can still change. Raises: WaveIsComplete, WaveIsCanceled."""
    match state:
        case ActiveWave():
            return state
        case CompleteWave(init):
            raise WaveIsComplete(wave=init.wave, number=init.number)
        case CanceledWave(init):
            raise WaveIsCanceled(wave=init.wave, number=init.number, tag=init.tag)
    assert_never(state)


def require_ready(state: Wave) -> ActiveWave:
    """The wave, when it may reach devices. Raises: WaveIsComplete, WaveIsCanceled, WaveNotReady."""
    active = require_active(state)
    if not active.ready:
        raise WaveNotReady(wave=active.init.wave, have=len(active.signed), need=active.needed)
    return active


def require_unexpired(wave: ActiveWave, now: datetime) -> None:
    """Pass a wave that clients would accept now. Raises: WaveExpired."""
    expires = wave.documents[0].expires
    if expires <= now:
        raise WaveExpired(wave=wave.init.wave, expires=format_time(expires))


def require_unsigned_by(state: Wave, keyid: str) -> ActiveWave:
    """The wave, when a signature of this key would count. Raises: WaveAlreadyReady, AlreadySigned and the above."""
    active = require_active(state)
    if active.ready:
        raise WaveAlreadyReady(wave=active.init.wave, need=active.needed)
    if any(signed.keyid == keyid for signed in active.signed):
        raise AlreadySigned(wave=active.init.wave, keyid=keyid)
    return active


def sign(state: Wave, keyid: str, signatures: tuple[str, ...]) -> WaveSigned:
    """Record one key's signatures, one for each document. The caller has verified them."""
    active = require_unsigned_by(state, keyid)
    if len(signatures) != len(active.documents):
        raise RuntimeError("a signature for each document of the wave")
    return WaveSigned(active.init.wave, keyid, signatures)


def change_holders(
    state: ActiveWave, holders: Collection[str], root_version: int, threshold: int
) -> WaveHoldersChanged | None:
    """What other `holders` and another `threshold` are to a wave that waits for signatures; None: nothing."""
    if state.ready:
        raise RuntimeError("a wave that is ready is signed anew")
    removed = tuple(by.keyid for by in state.signed if by.keyid not in holders)
    needed = max(state.threshold, threshold)
    if not removed and needed == state.threshold:
        return None
    return WaveHoldersChanged(state.init.wave, root_version, needed, removed)


def roll_out(
    state: Wave, selector: Selector, *, full_group: bool, devices: int, skipped: int, digest: str, plan: str | None
) -> WaveRolledOut:
    """Record a delivery to a choice of devices that the use case made and checked."""
    active = require_ready(state)
    return WaveRolledOut(active.init.wave, active.rollouts + 1, selector, full_group, devices, skipped, digest, plan)


def complete(
    state: Wave, pruned: tuple[str, ...]
) -> tuple[WaveCompleted, tuple[TargetsPromoted | TargetsPruned | WaveClosed, ...]]:
    """Promote: the wave's event, and those of its tag. `pruned` names the targets that leave with it."""
    active = require_ready(state)
    init, own = active.init, active.documents[0]
    promoted = TargetsPromoted(init.tag, init.wave, init.number, own.version, own.expires)
    gone = (TargetsPruned(init.tag, init.wave, init.prune, pruned),) if init.prune else ()
    return WaveCompleted(init.wave), (promoted, *gone, WaveClosed(init.tag, init.wave, "complete", ()))


def cancel(state: Wave, reason: str | None) -> tuple[WaveCanceled, WaveClosed]:
    """End the wave (DESIGN §4).

    After a rollout its own document is for the devices that are held on it, and each recovery document becomes its
    view's. Before one nobody saw any of them.
    """
    active = require_active(state)
    init, (own, *others) = active.init, active.documents
    recovered = (
        Recovery(f"held/{init.wave}", own.version, own.expires, init.wave),
        *(Recovery(document.view, document.version, document.expires, document.content) for document in others),
    )
    closed = WaveClosed(init.tag, init.wave, "canceled", recovered if active.rollouts else ())
    return WaveCanceled(init.wave, reason), closed
