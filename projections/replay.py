"""A ledger built again from its events alone, up to a moment, with projections and published metadata, and looked at.

Rules of this module:

* Every event is put into a new store as it is: leaves and root are computed anew from what the events say. They must
  be those that the ledger had.
* No private key is needed: what was signed is in the events, and the tree is written from them.
* Up to the head, the rows of the projections are those of the ledger's own tables.
* Checkpoints that agree with the new tree are kept in the new store, which so is a ledger that can be verified.
* Clients look at the rebuilt tree with the clock of the moment. Views that had expired then are told, and are no
  problem of the history: so it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text
from tuf.api.exceptions import ExpiredMetadataError

from ledger import merkle
from ledger.codec import require_known
from ledger.domain.values import from_epoch
from ledger.session import Ledger
from ledger.store import copying, events, migrate
from ledger.store import engine as store
from ledger.store.events import Row
from ledger.tuf import note
from projections import runner
from projections.at import Moment, mark_written
from projections.compare import Difference, differences, told
from projections.queries import status
from projections.tables import all_tables
from projections.tuf import checkup, inspection, state, tree
from projections.tuf.destination import Directory
from projections.tuf.verify import Checked

EXPIRED = ExpiredMetadataError.__name__
MOST_ROWS = 100  # of a table that are told
STORE, TREE = "ledger.db", "public"

Progress = Callable[[str, int, int], None]


class Problem(NamedTuple):
    """Something that is not as it should be: `where` is a position, a table, a view or a file."""

    where: str
    kind: str
    message: str


class Replayed(NamedTuple):
    """What a replay found.

    `checkpoints` is how many agree with the new root at their size; `expired` are views that clients of then rejected
    for their age alone.
    """

    position: int
    root: bytes
    devices: int
    waves: int
    tags: int
    checkpoints: int
    views: list[Checked]
    expired: list[str]
    problems: list[Problem]


def replay(source: Connection, directory: Path, moment: Moment, progress: Progress) -> Replayed:
    """Build the ledger again below an empty directory: ``ledger.db`` and ``public``.

    Raises: WrittenByNewerVersion.
    """
    require_known(events.topics(source))
    engine = store.open_engine(f"sqlite:///{(directory / STORE).absolute()}", must_exist=False)
    problems = _fill(source, engine, moment.position, progress)
    agreed, wrong = _checkpoints(source, engine, moment.position)
    wrong += _projections(source, engine, moment.position)
    views, expired, found = _publish(engine, Directory(directory / TREE), moment, progress)
    with store.reading(engine) as connection:
        head = events.head(connection)
        devices, counts = sum(status.devices(connection)), _counts(connection)
    engine.dispose()
    return Replayed(head.size, head.root, devices, *counts, agreed, views, expired, [*problems, *wrong, *found])


def _fill(source: Connection, engine: Engine, until: int, progress: Progress) -> list[Problem]:
    rows = _counted(events.read(source, until=until), until, _named(progress, "appending"))
    with store.writing(engine) as connection:
        migrate.create(connection, *all_tables(), fill=lambda new: copying.refill(new, rows))
        runner.install(connection)
        runner.catch_up(connection, _named(progress, "folding"))
        mark_written(connection)
        head = events.head(connection)
    if (head.size, head.root) == (until, events.frontier_at(source, until).root()):
        return []
    return [Problem(str(until), "root", "the events give another root than the one that the ledger keeps")]


def _counted(rows: Iterator[Row], until: int, progress: Callable[[int, int], None]) -> Iterator[Row]:
    for done, row in enumerate(rows, start=1):
        if done % events.FETCH_ROWS == 0:
            progress(done, until)
        yield row


def _checkpoints(source: Connection, engine: Engine, until: int) -> tuple[int, list[Problem]]:
    """Keep those of the ledger's checkpoints that say what the new tree says: how many, and those that don't."""
    kept = {found.size: found.note for found in events.checkpoints(source, until=until)}
    notes = {size: note.parse_note(text_) for size, text_ in kept.items()}
    with store.reading(engine) as connection:
        size = events.head(connection).size
        roots = merkle.roots_at(events.leaves(connection, until), [of for of in notes if of <= size])
    wrong = [of for of, checkpoint in notes.items() if roots.get(of) != checkpoint.root]
    with store.writing(engine) as connection:
        for of in notes.keys() - set(wrong):
            events.add_checkpoint(connection, of, kept[of])
    problems = [Problem(str(of), "checkpoint", "a checkpoint of this size has another root") for of in wrong]
    return len(notes) - len(wrong), problems


def _projections(source: Connection, engine: Engine, until: int) -> list[Problem]:
    """Rows that are not those of the ledger's own tables. Those are of now, so at another moment there is none."""
    if until != events.head(source).size:
        return []
    found: list[Difference] = []
    with store.reading(engine) as built:
        for fold in runner.folds():
            for table in fold.tables(0).tables.values():
                with closing(differences(source, built, fold.name, table)) as rows:
                    found += islice(rows, MOST_ROWS)
    return [Problem(".".join(filter(None, (d.table, d.field))), "projection", _told(d)) for d in found]


def _told(found: Difference) -> str:
    return f"{found.problem}: {told(found.row)[:200]}"


def _publish(
    engine: Engine, destination: Directory, moment: Moment, progress: Progress
) -> tuple[list[Checked], list[str], list[Problem]]:
    ledger = Ledger(engine, [runner.Projector()], "replay", moment.now)
    with store.reading(engine) as connection:
        names = dict.fromkeys(state.repositories(connection), 0)
    written = tree.write(ledger, destination, names, _named(progress, "publishing"))
    problems = [Problem(name, type(e).__name__, str(e)) for name, e in written.problems.items()]
    if not names:
        return [], [], problems
    paths = inspection.paths_of(destination)
    report = checkup.check_tree(
        destination.read, paths, engine, now=from_epoch(moment.now), progress=_named(progress, "verifying")
    )
    expired = [f.view for f in report.findings if f.kind == EXPIRED]
    problems += [Problem(f.view, f.kind, f.message) for f in report.findings if f.kind != EXPIRED]
    return report.checked, expired, problems


def _counts(connection: Connection) -> tuple[int, int]:
    """Waves, and tags that a wave was ever for."""
    waves, tags = (
        connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        for table in ("release_wave", "release_tag")
    )
    return waves, tags


def _named(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)
