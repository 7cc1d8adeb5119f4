"""The published repository as files, all of it from the ledger, with no private key at hand.

Rules of this module (DESIGN §4; the crash case is named at each step of `_write`):

* ``pool/<repository>/`` has every versioned file once: ``{N}.root.json``, ``{m}.snapshot.json``, ``{v}.targets.json``.
* ``<view>/`` is a complete TUF metadata directory: links to the root chain and to the files that its timestamps
  led to, the older ones too, for clients that are in the middle of a refresh. Then its ``timestamp.json``.
* Versioned files first, then timestamps, and last a root that the publication brought: all that its timestamps lead to
  is valid under the old root and under the new one, what was there before under the old one only.
* A publication that was killed is finished by the next one, byte-identically, because both write the same events in the
  same order; whatever is there already is no write.
* A view that a newer publication removes is not made again by an older one: a wave's name is used once.
* No publication older than `VersionsRaised` is written: another ledger may have put other bytes under those versions.
  Targets from before it that a newer publication still shows are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ledger.codec import decode
from ledger.domain.errors import LedgerError
from ledger.domain.events import MetadataPublished, ViewPublished
from ledger.session import Ledger
from ledger.store import events
from projections.tuf import state
from projections.tuf.ahead import (
    refuse_if_ahead,
    shown_views,
    version_of,
)
from projections.tuf.destination import Destination, DestinationHasOtherBytes
from projections.tuf.pool import File, Pool
from projections.tuf.recorded import TOGETHER, Newest, Publications


class _Place(NamedTuple):
    """One publication of the backlog, by its version in its stream.

    `root_before` is the newest root that was shown before it; `last` are the views that no newer one shows.
    """

    version: int
    root_before: int
    last: frozenset[str]


class _Backlog(NamedTuple):
    """What is to be written of a repository, oldest first, and the views that none of it is to show.

    `cut` tells that `VersionsRaised` comes before it: the destination may lack targets that were first shown earlier.
    """

    newest: Newest
    places: list[_Place]
    gone: frozenset[str]
    cut: bool


class _Step(NamedTuple):
    """One publication to write: its files, the views that no newer one removes, and the roots that it brought."""

    publication: MetadataPublished
    files: list[File]
    shown: list[tuple[str, ViewPublished]]
    new_roots: range
    last: frozenset[str]


class _Source(NamedTuple):
    """Where all of it comes from."""

    ledger: Ledger
    publications: Publications
    pool: Pool


class Written(NamedTuple):
    """What a write did: views whose timestamp changed, the version each repository is at, and what went wrong."""

    changed: list[str]
    versions: dict[str, int]
    problems: dict[str, LedgerError]


def write(
    ledger: Ledger,
    destination: Destination,
    names: Mapping[str, int],
    progress: Callable[[int, int], None] | None = None,
    *,
    publications: Publications | None = None,
    pool: Pool | None = None,
) -> Written:
    """Write what the destination lacks, a repository at a time; one in trouble does not keep the others from it.

    The ledger is not held while files are looked at or written: a reader keeps writers waiting.

    Args:
        ledger: What to write.
        destination: Where to.
        names: The repositories to look at, each with the position up to which its publications are known to be there
            to their last step; 0: nothing is known.
        progress: Told after each repository.
        publications: Reads them, and keeps what was read before.
        pool: The same for their files.
    """
    written, source = Written([], {}, {}), _Source(ledger, publications or Publications(ledger), pool or Pool(ledger))
    todo = sorted(names)
    for place, repository in enumerate(todo):
        # Where there is no lock, what was read before the others wrote is not to be written.
        if place % TOGETHER == 0 and destination.exclusive:
            source.publications.look_ahead(todo[place : place + TOGETHER], 2)
        try:
            newest = _write_repository(source, destination, repository, names[repository], written.changed)
            if newest:
                written.versions[repository] = newest.views[-1].version
        except LedgerError as problem:
            written.problems[repository] = problem  # one repository in trouble must not let the others expire
        if progress:
            progress(place + 1, len(names))
    return written


def _write_repository(
    source: _Source, destination: Destination, repository: str, complete: int, changed: list[str]
) -> MetadataPublished | None:
    """Write the backlog of a repository, one publication in memory at a time; the newest, if it has one to write."""
    while True:
        begun_at = 0 if destination.exclusive else _stream_version(source.ledger, repository)
        backlog = _backlog(source.publications, destination, repository, complete)
        for place in backlog.places:
            step = _step(source, repository, place, backlog)
            changed.extend(name for name in _write(destination, step) if name not in changed)
        # Where there is no lock others may have published meanwhile, and removed what was made again here.
        if destination.exclusive or _stream_version(source.ledger, repository) == begun_at:
            return backlog.newest.publication if backlog.places else None


def _stream_version(ledger: Ledger, repository: str) -> int:
    with ledger.reading() as connection:
        return events.stream_version(connection, state.stream_of(repository))


def _backlog(publications: Publications, destination: Destination, repository: str, complete: int) -> _Backlog:
    """The publications to write: the newest, those before it that the destination lacks, and one more.

    That one has all its files, but may have been killed before its closed views got their last timestamp, or before
    its removed views were deleted. Those before it were finished before its own first file was written.
    """
    newest = Newest(None, 0)
    places: list[_Place] = []
    gone: set[str] = set()
    newer: set[str] = set()
    cut = False
    begun = False  # whether all that is to be written was seen: the publication before it only tells its root
    for version, position, event in publications.newest_first(repository, at_once=2):
        if not isinstance(event, MetadataPublished):
            newest = newest if newest.publication else Newest(None, max(newest.raised, event.metadata))
            begun = cut = True
            continue
        if newest.publication is None:
            newest = Newest(event, newest.raised)
            refuse_if_ahead(destination, repository, newest)
        if places:
            places[-1] = places[-1]._replace(root_before=event.root_version)
        if begun:
            break
        gone |= set(event.removed)
        there = bool(places) and _has_files(destination, event, gone)
        if there and (position <= complete or _finished(destination, event)):
            break
        names = {name for name, _ in shown_views(event, gone)}
        # As if it brought no root, until the one before it is seen.
        places.append(_Place(version, event.root_version, frozenset(names - newer)))
        newer |= names
        begun = there
    else:
        if cut and places:  # an adopted repository: its clients have the root that is shown where it was
            there_now = _newest_root(destination, repository) or places[-1].root_before
            places[-1] = places[-1]._replace(root_before=min(there_now, places[-1].root_before))
    return _Backlog(newest, places[::-1], frozenset(gone), cut)


def _newest_root(destination: Destination, repository: str) -> int:
    found = [name.partition(".") for name in destination.names(repository)]
    return max((int(number) for number, _, rest in found if rest == "root.json" and number.isdigit()), default=0)


def _has_files(destination: Destination, publication: MetadataPublished, gone: set[str]) -> bool:
    # Files are written in order, roots first or last, and snapshots after all the rest of the pool: the last view's
    # links stand for all that came before them. Never none: the repository's own view is in every publication that has
    # anything to close or to remove.
    shown = shown_views(publication, gone)
    if not shown:
        return False
    name, view = shown[-1]
    names = (f"{view.version}.snapshot.json", f"{publication.root_version}.root.json")
    return all(destination.exists(f"{name}/{file}") for file in names)


def _finished(destination: Destination, publication: MetadataPublished) -> bool:
    """Whether nothing is left to do of a publication whose files are there: its timestamps are, and were its last."""
    return not (publication.closed or publication.removed) and all(
        destination.read(f"{view.view}/timestamp.json") == view.timestamp.encode() for view in publication.views
    )


def _step(source: _Source, repository: str, place: _Place, backlog: _Backlog) -> _Step:
    newest = place is backlog.places[-1]
    publication = backlog.newest.publication if newest else _publication(source.ledger, repository, place.version)
    assert publication is not None  # it is the last of the places
    return _Step(
        publication,
        list(source.pool.files(publication, cut=backlog.cut)),
        shown_views(publication, backlog.gone),
        range(place.root_before + 1, publication.root_version + 1),
        place.last,
    )


def _publication(ledger: Ledger, repository: str, version: int) -> MetadataPublished:
    with ledger.reading() as connection:
        stream = state.stream_of(repository)
        row = next(events.read(connection, stream=stream, after_version=version - 1, until_version=version))
    event = decode(row.topic, row.payload)
    assert isinstance(event, MetadataPublished)  # it was one a moment ago, and events don't change
    return event


def _write(destination: Destination, step: _Step) -> list[str]:
    publication, pool = step.publication, f"pool/{step.publication.repository}"
    new_roots = [f"{version}.root.json" for version in step.new_roots]
    late = {f"{pool}/{name}": name for name in new_roots}
    # 1. The pool, but for new roots. A crash leaves files that nothing leads to yet; the next run finds them identical.
    for file in step.files:
        if file.path not in late:
            destination.write_once(file.path, file.data)
    # 2. The views' links. A crash leaves links that no timestamp leads to yet.
    for name, view in step.shown:
        for file_name in _names(step, view):
            if file_name not in new_roots:
                destination.link(f"{pool}/{file_name}", f"{name}/{file_name}")
    destination.settle()
    # 3. The timestamps, one by one: each view is before or after, and whichever a client meets is complete.
    changed = _write_timestamps(destination, step)
    # 4. New roots, lowest first. Until one is there, clients take the new timestamps under the old root, for which all
    #    of it is signed, too. A crash leaves some views with the new root and some without: both are right for all that
    #    is shown. A later publication may be right under the new root only: it is not begun before this is through.
    for file in step.files:
        if file.path in late:
            destination.write_once(file.path, file.data)
            for name, _ in step.shown:
                destination.link(file.path, f"{name}/{late[file.path]}")
    destination.settle()
    # 5. Views whose last timestamp expired a day ago. A crash leaves one that the next run deletes.
    for name in publication.removed:
        destination.remove(name)
    return changed


def _write_timestamps(destination: Destination, step: _Step) -> list[str]:
    """Write timestamps against the direction devices move, the wave's before production's, then closed views' last.

    A device may join a wave without a publication, so the wave's timestamp must never be older than production's, not
    even after a crash. Those of an older publication were superseded, except a closed view's, which was its last, and
    those that lead clients over a change of the root.
    """
    live = [shown for shown in step.shown if shown[0] not in step.publication.closed]
    closed = [shown for shown in step.shown if shown[0] in step.publication.closed]
    changed = []
    wanted = [shown for shown in [*reversed(live), *closed] if step.new_roots or shown[0] in step.last]
    for name, view in wanted:
        path = f"{name}/timestamp.json"
        data, version = view.timestamp.encode(), view.version

        def older(found: bytes, path: str = path, data: bytes = data, version: int = version) -> bool:
            if version_of(found) == version and found != data:
                raise DestinationHasOtherBytes(path=path, place=destination.place)
            return version_of(found) < version

        if destination.advance(path, data, older):
            changed.append(name)
    return changed


def _names(step: _Step, view: ViewPublished) -> list[str]:
    names = [file.path.rpartition("/")[2] for file in step.files]
    roots = [name for name in names if name.endswith(".root.json")]  # an adopted chain may begin above 1
    return [*roots, f"{view.targets_version}.targets.json", f"{view.version}.snapshot.json"]
