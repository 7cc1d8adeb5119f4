"""waveledger targets prune."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.cli.conftest import KEYS, Waveledger

LAST = "intel-corei7-64-lmp-60"


@pytest.fixture
def shell(acme: Waveledger, tmp_path: Path) -> Waveledger:
    """A ledger that publishes what it does."""
    acme.env["WAVELEDGER_PUBLISH"] = str(tmp_path / "tree")
    acme.do("tuf", "publish")
    return acme


def numbers(shell: Waveledger, tag: str) -> set[int]:
    """The numbers of the CI targets with a tag."""
    return {target["version"] for target in shell.ask("targets", "list", "--by-tag", tag)["targets"]}


def test_prune_by_tag_is_published_at_once(shell: Waveledger) -> None:
    """The newest two numbers stay, those with other tags stay and are mentioned, and the tag's view is signed anew."""
    before = shell.ask("targets", "list")["targets"]
    alone = sorted({t["version"] for t in before if t["tags"] == ["main"]})
    shared = {t["version"] for t in before if "main" in t["tags"] and t["tags"] != ["main"]}
    announced = shell.do("targets", "prune", "--by-tag", "main", "--keep-last", "2", "-d", "-f", "json").json

    came = shell.do("targets", "prune", "--by-tag", "main", "--keep-last", "2", "--format", "json")

    assert came.json == announced | {"dry_run": False}
    assert came.json["pruned"] == sorted(
        t["name"] for t in before if t["tags"] == ["main"] and t["version"] < alone[-2]
    )
    assert "6 more have other tags too and stay" in came.err
    assert came.err.splitlines()[-1].endswith(": ci/main")
    assert numbers(shell, "main") == {*alone[-2:], *shared}
    views = {view["view"]: len(view["targets"]) for view in shell.ask("tuf", "verify")["views"]}
    assert views["ci/main"] == len(before) - views["ci/devel"] - len(came.json["pruned"])


def test_prune_by_name(shell: Waveledger) -> None:
    """Names are listed, once each; as a table, as CSV, and in the log."""
    came = shell.do("targets", "prune", LAST, "intel-corei7-64-lmp-58", LAST)
    assert came.out.splitlines() == ["pruned 2 CI targets", "  intel-corei7-64-lmp-58", f"  {LAST}"]
    rows = list(csv.reader(io.StringIO(shell.do("targets", "prune", "intel-corei7-64-lmp-55", "-f", "csv").out)))
    assert rows == [["name"], ["intel-corei7-64-lmp-55"]]
    summaries = [e["summary"] for e in shell.ask("audit", "log")["events"] if e["topic"] == "ci-targets.pruned/1"]
    assert summaries[0] == f"pruned 2 CI targets: intel-corei7-64-lmp-58, {LAST}"
    assert shell.ask("projections", "verify")["ok"] is True


def test_pruned_targets_make_no_wave(shell: Waveledger) -> None:
    """A number of which nothing is left is not there."""
    shell.do("targets", "prune", *[t["name"] for t in shell.ask("targets", "list")["targets"] if t["version"] == 60])
    refused = shell.quick("waves", "init", "w", "60", "release", *KEYS)
    assert refused.rc == 4
    assert "60" in refused.err


def test_nothing_to_prune_is_no_error(shell: Waveledger) -> None:
    """So that cron may ask every night."""
    head = shell.head()
    came = shell.do("targets", "prune", "--by-tag", "devel", "--keep-last", "1000", "--format", "json")
    assert came.json == {"pruned": [], "dry_run": False}
    assert shell.head() == head
    assert "published" not in came.err


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        ((), 2, "name targets, or a tag"),
        ((LAST, "--by-tag", "main"), 2, "name targets, or a tag"),
        ((LAST, "--keep-last", "3"), 2, "name targets, or a tag"),
        (("--keep-last", "3"), 2, "name targets, or a tag"),
        (("--by-tag", "main", "--keep-last", "0"), 2, "--keep-last"),
        (("--by-tag", "main", "--keep-last", "-1"), 2, "--keep-last"),
        ((LAST, "no-such", "nor-this"), 4, "no CI targets named: no-such, nor-this"),
        (("--by-tag", "mian"), 4, "no CI target ever had the tag 'mian'"),
        (("--by-tag", "main", "--by-tag", "mian"), 4, "no CI target ever had the tag 'mian'"),
    ],
)
def test_refusals(shell: Waveledger, args: tuple[str, ...], code: int, problem: str) -> None:
    """Refused whole, with nothing on stdout and nothing appended."""
    head = shell.head()
    result = shell.quick("targets", "prune", *args)
    assert (result.rc, result.out) == (code, "")
    assert problem in result.err
    assert shell.head() == head
