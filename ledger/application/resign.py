"""Signing live documents anew on request: for a later expiry, or above the versions of a ledger that is lost.

Rules of this module:

* A tag is signed anew with its active wave; a wave (active, held or in production) alone.
* Above a ledger that is lost, its newer roots are taken in first: what is signed is signed for those.
* A wave that is not ready is signed anew when it is named; with its tag it is left alone, except where all of the tag
  takes new lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.application import rootsahead
from ledger.application.facts import ReleaseFacts
from ledger.application.live import (
    Anew,
    DocumentsOvertaken,
    NewExpiry,
    Owned,
    SignedAnew,
    TooFewSigners,
    Versions,
    anew,
    live,
    next_lanes,
    record,
    sign_anew,
)
from ledger.application.rootsahead import RootsAhead
from ledger.domain import members
from ledger.domain.errors import NotFound, Refused
from ledger.domain.events import VersionsRaised
from ledger.domain.initiation import ExpiryInPast
from ledger.domain.tag import Tag
from ledger.domain.values import INTEGER_LIMIT, format_time, from_epoch
from ledger.session import Ledger
from ledger.tuf import roots
from ledger.tuf.keypair import Signer

__all__ = [
    "DocumentsOvertaken",
    "FindSigners",
    "ResignRequest",
    "SignedAnew",
    "TooFewSigners",
    "Versions",
    "raise_ci_versions",
    "resign",
    "whole_tag",
]

ROOM = 2**26  # numbers that must be left above what is raised to: a publication a minute for 127 years

FindSigners = Callable[[Root, frozenset[str]], Sequence[Signer]]
"""From the current root and its online keyids to the offline targets keys that were given."""


class NothingToResign(NotFound):
    """The name is that of no tag or wave with live documents."""

    message = "{name} has no live documents: nothing of it is shown to devices, or will be"
    hint = "name a tag, an active wave, or a canceled one whose devices are held; waveledger waves list shows the waves"
    name: str


class NameOfTwoThings(Refused):
    """A tag and a wave have the same name."""

    message = "{name} is a tag and a wave"
    hint = "say which: tag:{name} or wave:{name}"
    name: str


class OnlyAWholeTag(Refused):
    """Raising versions concerns all views of a repository."""

    message = "{name} is a wave of tag {tag}, and versions are raised for all views of a tag"
    hint = "name the tag: tag:{tag}"
    name: str
    tag: str


class VersionsTooHigh(Refused):
    """Above such versions there would be no room for what is to come."""

    message = "version {version} leaves no room above it: clients read numbers below 2147483648"
    hint = "look at what is there: no ledger gave out such a number; take that file away, if it is not what clients saw"
    version: int


@dataclass(frozen=True)
class ResignRequest:
    """What the user asks for: a tag or a wave, another expiry, or new lanes above what a lost ledger gave out.

    With `at_least`, documents that live longer than until `expires` keep their expiry. `ahead`: its roots.
    """

    name: str
    expires: datetime | None
    above: Versions | None = None
    at_least: bool = False
    ahead: RootsAhead | None = None


def resign(
    ledger: Ledger, facts: ReleaseFacts, request: ResignRequest, find_signers: FindSigners, *, dry_run: bool = False
) -> list[SignedAnew]:
    """Sign the live documents of a tag or a wave anew, and record it."""
    if request.expires is not None and request.expires <= from_epoch(ledger.now):
        raise ExpiryInPast(expires=format_time(request.expires))
    if request.above is not None:
        _require_room(request.above)
    with ledger.reading() as connection:
        members.require_member(facts.members(connection), ledger.actor)
        trusted = facts.trusted(connection, "production")
        tag, wanted = _wanted(connection, facts, request)
    ahead = request.ahead
    root = ahead.root if ahead else roots.load_root(trusted.metadata).signed
    signers = find_signers(root, frozenset({ahead.online_targets if ahead else trusted.online_targets_keyid}))
    resigned = [sign_anew(one, root, signers) for one in wanted]
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        if facts.trusted(session.connection, "production") != trusted:
            raise DocumentsOvertaken(owner=f"tag:{tag.name}")
        record(session, facts, resigned)
        if ahead is not None:
            rootsahead.record(session, facts, ahead, {one.anew.before.owner for one in resigned})
        if request.above is not None:
            raised = VersionsRaised(tag.view, request.above.metadata, request.above.targets)
            session.append(f"publication:production:{tag.name}", [raised])
    return resigned


def raise_ci_versions(
    ledger: Ledger,
    facts: ReleaseFacts,
    tag: str,
    above: Versions,
    ahead: RootsAhead | None = None,
    *,
    dry_run: bool = False,
) -> None:
    """Let a CI repository go on above what a lost ledger gave out; its documents are signed online."""
    _require_room(above)
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        if ahead is not None:
            rootsahead.record(session, facts, ahead)
        raised = VersionsRaised(f"ci/{tag}", above.metadata, above.targets)
        session.append(f"publication:ci:{tag}", [raised])


def whole_tag(connection: Connection, facts: ReleaseFacts, name: str) -> str:
    """The tag whose versions are to be raised. Raises: OnlyAWholeTag, for a wave's name."""
    kind, called = _split(name)
    tag_of_wave = facts.tag_of_wave(connection, called)
    if kind == "wave" or (kind is None and tag_of_wave and called not in facts.tags(connection)):
        raise OnlyAWholeTag(name=called, tag=tag_of_wave or "TAG")
    return called


def _require_room(above: Versions) -> None:
    highest = max(above.metadata, above.targets)
    if highest > INTEGER_LIMIT - ROOM:
        raise VersionsTooHigh(version=highest)


def _split(name: str) -> tuple[str | None, str]:
    """``tag:NAME`` and ``wave:NAME`` say what is meant."""
    prefix, colon, rest = name.partition(":")
    return (prefix, rest) if colon and prefix in {"tag", "wave"} else (None, name)


def _wanted(connection: Connection, facts: ReleaseFacts, request: ResignRequest) -> tuple[Tag, list[Anew]]:
    """The tag, and what is to be signed."""
    expiry = NewExpiry(request.expires, request.at_least) if request.expires else None
    if request.above is not None:
        tag = facts.tag(connection, whole_tag(connection, facts, request.name))
        return tag, next_lanes(connection, tag, live(connection, facts, tag), expiry, request.above)
    tag, wanted = _resolve(connection, facts, request.name)
    owned = live(connection, facts, tag)
    found = anew(connection, tag, wanted, owned, expiry)
    # Who names a wave gives the key for it, whoever signed it before.
    return tag, [replace(one, only=None) if one.before in wanted else one for one in found]


def _resolve(connection: Connection, facts: ReleaseFacts, name: str) -> tuple[Tag, list[Owned]]:
    """The tag, and the owners of what is to be signed."""
    kind, called = _split(name)
    tag = facts.tag(connection, called)
    of_tag = [] if kind == "wave" else [one for one in live(connection, facts, tag) if one.ready]
    wave_tag = None if kind == "tag" else facts.tag_of_wave(connection, called)
    of_wave = [] if wave_tag is None else _of_wave(connection, facts, facts.tag(connection, wave_tag), called)
    if of_tag and of_wave:
        raise NameOfTwoThings(name=called)
    if of_wave and wave_tag is not None:
        return facts.tag(connection, wave_tag), of_wave
    if not of_tag:
        raise NothingToResign(name=called)
    return tag, of_tag


def _of_wave(connection: Connection, facts: ReleaseFacts, tag: Tag, wave: str) -> list[Owned]:
    """The active wave's documents, or the one document of a held view or of production that the wave left."""
    owners = live(connection, facts, tag)
    if tag.active and tag.active.wave == wave:
        return [one for one in owners if one.owner == f"wave:{wave}"]
    kept: Mapping[str, bool] = {
        document.view: document.view == f"held/{wave}" or (document.view == tag.view and document.content == wave)
        for one in owners
        for document in one.documents
    }
    found = []
    for one in owners:
        places = [place for place, document in enumerate(one.documents) if kept[document.view]]
        if one.owner == f"tag:{tag.name}" and places:
            documents = tuple(one.documents[place] for place in places)
            found.append(replace(one, documents=documents, signers=tuple(one.signers[place] for place in places)))
    return found
