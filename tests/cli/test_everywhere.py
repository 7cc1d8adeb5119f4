"""What holds for every command: help, formats, dry runs, environment, exit codes, interruption, untrusted names."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import VERSION, app
from ledger.store import engine as store
from tests import stores
from tests.cli.conftest import DATA, KEYS, Waveledger

CANARY = "f6fadfa7-e5c1-4b62-9362-da5cc13da58a"
EAST = "bc67ba94-637d-4efa-a09e-467ada679f81"
HEADER = "uuid,name,hardware_id,tag,group,production\n"
NEW_TARGET = json.dumps(
    {"new-99": {"length": 1, "hashes": {"sha256": "a" * 64}, "custom": {"version": "99", "hardwareIds": ["new"]}}}
)

DEVICE = {"uuid", "name", "hardware_id", "tag", "group", "production", "target", "seen_at", "eligible"}
ELIGIBLE = {"view", "targets", "latest", "published", "reason"}
WAVE = {"name", "version", "tag", "status", "created_at", "created_by", "finished_at", "finished_by"}
ROLLOUT = {"at", "by", "group", "full_group", "factory_wide", "devices", "plan", "planned"}
COUNT = {"name", "tag", "version", "status", "created_at", "finished_at", "total", "updated", "scheduled"} | {
    "unscheduled", "rollout_groups", "other_groups",
}  # fmt: skip
GROUP = {"name", "rollout_at", "total", "online", "on_wave", "on_newer", "on_older", "scheduled", "targets"}
TAG = {"tag", "kind", "latest", "devices", "on_latest", "on_orphan", "online", "targets", "groups"}
EVENT = {"position", "stream", "version", "topic", "recorded_at", "actor", "summary"}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands that do something, with their words."""
    names = getattr(command, "list_commands", None)
    if names is None:
        yield path, command
        return
    for name in names(None):
        yield from leaves(command.get_command(None, name), (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))

# what reads, on the ledger `told`; the keys that its JSON document must have
READING: dict[tuple[str, ...], set[str]] = {
    ("status",): {"factory", "head", "devices", "tags", "warnings"},
    ("members", "list"): {"members"},
    ("targets", "list"): {"targets"},
    ("targets", "list", "--by-tag", "qa"): {"targets"},
    ("targets", "list", "--production", "--by-tag", "release"): {"tag", "version", "expires", "targets"},
    ("targets", "list", "--production", "--by-tag", "beta"): {"tag", "version", "expires", "targets"},
    ("targets", "show", "48"): {"targets"},
    ("devices", "list"): {"devices", "total", "next"},
    ("devices", "list", "--test", "--limit", "2", "--page", "2"): {"devices", "total", "next"},
    ("devices", "show", "gw-001"): DEVICE,
    ("waves", "list"): {"waves", "total", "next"},
    ("wave", "list", "--status", "complete", "--limit", "1"): {"waves", "total", "next"},
    ("waves", "show", "v48"): WAVE | {"prune", "expires", "signatures", "rollouts"},
    ("waves", "show", "v55", "--show-targets"): WAVE | {"prune", "expires", "signatures", "rollouts", "targets"},
    ("waves", "status"): COUNT,
    ("waves", "status", "v48"): COUNT,
    ("keys", "tuf", "show-root"): {"signatures", "signed"},
    ("keys", "tuf", "show-root", "--prod", "--version", "1"): {"signatures", "signed"},
    ("audit", "log"): {"events", "head", "next"},
    ("audit", "log", "--wave", "v55", "--limit", "2"): {"events", "head", "next"},
    ("audit", "show", "3"): EVENT,
    ("tuf", "verify"): {"ok", "bundle", "views", "findings"},
    ("projections", "list"): {"projections"},
    ("projections", "verify"): {"ok"},
}
LISTS = [args for args in READING if "list" in args or "log" in args]

# what appends, on the ledger `told`; what stdin gets
APPENDING: dict[tuple[str, ...], str] = {
    ("members", "add", "bob", "--role", "admin"): "",
    ("members", "remove", "alice2"): "",
    ("targets", "import", "-"): NEW_TARGET,
    ("targets", "prune", "intel-corei7-64-lmp-50"): "",
    ("targets", "prune", "--by-tag", "main", "--keep-last", "2"): "",
    ("devices", "import", "-"): f"{HEADER}new,new,new,release,,true\n",
    ("devices", "set", EAST, "--tag", "beta"): "",
    ("devices", "report", "-"): f"uuid,target,seen_at\n{EAST},raspberrypi4-64-lmp-48,2026-11-01T00:00:00Z\n",
    ("devices", "remove", EAST): "",
    ("waves", "init", "w", "60", "beta", *KEYS): "",
    ("waves", "rollout", "v55", "--limit", "10%"): "",
    ("waves", "rollout", "v55", "--group", "us-east"): "",
    ("waves", "complete", "v55"): "",
    ("waves", "cancel", "v55", "--reason", "why not"): "",
    ("tuf", "export", "release", "bundle"): "",
}


def help_of(path: tuple[str, ...]) -> str:
    return CliRunner().invoke(app, [*path, "--help"]).output


@pytest.fixture(scope="module")
def told(imported: Callable[..., Waveledger], tmp_path_factory: pytest.TempPathFactory) -> Waveledger:
    """A ledger with a completed and an active wave, published. For reading; copy it before you change it."""
    place = tmp_path_factory.mktemp("told")
    shell = imported("acme").copy(place / "work", WAVELEDGER_PUBLISH=str(place / "tree"))
    shell.do("members", "add", "alice2", "--role", "owner")
    shell.do("waves", "init", "v48", "48", "release", *KEYS)
    shell.do("waves", "rollout", "v48", "--group", "canary")
    shell.do("waves", "rollout", "v48", "--limit", "25%")
    shell.do("waves", "complete", "v48")
    report = f"uuid,target,seen_at\n{CANARY},intel-corei7-64-lmp-48,2026-11-01T10:00:00Z\n"
    shell.do("devices", "report", "-", stdin=report)
    shell.do("waves", "init", "v55", "55", "release", *KEYS)
    shell.do("waves", "rollout", "v55", "--group", "canary")
    return shell


def test_the_promised_commands_are_there() -> None:
    """Each command of this release, by its words."""
    promised = {
        "init", "members list", "members add", "members remove", "targets import", "targets list", "targets show",
        "targets prune",
        "devices import", "devices list", "devices show", "devices set", "devices remove", "devices report",
        "waves init", "waves sign", "waves rollout", "waves complete", "waves cancel", "waves list", "waves show",
        "waves status", "status", "tuf publish", "tuf verify", "tuf refresh", "tuf export", "keys tuf show-root",
        "projections list", "projections rebuild", "projections verify", "audit log", "audit show",
    }  # fmt: skip
    assert promised <= {" ".join(path) for path in COMMANDS}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help(shell: Waveledger, path: tuple[str, ...]) -> None:
    """Each command has help, with an example of itself, and takes --format."""
    asked = shell.do(*path, "--help")
    assert asked.err == ""
    assert asked.out == shell.do(*path, "-h").out
    assert f"Example: waveledger {' '.join(path)}" in " ".join(asked.out.split())
    assert "--format" in asked.out
    assert len(COMMANDS[path].get_short_help_str(200)) > 15


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_options_say_what_they_take(path: tuple[str, ...]) -> None:
    """Each option and argument has a line of help, and what it takes is named by what it is, not by its type."""
    for one in COMMANDS[path].params:
        assert getattr(one, "help", None) or one.name == "help", one.opts
    typed = re.findall(r"^ .*--[a-z-]+ <(?:str|int|float|path).*", help_of(path), re.MULTILINE)
    assert typed == []
    assert "[[" not in help_of(path)


@pytest.mark.parametrize("path", [p for p in COMMANDS if p != ("migrate",)], ids=" ".join)
def test_examples_parse(shell: Waveledger, path: tuple[str, ...]) -> None:
    """What help gives as an example is a line that the program takes: it fails for want of a ledger, not of sense."""
    import shlex

    text = " ".join(shell.do(*path, "--help").out.split())
    example = text.split("Example: waveledger ")[1].split(" Arguments: ")[0].split(" Options: ")[0]
    words = shlex.split(example)
    result = shell.quick(*words)
    assert result.rc != 2 or "where to publish" in result.err, result.err


@pytest.mark.parametrize("group", [(), ("waves",), ("devices",), ("keys",), ("keys", "tuf"), ("audit",)], ids=" ".join)
def test_help_of_groups(shell: Waveledger, group: tuple[str, ...]) -> None:
    """Groups list their commands; the program and the groups without arguments show their help."""
    asked = shell.do(*group, "--help").out
    commands = {path[len(group)] for path in COMMANDS if path[: len(group)] == group}
    assert commands <= set(asked.split())
    bare = shell.quick(*group)
    assert bare.rc == 2
    assert commands <= set((bare.out + bare.err).split())


@pytest.mark.parametrize("args", READING, ids=" ".join)
def test_json(told: Waveledger, args: tuple[str, ...]) -> None:
    """JSON is one document on stdout and nothing else there, with the promised keys."""
    result = told.do(*args, "--format", "json")
    assert READING[args] <= result.json.keys()
    assert told.do(*args, "-f", "json").json == result.json
    assert told.do(*args, env={"WAVELEDGER_FORMAT": "json"}).json == result.json


def test_json_inside(told: Waveledger) -> None:
    """The promised keys of the parts of documents, and values of the promised kinds."""
    for device in told.ask("devices", "list")["devices"]:
        assert device.keys() >= DEVICE
        assert device["eligible"].keys() >= ELIGIBLE
    nobody = told.ask("devices", "show", "bench-04")
    assert (nobody["group"], nobody["production"], nobody["target"], nobody["seen_at"]) == ("lab", False, None, None)
    assert (nobody["eligible"]["view"], nobody["eligible"]["targets"], nobody["eligible"]["latest"]) == (None, [], None)
    assert told.ask("devices", "show", "gw-030")["group"] is None
    assert told.ask("devices", "show", "gw-001")["seen_at"] == "2026-11-01T10:00:00Z"
    for wave in told.ask("waves", "list")["waves"]:
        assert wave.keys() >= WAVE
        assert isinstance(wave["version"], int)
    shown = told.ask("waves", "show", "v48")
    assert (shown["status"], shown["finished_by"], shown["prune"]) == ("complete", "alice", [])
    assert shown["finished_at"].endswith("Z")
    full, share = shown["rollouts"]
    assert full.keys() >= ROLLOUT
    assert (full["group"], full["full_group"], full["factory_wide"], full["devices"]) == ("canary", True, False, 3)
    assert (share["group"], share["full_group"], share["factory_wide"], share["devices"]) == (None, False, True, 8)
    assert (shown["signatures"]["threshold"], len(shown["signatures"]["keyids"])) == (2, 1)
    document = told.ask("waves", "show", "v55", "--show-targets")["targets"]
    assert document["signed"]["_type"] == "targets"
    counted = told.ask("waves", "status", "v55")
    assert [g["name"] for g in counted["rollout_groups"]] == ["canary"]
    assert "" in {g["name"] for g in counted["other_groups"]}
    assert (counted["total"], counted["updated"], counted["scheduled"], counted["unscheduled"]) == (29, 0, 3, 26)
    for group in (*counted["rollout_groups"], *counted["other_groups"]):
        assert group.keys() >= GROUP
        assert all(part.keys() >= {"version", "devices", "orphan"} for part in group["targets"])
    status = told.ask("status")
    assert status["head"].keys() == {"position", "root"}
    assert status["devices"] == {"total": 34, "production": 30, "test": 4}
    assert all(tag.keys() >= TAG for tag in status["tags"])
    assert {tag["kind"] for tag in status["tags"]} == {"production", "wave", "ci"}
    log = told.ask("audit", "log")
    assert [event["position"] for event in log["events"]] == list(range(1, status["head"]["position"] + 1))
    assert all(event.keys() >= EVENT for event in log["events"])
    assert log["head"] == status["head"]


def test_json_of_a_rollout(told: Waveledger, tmp_path: Path) -> None:
    """The keys of a rollout's answer; uuids and names only when asked for."""
    shell = told.copy(tmp_path / "copy", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    plain = shell.ask("waves", "rollout", "v55", "--limit", "2")
    assert plain.keys() >= {"wave", "devices", "skipped", "plan"}
    assert not {"uuids", "names"} & plain.keys()
    listed = shell.ask("waves", "rollout", "v55", "--limit", "2", "--print-uuids", "--print-names")
    assert len(listed["uuids"]) == len(listed["names"]) == listed["devices"] == 2
    assert all(name.startswith("gw-") for name in listed["names"])


@pytest.mark.parametrize("args", LISTS, ids=" ".join)
def test_csv(told: Waveledger, args: tuple[str, ...]) -> None:
    """CSV of a list: a header of plain words, as many rows as the JSON has entries, as many cells in each."""
    rows = list(csv.reader(io.StringIO(told.do(*args, "--format", "csv").out)))
    document = told.ask(*args)
    name = next(n for n in ("devices", "waves", "events", "members", "projections", "targets") if n in document)
    if document[name] or name != "targets":
        assert len(rows) == len(document[name]) + 1
        assert {len(row) for row in rows} == {len(rows[0])}
        assert all(cell.isidentifier() for cell in rows[0])


@pytest.mark.parametrize("args", APPENDING, ids=" ".join)
def test_dry_run(told: Waveledger, args: tuple[str, ...]) -> None:
    """--dry-run says what would be, appends nothing and publishes nothing; so with -d and as JSON."""
    before, tree = told.head(), tree_of(told)
    for options in (("--dry-run",), ("-d",), ("--dry-run", "--format", "json")):
        result = told.do(*args, *options, stdin=APPENDING[args])
        if "json" in options:
            assert result.json["dry_run"] is True
        else:
            assert "would " in result.out
            assert "recorded" not in result.err
            assert "dry run, nothing was appended; it would be: " in result.err
    assert told.head() == before
    assert tree_of(told) == tree


@pytest.mark.parametrize("args", APPENDING, ids=" ".join)
def test_dry_runs_name_the_events(told: Waveledger, tmp_path: Path, args: tuple[str, ...]) -> None:
    """What a dry run says would be appended is what the command then appends."""
    shell = told.copy(tmp_path / "copy", WAVELEDGER_PUBLISH="")
    announced = shell.do(*args, "--dry-run", stdin=APPENDING[args]).err.splitlines()[-1].split("would be: ")[1]
    before = shell.head()[0]
    shell.do(*args, stdin=APPENDING[args])
    events = shell.ask("audit", "log", "--limit", "100000")["events"][before:]
    assert sorted(announced.split(", ")) == sorted(event["topic"] for event in events)


def test_a_dry_completion_names_the_prunes(told: Waveledger, tmp_path: Path) -> None:
    """Completing a wave that prunes says so before."""
    shell = told.copy(tmp_path / "copy", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    shell.do("waves", "complete", "v55")
    shell.do("waves", "init", "v60", "60", "release", *KEYS, "--prune", "48,55")
    assert "targets.pruned/1" in shell.do("waves", "complete", "v60", "--dry-run").err


# What neither looks back nor appends, and why.
NEITHER = {
    ("tuf", "verify"): "looks at files as they are now",
    ("audit", "diff"): "is about two moments that it is given",
    ("audit", "replay"): "builds up to a moment that it is given, elsewhere",
    ("audit", "verify"): "judges all that there is",
    ("audit", "checkpoint"): "is about the tree as it is now; the past's are in the ledger",
    ("audit", "prove"): "proves under a checkpoint that it is given",
    ("audit", "check"): "asks no ledger",
    ("audit", "export"): "writes all that there is",
    ("audit", "schema"): "asks no ledger",
    ("projections", "list"): "is about the tables as they are now",
    ("projections", "verify"): "is about the tables as they are now",
    ("projections", "rebuild"): "changes no event and no answer",
}


def test_each_command_looks_back_or_can_be_tried() -> None:
    """What only reads takes --at, what changes something takes --dry-run; the exceptions are named, with a reason."""
    options = {path: {name for one in command.params for name in one.opts} for path, command in COMMANDS.items()}
    at = {path for path, taken in options.items() if "--at" in taken}
    dry = {path for path, taken in options.items() if "--dry-run" in taken}

    assert at & dry == set()
    assert options.keys() - at - dry == NEITHER.keys()


def test_all_appending_commands_have_a_dry_run() -> None:
    """The table above forgets none: what has --dry-run is in it, with init and sign, which have tests of their own."""
    with_option = {path for path, command in COMMANDS.items() if any("--dry-run" in p.opts for p in command.params)}
    assert {args[:2] for args in APPENDING} | {("waves", "sign"), ("init",)} <= with_option


def test_dry_run_of_init(shell: Waveledger) -> None:
    """A dry init makes no file at all."""
    result = shell.do("init", "--factory", "acme", "--dry-run")
    assert "would create" in result.err
    assert [path.name for path in shell.cwd.iterdir()] == ["home"]


def tree_of(shell: Waveledger) -> dict[str, int]:
    """Files of the published tree, with the time of their last change."""
    tree = Path(shell.env["WAVELEDGER_PUBLISH"])
    return {str(path): path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}


@stores.about_files  # PostgreSQL's actors log in
def test_environment(told: Waveledger, tmp_path: Path) -> None:
    """Flags come before WAVELEDGER_*, and those before the defaults."""
    shell = told.copy(tmp_path / "one", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    shell.store.rename(tmp_path / "moved.db")
    (shell.cwd / "keys" / "online").rename(tmp_path / "online")
    assert shell.quick("status").rc == 7
    url = f"sqlite:///{tmp_path}/moved.db"
    assert shell.do("--store", url, "status").out
    shell.env |= {
        "WAVELEDGER_STORE": url,
        "WAVELEDGER_ACTOR": "alice2",
        "WAVELEDGER_ONLINE_KEYS": str(tmp_path / "online"),
    }
    assert shell.do("status").out
    assert shell.quick("--store", "sqlite:///gone.db", "status").rc == 7
    shell.env["WAVELEDGER_PUBLISH"] = str(tmp_path / "elsewhere")
    done = shell.do("waves", "rollout", "v55", "--limit", "1")
    assert "published to" in done.err
    assert (tmp_path / "elsewhere" / "wave" / "v55" / "timestamp.json").exists()
    shell.do("--actor", "alice", "waves", "rollout", "v55", "--limit", "1")
    actors = [e["actor"] for e in shell.ask("audit", "log")["events"] if e["topic"].startswith("wave.rolled-out")]
    assert actors[-2:] == ["alice2", "alice"]
    assert shell.do("waves", "list", "-f", "csv", env={"WAVELEDGER_FORMAT": "json"}).out.startswith("name,")
    wrong = shell.quick("waves", "list", env={"WAVELEDGER_FORMAT": "yaml"})
    assert (wrong.rc, wrong.out) == (2, "")
    assert "WAVELEDGER_FORMAT" in wrong.err


@pytest.mark.parametrize(
    "lacking", [{"WAVELEDGER_PUBLISH": ""}, {"WAVELEDGER_ONLINE_KEYS": "nowhere"}], ids=["destination", "keys"]
)
def test_recorded_not_yet_published(told: Waveledger, tmp_path: Path, lacking: dict[str, str]) -> None:
    """Without online keys or destination a wave command records, says so and ends well; publish catches up."""
    shell = told.copy(tmp_path / "copy", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    result = shell.do("waves", "complete", "v55", env=lacking)
    assert "recorded, not yet published" in result.err
    shell.env["WAVELEDGER_PUBLISH"] = str(tmp_path / "tree")
    assert shell.ask("status")["warnings"]
    assert shell.ask("devices", "show", EAST)["eligible"]["published"] is False
    shell.do("tuf", "publish")
    assert shell.ask("devices", "show", EAST)["eligible"]["published"] is True


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("waves", "nonsense"),
        ("waves", "init", "w"),
        ("waves", "init", "w", "60", "beta"),
        ("waves", "list", "--nonsense"),
        ("waves", "list", "--limit", "0"),
        ("waves", "list", "--limit", "many"),
        ("waves", "list", "--status", "asleep"),
        ("waves", "list", "--format", "yaml"),
        ("devices", "list", "--page", "0"),
        ("audit", "show", "zero"),
        ("waves", "status", "--offline-threshold", "-1"),
        ("targets", "list", "--production"),
        ("targets", "list", "--raw"),
    ],
    ids=" ".join,
)
def test_usage_errors(told: Waveledger, args: tuple[str, ...]) -> None:
    """Exit 2, stdout empty, stderr says what is wrong and where to look."""
    result = told.quick(*args)
    assert (result.rc, result.out) == (2, "")
    assert "rror: " in result.err
    assert "help" in result.err or "-h" in result.err


def test_alias_and_version(told: Waveledger) -> None:
    """`wave` is `waves`; --version names the program and its version, also without a ledger."""
    assert told.do("wave", "show", "v48").out == told.do("waves", "show", "v48").out
    assert told.run("--version").out == f"waveledger {VERSION}\n"
    assert told.do("wave", "--help").out.replace("waveledger wave ", "waveledger waves ") == told.do("waves", "-h").out


def test_tracebacks_only_with_v(told: Waveledger, tmp_path: Path) -> None:
    """No traceback for a refusal; with -v there is one, and the same error and exit code."""
    shell = told.copy(tmp_path / "copy", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    quiet, loud = shell.run("waves", "complete", "v48"), shell.run("-v", "waves", "complete", "v48")
    assert (quiet.rc, loud.rc) == (3, 3)
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err
    assert loud.err.endswith(quiet.err)


@stores.about_files
def test_no_traceback_for_a_damaged_store(told: Waveledger, tmp_path: Path) -> None:
    """A store that was cut, overwritten, emptied or replaced: exit 7 and a hint."""
    shell = told.copy(tmp_path / "copy")
    content = shell.store.read_bytes()
    for damage in (content[: len(content) // 2], b"not a database" * 500, b""):
        shell.store.write_bytes(damage)
        result = shell.quick("waves", "list")
        assert (result.rc, result.out) == (7, ""), (damage[:20], result)
        assert "Traceback" not in result.err
        assert "error: " in result.err
        assert "hint: " in result.err
    shell.store.unlink()
    shell.store.mkdir()
    assert shell.quick("waves", "list").rc == 7


def waits_for_the_lock(process: subprocess.Popen[str]) -> None:
    """Return when a process that began has nothing to do any more."""
    ticks = -1
    while ticks != (ticks := sum(map(int, Path("/proc", str(process.pid), "stat").read_text().split()[13:15]))):
        time.sleep(1)
        assert process.poll() is None


def test_interrupted(told: Waveledger, tmp_path: Path) -> None:
    """Ctrl-C while a command waits for the store: exit 130, one line and a hint, the ledger unchanged."""
    shell = told.copy(tmp_path / "copy", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))
    before = shell.head()
    other = store.open_engine(stores.url(shell.store))
    with ExitStack() as busy:
        busy.enter_context(store.writing(other))
        # A shell has its background jobs, such as these tests may be, ignore the signal.
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = busy.enter_context(shell.start("waves", "rollout", "v55", "--limit", "1", preexec_fn=heed))
        waits_for_the_lock(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    other.dispose()
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert shell.head() == before


ESCAPES = "x\x1b[31m\x1b]0;owned\x07\u202eevil"


@pytest.mark.parametrize(
    "args",
    [
        ("waves", "show", ESCAPES),
        ("waves", "init", ESCAPES, "60", "beta", *KEYS),
        ("waves", "init", "w", ESCAPES, "beta", *KEYS),
        ("waves", "init", "w", "60", ESCAPES, *KEYS),
        ("waves", "init", "w", "60", "beta", "-k", ESCAPES),
        ("waves", "rollout", "v55", "--group", ESCAPES),
        ("waves", "rollout", "v55", "--uuids", ESCAPES),
        ("waves", "rollout", "v55", "--uuids", f"@{ESCAPES}"),
        ("waves", "rollout", "v55", "--limit", ESCAPES),
        ("waves", "rollout", "v55", "--plan", ESCAPES),
        ("waves", "list", "--tag", ESCAPES),
        ("devices", "show", ESCAPES),
        ("devices", "set", ESCAPES, "--tag", "beta"),
        ("devices", "import", ESCAPES),
        ("targets", "import", ESCAPES),
        ("targets", "list", "--production", "--by-tag", ESCAPES),
        ("members", "add", ESCAPES, "--role", "admin"),
        ("members", "add", "eve", "--role", ESCAPES),
        ("--actor", ESCAPES, "waves", "complete", "v55"),
        ("--store", f"sqlite:///{ESCAPES}", "status"),
        ("projections", "verify", ESCAPES),
        ("audit", "log", "--since", ESCAPES),
        ("tuf", "verify", ESCAPES),
        ("waves", "cancel", "v55", "--reason", ESCAPES, "--dry-run"),
    ],
    ids=lambda args: " ".join(args).replace(ESCAPES, "X").replace("/", "_"),
)
def test_no_escapes_on_the_terminal(told: Waveledger, args: tuple[str, ...]) -> None:
    """What a user typed or a file said is never written raw: no control or bidirectional character gets out."""
    result = told.quick(*args)
    printed = result.out + result.err
    bad = {c for c in printed if not (c.isprintable() or c == "\n")}
    assert not bad, printed
    assert "unexpected" not in printed


def test_tables_have_no_trailing_blanks(told: Waveledger) -> None:
    """Tables can be pasted: no blanks at line ends, no more than one empty line between parts."""
    for args in READING:
        out = told.do(*args).out
        assert out.endswith("\n")
        assert not [line for line in out.split("\n") if line != line.rstrip()], args
        assert "\n\n\n" not in out


def test_a_reader_that_leaves(told: Waveledger) -> None:
    """A pipe that is closed early (head, less) is no error and no noise."""
    with told.start("audit", "log", "--format", "json") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert process.returncode in {0, 141}
    assert err == ""


def test_imports_print_counts(shell: Waveledger) -> None:
    """Importing twice changes nothing the second time, and says so."""
    shell.do("init", "--factory", "orchard")
    for _ in range(2):
        targets = shell.ask("targets", "import", str(DATA / "orchard" / "ci-targets.json"))
        devices = shell.ask("devices", "import", str(DATA / "orchard" / "devices.csv"))
    assert (targets["added"], targets["changed"], targets["same"]) == (0, 0, 20)
    assert (devices["added"], devices["changed"], devices["same"]) == (0, 0, 32)
