"""`tuf verify` and `tuf export` as people use them: what they print, how they end, what helps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.ngclient import Updater

from cli.verifying import advice
from projections.tuf.verify import Finding
from tests.cli.conftest import Result, Waveledger

KEYS = ("-k", "keys/targets.only.key.tgz")
SOON, LATER = (datetime.now(UTC) + timedelta(days=60)).strftime("%Y-%m-%dT%H:%M:%SZ"), "2999-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def base(imported: Callable[..., Waveledger], tmp_path_factory: pytest.TempPathFactory) -> Waveledger:
    """A ledger with production targets and an active wave, published to ``tree`` beside it."""
    place = tmp_path_factory.mktemp("base")
    shell = imported("acme").copy(place / "work", WAVELEDGER_PUBLISH="tree")
    shell.do("waves", "init", "v48", "48", "release", *KEYS)
    shell.do("waves", "complete", "v48")
    shell.do("waves", "init", "v55", "55", "release", *KEYS)
    shell.do("waves", "rollout", "v55", "--limit", "2")
    return shell


@pytest.fixture
def shell(base: Waveledger, tmp_path: Path) -> Waveledger:
    """One of this test's own."""
    return base.copy(tmp_path / "work")


def verified(shell: Waveledger, *args: str) -> tuple[Result, set[str]]:
    """Verify, and the kinds of what was found."""
    result = shell.quick("tuf", "verify", *args, "--format", "json")
    assert result.rc == (0 if result.json["ok"] else 6)
    assert result.json["ok"] is not bool(result.json["findings"])
    return result, {finding["kind"] for finding in result.json["findings"]}


def test_a_sound_tree(shell: Waveledger) -> None:
    """All views with their versions, and from how many states they were tried; the same as a table."""
    result, kinds = verified(shell)
    assert kinds == set()
    assert result.err == ""
    views = {view["view"]: view for view in result.json["views"]}
    assert set(views) == {"ci/devel", "ci/main", "ci/qa", "production/release", "wave/v55"}
    assert views["wave/v55"]["starts"] == 2
    assert views["wave/v55"].keys() == {"view", "root_version", "version", "targets_version", "targets", "starts"}
    assert "Findings" not in shell.do("tuf", "verify").out
    shell.do("tuf", "verify", (shell.cwd / "tree").as_uri())


def test_without_a_ledger(shell: Waveledger, tmp_path: Path) -> None:
    """Anybody can look at a tree; what can't be looked at is said. A ledger that was named has to be there."""
    tree = str(shell.cwd / "tree")
    elsewhere = Waveledger(tmp_path / "elsewhere", WAVELEDGER_STORE="")
    elsewhere.cwd.mkdir()
    for who, options in ((elsewhere, ()), (shell, ("--no-ledger",))):
        result, kinds = verified(who, tree, *options)
        assert kinds == set()
        assert result.err.startswith("without the ledger")
        assert {view["starts"] for view in result.json["views"]} == {1}
    assert elsewhere.quick("--store", "sqlite:///there.db", "tuf", "verify", tree).rc == 7


def test_findings_say_where_a_client_came_from(shell: Waveledger) -> None:
    """A finding of a client has its start in JSON, as the table has it in words."""
    old = (shell.cwd / "tree/production/release/timestamp.json").read_bytes()
    shell.do("tuf", "refresh", "--force")
    (shell.cwd / "tree/production/release/timestamp.json").write_bytes(old)

    result, kinds = verified(shell)
    assert kinds == {"Behind", "BadVersionNumberError"}
    starts = {finding["kind"]: finding["from"] for finding in result.json["findings"]}
    assert starts["Behind"] is None
    assert starts["BadVersionNumberError"].keys() == {"root_version", "view", "version", "targets_version", "bundle"}
    assert starts["BadVersionNumberError"]["view"] == "production/release"
    table = shell.quick("tuf", "verify").out
    assert f"production/release at version {starts['BadVersionNumberError']['version']}" in table


def damage(path: Path) -> None:
    """Change a signature."""
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"00', 1))


HINTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "a changed timestamp": (lambda tree: damage(tree / "wave/v55/timestamp.json"), (), "publish NEW-DIR"),
    "a changed root": (lambda tree: damage(tree / "pool/production/release/1.root.json"), (), "publish NEW-DIR"),
    "a missing file": (lambda tree: (tree / "wave/v55/1.root.json").unlink(), (), "publish NEW-DIR"),
    "a missing view": (lambda tree: shutil.rmtree(tree / "wave"), (), "tuf publish tree"),
    "no view at all": (lambda tree: (shutil.rmtree(tree), tree.mkdir()), (), "tuf publish tree"),
    "expired timestamps": (lambda tree: None, ("--now", SOON), "tuf refresh tree"),
    "expired roots": (lambda tree: None, ("--now", LATER), "renew-root"),
}


@pytest.mark.parametrize("case", HINTS)
def test_hints_help(shell: Waveledger, case: str) -> None:
    """What is suggested helps with what was found: nobody refreshes a tree that was tampered with."""
    tamper, options, hint = HINTS[case]
    tamper(shell.cwd / "tree")

    result, _ = verified(shell, *options)
    error, hinted = result.err.splitlines()
    assert error.startswith("error: problems found in tree: ")
    assert hint in hinted
    assert ("refresh" in hinted) is ("refresh" in hint or "renew-root" in hint)
    if hint == "tuf publish tree":
        shell.do("tuf", "publish")
        assert verified(shell)[1] == set()
    if hint == "publish NEW-DIR":
        shell.do("tuf", "publish", "new")
        assert verified(shell, "new")[1] == set()


def test_nothing_to_look_at(shell: Waveledger) -> None:
    """A place that is not there is not found; the hint says how it comes to be."""
    for place in ("nowhere", "keys/root.keys.tgz"):
        result = shell.quick("tuf", "verify", place)
        assert (result.rc, result.out) == (4, "")
        assert f"nothing is published at {place}" in result.err
        assert f"waveledger tuf publish {place}" in result.err


@pytest.mark.parametrize(
    ("args", "rc"),
    [
        (("tuf", "publish"), 0),
        (("tuf", "refresh"), 0),
        (("tuf", "verify"), 4),
        (("tuf", "publish", "URL", "--format", "json"), 0),
        (("targets", "resign", "ci/main", "--above", "URL"), 4),
        (("waves", "cancel", "v55"), 0),
    ],
)
def test_no_password_is_printed(shell: Waveledger, args: tuple[str, ...], rc: int, tmp_path: Path) -> None:
    """A URL is told without the password in it, wherever it came from: an argument, or WAVELEDGER_PUBLISH."""
    url = f"memory://joe:hush@host{tmp_path}-{rc}"
    result = shell.quick(*(url if arg == "URL" else arg for arg in args), env={"WAVELEDGER_PUBLISH": url})

    assert result.rc == rc, result.err
    assert "memory://joe@host/" in result.out + result.err
    assert "hush" not in result.out + result.err


def test_a_bundle_for_any_client(shell: Waveledger, serve: Callable[[Path], str], tmp_path: Path) -> None:
    """python-tuf's client over HTTP, with nothing of ours, takes a bundle; and goes online after it."""
    told = shell.do("tuf", "export", "v55", "usb/bundle")
    assert "exported wave/v55 with 4 targets to usb/bundle, valid until " in told.out
    assert "for the wave's own devices" in told.err
    assert "published to tree: wave/v55, production/release" in told.err
    assert verified(shell)[1] == set()
    result, kinds = verified(shell, "usb/bundle")
    assert (kinds, result.json["bundle"]) == (set(), True)
    assert verified(shell, "usb/bundle", "--now", LATER)[1] == {"ExpiredMetadataError"}

    root = (shell.cwd / "tree/wave/v55/1.root.json").read_bytes()
    versions = []
    for place in (shell.cwd / "usb/bundle", shell.cwd / "tree/wave/v55"):
        updater = Updater(str(tmp_path / "device"), serve(place), bootstrap=root)
        updater.refresh()
        versions.append(updater._trusted_set.timestamp.version)
        assert updater.get_targetinfo("intel-corei7-64-lmp-55") is not None
    assert versions[0] < versions[1]


def test_what_export_says(shell: Waveledger) -> None:
    """As JSON, in a dry run, and when it has to live shorter than it might."""
    dry = shell.ask("tuf", "export", "release", "usb", "--dry-run")
    assert (dry["dry_run"], dry["version"], dry["view"]) == (True, None, "production/release")
    assert not (shell.cwd / "usb").exists()
    came = shell.ask("tuf", "export", "release", "usb", "--expires-in-days", "90")
    assert came["targets"] == dry["targets"]
    assert came["version"] > 0
    assert came["expires"] > dry["expires"]
    assert shell.ask("audit", "log")["events"][-2]["topic"] == "bundle.exported/1"

    shell.do("waves", "init", "short", "55", "beta", *KEYS, "--expires-days", "10")
    shell.do("waves", "complete", "short")
    assert "shorter than 30 days: its targets document expires then" in shell.do("tuf", "export", "beta", "short").err
    refused = shell.quick("tuf", "export", "beta", "long", "--expires-in-days", "11")
    assert refused.rc == 3
    assert "its targets document expires at" in refused.err
    assert "is possible; waveledger targets resign beta -k KEYS" in refused.err


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("nope", "usb"), 4, "no wave, tag or view 'nope'"),
        (("v48", "usb"), 3, "tuf export release DIR"),
        (("release", "keys"), 3, "not an empty directory"),
        (("release", "usb", "--expires-in-days", "0"), 2, "--expires-in-days"),
        (("release", "ci-targets.json/usb"), 7, "cannot write the bundle"),
    ],
)
def test_refusals_of_export(shell: Waveledger, args: tuple[str, ...], code: int, says: str) -> None:
    """With its exit code, and nothing recorded or written."""
    (shell.cwd / "ci-targets.json").write_text("{}")
    before = shell.head()
    result = shell.quick("tuf", "export", *args)
    assert (result.rc, result.out) == (code, "")
    assert says in result.err
    assert shell.head() == before
    assert not (shell.cwd / "usb").exists()


def test_export_needs_online_keys(shell: Waveledger) -> None:
    """Whoever has none can't make a bundle, and is told where they would be."""
    shutil.move(shell.cwd / "keys/online", shell.cwd / "away")
    result = shell.quick("tuf", "export", "release", "usb")
    assert result.rc == 8
    assert "no online keys at keys/online" in result.err


@pytest.mark.parametrize(
    ("kinds", "helps"),
    [
        (("UnknownFile", "Ahead"), "older ledger was restored"),
        (("OtherBytes", "Ahead", "MissingView"), "older ledger was restored"),
        (("Ahead", "UnsignedMetadataError"), "somebody changed it"),
        (("Behind", "UnknownFile"), "somebody changed it"),
        (("Behind", "UnknownView"), "left by a ledger that is lost"),
    ],
)
def test_what_helps_is_said_for_the_worst_finding(kinds: tuple[str, ...], helps: str) -> None:
    """A tree that is ahead is never to be replaced by an older ledger's, unless its signatures are forged."""
    assert helps in advice([Finding("production/release", kind, "…") for kind in kinds], "tree", is_bundle=False)
