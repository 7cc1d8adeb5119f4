"""The auditors' commands as they are typed: what they print, what they write, and how they end."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from sqlalchemy import text

from ledger.domain.values import parse_time
from projections.tables import is_time
from tests import stores
from tests.audit.attacker import open_database, tamper

KEYS = ("-k", "keys/targets.only.key.tgz")


@pytest.fixture(scope="module")
def audited(imported: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A ledger with a published wave, a root in a file, and a checkpoint that was kept."""
    shell = imported("acme").copy(tmp_path_factory.mktemp("audited") / "acme")
    shell.env["WAVELEDGER_PUBLISH"] = str(shell.cwd / "public")
    shell.do("waves", "init", "v48", "48", "release", *KEYS)
    shell.do("waves", "rollout", "v48", "--limit", "2")
    shell.do("waves", "complete", "v48")
    (shell.cwd / "root.json").write_text(shell.do("keys", "tuf", "show-root", "--prod", "--format", "json").out)
    shell.do("audit", "checkpoint", "-o", "kept.note")
    return shell


@pytest.fixture
def ours(audited: Any, tmp_path: Path) -> Any:
    """A copy of this test's own."""
    return audited.copy(tmp_path / "ours")


def test_verify_says_what_it_looked_at(ours: Any) -> None:
    """A whole ledger: ok, the head, how many checkpoints fit, no finding; with checkpoint and root from elsewhere."""
    found = ours.ask("audit", "verify", "--checkpoint", "kept.note", "--root", "root.json")
    position, root = ours.head()

    assert found["ok"]
    assert found["findings"] == []
    assert found["head"] == {"position": position, "root": root}
    assert found["checked"]["events"] == position
    assert found["checked"]["checkpoints"] > 0
    told = ours.do("audit", "verify", "--checkpoint", "kept.note").out
    assert f"{position} events, root {root}" in told
    assert "and so does kept.note" in told


def test_verify_finds(ours: Any) -> None:
    """A changed row: exit 6, findings as data with position, kind, field and message, and a hint."""
    tamper(ours.store, "UPDATE event SET actor = 'mallory' WHERE position = 4")
    as_json = ours.quick("audit", "verify", "--format", "json")
    as_table = ours.quick("audit", "verify")
    as_csv = ours.quick("audit", "verify", "--format", "csv")

    assert (as_json.rc, as_table.rc, as_csv.rc) == (6, 6, 6)
    assert not as_json.json["ok"]
    chain = [f for f in as_json.json["findings"] if f["kind"] == "chain"]
    assert [(f["position"], f["field"]) for f in chain] == [(4, "payload")]
    assert set(chain[0]) == {"position", "kind", "field", "message"}
    assert "error: problems found in the ledger" in as_table.err
    assert "hint:" in as_table.err
    assert as_csv.out.startswith("position,kind,field,message\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--checkpoint", "nothing.note"), "cannot read nothing.note"),
        (("--checkpoint", "root.json"), "root.json is not a checkpoint"),
        (("--checkpoint", "keys/root.keys.tgz"), "keys/root.keys.tgz is not a checkpoint"),
        (("--root", "kept.note"), "does not give the ledger's key"),
    ],
)
def test_verify_that_could_not_run(ours: Any, arguments: tuple[str, ...], told: str) -> None:
    """What can't be compared with is exit 7, and no finding."""
    came = ours.quick("audit", "verify", *arguments)

    assert (came.rc, came.out) == (7, "")
    assert told in came.err


def test_verify_without_a_ledger(shell: Any) -> None:
    """No store: exit 7."""
    assert shell.quick("audit", "verify").rc == 7


def test_a_checkpoint_is_its_note(ours: Any) -> None:
    """Printed it is the note, byte for byte as with -o; the JSON has it with size and root."""
    printed = ours.do("audit", "checkpoint").out
    document = ours.ask("audit", "checkpoint")
    position, root = ours.head()

    assert printed == (ours.cwd / "kept.note").read_text() == document["note"]
    assert (document["size"], document["root"], document["origin"]) == (position, root, "waveledger/acme")


def test_nothing_is_overwritten(ours: Any) -> None:
    """Evidence that is there stays: checkpoints, proofs and exports go to new files only."""
    before = (ours.cwd / "kept.note").read_bytes()
    for command in (("checkpoint",), ("prove", "1"), ("export",)):
        came = ours.quick("audit", *command, "-o", "kept.note")
        assert came.rc == 3
        assert "is there already" in came.err
    assert (ours.cwd / "kept.note").read_bytes() == before
    assert ours.quick("audit", "export", "-o", "nowhere/x").rc == 7


def test_without_the_ledgers_key(ours: Any) -> None:
    """Then the newest checkpoint that is kept is given, and what it does not cover is said."""
    ours.do("members", "add", "zoe", "--role", "admin")
    came = ours.quick("audit", "checkpoint", env={"WAVELEDGER_ONLINE_KEYS": "nowhere"})

    assert came.rc == 0
    assert "without the ledger's key: the newest that is kept" in came.err
    position, _ = ours.head()
    assert int(came.out.splitlines()[1]) < position
    late = ours.quick("audit", "prove", str(position), env={"WAVELEDGER_ONLINE_KEYS": "nowhere"})
    assert late.rc == 4
    assert f"says nothing about position {position}" in late.err


def test_no_checkpoint_at_all(imported: Callable[..., Any], tmp_path: Path) -> None:
    """A ledger that was never published, on a machine without its key: exit 4, and it can be exported all the same."""
    shell = imported("acme").copy(tmp_path / "acme", WAVELEDGER_ONLINE_KEYS="nowhere")

    assert shell.quick("audit", "checkpoint").rc == 4
    assert shell.do("audit", "export", "-o", "acme.jsonl").rc == 0
    assert orjson.loads((shell.cwd / "acme.jsonl").read_bytes().splitlines()[0])["checkpoint"] is None


def test_proofs_from_hand_to_hand(ours: Any, tmp_path: Path) -> None:
    """An event's proof and a proof of growth are checked by somebody who has the root, or the key, and no store."""
    ours.do("audit", "prove", "3", "-o", "event.json")
    ours.do("members", "add", "zoe", "--role", "admin")
    ours.do("audit", "prove", "--from", "kept.note", "-o", "grown.json")
    size = ours.ask("audit", "checkpoint")["size"]
    key = ours.ask("audit", "show", "1")["payload"]["ledger_key"]
    elsewhere = type(ours)(tmp_path / "elsewhere")
    elsewhere.cwd.mkdir()
    for name in ("event.json", "grown.json", "kept.note", "root.json"):
        (elsewhere.cwd / name).write_bytes((ours.cwd / name).read_bytes())

    event = elsewhere.ask("audit", "check", "event.json", "--root", "root.json")
    grown = elsewhere.ask("audit", "check", "grown.json", "--key", key)
    kept = elsewhere.ask("audit", "check", "kept.note", "--root", "root.json")

    assert (event["kind"], event["event"]["position"]) == ("inclusion", 3)
    assert (grown["kind"], [c["size"] for c in grown["checkpoints"]]) == ("consistency", [size - 1, size])
    assert (kept["kind"], kept["event"]) == ("checkpoint", None)
    assert "this event is there" in elsewhere.do("audit", "check", "event.json", "--root", "root.json").out
    assert "the ledger only grew" in elsewhere.do("audit", "check", "grown.json", "--key", key).out
    wrong = elsewhere.quick("audit", "check", "event.json", "--key", "00" * 32)
    assert (wrong.rc, wrong.out) == (6, "")
    (elsewhere.cwd / "event.json").write_text("{}")
    assert elsewhere.quick("audit", "check", "event.json", "--root", "root.json").rc == 6
    assert elsewhere.quick("audit", "check", "nothing.json", "--root", "root.json").rc == 7
    assert elsewhere.quick("audit", "check", "event.json", "--root", "kept.note").rc == 7


def test_proofs_between_kept_checkpoints(ours: Any) -> None:
    """Checkpoints are named by their size, too; in the wrong order, unknown ones, and another ledger's are refused."""
    with open_database(ours.store) as connection:
        sizes = connection.execute(text("SELECT size FROM checkpoint ORDER BY size")).scalars().all()
    first, last = str(sizes[0]), str(sizes[-1])

    assert ours.ask("audit", "prove", "--from", first, "--checkpoint", last)["kind"] == "consistency"
    assert ours.ask("audit", "prove", "2", "--checkpoint", last)["size"] == sizes[-1]
    assert ours.quick("audit", "prove", "--from", last, "--checkpoint", first).rc == 4
    unknown = ours.quick("audit", "prove", "--from", "1")
    assert unknown.rc == 4
    assert f"it keeps those of the sizes {', '.join(map(str, sizes))}" in unknown.err
    assert ours.quick("audit", "prove", "999999").rc == 4
    assert ours.quick("audit", "prove").rc == 2
    assert ours.quick("audit", "prove", "3", "--from", first).rc == 2
    assert ours.quick("audit", "check", "kept.note").rc == 2


def test_no_checkpoint_for_a_rewritten_history(ours: Any) -> None:
    """The ledger's key signs nothing when the leaves are not those of the last checkpoint."""
    tamper(ours.store, "UPDATE event SET leaf = (SELECT leaf FROM event WHERE position = 5) WHERE position = 4")

    for command in (("checkpoint",), ("prove", "3"), ("export", "-o", "x.jsonl")):
        came = ours.quick("audit", *command)
        assert came.rc == 7
        assert "the events are not those" in came.err
    assert not (ours.cwd / "x.jsonl").exists()


def test_an_export_that_turns_out_wrong(ours: Any) -> None:
    """A changed payload is noticed at the end of an export, and the file goes again."""
    tamper(ours.store, "UPDATE event SET actor = 'mallory' WHERE position = 4")

    assert ours.quick("audit", "export", "-o", "x.jsonl").rc == 7
    assert not (ours.cwd / "x.jsonl").exists()


def test_what_was_published_counts_as_published_after_an_import(ours: Any) -> None:
    """Which destination had what is in no export, so a stranger is told what devices could see, as with --at."""
    ours.do("audit", "export", "-o", "acme.jsonl")
    stranger = ("--store", "sqlite:///stranger.db")
    ours.do(*stranger, "audit", "import", "acme.jsonl")
    ours.do("store", "copy", "sqlite:///half.db", "--until", str(ours.head()[0] - 1))
    asked = ("devices", "list", "--production", "--limit", "100", "-f", "json")

    published = {d["uuid"]: d["eligible"]["published"] for d in ours.do(*asked).json["devices"]}
    found = {d["uuid"]: d["eligible"]["published"] for d in ours.do(*stranger, *asked).json["devices"]}
    half = {
        d["uuid"]: d["eligible"]["published"] for d in ours.do("--store", "sqlite:///half.db", *asked).json["devices"]
    }

    assert any(published.values())
    assert found == published
    then = ours.do(*asked, "--at", str(ours.head()[0] - 1)).json["devices"]
    assert half == {d["uuid"]: d["eligible"]["published"] for d in then}


def test_an_import_that_is_tried(ours: Any) -> None:
    """A dry import reads all of it, says what would come, and leaves no file; what it refuses it refuses."""
    ours.do("audit", "export", "-o", "acme.jsonl")
    position, root = ours.head()
    before = sorted(path.name for path in ours.cwd.iterdir())

    came = ours.do("--store", "sqlite:///tried.db", "audit", "import", "acme.jsonl", "--dry-run", "-f", "json")

    assert (came.json["size"], came.json["root"], came.json["dry_run"]) == (position, root, True)
    assert "nothing was written" in came.err
    (ours.cwd / "acme.jsonl").write_bytes((ours.cwd / "acme.jsonl").read_bytes()[:-100])
    assert ours.quick("--store", "sqlite:///tried.db", "audit", "import", "acme.jsonl", "--dry-run").rc == 7
    assert sorted(path.name for path in ours.cwd.iterdir()) == before


def allowed(shell: Any) -> dict[str, Any]:
    """What each device may install. When it was seen, and what reached a destination, is no history."""
    devices = shell.ask("devices", "list")["devices"]
    return {
        d["uuid"]: (d["tag"], d["group"], d["target"], d["eligible"]["view"], d["eligible"]["targets"]) for d in devices
    }


def test_a_strangers_audit(ours: Any, tmp_path: Path) -> None:
    """From an export, a root and a checkpoint: a new store, which is checked, and answers as the old one does."""
    ours.do("audit", "export", "-o", "acme.jsonl")
    stranger = type(ours)(tmp_path / "stranger")
    stranger.cwd.mkdir()
    for name in ("acme.jsonl", "kept.note", "root.json"):
        (stranger.cwd / name).write_bytes((ours.cwd / name).read_bytes())
    came = stranger.ask("audit", "import", "acme.jsonl")
    position, root = ours.head()

    assert (came["size"], came["root"]) == (position, root)
    assert stranger.head() == ours.head()
    assert stranger.ask("audit", "verify", "--checkpoint", "kept.note", "--root", "root.json")["ok"]
    assert allowed(stranger) == allowed(ours)
    assert stranger.ask("waves", "show", "v48") == ours.ask("waves", "show", "v48")
    assert stranger.quick("audit", "import", "acme.jsonl").rc == 7
    other = stranger.quick("--store", "sqlite:///other.db", "audit", "import", "kept.note")
    assert (other.rc, (stranger.cwd / "other.db").exists()) == (7, False)


def test_export_to_a_pipe(ours: Any) -> None:
    """Without -o the lines are on standard output, byte for byte, and an import takes them from standard input."""
    ours.do("audit", "export", "-o", "acme.jsonl")
    piped = ours.run("audit", "export")

    assert piped.out.encode() == (ours.cwd / "acme.jsonl").read_bytes()
    came = ours.run("--store", "sqlite:///piped.db", "audit", "import", "-", stdin=piped.out)
    assert came.rc == 0, came.err


def test_the_schema_describes_every_line(ours: Any) -> None:
    """Each line of an export is valid by the schema, and a line with a field more, or of another type, is not."""
    ours.do("audit", "export", "-o", "acme.jsonl")
    schema = ours.ask("audit", "schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    lines = [orjson.loads(line) for line in (ours.cwd / "acme.jsonl").read_bytes().splitlines()]

    for line in lines:
        validator.validate(line)
    event = next(line for line in lines if line.get("topic") == "wave.initialized/1")
    for wrong in ({"number": "48"}, {"more": 1}, {"expires": "tomorrow"}):
        assert not validator.is_valid({**event, "payload": {**event["payload"], **wrong}})
    assert not validator.is_valid({**event, "topic": "member.added/1"})


def test_projections_that_differ(ours: Any) -> None:
    """Findings are data in every format, with exit code 6."""
    tamper(ours.store, "UPDATE fleet_device SET number = 99 WHERE dev = 3", "DELETE FROM release_view")
    as_json = ours.quick("projections", "verify", "-f", "json")

    assert (as_json.rc, as_json.json["ok"]) == (6, False)
    assert {finding["table"] for finding in as_json.json["findings"]} == {"fleet_device", "release_view"}
    assert ours.quick("projections", "verify", "-f", "csv").rc == 6


def test_what_an_event_changed_is_data(ours: Any) -> None:
    """Under changes, times are RFC 3339 or null, truth is true or false, and no text holds JSON."""
    ours.do("waves", "init", "v49", "49", "release", *KEYS)
    ours.do("waves", "rollout", "v49", "--limit", "2")
    ours.do("waves", "cancel", "v49")
    seen = set()
    for position in range(1, ours.head()[0] + 1):
        for change in ours.ask("audit", "show", str(position))["changes"]:
            for name, value in {**(change["before"] or {}), **(change["after"] or {})}.items():
                if is_time(name):
                    assert value is None or parse_time(value), (position, change)
                if isinstance(value, str) and name != "metadata":
                    assert not value.startswith(("[", "{")), (position, change)
                seen.add((change["table"], name, type(value)))

    assert {("fleet_device", "production", bool), ("release_tag", "held", list)} <= seen
    assert {("release_wave", "finished_at", str), ("release_view_target", "body", dict)} <= seen
    told = ours.do("audit", "show", str(ours.head()[0] - 1)).out
    assert "held: none -> v49" in told


def test_rows_that_differ_are_told_with_their_times(ours: Any) -> None:
    """What somebody changed in a column of times is told as times, the row that it is in, too; bytes as hex."""
    tamper(ours.store, "UPDATE release_wave SET finished_at = 0, created_by = 'mallory' WHERE wave = 'v48'")
    if not stores.ON_POSTGRESQL:  # whose columns take no bytes
        tamper(ours.store, "UPDATE release_root SET metadata = CAST(x'ff00' AS BLOB) WHERE repository = 'ci'")
    found = ours.quick("projections", "verify", "--format", "json")
    wave = next(f for f in found.json["findings"] if f["field"] == "finished_at")

    assert found.rc == 6
    assert wave["problem"].startswith("finished_at is None, a replay gives 20")
    assert parse_time(wave["row"]["created_at"])
    assert wave["row"]["finished_at"] is None


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--wave", "there is no wave nobody"),
        ("--tag", "no event is about tag 'nobody'"),
        ("--device", "no event is about device 'nobody'"),
        ("--actor", "no event is by 'nobody'"),
    ],
)
def test_a_filter_that_names_what_never_was(audited: Any, option: str, told: str) -> None:
    """Not found, with where to look; a known name that has nothing in common with the other filters is an answer."""
    asked = audited.quick("audit", "log", option, "nobody")

    assert (asked.rc, asked.out) == (4, "")
    assert told in asked.err
    assert audited.ask("audit", "log", "--wave", "v48", "--actor", "alice", "--after", "900")["events"] == []


def test_a_proof_that_does_not_hold_is_an_answer_in_json(ours: Any) -> None:
    """Exit 6 with a document that says so, and what is wrong."""
    ours.do("audit", "prove", "3", "-o", "proof.json")
    (ours.cwd / "broken.json").write_text((ours.cwd / "proof.json").read_text().replace("alice", "mallory"))
    found = ours.quick("audit", "check", "broken.json", "--root", "root.json", "--format", "json")

    assert found.rc == 6
    assert found.json["ok"] is False
    assert found.json["problem"] in found.err


@pytest.mark.parametrize(
    ("statement", "found", "hint"),
    [
        ("UPDATE fleet_device SET name = 'x' WHERE dev = 3", "name is 'x'", "projections rebuild"),
        ("DROP TABLE fleet_member", "the table is missing", "projections rebuild"),
        ("ALTER TABLE release_wave DROP COLUMN reason", "the column reason is missing", "projections rebuild"),
        ("SELECT 1", "database", "waveledger migrate puts back"),
        ("UPDATE event SET actor = 'x' WHERE position = 4", "leaf", "compare with a backup"),
    ],
)
def test_the_hint_is_about_what_was_found(ours: Any, statement: str, found: str, hint: str) -> None:
    """What only stands around the history is mended in place; a history that was changed is not."""
    tamper(ours.store, statement)
    if "event" not in statement and "SELECT" not in statement:
        ours.do("migrate")  # the triggers that were taken away are back
    done = ours.quick("audit", "verify")

    assert done.rc == 6
    assert found in done.out
    assert hint in done.err


def test_a_table_that_is_gone_is_named_with_what_makes_it_anew(ours: Any) -> None:
    """A command that needs it ends with 7 and says how to find out; projections verify names it; a rebuild makes it."""
    tamper(ours.store, "DROP TABLE fleet_member")
    done = ours.quick("status")
    verified = ours.quick("projections", "verify", "--format", "json")

    assert verified.rc == 6
    assert [(f["table"], f["problem"]) for f in verified.json["findings"]] == [("fleet_member", "the table is missing")]
    assert done.rc == 7
    assert "waveledger projections rebuild" in done.err
    ours.do("projections", "rebuild")
    assert ours.ask("status")["devices"]["total"] > 0


@pytest.mark.parametrize(
    "command",
    [
        ("waves", "show", "v48"),
        ("devices", "show", "gw-001"),
        ("report", "wave", "v48"),
        ("waves", "status", "v48"),
    ],
)
def test_what_was_not_there_yet_is_said_of_that_moment(ours: Any, command: tuple[str, ...]) -> None:
    """Not found, as of the moment that was asked about; without --at it is found."""
    assert ours.do(*command).rc == 0
    asked = ours.quick(*command, "--at", "4")

    assert asked.rc == 4
    assert "as of --at 4" in asked.err


def test_the_log_is_the_same_in_json_and_csv(audited: Any) -> None:
    """Every field of every event, under the same names."""
    rows = list(csv.DictReader(audited.do("audit", "log", "--format", "csv").out.splitlines()))
    found = audited.ask("audit", "log")["events"]

    assert rows == [{name: str(value) for name, value in line.items()} for line in found]
