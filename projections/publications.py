"""The part of the projection ``releases`` that is about publications: what was signed online, and is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from ledger.domain.values import to_epoch
from ledger.store.events import Row
from projections.fold import BatchHandler, Data, Fold, Handler

_PUBLISHED = (
    "view", "repository", "version", "targets_version", "targets_length", "targets_sha256", "content_position",
    "snapshot_expires", "timestamp_expires", "signed_at", "position", "closed",
)  # fmt: skip

_PUBLICATION = (
    "INSERT INTO {release_publication} AS p (repository, version, root_version, root_at, position) "
    "VALUES (?, ?, ?, ?, ?) ON CONFLICT (repository) DO UPDATE SET version = excluded.version, "
    "root_at = CASE WHEN p.root_version = excluded.root_version THEN p.root_at ELSE excluded.root_at END, "
    "root_version = excluded.root_version, position = excluded.position"
)


def handlers(fold: Fold) -> Mapping[str, Handler]:
    """What it folds into the tables of `fold`, one event at a time."""
    return {
        "versions.raised/1": partial(_versions_raised, fold),
        "bundle.exported/1": partial(_bundle_exported, fold),
    }


def batches(fold: Fold) -> Mapping[str, BatchHandler]:
    """What it folds many events at a time: a refresh of a thousand tags is as many publications."""
    return {"metadata.published/1": partial(_metadata_published, fold)}


def _metadata_published(fold: Fold, connection: Connection, found: Sequence[tuple[Row, Data]]) -> None:
    waiting: dict[str, tuple[Row, Data]] = {}
    for row, data in found:
        if data["repository"] in waiting:  # the next publication of the same repository goes on from this one
            _fold_publications(fold, connection, list(waiting.values()))
            waiting = {}
        waiting[data["repository"]] = (row, data)
    _fold_publications(fold, connection, list(waiting.values()))


def _fold_publications(fold: Fold, connection: Connection, found: Sequence[tuple[Row, Data]]) -> None:
    """Publications of as many repositories."""
    fold.many(
        connection,
        _PUBLICATION,
        [
            (data["repository"], data["views"][-1]["version"], data["root_version"], row.recorded_at, row.position)
            for row, data in found
        ],
    )
    fold.insert(
        connection,
        "release_document",
        ("repository", "version", "wave", "view", "keyid", "signature", "content_position", "position"),
        [
            (data["repository"], d["version"], d["wave"], d["view"], d["keyid"], d["signature"],
             d["content_position"], row.position)
            for row, data in found
            for d in data["documents"]
        ],
    )  # fmt: skip
    changes = [_Change.of(fold, connection, row, data) for row, data in found]
    gone = [(name,) for change in changes for name in change.gone]
    left = [(name,) for change in changes for name in change.left]
    fold.many(connection, "DELETE FROM {release_published} WHERE view = ?", gone)
    fold.many(connection, "UPDATE {release_published} SET closed = TRUE WHERE view = ?", left)
    fold.insert(connection, "release_published", _PUBLISHED, [row for change in changes for row in change.rows])


class _Change(NamedTuple):
    """What one publication changes: views whose rows go, views that are left as they were, and new rows."""

    gone: list[str]
    left: list[str]
    rows: list[tuple[Any, ...]]

    @classmethod
    def of(cls, fold: Fold, connection: Connection, row: Row, data: Data) -> _Change:
        """The change of an event."""
        repository = data["repository"]
        shown = {view["view"]: view for view in data["views"]}
        # A closed view shows production's files one last time: same version, same lifetime. A canceled wave's stays as
        # it was: from there devices go to the held view, whose document is older than production's.
        left = [name for name in data["closed"] if name.replace("wave/", "held/", 1) in shown]
        closed = [name for name in data["closed"] if name not in left]
        content = _contents(fold, connection, data)
        rows = [
            (name, repository, view["version"], view["targets_version"], *_targets_meta(view),
             content.get(view["targets_version"]), _seconds(view["snapshot_expires"]),
             _seconds(view["timestamp_expires"]), row.recorded_at, row.position, is_closed)
            for name, view, is_closed in [
                *((name, view, False) for name, view in shown.items()),
                *((name, shown[repository], True) for name in closed),
            ]
        ]  # fmt: skip
        return cls([*shown, *data["removed"], *closed], left, rows)


def _targets_meta(view: Data) -> tuple[int, str]:
    """Length and SHA-256 of the targets file that a view shows, as its snapshot says."""
    meta = orjson.loads(view["snapshot"])["signed"]["meta"]["targets.json"]
    return meta["length"], meta["hashes"]["sha256"]


def _contents(fold: Fold, connection: Connection, data: Data) -> dict[int, int | None]:
    """The states of the catalog that the documents of a publication list, by version; production's list none."""
    if not data["repository"].startswith("ci/"):
        return {}
    found = {document["version"]: document["content_position"] for document in data["documents"]}
    missing = {view["targets_version"] for view in data["views"]} - found.keys()
    return {**found, **{version: _content(fold, connection, data["repository"], version) for version in missing}}


def _versions_raised(fold: Fold, connection: Connection, row: Row, data: Data) -> None:
    _raise(fold, connection, row, data["repository"], (data["metadata"], data["targets"]))


def _bundle_exported(fold: Fold, connection: Connection, row: Row, data: Data) -> None:
    # Devices may come online from the bundle at once, so the next publication is due, and above it.
    _raise(fold, connection, row, data["repository"], (data["bundle"]["version"], 0))


def _raise(fold: Fold, connection: Connection, row: Row, repository: str, above: tuple[int, int]) -> None:
    key = {"repository": repository}
    statement = "SELECT metadata, targets FROM {release_raised} WHERE repository = :repository"
    before = next(iter(fold.rows(connection, statement, key)), (0, 0))
    metadata, targets = (max(pair) for pair in zip(before, above, strict=True))
    fold.run(connection, "DELETE FROM {release_raised} WHERE repository = :repository", key)
    fold.insert(
        connection,
        "release_raised",
        ("repository", "metadata", "targets", "position"),
        [(repository, metadata, targets, row.position)],
    )


def _content(fold: Fold, connection: Connection, repository: str, version: int) -> int | None:
    position: int | None = fold.scalar(
        connection,
        "SELECT content_position FROM {release_document} WHERE repository = :repository AND version = :version",
        {"repository": repository, "version": version},
    )
    return position


def _seconds(text: str) -> int:
    return to_epoch(datetime.fromisoformat(text))
