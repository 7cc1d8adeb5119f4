"""An update of the production root that several holders prepare: proposed, signed by each, applied or canceled.

Rules of this module (fioctl's `keys tuf updates`):

* One update at a time. It is numbered from 1; a proposal replaces the one before it and drops its signatures.
* Who signs the live documents signs them for the update, whatever root it proposes in the end; whether their
  signatures are enough is asked when it is applied.
* Whether a signature is valid is not for this module: it needs cryptography. The use case asks before it records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, assert_never

from ledger.domain.errors import NotFound, Refused
from ledger.domain.events import (
    OnlineKeySet,
    ProposedTargetsSigned,
    RootProposed,
    RootPublished,
    RootSigned,
    RootsTakenIn,
    RootUpdateClosed,
)
from ledger.domain.transition import IllegalEvent

TrustEvent: TypeAlias = (
    RootPublished | OnlineKeySet | RootProposed | RootSigned | ProposedTargetsSigned | RootUpdateClosed | RootsTakenIn
)


class NoRootUpdate(NotFound):
    """Nobody began one, or it came to its end."""

    message = "there is no update of the root"
    hint = "begin one: waveledger keys tuf updates init"


class RootUpdateOpen(Refused):
    """Only one change of the root at a time."""

    message = "update {update} of the root is open"
    hint = "waveledger keys tuf updates review shows it; then updates apply, or updates cancel"
    update: int


class RootAlreadySigned(Refused):
    """A key signs a proposal once."""

    message = "key {keyid} has signed update {update} of the root already"
    hint = "waveledger keys tuf updates review shows what is missing"
    keyid: str
    update: int


@dataclass(frozen=True, slots=True)
class RootUpdate:
    """An open update: the proposed root as a file without signatures, who signed it, and who signed live documents."""

    update: int
    root: str
    targets_expires: datetime | None
    signatures: tuple[tuple[str, str], ...] = ()
    documents: tuple[ProposedTargetsSigned, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """How many updates there were, the open one, and the newest root version of each repository."""

    updates: int = 0
    open: RootUpdate | None = None
    versions: tuple[tuple[str, int], ...] = ()


def evolve(state: Trust, event: TrustEvent) -> Trust:
    """The state after the event. Raises: IllegalEvent."""
    match event:
        case OnlineKeySet() | RootsTakenIn():
            return state
        case RootPublished(repository, version):
            versions = dict(state.versions)
            if repository in versions and version != versions[repository] + 1:
                raise _illegal(state, event)
            return replace(state, versions=tuple(sorted({**versions, repository: version}.items())))
        case RootProposed(update, root, targets_expires):
            return _propose(state, event, RootUpdate(update, root, targets_expires))
        case RootSigned(update, keyid, signature):
            found = _open(state, event, update)
            if keyid in dict(found.signatures):
                raise _illegal(state, event)
            return replace(state, open=replace(found, signatures=(*found.signatures, (keyid, signature))))
        case ProposedTargetsSigned(update):
            found = _open(state, event, update)
            return replace(state, open=replace(found, documents=(*found.documents, event)))
        case RootUpdateClosed(update):
            _open(state, event, update)
            return replace(state, open=None)
    assert_never(event)


def _propose(state: Trust, event: RootProposed, proposed: RootUpdate) -> Trust:
    if state.open is None:
        if event.update != state.updates + 1:
            raise _illegal(state, event)
        return replace(state, updates=event.update, open=proposed)
    before = _open(state, event, event.update)
    kept = before.documents if before.targets_expires == proposed.targets_expires else ()
    return replace(state, open=replace(proposed, documents=kept))


def require_open(state: Trust) -> RootUpdate:
    """The open update. Raises: NoRootUpdate."""
    if state.open is None:
        raise NoRootUpdate
    return state.open


def require_none_open(state: Trust) -> None:
    """Pass when no update is open. Raises: RootUpdateOpen."""
    if state.open is not None:
        raise RootUpdateOpen(update=state.open.update)


def _open(state: Trust, event: TrustEvent, update: int) -> RootUpdate:
    if state.open is None or state.open.update != update:
        raise _illegal(state, event)
    return state.open


def _illegal(state: Trust, event: TrustEvent) -> IllegalEvent:
    return IllegalEvent(event=str(event)[:200], state=str(state)[:200])
