"""Exporting an offline bundle: one view of production, signed to live longer than what is online.

Rules of this module:

* A bundle takes the next number of its repository's one version line and is an event of it, so whatever is published
  later is above it, and a device that comes back online never sees a number go down. Right after an export the
  repository is due, so that its online views get above the bundle at once.
* The other way round, a bundle is refused by devices that saw anything published after it: to them it is a rollback.
* It shows what is published: what is due is published first (in the ledger; files are another command's).
* It expires when it was asked to, and never after its root or its targets.
* Signed, checked by a client and written beside its place first; then the event; then the bundle appears. A crash
  in between leaves an event of a bundle that nobody has, which costs a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, text
from tuf.api.exceptions import RepositoryError

from ledger.domain.errors import NotFound, Refused, TufFailure
from ledger.domain.events import BundleExported, FactoryInitialized
from ledger.domain.values import format_time, from_epoch
from ledger.session import Ledger, load
from ledger.store import events
from ledger.store.errors import StreamChanged
from ledger.tuf import documents, note
from ledger.tuf.online import OnlineKeys
from projections.tuf import bundle, drafts, publish, state
from projections.tuf.verify import refresh, root_chain

DAY = 86_400
DEFAULT_DAYS = 30


class NothingToExport(NotFound):
    """No wave and no tag of that name."""

    message = "there is no wave, tag or view {name!r} to export"
    hint = "waveledger waves list shows waves, waveledger status tags; a view is named like production/TAG or held/WAVE"
    name: str


class AmbiguousName(Refused):
    """A wave and a tag are called the same."""

    message = "{name} is a wave and a tag"
    hint = "name the view: production/{name}, wave/{name} or held/{name}"
    name: str


class NoViewToExport(Refused):
    """Devices don't see that wave or tag."""

    message = "{view} has no view to export: {why}"
    hint = "{advice}"
    view: str
    why: str
    advice: str


class BundleOutlives(Refused):
    """The bundle would live longer than what it rests on."""

    message = "a bundle of {view} can't live {days} days: {bound} expires at {at}"
    hint = "{advice}"
    view: str
    days: int
    bound: str
    at: str
    advice: str


class BundleRejected(TufFailure):
    """A client would not take what was about to be exported."""

    message = "a TUF client rejects the bundle of {view}: {problem}"
    hint = "nothing was exported; waveledger status shows what expired and how to renew it"
    view: str
    problem: str


class Chosen(NamedTuple):
    """What is exported: a view, the repository that it belongs to, and its wave, if it is one's."""

    view: str
    repository: str
    wave: str | None

    @property
    def tag(self) -> str:
        """The tag that its devices follow."""
        return self.repository.partition("/")[2]


class Life(NamedTuple):
    """When a bundle expires, and what keeps it from living longer than that, if anything does."""

    expires: int
    bound: str | None


@dataclass(frozen=True)
class Exported:
    """What was exported, or would be. `event` is None in a dry run; `published` tells that something was due first."""

    chosen: Chosen
    life: Life
    targets: list[dict[str, Any]]
    event: BundleExported | None
    published: bool


def export(
    ledger: Ledger, keys: OnlineKeys, name: str, directory: Path, *, days: int | None = None, dry_run: bool = False
) -> Exported:
    """Export a wave, a tag or a view by its name, to live `days` from now; by default 30, or what is possible.

    Raises: NothingToExport, AmbiguousName, NoViewToExport, BundleOutlives, BundleExists, BundleNotWritable,
        BundleRejected, OnlineKeyMissing, StreamChanged.
    """
    bundle.require_free(directory)
    with ledger.reading() as connection:
        chosen = choose(connection, name)
        life = _life(connection, chosen, ledger.now, days)
        others = [repository for repository in state.due(connection, ledger.now) if repository != chosen.repository]
        published = not _is_published(connection, chosen)
        targets = _targets(connection, chosen)
    if published:
        for problem in publish.publish(ledger, keys, without=others, dry_run=dry_run).problems:
            raise problem
    if dry_run:
        return Exported(chosen, life, targets, None, published)
    with bundle.staged(directory) as stage:
        event = _record(ledger, keys, chosen, life, stage)
    return Exported(chosen, life, targets, event, published)


def choose(connection: Connection, name: str) -> Chosen:
    """What a name means. Raises: NothingToExport, AmbiguousName, NoViewToExport."""
    kind, _, rest = name.rpartition("/")
    wave = _one(connection, "SELECT status, tag FROM release_wave WHERE wave = :name", rest)
    tag = _one(connection, "SELECT tag FROM release_tag WHERE tag = :name", rest)
    if kind == "production" and tag:
        return _live(connection, name, rest)
    if kind in {"wave", "held"} and wave:
        return _live(connection, name, rest)
    if kind or not (wave or tag):
        raise NothingToExport(name=name)
    if wave and tag:
        raise AmbiguousName(name=name)
    if tag:
        return _live(connection, f"production/{name}", name)
    assert wave is not None  # one of the two is there
    status, of = wave
    if status == "complete":
        why = "it is complete, so its targets are those of its tag"
        raise NoViewToExport(view=f"wave/{name}", why=why, advice=f"waveledger tuf export {of} DIR")
    return _live(connection, f"wave/{name}" if status == "active" else f"held/{name}", name)


def _live(connection: Connection, view: str, owner: str) -> Chosen:
    found = _one(connection, "SELECT repository FROM release_view WHERE view = :name", view)
    if found:
        return Chosen(view, found[0], None if view.startswith("production/") else owner)
    kind = view.partition("/")[0]
    why, advice = {
        "production": (
            "no wave of the tag was completed yet",
            f"waveledger waves list --tag {owner} shows them; waveledger waves complete WAVE makes one production",
        ),
        "wave": (
            "it is not active, or not rolled out yet",
            f"waveledger waves rollout {owner} --limit 1 makes its view; waveledger waves show {owner} tells its state",
        ),
        "held": ("no device is held on it", f"waveledger waves show {owner} tells its tag, which may be exported"),
    }[kind]
    raise NoViewToExport(view=view, why=why, advice=advice)


def _life(connection: Connection, chosen: Chosen, now: int, days: int | None) -> Life:
    """Raises: BundleOutlives."""
    wanted = now + (days or DEFAULT_DAYS) * DAY
    root = "SELECT max(expires) FROM release_root WHERE repository = :name AND version = (SELECT max(version) FROM "
    newest = _one(connection, f"{root}release_root WHERE repository = :name)", "production")
    view = _one(connection, "SELECT expires FROM release_view WHERE view = :name", chosen.view)
    signed = chosen.wave if chosen.wave and chosen.view.startswith("wave/") else chosen.tag
    at, bound, renew = min(
        (newest[0], "its root", "keys tuf renew-root --keys root.keys.tgz"),
        (view[0], "its targets document", f"targets resign {signed} -k KEYS --expires-days N"),
    )
    advice = f"waveledger {renew} gives it a later expiry"
    possible = (at - now) // DAY
    if at >= wanted:
        return Life(wanted, None)
    if days is None and at > now:
        return Life(at, f"{bound} expires then")
    if possible > 0:
        advice = f"--expires-in-days {possible} is possible; {advice}"
    raise BundleOutlives(
        view=chosen.view, days=days or DEFAULT_DAYS, bound=bound, at=format_time(from_epoch(at)), advice=advice
    )


def _is_published(connection: Connection, chosen: Chosen) -> bool:
    """Whether the ledger published the view as it should be, under the newest root."""
    row = _one(
        connection,
        "SELECT 1 FROM release_view v JOIN release_published p ON p.view = v.view AND NOT p.closed "
        "AND p.targets_version = v.version JOIN release_publication l ON l.repository = v.repository "
        "AND l.root_version = (SELECT max(version) FROM release_root WHERE repository = 'production') "
        "WHERE v.view = :name",
        chosen.view,
    )
    return row is not None


def _targets(connection: Connection, chosen: Chosen) -> list[dict[str, Any]]:
    view = next(view for view in state.views(connection, chosen.repository) if view.view == chosen.view)
    assert view.wave is not None  # all views of production show signed documents
    assert view.version is not None
    signed = drafts.offline_document(connection, chosen.repository, view.wave, view.version).signed
    return bundle.list_targets(documents.file_bytes(signed, []))


def _record(ledger: Ledger, keys: OnlineKeys, chosen: Chosen, life: Life, stage: Path) -> BundleExported:
    """Sign, write into the stage, let a client look, and append. Raises: StreamChanged, after many lost races."""
    stream = state.stream_of(chosen.repository)
    for attempt in range(publish.RETRIES):
        with ledger.reading() as connection:
            version = events.stream_version(connection, stream)
            publication = publish.prepare(connection, keys, chosen.repository, ledger.now)
            chain = dict(state.roots(connection, "production"))
        event, targets = publication.sign_bundle(chosen.view, life.expires)
        facts = _facts(ledger, chosen, event, publication.checkpoint)
        files = {
            **{f"{number}.root.json": data for number, data in chain.items()},
            f"{event.bundle.targets_version}.targets.json": targets,
            f"{event.bundle.version}.snapshot.json": event.bundle.snapshot.encode(),
            "timestamp.json": event.bundle.timestamp.encode(),
            bundle.NAME: bundle.describe(event.bundle, targets, facts),
        }
        bundle.write(stage, files)
        _require_accepted(stage, chosen.view, ledger.now)
        try:
            with ledger.writing() as session:
                session.append(stream, [event], expected=version)
                events.add_checkpoint(session.connection, publication.checkpoint.size, publication.checkpoint.note())
            return event
        except StreamChanged:
            if attempt == publish.RETRIES - 1:
                raise
            for name in files:
                (stage / name).unlink()
    raise AssertionError  # the last attempt returned or raised


def _require_accepted(stage: Path, view: str, now: int) -> None:
    read = bundle.reader(stage)
    try:
        refresh(read, "", next(iter(root_chain(read, "").values())), now=from_epoch(now))
    except RepositoryError as problem:
        raise BundleRejected(view=view, problem=f"{type(problem).__name__}: {problem}") from None


def _facts(ledger: Ledger, chosen: Chosen, event: BundleExported, checkpoint: note.Checkpoint) -> dict[str, Any]:
    with ledger.reading() as connection:
        first = load(connection, "factory")[0]
    assert isinstance(first, FactoryInitialized)
    return {
        "factory": first.factory,
        "repository": chosen.repository,
        "tag": chosen.tag,
        "wave": chosen.wave,
        "created_at": format_time(from_epoch(ledger.now)),
        "created_by": ledger.actor,
        "root_version": event.root_version,
        "ledger": {"position": checkpoint.size, "root": checkpoint.root.hex()},
    }


def _one(connection: Connection, statement: str, name: str) -> Any:
    return connection.execute(text(statement), {"name": name}).first()
