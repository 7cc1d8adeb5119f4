"""The use case of an adopting init: a ledger that goes on where another repository is, so that no client notices.

Rules of this module:

* Everything is checked, decided and signed before the ledger exists: `prepare`, then `record` in its first transaction.
* What the fleet trusts now leads to the ledger's first own root: the old chain, then a root signed by its holders.
* Each tag's targets become a completed wave, ``adopted-<tag>``, signed by the holders. So everything that works on the
  history of a tag (recovery documents, counts, audit) works from the first day without a special case.
* No client sees a version go down: targets begin in the first lane above the old targets, timestamps and snapshots
  above those that were found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tuf.api.metadata import Root

from ledger.application.factory import FactoryKeys, begin
from ledger.domain import adoption, wave
from ledger.domain.errors import Refused, TufFailure
from ledger.domain.events import (
    Document,
    OnlineKeySet,
    RootPublished,
    VersionsRaised,
    WaveInitialized,
    WaveOpened,
    WaveSigned,
)
from ledger.domain.values import INTEGER_LIMIT, Target
from ledger.session import Session
from ledger.tuf import canonical, chain, documents, roots, signing, versions
from ledger.tuf.chain import Chain, Following
from ledger.tuf.keypair import Signer

LIFETIME = timedelta(days=365)  # of the first documents, as of a wave's if its init does not say
VERSION_LIMIT = INTEGER_LIMIT - 2**26  # what is left is enough for a publication a minute in 127 years

FindSigner = Callable[[Root, Collection[str]], Signer]
"""From a root and its online keyids to one holder's key: of the root role, or of the targets role."""


class ProductionTargetsOld(TufFailure):
    """Adopting them would take clients back to what was replaced."""

    message = "the production targets given are of version {found}, and the repository had version {known}"
    hint = "give the newest targets.json, the one that clients get now"
    found: int
    known: int


class VersionsUsedUp(TufFailure):
    """A version so high that a ledger could not count on from it."""

    message = "{what} is at version {version}, too near to the highest that all clients can read"
    hint = (
        "timestamps and snapshots are replaced anyway: leave their files out of the directory. For targets, reset them"
    )
    what: str
    version: int


class HolderGivenTwice(Refused):
    """The same key again is not another signature."""

    message = "the {role} key {keyid} was given twice"
    hint = "give each holder's key once"
    role: str
    keyid: str


class NotEnoughRootKeys(TufFailure):
    """The old root's holders have not all agreed: clients would not go on."""

    message = "root {version} must be signed by {need} of the holders of root {before}, and {have} were given"
    hint = "give the root keys of more holders: --root-keys FILE, once for each"
    version: int
    before: int
    need: int
    have: int


class NotEnoughTargetsKeys(TufFailure):
    """Production targets would lack offline signatures."""

    message = "production targets need {need} offline signatures, and {have} targets keys were given"
    hint = (
        "give more, each once: --targets-keys FILE. If one of the old keys signs online, name it, and it leaves: "
        "--drop-key KEYID (targets keys that stay: {stay})"
    )
    need: int
    have: int
    stay: str


@dataclass(frozen=True)
class Production:
    """A file of production targets: path, bytes, and its targets as they were read."""

    file: str
    data: bytes
    targets: Sequence[Target]


@dataclass(frozen=True)
class Takeover:
    """What is taken over, and by whom. `versions` are the highest ones found: ``metadata`` and ``targets``."""

    chain: Chain
    production: Sequence[Production]
    versions: Mapping[str, int]
    root_holders: Sequence[FindSigner]
    targets_holders: Sequence[FindSigner]
    drop: Collection[str] = ()
    threshold: int | None = None


@dataclass(frozen=True)
class AdoptedTag:
    """The production line of one tag as it begins, with its signed document."""

    tag: str
    initialized: WaveInitialized
    signed: tuple[WaveSigned, ...]


@dataclass(frozen=True)
class Adoption:
    """All that a ledger begins with. `warnings` are for whoever gave the files."""

    chain: Chain
    following: Following
    root_file: bytes
    tags: tuple[AdoptedTag, ...]
    metadata_version: int
    targets_version: int
    warnings: tuple[str, ...] = field(default=())

    @property
    def threshold(self) -> int:
        """How many signatures production targets need from now on."""
        return self.following.root.roles["targets"].threshold


def prepare(given: Takeover, keys: FactoryKeys, now: datetime) -> Adoption:
    """Check all that is given, make the root that follows, and sign it and each tag's first document.

    Raises:
        The errors of this module and of `ledger.tuf.chain`: what is given is not enough to go on from, or not sound.
        NoMatchingKey, SeveralMatchingKeys: A key that was given is not one that stays.
    """
    old = given.chain.newest
    found = [chain.read_targets(file.file, file.data, old) for file in given.production]
    by_tag = adoption.by_tag([(file.file, file.targets) for file in given.production])
    version = max(targets.version for targets in found)
    _check_versions(given.versions, version)
    following = chain.follow(
        old,
        {role: keys.online[f"production.{role}"].key for role in ("targets", "snapshot", "timestamp")},
        new_holders=[pair.key for pair in keys.targets],
        drop=given.drop,
        threshold=given.threshold,
        expires=now + roots.LIFETIME,
        ledger_key=keys.ledger.key.keyval["public"],
    )
    root_file = _sign_root(given, following.root)
    signers = _targets_signers(given, keys, following)
    tags = tuple(
        _adopt(tag, targets, versions.lane_of(version) + 1, following.root, signers, now + LIFETIME)
        for tag, targets in sorted(by_tag.items())
    )
    warnings = [*following.warnings, *chain.expired(f"root {old.version}", old.expires, now)]
    for file, targets in zip(given.production, found, strict=True):
        warnings += chain.expired(file.file, targets.expires, now)
    warnings += chain.warn_of_length(given.chain.files[0][0], following.root.version)
    warnings += _warn_of_clients_under_way(old, signers)
    return Adoption(given.chain, following, root_file, tags, given.versions["metadata"], version, tuple(warnings))


def record(session: Session, factory: str, keys: FactoryKeys, adopted: Adoption) -> None:
    """Append the first events of the ledger: as of any, with the old root chain, then each tag's production."""
    root = adopted.following.root
    files = [*adopted.chain.files, (root.version, root.expires, adopted.root_file)]
    published = [RootPublished("production", version, expires, data.decode()) for version, expires, data in files]
    begin(session, factory, keys, published, root, _replaced(adopted.chain.newest))
    for tag in adopted.tags:
        _record_tag(session, tag)
        raised = VersionsRaised(f"production/{tag.tag}", adopted.metadata_version, adopted.targets_version)
        session.append(f"publication:production:{tag.tag}", [raised], expected=0)


def _replaced(old: Root) -> list[OnlineKeySet]:
    """The old online keys, for the history: where they are at hand they sign along for a day, as replaced ones do."""
    return [
        OnlineKeySet("production", role, keyid, old.keys[keyid].to_dict())
        for role in ("snapshot", "timestamp")
        for keyid in old.roles[role].keyids
        if keyid in old.keys
    ]


def _check_versions(found: Mapping[str, int], targets: int) -> None:
    if found["targets"] > targets:
        raise ProductionTargetsOld(found=targets, known=found["targets"])
    if found["metadata"] >= VERSION_LIMIT:
        raise VersionsUsedUp(what="a timestamp or snapshot", version=found["metadata"])
    if targets >= VERSION_LIMIT:
        raise VersionsUsedUp(what="the production targets", version=targets)


def _sign_root(given: Takeover, root: Root) -> bytes:
    """The file of the root that follows, signed by holders of the old one, who are its own too."""
    old = given.chain.newest
    signers: dict[str, Signer] = {}
    for find in given.root_holders:
        _add(signers, find(old, ()), "root")
    need = old.roles["root"].threshold
    if len(signers) < need:
        raise NotEnoughRootKeys(version=root.version, before=old.version, need=need, have=len(signers))
    file = roots.sign_root(root, signers.values())
    roots.require_trusted(roots.load_root(file), old)
    return file


def _targets_signers(given: Takeover, keys: FactoryKeys, following: Following) -> list[Signer]:
    """As many holders as a release needs: those that were given first, then those whose keys were made just now."""
    root = following.root
    online = keys.online["production.targets"].keyid
    signers: dict[str, Signer] = {}
    for find in given.targets_holders:
        _add(signers, find(root, (online,)), "targets")
    for pair in keys.targets:
        signers.setdefault(pair.keyid, pair)
    need = root.roles["targets"].threshold - 1
    if len(signers) < need:
        stay = ", ".join(roots.offline_keyids(root, online))
        raise NotEnoughTargetsKeys(need=need, have=len(signers), stay=stay)
    return list(signers.values())[:need]  # more would be refused: a wave that is ready takes no signature


def _warn_of_clients_under_way(old: Root, signers: Sequence[Signer]) -> tuple[str, ...]:
    """What to say where a client that still has the old root can't accept the first targets; else nothing."""
    role = old.roles["targets"]
    have = len({signer.keyid for signer in signers} & set(role.keyids))
    if have >= role.threshold:
        return ()
    why = f"signed by {have} of the {role.threshold} old targets keys that root {old.version} asks for"
    when = "a client that is in the middle of a refresh when they are published may fail once"
    return (f"the first targets are {why}: {when}, and succeeds at its next try",)


def _add(signers: dict[str, Signer], signer: Signer, role: str) -> None:
    if signer.keyid in signers:
        raise HolderGivenTwice(role=role, keyid=signer.keyid)
    signers[signer.keyid] = signer


def _adopt(
    tag: str, targets: Sequence[Target], lane: int, root: Root, signers: Sequence[Signer], expires: datetime
) -> AdoptedTag:
    name, number = adoption.wave_name(tag), max(target.number for target in targets)
    body = canonical.targets_body({target.name: canonical.encode(target.body) for target in targets})
    version = versions.version_of(lane)
    signed = documents.targets_signed(version, expires, body)
    own = Document(f"wave/{name}", version, expires, None, signed.decode())
    initialized = WaveInitialized(
        name,
        tag,
        number,
        None,
        (),
        tuple(sorted(target.name for target in targets)),
        expires,
        root.version,
        root.roles["targets"].threshold,
        (own,),  # no recovery document: it never was a wave that could be canceled
    )
    signatures = []
    for signer in signers:
        signature = signer.sign(signed)
        signing.require_valid(root, "targets", signed, signer.keyid, signature)
        signatures.append(WaveSigned(name, signer.keyid, (signature,)))
    return AdoptedTag(tag, initialized, tuple(signatures))


def _record_tag(session: Session, adopted: AdoptedTag) -> None:
    init = adopted.initialized
    state = wave.evolve(None, init)
    for event in adopted.signed:
        state = wave.evolve(state, event)
    completed, tag_events = wave.complete(state, ())
    lane = versions.lane_of(init.documents[0].version)
    session.append(f"tag:{init.tag}", [WaveOpened(init.tag, init.wave, init.number, lane, lane)], expected=0)
    session.append(f"wave:{init.wave}", [init, *adopted.signed, completed], expected=0)
    session.append(f"tag:{init.tag}", tag_events)
