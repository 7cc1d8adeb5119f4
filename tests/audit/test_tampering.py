"""Whatever is done to the database without the keys, an audit finds it; what it can't alone, a kept checkpoint does."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from ledger.application import proofs
from ledger.tuf.keypair import generate
from ledger.tuf.note import Checkpoint, sign_checkpoint
from projections.audit.findings import KINDS, Finding
from projections.audit.history import Audit
from tests import stores
from tests.audit.attacker import COLUMNS, Attacker
from tests.audit.conftest import Copies, audit
from tests.support import Factory, device


def test_a_ledger_that_nobody_touched(lived: Factory) -> None:
    """Nothing is found in a history with waves, rotations, held views, publications and a wave that waits."""
    assert list(Audit(lived.engine).findings()) == []


def test_triggers_that_were_removed(attacker: Attacker) -> None:
    """That the history is not protected any more is found, though nothing in it was changed yet."""
    found = list(Audit(attacker.factory.engine).findings())

    assert {f.kind for f in found} == {"database"}
    assert {f.position for f in found} == {None}
    assert {"event_stays", "checkpoint_stays"} <= {f.field.rpartition(".")[2] for f in found}


def chain_alone(factory: Factory) -> list[Finding]:
    """What rows, leaves, head and checkpoints tell without any other check: `audit verify` finds at least that."""
    looked = Audit(factory.engine)
    looked.checks.clear()
    return list(looked.history())


def other(column: str, value: Any, rows: int) -> Any:
    """Another value that the database takes for this column."""
    if column in {"leaf", "payload"}:
        place = len(value) // 2
        return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
    return {
        "position": lambda: value + rows,
        "stream": lambda: "wave:w9",
        "version": lambda: value + rows,
        "topic": lambda: "member.added/1" if value != "member.added/1" else "member.removed/1",
        "recorded_at": lambda: value + 1,
        "actor": lambda: "mallory",
        "encoding": lambda: "json" if value == "json+zlib" else "json+zlib",
    }[column]()


def change_and_look(attacker: Attacker, row: dict[str, Any], column: str, rows: int) -> None:
    """Change one column of one row, look, and change it back."""
    position, value = row["position"], row[column]
    changed = other(column, value, rows)
    at = changed if column == "position" else position
    sql = f"UPDATE event SET {column} = :value WHERE position = :position"
    assert attacker.run(sql, value=changed, position=position) == 1

    found = chain_alone(attacker.factory)

    assert found, f"{column} of position {position}"
    assert {finding.kind for finding in found} <= KINDS.keys()
    attacker.run(sql, value=value, position=at)


def test_any_column_of_some_rows(attacker: Attacker) -> None:
    """Each column of rows that are drawn anew each day: any change is found by the chain alone."""
    rows = attacker.rows()
    for row in random.Random(time.strftime("%j")).sample(rows, 5):
        for column in COLUMNS:
            change_and_look(attacker, row, column, len(rows))
    assert audit(attacker.factory) == []


@pytest.mark.slow
def test_any_column_of_two_hundred_rows(attacker: Attacker) -> None:
    """Each column of 200 random rows: any change is found, and nothing once it is changed back."""
    factory = attacker.factory
    for number in range(160):
        factory.register(device(f"more-{number}", group="lab"))
    rows = attacker.rows()
    drawn = random.Random("two hundred rows").sample(rows, 200)
    for row in drawn:
        for column in COLUMNS:
            change_and_look(attacker, row, column, len(rows))
    assert audit(factory) == []


def test_what_a_finding_says(attacker: Attacker) -> None:
    """Of one changed row there is one finding of the chain, with its position and whether the leaf was changed."""
    attacker.run("UPDATE event SET actor = 'mallory' WHERE position = 20")
    by_fields = [f for f in audit(attacker.factory) if f.kind in {"chain", "head", "checkpoint"}]
    attacker.run("UPDATE event SET actor = 'alice', leaf = :leaf WHERE position = 20", leaf=bytes(32))
    by_leaf = [f for f in audit(attacker.factory) if f.kind in {"chain", "head", "checkpoint"}]

    assert [(f.position, f.kind, f.field) for f in by_fields] == [(20, "chain", "payload")]
    assert "its fields were changed" in by_fields[0].message
    assert [(f.position, f.kind, f.field) for f in by_leaf] == [(20, "chain", "leaf")]
    assert "its leaf was changed; its fields were not" in by_leaf[0].message


STRANGE = ("CAST(x'ff' AS TEXT)", "x'00'", "7", "''")
TYPED = ("stream", "topic", "actor", "encoding", "payload", "leaf")


def put_and_look(attacker: Attacker, column: str, value: str) -> None:
    """Put a value into a column of one row, look at all, and put it back."""
    (before,) = (row[column] for row in attacker.rows() if row["position"] == 20)
    attacker.run(f"UPDATE event SET {column} = {value} WHERE position = 20")
    found = audit(attacker.factory)
    attacker.run(f"UPDATE event SET {column} = :value WHERE position = 20", value=before)

    assert 20 in {finding.position for finding in found}, (column, value)


@stores.about_files
def test_values_that_no_event_ever_had(attacker: Attacker) -> None:
    """Text that is no text, numbers in the place of text, nothing: SQLite takes them all, and they are found."""
    for place, column in enumerate(TYPED):
        put_and_look(attacker, column, STRANGE[place % len(STRANGE)])


@pytest.mark.slow
@stores.about_files
def test_all_values_that_no_event_ever_had(attacker: Attacker) -> None:
    """Each of them in each column."""
    for column in TYPED:
        for value in STRANGE:
            put_and_look(attacker, column, value)
    assert audit(attacker.factory) == []


def delete(attacker: Attacker) -> None:
    attacker.put([row for row in attacker.rows() if row["position"] != 30])


def delete_and_close_up(attacker: Attacker) -> None:
    rows = [row for row in attacker.rows() if row["position"] != 30]
    attacker.put([row | {"position": place} for place, row in enumerate(rows, start=1)])


def insert(attacker: Attacker) -> None:
    rows = attacker.rows()
    new = rows[5] | {"stream": "factory", "version": 99, "topic": "member.added/1", "encoding": "json"}
    rows.insert(12, new | {"payload": b'{"member":"mallory","role":"owner"}'})
    attacker.put([row | {"position": place} for place, row in enumerate(rows, start=1)])


def swap(attacker: Attacker) -> None:
    rows = attacker.rows()
    rows[40], rows[41] = rows[41] | {"position": 41}, rows[40] | {"position": 42}
    attacker.put(rows)


def duplicate(attacker: Attacker) -> None:
    rows = attacker.rows()
    attacker.put([*rows, rows[-1] | {"position": len(rows) + 1, "version": rows[-1]["version"] + 1}])


def cut(attacker: Attacker) -> None:
    attacker.put(attacker.rows()[:-1])


def forget_checkpoint(attacker: Attacker) -> None:
    attacker.run("DELETE FROM checkpoint WHERE size = (SELECT min(size) FROM checkpoint)")


def move_checkpoint(attacker: Attacker) -> None:
    attacker.run("UPDATE checkpoint SET size = size + 1 WHERE size = (SELECT max(size) FROM checkpoint)")


def note_with_another_signature(attacker: Attacker) -> None:
    attacker.run("UPDATE checkpoint SET note = note || :line", line="— somebody AAAAAAAA\n")


def head_with(column: str, value: str) -> Callable[[Attacker], None]:
    def change(attacker: Attacker) -> None:
        attacker.run(f"UPDATE head SET {column} = {value}")

    return change


def no_head(attacker: Attacker) -> None:
    attacker.run("DELETE FROM head")


ATTACKS = {
    "a row deleted": (delete, "chain"),
    "a row deleted, positions closed up": (delete_and_close_up, "chain"),
    "a row inserted": (insert, "chain"),
    "two rows swapped": (swap, "chain"),
    "a row twice": (duplicate, "head"),
    "the end cut off": (cut, "head"),
    "a checkpoint deleted": (forget_checkpoint, "checkpoint"),
    "a checkpoint of another size": (move_checkpoint, "checkpoint"),
    "a note with more in it": (note_with_another_signature, "checkpoint"),
    "the head's size": (head_with("size", "size + 1"), "head"),
    "the head's tree": (head_with("frontier", "substr(frontier, 1, 8)"), "head"),
    "the head's time": (head_with("recorded_at", "recorded_at + 1"), "head"),
    "no head": (no_head, "head"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_rows_that_come_go_and_move(attacker: Attacker, attack: str) -> None:
    """Deleting, inserting, swapping and doubling rows is found, and so is any change of head and checkpoints."""
    how, kind = ATTACKS[attack]
    how(attacker)

    assert kind in {finding.kind for finding in audit(attacker.factory)}


@pytest.mark.parametrize("statement", [
    "UPDATE fleet_device SET name = 'x' WHERE uuid = 'd1'",
    "DELETE FROM release_tag WHERE tag = 'release'",
    "UPDATE release_wave SET status = 'complete' WHERE wave = 'w4'",
    "UPDATE projection SET position = position - 1",
    "UPDATE projection SET position = position + 1",
    "DELETE FROM projection",
])  # fmt: skip
def test_changed_projections(attacker: Attacker, statement: str) -> None:
    """Answers that are not those of the events are found, with table and column."""
    attacker.run(statement)
    found = audit(attacker.factory)

    assert {finding.kind for finding in found} == {"projection"}
    assert all(finding.field for finding in found)


# What only a checkpoint that was kept elsewhere shows


def kept(factory: Factory) -> Checkpoint:
    """A checkpoint of all of a ledger, as `audit checkpoint` makes it."""
    with factory.ledger.reading() as connection:
        tree = proofs.read_tree(connection)
    return proofs.newest_checkpoint(tree, factory.online)


def cut_cleanly(attacker: Attacker) -> None:
    """The last event goes, and everything else is made to fit."""
    attacker.put(attacker.rows()[:-1])
    attacker.rehash()
    attacker.rebuild()


def rewrite_newest(attacker: Attacker) -> None:
    """The last event gets another actor, and everything else is made to fit."""
    rows = attacker.rows()
    rows[-1]["actor"] = "mallory"
    attacker.put(rows)
    attacker.rehash()
    attacker.rebuild()


@pytest.mark.parametrize("attack", [cut_cleanly, rewrite_newest], ids=lambda attack: attack.__name__)
def test_a_history_that_was_made_again(lived: Factory, attacker: Attacker, attack: Callable[[Attacker], None]) -> None:
    """A ledger that was made to fit after its last checkpoint is whole to itself, and not to a kept checkpoint."""
    attack(attacker)

    assert audit(attacker.factory) == []
    found = audit(attacker.factory, kept=kept(lived))
    assert [finding.kind for finding in found] == ["checkpoint"]


def test_an_older_copy(lived: Factory, copies: Copies) -> None:
    """A copy from before is whole to itself, and shorter than a kept checkpoint."""
    newer = copies()
    newer.register(device("arrived-later"))
    checkpoint = kept(newer)

    assert audit(newer, kept=checkpoint) == []
    found = audit(lived, kept=checkpoint)
    assert [(f.position, f.kind, f.field) for f in found] == [(checkpoint.size, "checkpoint", "size")]
    assert "older copy" in found[0].message


def test_a_rewritten_past(lived: Factory, attacker: Attacker) -> None:
    """Who changes an old event and hashes everything anew can't sign its checkpoints anew: found without a kept one."""
    attacker.run("UPDATE event SET actor = 'bob' WHERE position = 20")
    attacker.rehash()
    attacker.rebuild()
    found = audit(attacker.factory)
    with_kept = audit(attacker.factory, kept=kept(lived))

    assert "checkpoint" in {finding.kind for finding in found}
    assert "kept elsewhere" in next(f.message for f in with_kept if "kept" in f.message)


def test_a_ledger_that_was_started_again(lived: Factory, tmp_path: Any) -> None:
    """Another ledger in the place of this one, with other keys, is not the one of a kept checkpoint."""
    size, root = lived.head()
    other_key = sign_checkpoint(generate("ed25519"), "acme", size, root)
    other_name = sign_checkpoint(lived.keys.ledger, "other", size, root)

    for checkpoint in (other_key, other_name):
        found = audit(lived, kept=checkpoint)
        assert [(f.kind, f.field) for f in found] == [("checkpoint", "note")]


def test_a_root_from_elsewhere(lived: Factory) -> None:
    """A root that the ledger published is found in it, and any other is missed."""
    with lived.ledger.reading() as connection:
        root = lived.facts.trusted(connection, "production").metadata

    assert audit(lived, trusted=root) == []
    other_root = json.loads(root)
    other_root["signed"]["expires"] = "2099-01-01T00:00:00Z"
    found = audit(lived, trusted=json.dumps(other_root).encode())
    assert [(f.kind, f.field) for f in found] == [("root", "metadata")]


def test_an_audit_waits_for_nobody(lived: Factory, copies: Copies) -> None:
    """Events and checkpoints that come while an audit runs are a part of it."""
    from projections.tuf.publish import publish

    growing = copies()
    looked = Audit(growing.engine)

    def grow(done: int, total: int) -> None:
        if not grown:
            grown.append(done)
            growing.register(device("meanwhile"))
            publish(growing.ledger, growing.online, force=True)

    grown: list[int] = []
    looked.progress = grow

    assert list(looked.findings()) == []
    assert grown
    assert looked.chain.rows == growing.head()[0] > lived.head()[0]
