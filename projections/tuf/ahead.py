"""What a destination shows, next to what the ledger knows: looked at before anything is signed or written.

Rules of this module:

* A destination that shows a newer version than the ledger gave out, or other bytes under the newest one, belongs to
  another ledger, most often to a newer copy of this one. It is refused, a repository at a time.
* One that shows another repository's wave under the name of this one's is refused, too: a ledger that is lost used it.
* After `VersionsRaised` what lies up to those versions is no news: the next publication is above it.
* A file that is no timestamp has version 0: no client could have accepted it, so it may be replaced.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

import orjson

from ledger.domain.errors import LedgerError, StorageFailure
from ledger.domain.events import MetadataPublished, ViewPublished
from ledger.session import Ledger
from projections.tuf import state
from projections.tuf.destination import Destination, DestinationAhead, DestinationHasOtherBytes
from projections.tuf.recorded import TOGETHER, Newest, Publications


class ViewOfAnotherRepository(StorageFailure):
    """A ledger that is lost used a wave's name for another tag."""

    message = "{view} at {place} is of another repository than {repository}: a ledger that is lost had a wave so named"
    hint = (
        "look at it: waveledger devices show names the view of each device; when none looks there any more, delete "
        "{view} at {place}, and publish again"
    )
    view: str
    place: str
    repository: str


class Highest(NamedTuple):
    """The highest versions that a destination shows of a repository: timestamps and snapshots, targets, root."""

    metadata: int
    targets: int
    root: int


def in_trouble(
    ledger: Ledger, destination: Destination, names: Collection[str], publications: Publications
) -> dict[str, LedgerError]:
    """The repositories among `names` that nothing must be signed for now, and why."""
    found: dict[str, LedgerError] = {}
    todo = sorted(names)
    for start in range(0, len(todo), TOGETHER):
        part = todo[start : start + TOGETHER]
        publications.look_ahead(part, 1)
        troubles = ((name, _trouble(ledger, destination, name, publications)) for name in part)
        found |= {name: problem for name, problem in troubles if problem}
    return found


def _trouble(
    ledger: Ledger, destination: Destination, repository: str, publications: Publications
) -> LedgerError | None:
    looked: tuple[Newest, LedgerError] | None = None
    while True:
        newest = publications.newest_of(repository)
        if looked and looked[0] == newest:
            return looked[1]
        try:
            refuse_if_ahead(destination, repository, newest, () if newest.publication else _views(ledger, repository))
        except LedgerError as problem:
            looked = newest, problem  # unless another machine published between the two looks
        else:
            return None


def _views(ledger: Ledger, repository: str) -> list[str]:
    with ledger.reading() as connection:
        return [view.view for view in state.views(connection, repository)]


def refuse_if_ahead(destination: Destination, repository: str, newest: Newest, views: Collection[str] = ()) -> None:
    """Compare the timestamps that are there with the newest publication, or with what was raised to.

    `views` are looked at where there is no publication yet.

    Raises: DestinationAhead, DestinationHasOtherBytes, ViewOfAnotherRepository.
    """
    publication, raised = newest
    shown: list[tuple[str, ViewPublished | None]] = [(name, None) for name in sorted({repository, *views})]
    if publication:
        shown = [*shown_views(publication, publication.removed)]
    for name, view in shown:
        path = f"{name}/timestamp.json"
        found = destination.read(path)
        if found is None or (view and found == view.timestamp.encode()):
            continue
        version, known = version_of(found), max(view.version if view else 0, raised)
        is_same = view is not None and version == view.version and not raised
        if (version > known or is_same) and not _leads_into(destination, repository, name, found):
            raise ViewOfAnotherRepository(view=name, place=destination.place, repository=repository)
        if version > known:
            raise DestinationAhead(path=path, place=destination.place, found=version, known=known)
        if is_same:
            raise DestinationHasOtherBytes(path=path, place=destination.place)


def shown_views(publication: MetadataPublished, gone: Collection[str]) -> list[tuple[str, ViewPublished]]:
    """The views that a publication shows and no newer one removes, each with its files; closed ones last.

    A closed view shows production's files a last time, except a canceled wave's: that stays as it was. Who is sent on
    to the held view finds the wave's own document there, and must not have met production's, which is above it.
    """
    shown = [(view.view, view) for view in publication.views]
    production = [view for view in publication.views if view.view == publication.repository]
    live = {view.view for view in publication.views}
    closed = [name for name in publication.closed if name.replace("wave/", "held/", 1) not in live]
    shown += [(name, production[0]) for name in closed]
    return [(name, view) for name, view in shown if name not in gone]


def highest_versions(destination: Destination, repository: str) -> Highest:
    """The highest versions of a repository that are there: in its pool, and in the timestamps that lead into it.

    All of them may have been seen by clients. A wave's or held view is the repository's if its snapshot is in the pool;
    `ci` and `production` share no file.
    """
    pool = f"pool/{repository}"
    numbers: dict[str, set[int]] = {"snapshot": {0}, "targets": {0}, "root": {0}}
    for name in destination.names(pool):
        versioned = re.fullmatch(r"([0-9]{1,10})\.(snapshot|targets|root)\.json", name)
        if versioned:
            numbers[versioned[2]].add(int(versioned[1]))
    others = [f"{kind}/{name}" for kind in ("wave", "held") for name in destination.names(kind)]
    for view in [repository, *others]:
        stamp = destination.read(f"{view}/timestamp.json")
        if stamp is None:
            continue
        if _leads_into(destination, repository, view, stamp):
            numbers["snapshot"].add(version_of(stamp))
    return Highest(max(numbers["snapshot"]), max(numbers["targets"]), max(numbers["root"]))


def _leads_into(destination: Destination, repository: str, view: str, timestamp: bytes) -> bool:
    """Whether the timestamp of a view leads to a snapshot in the repository's pool."""
    name = f"{_snapshot_of(timestamp)}.snapshot.json"
    there = None if view == repository else destination.read(f"{view}/{name}")
    return view == repository or (there is not None and there == destination.read(f"pool/{repository}/{name}"))


def roots_from(destination: Destination, repository: str, first: int, last: int) -> dict[int, bytes]:
    """The files of a repository's roots that are there, by version."""
    found = {version: destination.read(f"pool/{repository}/{version}.root.json") for version in range(first, last + 1)}
    return {version: data for version, data in found.items() if data is not None}


def version_of(timestamp: bytes) -> int:
    """The version of a timestamp, 0 if it is none: nothing that a client could have accepted."""
    try:
        version = orjson.loads(timestamp)["signed"]["version"]
    except (ValueError, KeyError, TypeError):
        return 0
    return version if isinstance(version, int) else 0


def _snapshot_of(timestamp: bytes) -> int:
    try:
        version = orjson.loads(timestamp)["signed"]["meta"]["snapshot.json"]["version"]
    except (ValueError, KeyError, TypeError):
        return 0
    return version if isinstance(version, int) else 0
