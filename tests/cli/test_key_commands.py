"""The commands for a working life of keys: what they print, what they leave on disk, and what they never do."""

from __future__ import annotations

import json
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from ledger.tuf.archive import read_archive
from ledger.tuf.keypair import generate, read_pem
from tests.cli.conftest import KEYS, Waveledger

ROOT = ("--keys", "keys/root.keys.tgz")
TUF = ("keys", "tuf")
UPDATES = (*TUF, "updates")
OFFLINE = (*TUF, "rotate-offline-key")
ONLINE = (*TUF, "rotate-online-key")
DEVICE = "f6fadfa7-e5c1-4b62-9362-da5cc13da58a"
NAME = "intel-corei7-64-lmp-48"


@pytest.fixture(scope="module")
def released(imported: Callable[..., Waveledger], tmp_path_factory: pytest.TempPathFactory) -> Waveledger:
    """Production targets, a device held on a canceled wave, and another wave under way; published."""
    place = tmp_path_factory.mktemp("keys")
    shell = imported("acme").copy(place / "acme", WAVELEDGER_PUBLISH="public")
    shell.do("waves", "init", "v46", "46", "release", *KEYS)
    shell.do("waves", "complete", "v46")
    shell.do("waves", "init", "v48", "48", "release", *KEYS)
    shell.do("waves", "rollout", "v48", "--uuids", DEVICE)
    (shell.cwd / "reports.csv").write_text(f"uuid,target,seen_at\n{DEVICE},{NAME},\n")
    shell.do("devices", "report", "reports.csv")
    shell.do("waves", "cancel", "v48")
    shell.do("waves", "init", "v50", "50", "release", *KEYS)
    shell.do("waves", "rollout", "v50", "--group", "us-east")
    return shell


@pytest.fixture
def shell(released: Waveledger, tmp_path: Path) -> Waveledger:
    """The same for this test alone."""
    return released.copy(tmp_path / "own")


@pytest.fixture
def three(imported: Callable[..., Waveledger], tmp_path: Path) -> Waveledger:
    """Three holders, of whom two sign each release; production targets, and a wave that one has signed."""
    options = ("--offline-key", "ed25519") * 3
    shell = imported("acme", *options, "--threshold", "3").copy(tmp_path / "own", WAVELEDGER_PUBLISH="public")
    shell.do("waves", "init", "v46", "46", "release", *KEYS)
    shell.do("waves", "sign", "v46", "-k", "keys/targets.only.key.2.tgz")
    shell.do("waves", "complete", "v46")
    shell.do("waves", "init", "v48", "48", "release", *KEYS)
    return shell


def root(shell: Waveledger, *which: str) -> Root:
    """The newest root."""
    shown = shell.do(*TUF, "show-root", *(which or ("--prod",)), "-f", "json").out
    return Metadata[Root].from_bytes(shown.encode()).signed


def keys_in(path: Path) -> list[str]:
    """The keyids in an archive."""
    return [pair.keyid for pair in read_archive(path.read_bytes(), str(path))]


def private_files(shell: Waveledger) -> dict[str, bytes]:
    """All files but the ledger's and the published ones."""
    return {
        str(path.relative_to(shell.cwd)): path.read_bytes()
        for path in sorted(shell.cwd.rglob("*"))
        if path.is_file() and "public" not in path.parts and not path.name.startswith(shell.store.name)
    }


def goes_on(shell: Waveledger, *keys: str) -> None:
    """Everything that is published holds, the ledger replays, and a wave goes from init to complete."""
    shell.do("tuf", "verify", "public")
    shell.do("projections", "verify")
    active = shell.ask("waves", "list", "--status", "active")["waves"]
    for wave in active:
        shell.do("waves", "complete", wave["name"])
    options = [option for key in keys for option in ("-k", key)]
    shell.do("waves", "init", "v60", "60", "release", *options[:2])
    for key in keys[1:]:
        shell.do("waves", "sign", "v60", "-k", key)
    shell.do("waves", "complete", "v60")
    shell.do("tuf", "refresh")
    assert shell.do("tuf", "verify", "public").rc == 0


# renewing and rotating, by one holder


def test_renew_root(shell: Waveledger) -> None:
    """The same keys, a later expiry, nothing signed anew, published at once."""
    before = root(shell)
    came = shell.do(*TUF, "renew-root", *ROOT, "--expires-days", "500", "-f", "json")
    after = root(shell)
    assert (after.version, after.roles, after.expires > before.expires) == (2, before.roles, True)
    assert came.json == {
        "repository": "production", "version": 2, "expires": after.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "role": None, "added": [], "removed": [], "resigned": [], "waiting": [], "unbridged": [], "devices_at_risk": [],
        "dry_run": False,
    }  # fmt: skip
    assert "published to public" in came.err
    goes_on(shell, "keys/targets.only.key.tgz")


def test_rotate_the_root_key(shell: Waveledger) -> None:
    """The new key goes to the old one's archive, where it is found by the next commands; the old one is no use more."""
    archive = shell.cwd / "keys/root.keys.tgz"
    (old,) = keys_in(archive)
    came = shell.do(*OFFLINE, "--role", "root", *ROOT, "-f", "json").json
    (new,) = set(keys_in(archive)) - {old}
    assert (came["role"], came["added"], came["removed"], came["resigned"]) == ("root", [new], [old], [])
    assert root(shell).roles["root"].keyids == [new]
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600

    shell.do(*TUF, "renew-root", *ROOT, "--expires-days", "600")
    shell.do(*UPDATES, "init")
    assert shell.ask(*UPDATES, "sign", *ROOT)["ready"]
    shell.do(*UPDATES, "apply")
    again = shell.do(
        *OFFLINE, "-r", "Root", *ROOT, "--new-keys", "elsewhere.tgz", "--key-type", "rsa4096", "-f", "json"
    )
    assert again.json["removed"] == [new]
    assert keys_in(shell.cwd / "elsewhere.tgz") == again.json["added"]
    shell.do(*TUF, "renew-root", "--keys", "elsewhere.tgz", "--expires-days", "700")
    goes_on(shell, "keys/targets.only.key.tgz")


def test_rotate_the_targets_key(shell: Waveledger) -> None:
    """All live documents are signed anew by the new key and the old one; the device on the canceled wave is named."""
    old = keys_in(shell.cwd / "keys/targets.only.key.tgz")
    came = shell.do(
        *OFFLINE, "--role", "targets", *ROOT, "--targets-keys", "new.tgz", "--old-targets-keys",
        "keys/targets.only.key.tgz", "-f", "json",
    )  # fmt: skip
    new = keys_in(shell.cwd / "new.tgz")
    assert (came.json["added"], came.json["removed"], came.json["unbridged"]) == (new, old, [])
    views = {one["owner"]: [d["view"] for d in one["documents"]] for one in came.json["resigned"]}
    assert views == {
        "tag:release": ["held/v48", "production/release"],
        "wave:v50": ["wave/v50", "held/v48", "production/release"],
    }
    assert [one["keyids"] for one in came.json["resigned"]] == [new, new]
    assert came.json["devices_at_risk"] == [
        {"uuid": DEVICE, "target": NAME, "view": "held/v48", "offered": NAME, "held": True}
    ]
    assert DEVICE in came.err
    assert shell.quick("waves", "init", "v99", "60", "beta", *KEYS).rc == 8
    assert shell.ask("waves", "show", "v50")["signatures"]["keyids"] == new
    goes_on(shell, "new.tgz")


def test_rotate_a_lost_targets_key(shell: Waveledger) -> None:
    """Without the old key it works, too, and says that a client in the middle of a refresh may fail once."""
    (shell.cwd / "keys/targets.only.key.tgz").unlink()
    came = shell.do(*OFFLINE, "-r", "targets", *ROOT, "-K", "new.tgz", "-f", "json")
    assert came.json["unbridged"] == ["tag:release", "wave:v50"]
    assert "in the middle of a refresh" in came.err
    goes_on(shell, "new.tgz")


def test_the_new_key_in_the_archive_of_the_old_one(shell: Waveledger) -> None:
    """As fioctl has it: --targets-keys names the archive with the old key, which signs along, and gets the new one."""
    archive = shell.cwd / "keys/targets.only.key.tgz"
    (old,) = keys_in(archive)
    came = shell.ask(*OFFLINE, "-r", "targets", *ROOT, "-K", "keys/targets.only.key.tgz")
    assert came["unbridged"] == []
    assert came["removed"] == [old]
    assert sorted(keys_in(archive)) == sorted([old, *came["added"]])
    shell.ask(*OFFLINE, "-r", "targets", *ROOT, "-K", "keys/targets.only.key.tgz")
    assert len(keys_in(archive)) == 3
    goes_on(shell, "keys/targets.only.key.tgz")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_rotate_an_online_key(shell: Waveledger, role: str) -> None:
    """The new key lies beside the old one, with the root's number; it is the one that signs from now on."""
    sign = ["--targets-keys", "keys/targets.only.key.tgz"] if role == "targets" else []
    before = private_files(shell)
    came = shell.ask(*ONLINE, "--role", role, *ROOT, *sign)
    made = {name: data for name, data in private_files(shell).items() if name not in before}
    assert list(made) == [f"keys/online/production.{role}.2.pem"]
    assert stat.S_IMODE((shell.cwd / f"keys/online/production.{role}.2.pem").stat().st_mode) == 0o600
    assert (came["role"], len(came["added"]), came["unbridged"]) == (role, 1, [])
    assert bool(came["resigned"]) is (role == "targets")
    stamp = json.loads((shell.cwd / "public/production/release/timestamp.json").read_bytes())
    signed_by = [signature["keyid"] for signature in stamp["signatures"]]
    assert signed_by == ([*came["added"], *came["removed"]] if role == "timestamp" else signed_by)
    (shell.cwd / f"keys/online/production.{role}.pem").unlink()
    goes_on(shell, "keys/targets.only.key.tgz")


def test_rotate_an_online_key_that_is_lost(shell: Waveledger) -> None:
    """It is said when the old key can't sign along."""
    (shell.cwd / "keys/online/production.timestamp.pem").unlink()
    came = shell.do(*ONLINE, "--role", "timestamp", *ROOT)
    assert "may fail once" in came.err
    (shell.cwd / "keys/online/production.targets.pem").unlink()
    came = shell.do(*ONLINE, "--role", "targets", *ROOT, "-K", "keys/targets.only.key.tgz")
    assert "tag release, wave v50: not signed by enough of the old keys" in came.err
    goes_on(shell, "keys/targets.only.key.tgz")


def test_an_online_key_of_another_machine(shell: Waveledger, tmp_path: Path) -> None:
    """The holder of the root key gives only the public half of the new key, and needs no online key at hand."""
    pair = generate("ed25519")
    (shell.cwd / "public.json").write_text(json.dumps(pair.key.to_dict()))
    (shell.cwd / "keys/online").rename(tmp_path / "machine")
    came = shell.do(*ONLINE, "-r", "snapshot", *ROOT, "--new-key", "public.json", "-f", "json")
    assert came.json["added"] == [pair.keyid]
    assert "recorded, not yet published" in came.err
    (tmp_path / "machine/production.snapshot.new.pem").write_bytes(pair.pem())
    shell.do("tuf", "publish", env={"WAVELEDGER_ONLINE_KEYS": str(tmp_path / "machine")})
    (tmp_path / "machine").rename(shell.cwd / "keys/online")
    goes_on(shell, "keys/targets.only.key.tgz")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_rotate_a_ci_key(shell: Waveledger, role: str) -> None:
    """No offline key is asked for, and the CI root's expiry is a year from now at least."""
    before = root(shell, "--version", "1")
    came = shell.ask(*ONLINE, "--role", role, "--ci", "--expires-days", "400")
    after = root(shell, "--version", "2")
    assert (came["repository"], came["version"], came["role"]) == ("ci", 2, role)
    assert set(after.roles[role].keyids) == set(came["added"])
    assert set(before.roles[role].keyids) == set(came["removed"])
    assert (after.expires - before.expires).days == 35
    assert after.unrecognized_fields == before.unrecognized_fields
    (shell.cwd / f"keys/online/ci.{role}.pem").unlink()
    shell.do("tuf", "refresh", "--force")
    shell.do("tuf", "verify", "public")
    shell.do(*ONLINE, "--role", role, "--ci")


def test_the_ci_root_key_is_lost(shell: Waveledger) -> None:
    """Nothing else signs CI's next root: the way out is a backup, and production goes on."""
    (shell.cwd / "keys/online/ci.root.pem").unlink()
    (shell.cwd / "keys/online/ci.timestamp.pem").unlink()
    refused = shell.quick(*ONLINE, "--role", "timestamp", "--ci")
    assert (refused.rc, refused.out) == (8, "")
    assert "take ci.root.pem from a backup" in refused.err
    assert not list((shell.cwd / "keys/online").glob("ci.timestamp*"))  # no key is made for nothing
    shell.do("waves", "complete", "v50")


def test_a_bundle_for_held_devices(shell: Waveledger) -> None:
    """Whoever exports it is told what it would be to others."""
    assert "what the canceled wave brought" in shell.do("tuf", "export", "held/v48", "usb", "--dry-run").err


# several holders


def test_three_holders_change_the_root(three: Waveledger, tmp_path: Path) -> None:
    """Each with only an own file: Dora comes for the first holder, and three sign from now on, one of them at home."""
    (gone,) = keys_in(three.cwd / "keys/targets.only.key.tgz")
    dora = generate("ed25519")
    (three.cwd / "dora.json").write_text(json.dumps(dora.key.to_dict()))
    (three.cwd / "dora.pem").write_bytes(dora.pem())
    assert three.ask(*UPDATES, "init")["update"] == 1
    added = three.ask(*UPDATES, "add-offline-key", "-r", "targets", "-k", "dora.json")
    assert added == {"update": 1, "role": "targets", "added": dora.keyid, "dry_run": False}
    removed = three.ask(*UPDATES, "remove-offline-key", "-r", "targets", "--keys", "keys/targets.only.key.tgz")
    assert removed["removed"] == gone
    three.do(*UPDATES, "set-threshold", "-r", "targets", "4")
    review = three.ask(*UPDATES, "review")
    reviews = [(three.head()[0], review)]
    assert review["changes"] == [
        {"role": "targets", "added": dora.keyid},
        {"role": "targets", "removed": gone},
        {"role": "targets", "threshold": 4, "before": 3},
    ]
    assert [(one["owner"], one["have"], one["need"]) for one in review["targets"]] == [("tag:release", 0, 3)]
    assert review["waiting"] == [{"owner": "wave:v48", "keyids": [], "removed": [gone], "missing": 3}]
    three.do(*UPDATES, "sign", *ROOT)
    for place, key in enumerate(("keys/targets.only.key.2.tgz", "keys/targets.only.key.3.tgz", "dora.pem")):
        missing = three.quick(*UPDATES, "apply")
        assert (missing.rc, missing.out) == (3, "")
        assert f"tag:release needs 3 offline signatures for the next root, and has {place}" in missing.err
        assert "updates sign-prod-targets --keys FILE" in missing.err
        review = three.ask(*UPDATES, "sign-prod-targets", "--keys", key)
        reviews.append((three.head()[0], three.ask(*UPDATES, "review")))
    assert review["ready"]
    came = three.do(*UPDATES, "apply", "-f", "json")
    assert (came.json["update"], came.json["changes"]) == (1, review["changes"])
    assert [(one["owner"], one["missing"]) for one in came.json["resigned"]] == [("tag:release", 0)]
    assert [(one["owner"], one["removed"], one["missing"]) for one in came.json["waiting"]] == [("wave:v48", [gone], 3)]
    assert "wave v48 waits for 3 more: waveledger waves sign v48" in came.err
    for position, told in reviews:
        assert three.ask(*UPDATES, "review", "--at", str(position)) == told
    assert three.quick(*UPDATES, "review", "--at", "3").rc == three.quick(*UPDATES, "review").rc
    for key in ("dora.pem", "keys/targets.only.key.2.tgz"):
        assert not three.ask("waves", "sign", "v48", "-k", key)["ready"]
    three.do("waves", "sign", "v48", "-k", "keys/targets.only.key.3.tgz")
    goes_on(three, "dora.pem", "keys/targets.only.key.2.tgz", "keys/targets.only.key.3.tgz")


def test_a_holder_replaces_an_own_root_key(three: Waveledger) -> None:
    """In an update, too, the new key goes to the archive of the old one, and both sign with one command."""
    three.do(*UPDATES, "init")
    refused = three.quick(*UPDATES, "add-offline-key", "-r", "root", *ROOT)
    assert refused.rc == 3
    assert "holds a current root key" in refused.err
    three.do(*UPDATES, "remove-offline-key", "-r", "root", *ROOT)
    assert "the root role cannot have threshold 1 with 0 keys" in three.ask(*UPDATES, "review")["problem"]
    still = three.quick(*UPDATES, "add-offline-key", "-r", "root", *ROOT)
    assert still.rc == 3
    three.do(*UPDATES, "add-offline-key", "-r", "root", "-k", "new-root.tgz")
    review = three.ask(*UPDATES, "sign", *ROOT)
    assert [part["have"] for part in review["signatures"]] == [1, 0]
    assert three.ask(*UPDATES, "sign", "-k", "new-root.tgz")["ready"]
    three.do(*UPDATES, "apply")
    three.do(*TUF, "renew-root", "--keys", "new-root.tgz", "--expires-days", "500")


def test_two_root_holders(shell: Waveledger) -> None:
    """With a root threshold of 2 one holder is sent to the many-holder change."""
    shell.do(*UPDATES, "init")
    shell.do(*UPDATES, "add-offline-key", "-r", "root", "-k", "second.tgz")
    shell.do(*UPDATES, "set-threshold", "-r", "root", "2")
    shell.do(*UPDATES, "sign", *ROOT)
    assert not shell.ask(*UPDATES, "review")["ready"]
    shell.do(*UPDATES, "sign", "-k", "second.tgz")
    shell.do(*UPDATES, "apply")
    refused = shell.quick(*TUF, "renew-root", *ROOT, "--expires-days", "500")
    assert refused.rc == 3
    assert "updates init" in refused.err
    shell.do(*UPDATES, "init", "--expires-days", "500")
    shell.do(*UPDATES, "sign", "-k", "second.tgz")
    shell.do(*UPDATES, "sign", *ROOT)
    shell.do(*UPDATES, "apply")
    goes_on(shell, "keys/targets.only.key.tgz")


def test_an_update_renews_targets(shell: Waveledger) -> None:
    """--targets-expires-days gives all that is live a later expiry in the same change; cancel leaves nothing of it."""
    shell.do(*UPDATES, "init", "--targets-expires-days", "700")
    assert shell.ask(*UPDATES, "review")["targets_expires"]
    assert shell.ask(*UPDATES, "cancel") == {"update": 1, "dry_run": False}
    shell.do(*UPDATES, "init", "--targets-expires-days", "700")
    shell.do(*UPDATES, "sign", *ROOT)
    expires = shell.ask(*UPDATES, "sign-prod-targets", *KEYS)["targets_expires"]
    came = shell.ask(*UPDATES, "apply")
    assert {d["expires"] for one in came["resigned"] for d in one["documents"]} == {expires}
    goes_on(shell, "keys/targets.only.key.tgz")


# what is left behind

NEW = "new.tgz"
CHANGES: dict[str, tuple[str, ...]] = {
    "renew": (*TUF, "renew-root", *ROOT, "--expires-days", "500"),
    "root": (*OFFLINE, "-r", "root", *ROOT),
    "targets": (*OFFLINE, "-r", "targets", *ROOT, "-K", NEW),
    "targets in place": (*OFFLINE, "-r", "targets", *ROOT, "-K", "keys/targets.only.key.tgz"),
    "timestamp": (*ONLINE, "-r", "timestamp", *ROOT),
    "online targets": (*ONLINE, "-r", "targets", *ROOT, "-K", "keys/targets.only.key.tgz"),
    "ci root": (*ONLINE, "-r", "root", "--ci"),
    "resign": ("targets", "resign", "release", *KEYS),
    "updates": (*UPDATES, "init"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_dry_run_leaves_nothing(shell: Waveledger, name: str) -> None:
    """It says what it would be, appends nothing, publishes nothing, and writes no key."""
    head, private = shell.head(), private_files(shell)
    came = shell.do(*CHANGES[name], "--dry-run", "-f", "json")
    assert came.json["dry_run"] is True
    assert "dry run, nothing was appended; it would be: " in came.err
    assert (shell.head(), private_files(shell)) == (head, private)


def test_dry_runs_of_an_update(shell: Waveledger) -> None:
    """Each step of an update can be tried, too."""
    shell.do(*UPDATES, "init")
    shell.do(*UPDATES, "set-threshold", "-r", "targets", "2")
    head, private = shell.head(), private_files(shell)
    for step in (
        ("add-offline-key", "-r", "targets", "-k", NEW),
        ("set-threshold", "-r", "root", "2"),
        ("sign", *ROOT),
        ("cancel",),
    ):
        came = shell.do(*UPDATES, *step, "--dry-run")
        assert "dry run" in came.err
    assert (shell.head(), private_files(shell)) == (head, private)


@pytest.mark.parametrize("name", ["root", "targets", "targets in place", "timestamp", "ci root"])
@pytest.mark.parametrize("why", ["mallory", "wrong key"])
def test_what_is_refused_makes_no_key(shell: Waveledger, name: str, why: str) -> None:
    """A change that is refused leaves no key behind, not even in an archive that is there."""
    args = CHANGES[name]
    if why == "mallory":
        args = ("--actor", "mallory", *args)
    elif "--keys" in args:
        place = args.index("--keys") + 1
        args = (*args[:place], "keys/targets.only.key.tgz", *args[place + 1 :])
    else:
        (shell.cwd / "keys/online/ci.root.pem").unlink()
    head, private = shell.head(), private_files(shell)
    refused = shell.quick(*args)
    assert refused.rc in (3, 8), refused
    assert (shell.head(), private_files(shell)) == (head, private)


@pytest.mark.parametrize("name", ["root", "targets", "timestamp", "ci root", "updates"])
def test_a_key_that_was_made_is_found_again(shell: Waveledger, name: str) -> None:
    """A command that got no further than its new key takes that one when it is run again, and makes no other."""
    if name == "updates":
        shell.do(*UPDATES, "init")
        args: tuple[str, ...] = (*UPDATES, "add-offline-key", "-r", "targets", "-k", NEW)
    else:
        args = CHANGES[name]
    before = private_files(shell)
    kept = shell.backup()
    shell.do(*args)
    made = private_files(shell)
    shell.restore(kept)  # as if it had been killed before it was recorded
    env = {"WAVELEDGER_PUBLISH": "afresh"}
    shell.do(*args, env=env)
    after = {name: data for name, data in private_files(shell).items() if not name.startswith("afresh")}
    assert after == made
    assert after != before


# signing live documents anew


@pytest.mark.parametrize(
    ("name", "views"),
    [
        ("release", ["held/v48", "production/release", "wave/v50", "held/v48", "production/release"]),
        ("tag:release", ["held/v48", "production/release", "wave/v50", "held/v48", "production/release"]),
        ("v50", ["wave/v50", "held/v48", "production/release"]),
        ("v48", ["held/v48"]),
        ("wave:v46", ["production/release"]),
    ],
)
def test_resign(shell: Waveledger, name: str, views: list[str]) -> None:
    """A tag with its wave, an active wave, a held one, and the wave that brought production's targets."""
    came = shell.ask("targets", "resign", name, *KEYS, "--expires-at", "2031-01-01T00:00:00Z")
    documents = [document for one in came["resigned"] for document in one["documents"]]
    assert [document["view"] for document in documents] == views
    assert {document["expires"] for document in documents} == {"2031-01-01T00:00:00Z"}
    assert {document["version"] % 1000 for document in documents} == {1}
    assert (came["repository"], came["above"], came["dry_run"]) == ("production/release", None, False)
    goes_on(shell, "keys/targets.only.key.tgz")


def test_resign_keeps_a_later_expiry(shell: Waveledger) -> None:
    """Without a time it is a year, but never less than there was; with one it is that time."""
    shell.do("targets", "resign", "release", *KEYS, "--expires-days", "700")
    later = shell.ask("targets", "list", "--production", "--by-tag", "release")["expires"]
    shell.do("targets", "resign", "release", *KEYS)
    assert shell.ask("targets", "list", "--production", "--by-tag", "release")["expires"] == later
    shell.do("targets", "resign", "release", *KEYS, "--expires-days", "30")
    assert shell.ask("targets", "list", "--production", "--by-tag", "release")["expires"] < later


def test_resign_by_several(three: Waveledger) -> None:
    """Every holder whose signature is needed gives a key; the wave that waits is left alone until it is named."""
    second = ("-k", "keys/targets.only.key.2.tgz")
    came = three.do("targets", "resign", "release", *KEYS, *second, "-f", "json")
    assert [one["owner"] for one in came.json["resigned"]] == ["tag:release"]
    assert "wave v48 still waits" in came.err
    assert len(came.json["resigned"][0]["keyids"]) == 2
    named = three.do("targets", "resign", "v48", *second, "-f", "json")
    assert named.json["resigned"][0]["missing"] == 1
    assert "wave v48 waits for 1 more" in named.err
    three.do("waves", "sign", "v48", *KEYS)
    three.do("waves", "rollout", "v48", "--limit", "1")


def test_an_older_ledger(shell: Waveledger) -> None:
    """A restored backup goes on above what is published, and clients that saw the newer state go on with it."""
    kept = shell.backup()
    shell.do("targets", "resign", "release", *KEYS)
    shell.do("waves", "rollout", "v50", "--limit", "2")
    shell.do("waves", "cancel", "v50")
    shell.restore(kept)
    refused = shell.quick("tuf", "refresh", "--force")
    assert refused.rc == 7
    assert "targets resign TAG -k KEYS --above public" in refused.err
    looked = shell.quick("tuf", "verify", "public")
    assert (looked.rc, "an older ledger was restored" in looked.err, "NEW-DIR" in looked.err) == (6, True, False)
    came = shell.ask("targets", "resign", "release", *KEYS, "--above", "public")
    assert came["above"]["metadata"] > 0
    for tag in ("main", "qa", "devel"):
        shell.do("targets", "resign", f"ci/{tag}", "--above", "public")
    shell.do("tuf", "refresh", "--force")
    shutil.rmtree(shell.cwd / "public/held/v50")  # this ledger knows of no such view
    goes_on(shell, "keys/targets.only.key.tgz")


def test_an_older_ledger_takes_roots_in(shell: Waveledger, tmp_path: Path) -> None:
    """A backup from before keys changed: --above takes the newer roots in, with their online keys, and goes on."""
    kept = shell.backup()
    shell.do(*TUF, "renew-root", *ROOT, "--expires-days", "500")
    new = ("--targets-keys", "new.tgz", "--old-targets-keys", "keys/targets.only.key.tgz")
    shell.do(*OFFLINE, "--role", "targets", *ROOT, *new)
    shell.do(*ONLINE, "--role", "targets", *ROOT, "--targets-keys", "new.tgz")
    shell.do(*ONLINE, "--role", "timestamp", *ROOT)
    for role in ("root", "snapshot"):
        shell.do(*ONLINE, "--role", role, "--ci")
    newest = [shell.do(*TUF, "show-root", *which).out for which in (("--prod",), ())]
    shell.restore(kept)
    refused = shell.quick("tuf", "refresh", "--force")
    assert refused.rc == 7
    assert "targets resign TAG -k KEYS --above public" in refused.err

    above = ("targets", "resign", "release", "--above", "public", "-k")
    old = shell.quick(*above, "keys/targets.only.key.tgz")
    assert (old.rc, "none of the keys in keys/targets.only.key.tgz" in old.err) == (8, True)
    assert shell.ask(*above, "new.tgz", "--dry-run")["roots"] == [2, 3, 4, 5]
    assert shell.ask(*above, "new.tgz")["roots"] == [2, 3, 4, 5]
    came = [shell.ask("targets", "resign", f"ci/{tag}", "--above", "public") for tag in ("main", "qa", "devel")]
    assert [one["roots"] for one in came] == [[2, 3], [], []]
    assert [shell.do(*TUF, "show-root", *which).out for which in (("--prod",), ())] == newest
    shell.do("tuf", "refresh", "--force")
    goes_on(shell, "new.tgz")
    shell.do(*ONLINE, "--role", "targets", "--ci")
    shell.do(*TUF, "renew-root", *ROOT, "--expires-days", "600")


def test_a_name_of_two_things(shell: Waveledger) -> None:
    """Where a wave is called like a tag, the user says which."""
    shell.do("waves", "complete", "v50")
    shell.do("waves", "init", "release", "60", "release", *KEYS)
    refused = shell.quick("targets", "resign", "release", *KEYS)
    assert (refused.rc, refused.out) == (3, "")
    assert "tag:release or wave:release" in refused.err
    owners = [one["owner"] for one in shell.ask("targets", "resign", "wave:release", *KEYS)["resigned"]]
    assert owners == ["wave:release"]
    owners = [one["owner"] for one in shell.ask("targets", "resign", "tag:release", *KEYS)["resigned"]]
    assert owners == ["tag:release", "wave:release"]


# at once, and killed


def holds_all_keys(shell: Waveledger) -> None:
    """Every key that a newest root lists is on disk: nobody is locked out."""
    there = {keyid for path in shell.cwd.glob("keys/*.tgz") for keyid in keys_in(path)}
    there |= {keyid for path in shell.cwd.glob("*.tgz") for keyid in keys_in(path)}
    for path in shell.cwd.glob("keys/online/*.pem"):
        there |= {pair.keyid for pair in read_pem(path.read_bytes(), str(path))}
    for which in (("--prod",), ()):
        signed = json.loads(shell.do(*TUF, "show-root", *which, "-f", "json").out)["signed"]
        assert set(signed["keys"]) <= there


@pytest.mark.xdist_group("races")
@pytest.mark.parametrize(
    "name", ["targets", *(pytest.param(name, marks=pytest.mark.slow) for name in ("root", "timestamp", "ci root"))]
)
def test_at_once(shell: Waveledger, name: str) -> None:
    """Of several that rotate the same key at once, those that are too late are told so, and no key is lost."""
    commands = [list(CHANGES[name])] * 4
    program = [sys.executable, Path(__file__).with_name("racers.py"), json.dumps(commands)]
    ended = subprocess.run(
        program, cwd=shell.cwd, env=shell.environment(), capture_output=True, check=True, timeout=120
    )
    codes = [code for code, _out, _err in json.loads(ended.stdout)]
    assert 0 in codes
    assert set(codes) <= {0, 3, 4, 5, 8}, ended.stdout
    holds_all_keys(shell)
    shell.do("tuf", "publish")
    shell.do("tuf", "verify", "public")
    shell.do("projections", "verify")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["root", "targets in place", "timestamp", "online targets", "ci root"])
def test_killed(shell: Waveledger, name: str) -> None:
    """Killed at any moment, a change was made or not; run again it goes through, and no key is lost."""
    chance, killed = random.Random(name), 0
    begun = time.monotonic()
    shell.ok(*CHANGES[name])
    usual = time.monotonic() - begun
    for _ in range(12):
        with shell.start(*CHANGES[name]) as process:
            time.sleep(usual * chance.uniform(0.3, 1.1))
            process.kill()
        killed += process.returncode != 0
        holds_all_keys(shell)
        shell.do("projections", "verify")
    assert killed
    shell.ok(*CHANGES[name])
    waiting = [path for path in shell.cwd.glob("keys/online/*.pem") if not path.read_bytes()]
    assert waiting == []
    shell.do("tuf", "publish")
    shell.do("tuf", "verify", "public")
