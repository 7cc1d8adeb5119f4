"""What can have happened: every event of the ledger, as released.

Rules of this module:

* Facts in the past tense. A topic is a plain word and a version, never a module path: Python code can be
  renamed, the ledger cannot.
* Once released, a topic's fields are for ever. A new shape is a new version here and an entry in
  `ledger.upcasters`; the golden corpus in ``tests/golden`` holds the bytes.
* Times inside are aware UTC datetimes of whole seconds. Who and when an event was recorded is in its envelope.
* Bulk facts of the fleet are columns: element *i* of each tuple belongs to device *i*, at most `BATCH` an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias, get_args

from ledger.domain.values import JsonObject

BATCH = 1000  # devices an event; one event each cost 5 times the space and 100 times the time (DESIGN §3)


# what is signed offline


@dataclass(frozen=True, slots=True)
class Document:
    """A targets document: a wave's own (`signed` is the canonical signed part), or one that shows what another has.

    Such a one is kept as its header: its targets are those of the own document of the wave `content` (None: the empty
    list).
    """

    view: str
    version: int
    expires: datetime
    content: str | None
    signed: str | None


@dataclass(frozen=True, slots=True)
class KeySignatures:
    """What one key signed: `signatures[i]` (hex) is over the i-th document of the event."""

    keyid: str
    signatures: tuple[str, ...]


# factory: the namespace, and who may act in it


@dataclass(frozen=True, slots=True)
class FactoryInitialized:
    """The ledger began. `ledger_key` is the hex Ed25519 public key that signs its checkpoints."""

    topic: ClassVar[str] = "factory.initialized/1"
    factory: str
    ledger_key: str


@dataclass(frozen=True, slots=True)
class MemberAdded:
    """Somebody may act from now on; `role` is ``owner`` or ``admin``."""

    topic: ClassVar[str] = "member.added/1"
    member: str
    role: str


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """Somebody may not act any more."""

    topic: ClassVar[str] = "member.removed/1"
    member: str


# trust: the two root chains, `repository` is "production" or "ci"


@dataclass(frozen=True, slots=True)
class RootPublished:
    """A root that clients are to trust next. `metadata` is the file, whole, as clients get it."""

    topic: ClassVar[str] = "root.published/1"
    repository: str
    version: int
    expires: datetime
    metadata: str


@dataclass(frozen=True, slots=True)
class OnlineKeySet:
    """The public half of an online key. Where its private half is, is configuration and not history."""

    topic: ClassVar[str] = "online-key.set/1"
    repository: str
    role: str
    keyid: str
    key: JsonObject


@dataclass(frozen=True, slots=True)
class RootProposed:
    """Several holders prepare the next production root; a later proposal of the same update replaces this one.

    `root` is its signed part, as its holders sign it. With `targets_expires` the live documents get a new expiry, too.
    """

    topic: ClassVar[str] = "root.proposed/1"
    update: int
    root: str
    targets_expires: datetime | None


@dataclass(frozen=True, slots=True)
class RootSigned:
    """One holder signed the newest proposal of an update; `signature` is in hex."""

    topic: ClassVar[str] = "root.signed/1"
    update: int
    keyid: str
    signature: str


@dataclass(frozen=True, slots=True)
class RootsTakenIn:
    """An older copy of a ledger that is lost took in roots that clients have already, the newest of that version."""

    topic: ClassVar[str] = "roots.taken-in/1"
    repository: str
    version: int


@dataclass(frozen=True, slots=True)
class ProposedTargetsSigned:
    """One holder signed the live documents of one owner at their next revision, for an update of the root.

    `owner` is the stream whose documents they are (``tag:T`` or ``wave:W``); `signatures[i]` is over `documents[i]`.
    """

    topic: ClassVar[str] = "proposed-targets.signed/1"
    update: int
    owner: str
    documents: tuple[Document, ...]
    keyid: str
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RootUpdateClosed:
    """The update of the root came to its end; `outcome` is ``applied`` or ``canceled``."""

    topic: ClassVar[str] = "root.update-closed/1"
    update: int
    outcome: str


# catalog: what CI built


@dataclass(frozen=True, slots=True)
class CiTargetsImported:
    """CI targets that are new or whose custom fields changed; `targets` maps a name to its TUF target."""

    topic: ClassVar[str] = "ci-targets.imported/1"
    source: str
    targets: dict[str, JsonObject]


@dataclass(frozen=True, slots=True)
class CiTargetsPruned:
    """CI targets that are served no more. Waves and production keep what they have of them."""

    topic: ClassVar[str] = "ci-targets.pruned/1"
    names: tuple[str, ...]


# tag: the production line of one tag, and the owner of "at most one active wave"


@dataclass(frozen=True, slots=True)
class WaveOpened:
    """The tag's one place for an active wave is taken, and these lanes of targets versions with it."""

    topic: ClassVar[str] = "tag.wave-opened/1"
    tag: str
    wave: str
    number: int
    first_lane: int
    last_lane: int


@dataclass(frozen=True, slots=True)
class TargetsPromoted:
    """A wave's document became the tag's production targets; `version` is its TUF targets version."""

    topic: ClassVar[str] = "targets.promoted/1"
    tag: str
    wave: str
    number: int
    version: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class TargetsPruned:
    """Targets left production with that promotion."""

    topic: ClassVar[str] = "targets.pruned/1"
    tag: str
    wave: str
    numbers: tuple[int, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetsResigned:
    """The tag's live documents (production's, held views') were signed anew, each under a higher version.

    `signers` count under the root `root_version`; `also` are keys of the root before it, whose signatures keep clients
    going that are in the middle of a refresh. `last_lane` is the tag's highest lane from now on.
    """

    topic: ClassVar[str] = "targets.resigned/1"
    tag: str
    root_version: int
    last_lane: int
    documents: tuple[Document, ...]
    signers: tuple[KeySignatures, ...]
    also: tuple[KeySignatures, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """A view whose document is, from now on, one that a canceled wave brought; its own one is for the held view."""

    view: str
    version: int
    expires: datetime
    content: str | None  # the wave whose own document holds the targets; None: the empty list


@dataclass(frozen=True, slots=True)
class WaveClosed:
    """The tag's place is free again; `outcome` is ``complete`` or ``canceled``."""

    topic: ClassVar[str] = "tag.wave-closed/1"
    tag: str
    wave: str
    outcome: str
    recovered: tuple[Recovery, ...]


# wave: one promotion, from init to its end


@dataclass(frozen=True, slots=True)
class WaveInitialized:
    """A wave was prepared. `documents[0]` is its own; `targets` names those that are new in it."""

    topic: ClassVar[str] = "wave.initialized/1"
    wave: str
    tag: str
    number: int
    source_tag: str | None
    prune: tuple[int, ...]
    targets: tuple[str, ...]
    expires: datetime
    root_version: int
    threshold: int
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class WaveSigned:
    """One offline key signed all of a wave's documents; `signatures[i]` (hex) is over `documents[i]`."""

    topic: ClassVar[str] = "wave.signed/1"
    wave: str
    keyid: str
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaveResigned:
    """All documents of an active wave were signed anew, each under a higher version; fields as in TargetsResigned."""

    topic: ClassVar[str] = "wave.resigned/1"
    wave: str
    root_version: int
    threshold: int
    documents: tuple[Document, ...]
    signers: tuple[KeySignatures, ...]
    also: tuple[KeySignatures, ...]


@dataclass(frozen=True, slots=True)
class WaveHoldersChanged:
    """The root's keys changed while an active wave waited for signatures; nobody saw it, so its documents stay.

    The signatures of the keyids `removed` count no more; `threshold` is what it needs under the root `root_version`.
    """

    topic: ClassVar[str] = "wave.holders-changed/1"
    wave: str
    root_version: int
    threshold: int
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selector:
    """How a rollout was asked for: `limit` as typed (``25%``), `uuids` the number of devices listed."""

    group: str | None
    limit: str | None
    uuids: int | None


@dataclass(frozen=True, slots=True)
class WaveRolledOut:
    """One delivery to a subset. With `full_group` the group itself is the list, future members included.

    `devices` were reached now, `skipped` were asked for but had it; `digest` is the hash of the choice (the plan).
    """

    topic: ClassVar[str] = "wave.rolled-out/1"
    wave: str
    rollout: int
    selector: Selector
    full_group: bool
    devices: int
    skipped: int
    digest: str
    plan: str | None


@dataclass(frozen=True, slots=True)
class WaveCompleted:
    """The wave's target became a production target, for all devices on the tag."""

    topic: ClassVar[str] = "wave.completed/1"
    wave: str


@dataclass(frozen=True, slots=True)
class WaveCanceled:
    """The wave ended without making its target a production target."""

    topic: ClassVar[str] = "wave.canceled/1"
    wave: str
    reason: str | None


# rollout: the devices of one rollout


@dataclass(frozen=True, slots=True)
class DevicesStaged:
    """Devices that a rollout reached, by uuid."""

    topic: ClassVar[str] = "devices.staged/1"
    wave: str
    rollout: int
    devices: tuple[str, ...]


# fleet


@dataclass(frozen=True, slots=True)
class DevicesRegistered:
    """Devices seen for the first time, or again after their removal."""

    topic: ClassVar[str] = "devices.registered/1"
    uuids: tuple[str, ...]
    names: tuple[str, ...]
    hardware_ids: tuple[str, ...]
    tags: tuple[str, ...]
    groups: tuple[str | None, ...]
    production: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class DevicesChanged:
    """Devices as they are now, all columns, after at least one of them changed."""

    topic: ClassVar[str] = "devices.changed/1"
    uuids: tuple[str, ...]
    names: tuple[str, ...]
    hardware_ids: tuple[str, ...]
    tags: tuple[str, ...]
    groups: tuple[str | None, ...]
    production: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class DevicesRemoved:
    """Devices that left the fleet."""

    topic: ClassVar[str] = "devices.removed/1"
    uuids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DevicesReported:
    """Devices that say they run another target than before. `seen_at` in seconds since 1970; number 0: unknown."""

    topic: ClassVar[str] = "devices.reported/1"
    uuids: tuple[str, ...]
    targets: tuple[str | None, ...]
    numbers: tuple[int, ...]
    seen_at: tuple[int, ...]


# publication: what was signed online and shown, one stream a TUF repository


@dataclass(frozen=True, slots=True)
class DocumentPublished:
    """A targets document shown for the first time, with the online signature it got.

    Offline-signed documents stay where they were signed: document `view` of `wave`. A CI document is signed
    online alone; its `signed` bytes are here, and `content_position` says which state of the catalog it lists.
    """

    version: int
    keyid: str
    signature: str
    wave: str | None
    view: str
    signed: str | None
    content_position: int | None


@dataclass(frozen=True, slots=True)
class ViewPublished:
    """What one view shows: `version` is that of its timestamp and snapshot, whose files are here, whole."""

    view: str
    version: int
    targets_version: int
    snapshot: str
    timestamp: str
    snapshot_expires: datetime
    timestamp_expires: datetime


@dataclass(frozen=True, slots=True)
class MetadataPublished:
    """All views of one TUF repository, signed online. `repository` is ``production/<tag>`` or ``ci/<tag>``.

    `closed` views get a last copy of production's files; `removed` ones are deleted.
    """

    topic: ClassVar[str] = "metadata.published/1"
    repository: str
    root_version: int
    documents: tuple[DocumentPublished, ...]
    views: tuple[ViewPublished, ...]
    closed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DocumentCosigned:
    """A CI document of the publication that follows was also signed by keys that were replaced a short while ago.

    So clients go on that know only the root before. Each of `signers` has one signature.
    """

    topic: ClassVar[str] = "document.cosigned/1"
    repository: str
    version: int
    signers: tuple[KeySignatures, ...]


@dataclass(frozen=True, slots=True)
class VersionsRaised:
    """Versions up to these were given out by a ledger that is lost: this one goes on above them.

    `metadata` is that of timestamps and snapshots, `targets` that of targets documents.
    """

    topic: ClassVar[str] = "versions.raised/1"
    repository: str
    metadata: int
    targets: int


@dataclass(frozen=True, slots=True)
class BundleExported:
    """One view of a repository, signed for longer than online metadata, left on a medium for devices without a network.

    Its version is the next of the repository's one line, so whatever is published later is above it.
    """

    topic: ClassVar[str] = "bundle.exported/1"
    repository: str
    root_version: int
    bundle: ViewPublished


Event: TypeAlias = (
    FactoryInitialized | MemberAdded | MemberRemoved
    | RootPublished | OnlineKeySet | RootProposed | RootSigned | ProposedTargetsSigned | RootUpdateClosed
    | RootsTakenIn
    | CiTargetsImported | CiTargetsPruned
    | WaveOpened | TargetsPromoted | TargetsPruned | TargetsResigned | WaveClosed
    | WaveInitialized | WaveSigned | WaveResigned | WaveHoldersChanged | WaveRolledOut | WaveCompleted | WaveCanceled
    | DevicesStaged
    | DevicesRegistered | DevicesChanged | DevicesRemoved | DevicesReported
    | MetadataPublished | DocumentCosigned | VersionsRaised | BundleExported
)  # fmt: skip
EVENTS: tuple[type[Event], ...] = get_args(Event)
