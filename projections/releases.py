"""The projection ``releases``: members, roots, CI targets, tags, waves, and what is published of them.

Rules of this module:

* A tag's row is the state that `ledger.domain.tag` folds: the write side decides on it, under the lock.
* A view has a row here while it exists: production from the tag's first complete, or first cancel after a rollout
  (with the empty list); a wave from its first rollout to its end; held from the cancel of a wave that was rolled out
  until one of its number or above completes; ci from its first target (DESIGN §4).
* `release_view_target` holds the targets of production, of the active wave, whether or not it was rolled out, and of
  held views.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import cast

import orjson
from sqlalchemy import Connection, MetaData

from ledger.codec import decode
from ledger.domain.events import TargetsPromoted, TargetsResigned, WaveClosed
from ledger.domain.tag import LiveDocument, Tag, TagEvent, evolve
from ledger.domain.values import JsonObject, known_target, to_epoch
from ledger.store.events import Row
from projections import publications, tags
from projections.fold import Data, Fold
from projections.tables import release_tables

HELD_RANK, PRODUCTION_RANK, WAVE_RANK = 1, 2, 3  # the direction devices move, so the order versions are given in


def canonical_body(body: JsonObject) -> str:
    """A target as the canonical JSON that is signed (content was checked at import)."""
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()


class Releases(Fold):
    """Fold of everything but the fleet."""

    name = "releases"

    def __init__(self, suffix: str = "") -> None:
        """Fold into the tables whose names end in `suffix`."""
        super().__init__(suffix)
        self.handlers = {
            "member.added/1": self._member_added,
            "member.removed/1": self._member_removed,
            "root.published/1": self._root_published,
            "online-key.set/1": self._online_key_set,
            "ci-targets.imported/1": self._ci_targets_imported,
            "ci-targets.pruned/1": self._ci_targets_pruned,
            "wave.initialized/1": self._wave_initialized,
            "wave.signed/1": self._wave_signed,
            "wave.resigned/1": self._wave_resigned,
            "wave.holders-changed/1": self._wave_holders_changed,
            "wave.rolled-out/1": self._wave_rolled_out,
            "wave.completed/1": self._wave_completed,
            "wave.canceled/1": self._wave_canceled,
            "tag.wave-opened/1": self._tag_changed,
            "targets.promoted/1": self._tag_changed,
            "targets.pruned/1": self._tag_changed,
            "targets.resigned/1": self._tag_changed,
            "tag.wave-closed/1": self._tag_changed,
            **publications.handlers(self),
        }
        self.batches = publications.batches(self)
        # Publications have tables of their own, which nothing else asks.
        self.passes = dict.fromkeys(self.batches, self.handlers.keys() - publications.handlers(self).keys())
        self._states: dict[str, Tag] = {}
        self._tags = self.keep("release_tag", " ".join(tags.COLUMNS))
        self._waves = self.keep(
            "release_wave",
            "wave tag number status created_at created_by finished_at finished_by position expires version threshold "
            "source_tag prune reason documents",
        )
        self._signatures = self.keep("release_signature", "wave place keyid signatures")
        self._rollouts = self.keep(
            "release_rollout", 'wave rollout at "by" grp full_group listed devices skipped digest plan position'
        )
        self._views = self.keep(
            "release_view", "view repository rank version expires wave document content content_position"
        )
        self._targets = self.keep("release_view_target", "view name number hardware_id body")

    def forget(self) -> None:
        """Begin anew."""
        super().forget()
        self._states.clear()

    def tables(self, generation: int) -> MetaData:
        """The tables to fold into, with the indexes of that generation."""
        return release_tables(self.suffix, generation)

    def _member_added(self, connection: Connection, row: Row, data: Data) -> None:
        self.run(
            connection,
            "INSERT INTO {release_member} (member, role) VALUES (:member, :role) "
            "ON CONFLICT (member) DO UPDATE SET role = excluded.role",
            data,
        )

    def _member_removed(self, connection: Connection, row: Row, data: Data) -> None:
        self.run(connection, "DELETE FROM {release_member} WHERE member = :member", data)

    def _root_published(self, connection: Connection, row: Row, data: Data) -> None:
        self.run(
            connection,
            "INSERT INTO {release_root} (repository, version, expires, metadata, position) "
            "VALUES (:repository, :version, :expires, :metadata, :position)",
            {**data, "expires": _seconds(data["expires"]), "position": row.position},
        )

    def _online_key_set(self, connection: Connection, row: Row, data: Data) -> None:
        key = {**data, "key": canonical_body(data["key"])}
        self.run(
            connection,
            "INSERT INTO {release_replaced_key} (repository, role, keyid, replaced_at, position) "
            "SELECT repository, role, keyid, :at, :position FROM {release_online_key} WHERE repository = :repository "
            "AND role = :role AND keyid <> :keyid "
            "ON CONFLICT (repository, role, keyid) DO UPDATE "
            "SET replaced_at = excluded.replaced_at, position = excluded.position",
            {**key, "at": row.recorded_at, "position": row.position},
        )
        of_role = "WHERE repository = :repository AND role = :role"
        self.run(connection, f"DELETE FROM {{release_replaced_key}} {of_role} AND keyid = :keyid", key)  # it is back
        self.run(connection, f"DELETE FROM {{release_online_key}} {of_role}", key)
        self.run(
            connection,
            "INSERT INTO {release_online_key} (repository, role, keyid, key) VALUES (:repository, :role, :keyid, :key)",
            key,
        )

    def _ci_targets_imported(self, connection: Connection, row: Row, data: Data) -> None:
        targets = [known_target(name, body) for name, body in data["targets"].items()]
        before = self._tags_of(connection, [target.name for target in targets])
        self.many(connection, "DELETE FROM {release_ci_tag} WHERE name = ?", [(t.name,) for t in targets])
        self.many(connection, "DELETE FROM {release_ci_target} WHERE name = ?", [(t.name,) for t in targets])
        self.many(connection, "DELETE FROM {release_ci_pruned} WHERE name = ?", [(t.name,) for t in targets])
        self.insert(
            connection,
            "release_ci_target",
            ("name", "number", "hardware_id", "body", "position"),
            [(t.name, t.number, t.hardware_id, canonical_body(t.body), row.position) for t in targets],
        )
        tagged = [(tag, target.name) for target in targets for tag in dict.fromkeys(target.tags)]
        self.insert(connection, "release_ci_tag", ("tag", "name"), tagged)
        for tag in sorted(before | {tag for tag, _ in tagged}):
            self._touch_ci_view(connection, f"ci/{tag}", row.position)

    def _ci_targets_pruned(self, connection: Connection, row: Row, data: Data) -> None:
        names = [(name,) for name in data["names"]]
        tags_ = self._tags_of(connection, data["names"])
        # Its number and content stay known: devices may report it for long, and its name stands for this content.
        self.many(
            connection,
            "INSERT INTO {release_ci_pruned} (name, number, body) "
            "SELECT name, number, body FROM {release_ci_target} WHERE name = ?",
            names,
        )
        self.many(connection, "DELETE FROM {release_ci_tag} WHERE name = ?", names)
        self.many(connection, "DELETE FROM {release_ci_target} WHERE name = ?", names)
        for tag in sorted(tags_):
            self._touch_ci_view(connection, f"ci/{tag}", row.position)

    def _tags_of(self, connection: Connection, names: list[str]) -> set[str]:
        statement = "SELECT tag FROM {release_ci_tag} WHERE name = :name"
        return {tag for name in names for (tag,) in self.rows(connection, statement, {"name": name})}

    def _touch_ci_view(self, connection: Connection, view: str, position: int) -> None:
        if self._views.rows(connection, view):
            self._views.change(connection, view, content_position=position)
        else:
            self._views.new(view, [(view, 1, None, None, None, None, None, position)])

    def _wave_initialized(self, connection: Connection, row: Row, data: Data) -> None:
        own = data["documents"][0]
        self._waves.new(
            data["wave"],
            [
                (data["tag"], data["number"], "active", row.recorded_at, row.actor, None, None, row.position,
                 _seconds(data["expires"]), own["version"], data["threshold"], data["source_tag"],
                 _json(data["prune"]), None, _headers_of(data["documents"]))
            ],
        )  # fmt: skip
        self._targets.new(own["view"], partial(_targets_of, own["signed"]))

    def _wave_signed(self, connection: Connection, row: Row, data: Data) -> None:
        self._signatures.add(data["wave"], [(row.position, data["keyid"], _json(data["signatures"]))])

    def _wave_resigned(self, connection: Connection, row: Row, data: Data) -> None:
        own, wave = data["documents"][0], data["wave"]
        header = {"version": own["version"], "expires": _seconds(own["expires"])}
        self._waves.change(connection, wave, threshold=data["threshold"], documents=None, **header)
        self._views.change(connection, own["view"], **header)
        signers = enumerate(data["signers"], start=1)
        self._signatures.put(wave, [(place, by["keyid"], _json(by["signatures"])) for place, by in signers])

    def _wave_holders_changed(self, connection: Connection, row: Row, data: Data) -> None:
        self._waves.change(connection, data["wave"], threshold=data["threshold"])
        signed = self._signatures.rows(connection, data["wave"])
        self._signatures.put(data["wave"], [by for by in signed if by[1] not in data["removed"]])

    def _wave_rolled_out(self, connection: Connection, row: Row, data: Data) -> None:
        selector = data["selector"]
        self._rollouts.add(
            data["wave"],
            [
                (data["rollout"], row.recorded_at, row.actor, selector["group"], data["full_group"],
                 selector["uuids"] is not None, data["devices"], data["skipped"], data["digest"], data["plan"],
                 row.position)
            ],
        )  # fmt: skip
        wave = self._waves.row(connection, data["wave"]) if data["rollout"] == 1 else None
        if wave:
            view = f"wave/{data['wave']}"
            repository = f"production/{wave['tag']}"
            document = (wave["version"], wave["expires"], data["wave"], view, data["wave"])
            self._views.new(view, [(repository, WAVE_RANK, *document, None)])

    def _wave_completed(self, connection: Connection, row: Row, data: Data) -> None:
        self._finish(connection, row, data["wave"], "complete", None)

    def _wave_canceled(self, connection: Connection, row: Row, data: Data) -> None:
        self._finish(connection, row, data["wave"], "canceled", data["reason"])

    def _finish(self, connection: Connection, row: Row, wave: str, status: str, reason: str | None) -> None:
        over = {"finished_at": row.recorded_at, "finished_by": row.actor}
        self._waves.change(connection, wave, status=status, reason=reason, **over)

    def _tag_changed(self, connection: Connection, row: Row, data: Data) -> None:
        event = cast("TagEvent", decode(row.topic, row.payload))
        before = self.tag(connection, event.tag)
        after = evolve(before, event)
        if after != before:  # a prune changes nothing here: the wave's own document left those targets out
            self._states[event.tag] = after
            self._tags.put(after.name, lambda: [tags.to_row(after)[1:]])
        live = before.live
        for view, document in after.live.items():
            if document != live.get(view):
                self._put_view(after, view, document)
        match event:
            case TargetsResigned():
                self.insert(
                    connection,
                    "release_resigned",
                    ("repository", "version", "position"),
                    [(after.view, document.version, row.position) for document in event.documents],
                )
            case TargetsPromoted():
                self._targets.move(connection, f"wave/{event.wave}", after.view)
                self._drop_views(live.keys() - after.live.keys())
            case WaveClosed():
                # After a rollout, what devices run stays on offer to those who run it.
                wave, held = f"wave/{event.wave}", f"held/{event.wave}"
                if held in after.live:
                    self._targets.move(connection, wave, held)
                self._drop_views([wave])

    def _put_view(self, tag: Tag, view: str, document: LiveDocument) -> None:
        rank = PRODUCTION_RANK if view == tag.view else HELD_RANK
        header = (document.version, to_epoch(document.expires), document.wave, document.view, document.content)
        self._views.put(view, [(tag.view, rank, *header, None)])

    def _drop_views(self, views: Iterable[str]) -> None:
        for view in views:
            self._targets.put(view, ())
            self._views.put(view, ())

    def tag(self, connection: Connection, name: str) -> Tag:
        """The state of a tag."""
        if name not in self._states:
            row = self._tags.row(connection, name)
            self._states[name] = tags.from_row({"tag": name, **row}) if row else Tag(name)
        return self._states[name]


def _targets_of(signed: str) -> list[tuple[str, int, str, str]]:
    """The targets of a document: name, number, hardware id and body."""
    targets = [known_target(name, body) for name, body in orjson.loads(signed)["targets"].items()]
    return [(t.name, t.number, t.hardware_id, canonical_body(t.body)) for t in targets]


def _headers_of(signed: list[Data]) -> str:
    """What the documents of a wave have besides their targets, in the order of its signatures, as JSON."""
    return _json([(one["version"], _seconds(one["expires"]), one["content"]) for one in signed])


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _seconds(text: str) -> int:
    return to_epoch(datetime.fromisoformat(text))
