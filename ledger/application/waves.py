"""The use cases of a wave: init, sign, rollout, complete, cancel.

Rules of this module:

* What needs an offline key reads and signs without a lock, then decides again under it: the documents must be the
  ones that were signed, or somebody was faster.
* A signature is recorded only when it verifies against the root (TUF 1.0 §4.2, detached over the canonical bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection
from tuf.api.metadata import Root

from ledger.application.facts import FleetFacts, Reach, ReleaseFacts, Trusted
from ledger.application.signed import own_body, signed_bytes
from ledger.domain import initiation, members, rollout, wave
from ledger.domain.errors import Conflict
from ledger.domain.events import (
    BATCH,
    DevicesStaged,
    Document,
    Event,
    Selector,
    WaveInitialized,
    WaveOpened,
    WaveRolledOut,
    WaveSigned,
)
from ledger.domain.initiation import WaveFacts, WaveRequest
from ledger.domain.tag import LiveDocument
from ledger.domain.values import Target, from_epoch
from ledger.session import Ledger, Session, load
from ledger.store import events
from ledger.tuf import canonical, documents, roots, signing, versions
from ledger.tuf.keys import OfflineSigner

FindSigner = Callable[[Root, frozenset[str]], OfflineSigner]
"""From the current root and its online keyids to the one offline targets key of the holder."""

ONLINE_HOURS = 4  # a device seen within these is online, and chosen first (fioctl)


class WaveOvertaken(Conflict):
    """The ledger changed while the wave was being signed."""

    message = "tag {tag} changed while wave {wave} was being signed"
    hint = "nothing was recorded; run the command again to sign the wave as it would be now"
    tag: str
    wave: str


@dataclass(frozen=True)
class Prepared:
    """A wave that init would make, and the bytes to sign for it."""

    initialized: WaveInitialized
    opened: WaveOpened
    to_sign: tuple[bytes, ...]
    new: tuple[Target, ...]


def init(
    ledger: Ledger, facts: ReleaseFacts, request: WaveRequest, find_signer: FindSigner, *, dry_run: bool = False
) -> Prepared:
    """Prepare a wave and record it with its first offline signature. Delivers nothing, publishes nothing."""
    with ledger.reading() as connection:
        members.require_member(facts.members(connection), ledger.actor)
        trusted = facts.trusted(connection, "production")
        signer = _find(trusted, find_signer)
        known = _wave_facts(connection, facts, request)
        prepared = _prepare(connection, request, trusted, known, ledger.now)
    signatures = _sign_all(trusted, signer, prepared.to_sign)
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        now_known = _wave_facts(session.connection, facts, request, before=known)
        initiation.decide_targets(request, now_known, from_epoch(ledger.now))  # refused by what is true now
        if now_known != known or facts.trusted(session.connection, "production") != trusted:
            raise WaveOvertaken(tag=request.tag, wave=request.wave)
        session.append(f"tag:{request.tag}", [prepared.opened])
        signed = WaveSigned(request.wave, signer.keyid, signatures)
        session.append(f"wave:{request.wave}", [prepared.initialized, signed], expected=0)
    return prepared


def sign(
    ledger: Ledger, facts: ReleaseFacts, name: str, find_signer: FindSigner, *, dry_run: bool = False
) -> wave.Wave:
    """Add an offline signature to an active wave; returns the wave as it is then."""
    with ledger.reading() as connection:
        members.require_member(facts.members(connection), ledger.actor)
        trusted = facts.trusted(connection, "production")
        before = load(connection, f"wave:{name}")
        state = wave.require_active(_fold(before, name))
        signer = _find(trusted, find_signer)
        wave.require_unsigned_by(state, signer.keyid)
        to_sign = tuple(signed_bytes(document, own_body(connection, document)) for document in state.documents)
    signatures = _sign_all(trusted, signer, to_sign)
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        if facts.trusted(session.connection, "production") != trusted:
            raise WaveOvertaken(tag=state.init.tag, wave=name)
        now = load_wave(session, name)
        event = wave.sign(now, signer.keyid, signatures)
        session.append(f"wave:{name}", [event], expected=len(before))
        return wave.evolve(now, event)


@dataclass(frozen=True)
class RolloutRequest:
    """What the user asks rollout for. A `plan` is exactly these devices, looked at before."""

    wave: str
    group: str | None = None
    limit: rollout.Limit | None = None
    uuids: tuple[str, ...] | None = None
    plan: tuple[str, ...] | None = None

    @property
    def full_group(self) -> bool:
        """Whether the group itself is the list, with whoever joins it later."""
        return self.group is not None and self.limit is None and self.uuids is None and self.plan is None


@dataclass(frozen=True)
class RolledOut:
    """What a rollout came to. `uuids` is empty for a full group, whose list is the group."""

    event: WaveRolledOut
    tag: str
    number: int
    uuids: tuple[str, ...]
    matching: int


def roll_out(
    ledger: Ledger, releases: ReleaseFacts, fleet: FleetFacts, request: RolloutRequest, *, dry_run: bool = False
) -> RolledOut:
    """Deliver an active wave to a subset of the production devices on its tag."""
    listed = request.plan if request.plan is not None else request.uuids
    rollout.require_selection(request.wave, group=request.group, limit=request.limit, uuids=listed)
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(releases.members(session.connection), session.actor)
        active = _deliverable(session, request.wave, ledger.now)
        reach = Reach(request.wave, active.init.tag, active.init.number, request.group, listed)
        if request.group is not None and not fleet.group_exists(session.connection, request.group):
            raise rollout.UnknownGroup(group=request.group)
        choice, digest = _choose(session, fleet, request, reach)
        event = wave.roll_out(
            active,
            Selector(request.group, str(request.limit) if request.limit else None, len(listed) if listed else None),
            full_group=request.full_group,
            devices=choice.matching if request.full_group else len(choice.uuids),
            skipped=choice.skipped,
            digest=digest,
            plan=digest if request.plan is not None else None,
        )
        session.append(f"wave:{request.wave}", [event])
        session.append(
            f"rollout:{request.wave}:{event.rollout}",
            [
                DevicesStaged(request.wave, event.rollout, choice.uuids[start : start + BATCH])
                for start in range(0, len(choice.uuids), BATCH)
            ],
        )
        return RolledOut(event, active.init.tag, active.init.number, choice.uuids, choice.matching)


def complete(ledger: Ledger, facts: ReleaseFacts, name: str, *, dry_run: bool = False) -> WaveInitialized:
    """Make the wave's targets the production targets of its tag, for all its devices, for good."""
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        active = _deliverable(session, name, ledger.now)
        production = facts.production_numbers(session.connection, active.init.tag)
        pruned = tuple(sorted(name for name, number in production.items() if number in active.init.prune))
        completed, tag_events = wave.complete(active, pruned)
        session.append(f"wave:{name}", [completed])
        session.append(f"tag:{active.init.tag}", tag_events)
        return active.init


def cancel(
    ledger: Ledger, facts: ReleaseFacts, name: str, reason: str | None, *, dry_run: bool = False
) -> wave.ActiveWave:
    """End the wave without making its target a production target; returns it as it was."""
    with ledger.writing(dry_run=dry_run) as session:
        members.require_member(facts.members(session.connection), session.actor)
        active = wave.require_active(load_wave(session, name))
        canceled, closed = wave.cancel(active, reason)
        session.append(f"wave:{name}", [canceled])
        session.append(f"tag:{active.init.tag}", [closed])
        return active


def load_wave(session: Session, name: str) -> wave.Wave:
    """The wave's state under the lock. Raises: UnknownWave."""
    return _fold(session.load(f"wave:{name}"), name)


def fold_wave(connection: Connection, name: str) -> wave.Wave:
    """The wave's state in a reading transaction. Raises: UnknownWave."""
    return _fold(load(connection, f"wave:{name}"), name)


def _deliverable(session: Session, name: str, now: int) -> wave.ActiveWave:
    active = wave.require_ready(load_wave(session, name))
    wave.require_unexpired(active, from_epoch(now))
    return active


def _fold(events: Sequence[Event], name: str) -> wave.Wave:
    state: wave.Wave | None = None
    for event in events:
        state = wave.evolve(state, cast("wave.WaveEvent", event))
    if state is None:
        raise wave.UnknownWave(wave=name)
    return state


def _wave_facts(
    connection: Connection, facts: ReleaseFacts, request: WaveRequest, before: WaveFacts | None = None
) -> WaveFacts:
    """What is true now. A tag's production targets are those of `before` while its state is: documents never change."""
    tag = facts.tag(connection, request.tag)
    same = before is not None and before.tag == tag
    return WaveFacts(
        ci_targets=facts.ci_targets(connection, request.number),
        tag=tag,
        name_used=events.stream_version(connection, f"wave:{request.wave}") > 0,
        production=before.production if before and same else facts.production(connection, request.tag),
    )


def _prepare(connection: Connection, request: WaveRequest, trusted: Trusted, known: WaveFacts, now: int) -> Prepared:
    targets = initiation.decide_targets(request, known, from_epoch(now))
    tag = known.tag
    lane = tag.lane + 1
    body = canonical.targets_body({n: canonical.encode_unchecked(t.body) for n, t in targets.all.items()})
    version = versions.version_of(lane)
    own_bytes = documents.targets_signed(version, request.expires, body)
    own = Document(f"wave/{request.wave}", version, request.expires, None, own_bytes.decode())
    recoveries = tuple(
        _recovery(view, versions.version_of(lane + place), request, tag.live.get(view))
        for place, view in enumerate([*(held.view for held in tag.held), tag.view], start=1)
    )
    root = roots.load_root(trusted.metadata).signed
    initialized = WaveInitialized(
        request.wave,
        request.tag,
        request.number,
        request.source_tag,
        request.prune,
        tuple(target.name for target in targets.new),
        request.expires,
        trusted.version,
        root.roles["targets"].threshold,
        (own, *recoveries),
    )
    opened = WaveOpened(request.tag, request.wave, request.number, lane, lane + len(recoveries))
    to_sign = (own_bytes, *(signed_bytes(document, own_body(connection, document)) for document in recoveries))
    return Prepared(initialized, opened, to_sign, targets.new)


def _recovery(view: str, version: int, request: WaveRequest, live: LiveDocument | None) -> Document:
    """What a view that devices may come back to shows then: its content of today under a higher version."""
    expires = max(request.expires, live.expires) if live else request.expires
    return Document(view, version, expires, live.content if live else None, None)


def _find(trusted: Trusted, find_signer: FindSigner) -> OfflineSigner:
    root = roots.load_root(trusted.metadata).signed
    return find_signer(root, frozenset({trusted.online_targets_keyid}))


def _sign_all(trusted: Trusted, signer: OfflineSigner, to_sign: Sequence[bytes]) -> tuple[str, ...]:
    root = roots.load_root(trusted.metadata).signed
    signatures = tuple(signer.sign(data) for data in to_sign)
    for data, signature in zip(to_sign, signatures, strict=True):
        signing.require_valid(root, "targets", data, signer.keyid, signature)
    return signatures


def _choose(session: Session, fleet: FleetFacts, request: RolloutRequest, reach: Reach) -> tuple[rollout.Choice, str]:
    connection = session.connection
    if request.full_group:
        group = str(request.group)
        if fleet.group_reached(connection, request.wave, group):
            raise rollout.GroupAlreadyReached(wave=request.wave, group=group)
        reached, already = fleet.group_members(connection, reach)
        return rollout.Choice((), reached, already), rollout.group_digest(request.wave, group)
    choice = fleet.choose(connection, reach, request.limit, session.now - ONLINE_HOURS * 3600)
    problems = list(choice.problems)
    if problems and request.plan is None:
        raise rollout.DevicesNotEligible(count=len(problems), listing=", ".join(problems))
    if request.plan is not None:
        chosen = set(choice.uuids)
        refused = {problem.split(" ", 1)[0] for problem in problems}
        problems += [
            f"{uuid} (already in the wave, or at its number)"
            for uuid in request.plan
            if uuid not in chosen and uuid not in refused
        ]
        if problems:
            raise rollout.PlanStale(count=len(problems), listing=", ".join(problems))
    elif request.limit is not None and not choice.uuids:
        raise rollout.NoCandidate(wave=request.wave, matching=choice.matching)
    return choice, rollout.digest_of(request.wave, choice.uuids)
