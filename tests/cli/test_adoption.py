"""A fleet that somebody else's repository served goes on with a ledger: real clients, before and after."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Root
from tuf.ngclient import FetcherInterface, Updater

from ledger.tuf.archive import write_archive
from ledger.tuf.keypair import KeyPair
from tests.cli.conftest import Result, Waveledger
from tests.existing import CHAIN, FIRST, Existing, key, refresh, target

Serve = Callable[[Path], str]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Existing:
    """The existing repository, made once; nobody changes it."""
    return Existing(tmp_path_factory.mktemp("existing") / "old")


@pytest.fixture
def existing(pristine: Existing, tmp_path: Path) -> Existing:
    """A copy that a test may change."""
    return copied(pristine, tmp_path)


def copied(existing: Existing, tmp_path: Path) -> Existing:
    other = object.__new__(Existing)
    other.__dict__.update(existing.__dict__)
    other.path = Path(shutil.copytree(existing.path, tmp_path / "old"))
    return other


def shell_in(tmp_path: Path, **env: str) -> Waveledger:
    (tmp_path / "new").mkdir()
    return Waveledger(tmp_path / "new", **env)


def expected(tag: str) -> tuple[str, ...]:
    return {"release": ("os-40", "os-40-amd"), "beta": ("os-40", "os-41")}[tag]


CI = {
    "os-42": {
        "length": 42,
        "hashes": {"sha256": "ab" * 32},
        "custom": {"version": "42", "hardwareIds": ["arm64"], "tags": ["main"]},
    }
}
DEVICES = "uuid,name,hardware_id,tag,group,production\n" + "".join(
    f"gw-{n},gw-{n},arm64,release,{'canary' if n == 1 else ''},true\n" for n in (1, 2)
)


def test_a_fleet_carries_on(pristine: Existing, tmp_path: Path, serve: Serve) -> None:
    """Clients with state, from the first root and from the newest: all go on, and then through a whole wave."""
    old = serve(pristine.path)
    devices = {
        name: tmp_path / "devices" / name for name in ("kept", "other", "first", "newest", "kept-beta", "first-beta")
    }
    for name in ("kept", "other", "kept-beta"):
        assert refresh(devices[name], old, pristine.path / "1.root.json")[:3] == (3, 1234, 77)
    shell = shell_in(tmp_path)
    (shell.cwd / "ci.json").write_text(json.dumps(CI))
    (shell.cwd / "devices.csv").write_text(DEVICES)

    shell.ok(*pristine.adopting())
    shell.ok("tuf", "publish", "public")
    url = serve(shell.cwd / "public")

    def look(device: str, view: str, bootstrap: str | None = None) -> tuple[int, int, int, tuple[str, ...]]:
        root = pristine.path / f"{bootstrap}.root.json" if bootstrap else None
        return refresh(devices[device], f"{url}/{view}", root)

    release = {look("kept", "production/release"), look("other", "production/release")}
    release |= {look("first", "production/release", "1"), look("newest", "production/release", "3")}
    ((root, timestamp, targets, names),) = release
    assert (root, names) == (4, expected("release"))
    assert timestamp > 1234
    assert targets > 77
    assert look("kept-beta", "production/beta") == look("first-beta", "production/beta", "1")
    assert look("kept-beta", "production/beta")[3] == expected("beta")

    shell.do("targets", "import", "ci.json")
    shell.do("devices", "import", "devices.csv")
    shell.do("waves", "init", "v42", "42", "release", "-k", pristine.pem("rsa-hand"))
    shell.do("waves", "sign", "v42", "-k", pristine.pem("hand-b"))
    shell.do("waves", "rollout", "v42", "--group", "canary")
    shell.ok("tuf", "publish", "public")

    assert look("kept", "wave/v42")[3] == ("os-40", "os-40-amd", "os-42")
    assert look("other", "production/release")[3] == expected("release")

    shell.do("waves", "complete", "v42")
    shell.ok("tuf", "publish", "public")

    for device in ("kept", "other", "first", "newest"):
        assert look(device, "production/release")[3] == ("os-40", "os-40-amd", "os-42")
    assert look("kept-beta", "production/beta")[3] == expected("beta")
    shell.ok("tuf", "verify", "public")
    shell.do("projections", "verify")


def test_a_canceled_wave_leads_back_to_what_was_adopted(pristine: Existing, tmp_path: Path, serve: Serve) -> None:
    """The first wave after adoption brings its recovery document, with the adopted targets in it."""
    shell = shell_in(tmp_path, WAVELEDGER_PUBLISH="public")
    (shell.cwd / "ci.json").write_text(json.dumps(CI))
    (shell.cwd / "devices.csv").write_text(DEVICES)
    shell.do(*pristine.adopting())
    shell.do("targets", "import", "ci.json")
    shell.do("devices", "import", "devices.csv")
    url, device = serve(shell.cwd / "public"), tmp_path / "device"
    before = refresh(device, f"{url}/production/release", pristine.path / "1.root.json")

    shell.do("waves", "init", "v42", "42", "release", "-k", pristine.pem("hand-b"))
    shell.do("waves", "sign", "v42", "-k", pristine.pem("rsa-hand"))
    shell.do("waves", "rollout", "v42", "--group", "canary")
    on_wave = refresh(device, f"{url}/wave/v42")
    shell.do("waves", "cancel", "v42")
    after = refresh(device, f"{url}/production/release")

    assert before[3] == after[3] == expected("release")
    assert "os-42" in on_wave[3]
    assert before[2] < on_wave[2] < after[2]


class Switch(FetcherInterface):
    """Fetches from one server, and from its first timestamp on from another."""

    def __init__(self, before: str, after: str) -> None:
        self.base, self.after = before, after

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rpartition("/")[2]
        if name == "timestamp.json":
            self.base = self.after
        try:
            with urllib.request.urlopen(f"{self.base}/{name}") as response:
                yield response.read()
        except urllib.error.HTTPError as problem:
            code = problem.code
            problem.close()
            raise DownloadHTTPError(name, code) from None


def test_a_client_in_the_middle_of_a_refresh(pristine: Existing, tmp_path: Path, serve: Serve) -> None:
    """Where the old online keys are at hand for the first day, not even such a client meets an error."""
    shell, device = shell_in(tmp_path), tmp_path / "device"
    assert "may fail once" not in shell.do(*pristine.adopting()).err
    for name in ("snap", "time-2"):
        shutil.copy(pristine.pem(name), shell.cwd / "keys" / "online" / f"old-{name}.pem")
    shell.do("tuf", "publish", "public")
    url = f"{serve(shell.cwd / 'public')}/production/release"
    old = serve(pristine.path)
    refresh(device, old, pristine.path / "1.root.json")

    updater = Updater(str(device), "x:///", fetcher=Switch(old, url), bootstrap=None)
    updater.refresh()

    trusted = updater._trusted_set
    assert (trusted.root.version, tuple(sorted(trusted.targets.targets))) == (3, expected("release"))
    assert refresh(device, url)[::3] == (4, expected("release"))


def test_the_history_begins_with_a_completed_wave_for_each_tag(pristine: Existing, tmp_path: Path) -> None:
    """What was taken over can be asked for like everything that came later."""
    shell = shell_in(tmp_path)
    told = shell.do(*pristine.adopting(), "--format", "json").json

    assert told["threshold"] == 3
    assert told["adopted"]["root"] == {"first": 1, "adopted": 3, "version": 4}
    assert told["adopted"]["versions_above"] == {"metadata": 1234, "targets": 77}
    assert [(t["tag"], t["wave"], t["version"], t["targets"]) for t in told["adopted"]["tags"]] == [
        ("beta", "adopted-beta", 41, 2),
        ("release", "adopted-release", 40, 2),
    ]
    waves = shell.ask("waves", "list")["waves"]
    assert {(w["name"], w["version"], w["tag"], w["status"]) for w in waves} == {
        ("adopted-release", 40, "release", "complete"),
        ("adopted-beta", 41, "beta", "complete"),
    }
    listed = shell.ask("targets", "list", "--production", "--by-tag", "release")
    assert (listed["version"], tuple(listed["targets"])) == (40, expected("release"))
    assert listed["targets"]["os-40"]["custom"] == {
        "version": "40",
        "hardwareIds": ["arm64"],
        "tags": ["release"],
        "uri": "https://ci.example.com/40",
    }
    shown = shell.ask("waves", "show", "adopted-release", "--show-targets")
    assert shown["signatures"] == {
        "threshold": 3,
        "keyids": [key(name).public_key.keyid for name in ("rsa-hand", "hand-b")],
    }


def test_the_old_chain_is_published_as_it_was(pristine: Existing, tmp_path: Path) -> None:
    """Each old root has its bytes, and the one that follows keeps the holders and replaces every online key."""
    shell = shell_in(tmp_path, WAVELEDGER_PUBLISH="public")
    shell.do(*pristine.adopting())
    view = shell.cwd / "public" / "production" / "release"

    for version in (1, 2, 3):
        assert (view / f"{version}.root.json").read_bytes() == (pristine.path / f"{version}.root.json").read_bytes()
    old, new = (json.loads((view / f"{version}.root.json").read_text())["signed"] for version in (3, 4))
    assert new["roles"]["root"] == old["roles"]["root"]
    assert new["roles"]["targets"]["keyids"][:2] == old["roles"]["targets"]["keyids"]
    for role in ("snapshot", "timestamp"):
        assert not set(new["roles"][role]["keyids"]) & set(old["keys"])
    assert "x-waveledger" in new
    assert not list((shell.cwd / "keys").glob("*.tgz"))


def test_a_chain_that_begins_later(pristine: Existing, tmp_path: Path, serve: Serve) -> None:
    """A fleet made with root 2 needs no root 1: devices and `tuf verify` start from 2."""
    existing = copied(pristine, tmp_path)
    (existing.path / "1.root.json").unlink()
    shell = shell_in(tmp_path)

    told = shell.do(*existing.adopting(), "--format", "json").json
    shell.do("tuf", "publish", "public")

    assert told["adopted"]["root"]["first"] == 2
    url = serve(shell.cwd / "public")
    found = refresh(tmp_path / "device", f"{url}/production/release", existing.path / "2.root.json")
    assert (found[0], found[3]) == (4, expected("release"))
    shell.do("tuf", "verify", "public")
    shell.do("tuf", "export", "release", "bundle")
    shell.do("tuf", "verify", "bundle")


def test_two_files_for_two_tags(pristine: Existing, tmp_path: Path) -> None:
    """Where each tag has a repository of its own, each brings its targets; versions go on above the highest."""
    existing = copied(pristine, tmp_path)
    beta = tmp_path / "beta.json"
    existing.write_targets([target("os-41", 41, ["beta"])], 5100, beta)
    existing.write_targets([target("os-40", 40, ["release"])])
    shell = shell_in(tmp_path)

    told = shell.do(*existing.adopting(production=[existing.production, beta]), "--format", "json").json

    assert [(t["tag"], t["targets_version"]) for t in told["adopted"]["tags"]] == [("beta", 6000), ("release", 6000)]


@pytest.mark.parametrize("by", ["keyid", "file"])
def test_a_key_that_signed_online_leaves(tmp_path: Path, serve: Serve, by: str) -> None:
    """A targets key that also signed timestamps is known to be online; another one is, when it is named."""
    roles = {"root": ["root-a"], "targets": ["time", "other", "hand-a"], "snapshot": ["time"], "timestamp": ["time"]}
    existing = Existing(tmp_path / "old", [roles], {"root": 1})
    other = key("other").public_key.keyid
    url, device = serve(existing.path), tmp_path / "device"
    refresh(device, url, existing.path / "1.root.json")
    shell = shell_in(tmp_path, WAVELEDGER_PUBLISH="public")

    named = ["--drop-key", existing.pem("other") if by == "file" else other]
    came = shell.do(*existing.adopting(targets=["hand-a"]), *named, "--format", "json")
    told = came.json

    assert "1 of the 2 old targets keys that root 1 asks for" in came.err
    assert told["threshold"] == 2
    assert told["adopted"]["dropped_keys"] == [key("time").public_key.keyid, other]
    assert refresh(device, f"{serve(shell.cwd / 'public')}/production/release")[3] == expected("release")


def test_a_repository_without_offline_targets_keys_gets_one(tmp_path: Path) -> None:
    """A new key is made, signs, and is written as init writes keys."""
    roles = {"root": ["root-a"], "targets": ["time"], "snapshot": ["time"], "timestamp": ["time"]}
    existing = Existing(tmp_path / "old", [roles], {"root": 1, "targets": 1})
    shell = shell_in(tmp_path)
    arguments = existing.adopting()[: -len(("--targets-keys", "X"))]

    refused = shell.quick(*arguments)
    told = shell.do(*arguments, "--offline-key", "ed25519", "--format", "json").json
    shell.do("tuf", "publish", "public")

    assert (refused.rc, "stays" in refused.err) == (3, True)
    assert told["threshold"] == 2
    assert told["keys"] == ["keys/targets.only.key.tgz", "keys/online"]
    (shell.cwd / "ci.json").write_text(json.dumps(CI))
    shell.do("targets", "import", "ci.json")
    shell.do("waves", "init", "v42", "42", "release", "-k", "keys/targets.only.key.tgz")
    shell.do("waves", "complete", "v42")
    shell.do("tuf", "publish", "public")


def test_archives_beside_the_new_keys_are_found_and_left_alone(tmp_path: Path) -> None:
    """Foundries' archives in keys/ need not be named, and are not touched, not even by a marker with their names."""
    first = shell_in(tmp_path, WAVELEDGER_PUBLISH="public")
    (first.cwd / "ci.json").write_text(json.dumps(CI))
    first.do("init", "--factory", "acme", "--offline-key", "ed25519", "--offline-key", "ed25519", "--threshold", "3")
    first.do("targets", "import", "ci.json")
    first.do("waves", "init", "v42", "42", "release", "-k", "keys/targets.only.key.tgz")
    first.do("waves", "sign", "v42", "-k", "keys/targets.only.key.2.tgz")
    first.do("waves", "complete", "v42")
    view = first.cwd / "public" / "production" / "release"
    root = json.loads((view / "1.root.json").read_text())["signed"]
    offline = [json.loads(first.do("waves", "show", "v42", "-f", "json").out)["signatures"]["keyids"]]
    online = [keyid for keyid in root["roles"]["targets"]["keyids"] if keyid not in offline[0]]

    second = Waveledger(tmp_path / "second")
    shutil.copytree(first.cwd / "keys", second.cwd / "keys")
    shutil.rmtree(second.cwd / "keys" / "online")
    archives = {path.name: path.read_bytes() for path in (second.cwd / "keys").iterdir()}
    marker = second.cwd / "keys" / ".init-not-finished"
    marker.write_text(json.dumps([str(tmp_path / "gone.db"), "00", sorted(archives)]))
    arguments = ["--from-roots", str(view), "--production-targets", str(max(view.glob("*.targets.json")))]

    told = second.do("init", "--factory", "acme", *arguments, "--drop-key", *online, "--format", "json").json

    assert told["keys"] == ["keys/online"]
    assert told["threshold"] == 3
    assert {path.name: path.read_bytes() for path in (second.cwd / "keys").glob("*.tgz")} == archives
    assert not marker.exists()


def test_keys_come_as_archives_and_encrypted_pem(pristine: Existing, tmp_path: Path) -> None:
    """A key is found by its material: an archive has keyids by Foundries' rule, the roots have others."""
    shell = shell_in(tmp_path, WAVELEDGER_KEY_PASSPHRASE="correct horse")
    archive, locked = tmp_path / "archive.tgz", tmp_path / "locked.pem"
    pair = KeyPair.of(key("rsa-root")._private_key)
    archive.write_bytes(write_archive("root", [pair]))
    encryption = BestAvailableEncryption(b"correct horse")
    locked.write_bytes(key("hand-b")._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    given = pristine.adopting("root-b", targets=["rsa-hand"])

    told = shell.do(*given, "--root-keys", str(archive), "--targets-keys", f"file2:{locked}", "-f", "json").json

    assert pair.keyid != key("rsa-root").public_key.keyid
    assert told["adopted"]["root"]["version"] == 4


Change = Callable[[Existing], list[str]]


def same(change: Callable[[Existing], object]) -> Change:
    """The repository is changed, and the arguments are the usual ones."""

    def make(existing: Existing) -> list[str]:
        change(existing)
        return existing.adopting()

    return make


def replaced(name: str, old: str, new: str) -> Change:
    def change(existing: Existing) -> None:
        path = existing.path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return same(change)


def without(*options: str) -> Change:
    """The usual arguments but these options."""

    def make(existing: Existing) -> list[str]:
        given = existing.adopting()
        pairs = [given[:1], *(given[i : i + 2] for i in range(1, len(given), 2))]
        return [part for pair in pairs if pair[0] not in options for part in pair]

    return make


def targets_of(*targets: object) -> Change:
    return same(lambda existing: existing.write_targets(list(targets)))


def _unportable(existing: Existing) -> None:
    from securesystemslib.signer import CryptoSigner

    p384 = CryptoSigner.generate_ecdsa().public_key
    p384.scheme, p384.keytype = "ecdsa-sha2-nistp384", "ecdsa"
    path = existing.path / "3.root.json"
    document = json.loads(path.read_text())
    document["signed"]["keys"][p384.keyid] = p384.to_dict()
    path.write_text(json.dumps(document))


def _unsigned_by_predecessor(existing: Existing) -> None:
    existing.write_root(2, CHAIN[1], ["root-b"])


def _two_files(existing: Existing) -> list[str]:
    other = existing.path.with_name("other.json")
    existing.write_targets([target("os-42", 42, ["beta"])], 78, other)
    return existing.adopting(production=[existing.production, other])


def _same_file(existing: Existing) -> list[str]:
    return existing.adopting(production=[existing.production, existing.production])


def _stale(existing: Existing) -> list[str]:
    other = existing.path.with_name("stale.json")
    existing.write_targets([target("os-39", 39, ["release"])], 76, other)
    return existing.adopting(production=[other])


def _plain_map(existing: Existing) -> list[str]:
    other = existing.path.with_name("map.json")
    other.write_text(json.dumps(CI))
    return existing.adopting(production=[other])


def _current_root(existing: Existing) -> None:
    existing.write_root(4, CHAIN[2], CHAIN[2]["root"])
    (existing.path / "4.root.json").rename(existing.path / "root.json")


def _only_root(existing: Existing) -> None:
    for path in existing.path.glob("*.root.json"):
        path.unlink()


def _targets_by_one(existing: Existing) -> None:
    path = existing.production
    document = json.loads(path.read_text())
    document["signatures"].pop()
    path.write_text(json.dumps(document))


REFUSALS: dict[str, tuple[Change, int, str]] = {
    "a gap": (same(lambda e: (e.path / "2.root.json").unlink()), 8, "lacks 2.root.json"),
    "no roots": (same(_only_root), 8, "there is no N.root.json"),
    "no directory": (same(lambda e: shutil.rmtree(e.path)), 4, "no such file"),
    "another root is current": (same(_current_root), 3, "none of the versioned roots"),
    "a changed root": (replaced("2.root.json", '"version":2', '"version":3'), 8, "it is version 3"),
    "a signature that does not verify": (replaced("1.root.json", '"sig":"', '"sig":"00'), 8, "has 1 valid signatures"),
    "not signed by the one before": (same(_unsigned_by_predecessor), 8, "the keys of the previous root"),
    "keys that not all clients have": (same(_unportable), 8, "not supported"),
    "not JSON": (same(lambda e: (e.path / "1.root.json").write_text("{")), 8, "cannot be taken over"),
    "Foundries' roots": (replaced("1.root.json", '"root"', '"Root"'), 8, "another dialect"),
    "a root with floats": (replaced("1.root.json", '"version":1', '"version":1,"x":1.5'), 8, "cannot be taken over"),
    "Foundries' targets": (replaced("77.targets.json", '"targets"', '"Targets"'), 8, "another dialect"),
    "targets of too few keys": (same(_targets_by_one), 8, "it has 1 valid signatures and needs 2"),
    "targets that were changed": (replaced("77.targets.json", "os-41", "os-99"), 8, "it has 0 valid signatures"),
    "a plain map": (_plain_map, 8, "it is not TUF 1.0 targets metadata"),
    "no targets": (targets_of(), 3, "holds no targets"),
    "old targets": (_stale, 8, "of version 76, and the repository had version 77"),
    "a tag in two files": (_two_files, 3, "tag beta has production targets in"),
    "a file twice": (_same_file, 3, "tag release has production targets in"),
    "a target without tag": (targets_of(target("os-40", 40, [])), 3, "has no tag"),
    "hardware twice": (targets_of(target("a", 40, ["x"]), target("b", 40, ["x"])), 3, "several targets with number 40"),
    "a float": (replaced("77.targets.json", '"version":"40"', '"version":"40","x":4.5'), 3, "is a float, 4.5"),
    "not ASCII": (targets_of(target("os-40", 40, ["x"], note="gr\u00fcn")), 3, "outside printable ASCII"),
    "a large integer": (targets_of(target("os-40", 40, ["x"], note=2**31)), 3, "below 2147483648"),
    "a broken timestamp": (same(lambda e: (e.path / "timestamp.json").write_text("{}")), 3, "is not TUF metadata"),
    "a version too high": (replaced("timestamp.json", '"version":1234', '"version":2147483647'), 8, "too near"),
    "one root key": (lambda e: e.adopting("root-b"), 8, "signed by 2 of the holders of root 3, and 1 were given"),
    "no root key": (without("--root-keys"), 8, "and 0 were given"),
    "an old root key": (lambda e: e.adopting("root-a", "root-b"), 8, "none of the keys in"),
    "a root key twice": (lambda e: e.adopting("root-b", "root-b"), 3, "given twice"),
    "one targets key": (lambda e: e.adopting(targets=["hand-b"]), 8, "need 2 offline signatures, and 1 targets keys"),
    "a targets key twice": (lambda e: e.adopting(targets=["hand-b", "hand-b"]), 3, "given twice"),
    "an old targets key": (lambda e: e.adopting(targets=["hand-a", "hand-b"]), 8, "none of the keys in"),
    "a missing key": (lambda e: [*e.adopting(), "--root-keys", "nowhere.pem"], 8, "there is no key file nowhere.pem"),
    "an unknown key leaves": (lambda e: [*e.adopting(), "--drop-key", "abc"], 3, "not a targets key of root 3"),
    "a threshold of one": (lambda e: [*e.adopting(), "--threshold", "1"], 3, "a threshold of 1"),
    "a threshold out of reach": (lambda e: [*e.adopting(), "--threshold", "4"], 3, "a threshold of 4"),
    "roots alone": (without("--production-targets"), 2, "go together"),
    "targets alone": (without("--from-roots"), 2, "go together"),
    "a bad name": (lambda e: [*e.adopting(), "--factory", "a b"], 3, "not allowed"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(pristine: Existing, tmp_path: Path, case: str) -> None:
    """What can't be gone on from is refused with a reason and a next step, and nothing is left behind."""
    change, code, text = REFUSALS[case]
    shell, existing = shell_in(tmp_path), copied(pristine, tmp_path)

    result = shell.quick(*change(existing))

    assert (result.rc, result.out) == (code, ""), result.err
    assert text in result.err
    assert "hint: " in result.err or code == 2
    assert [path.name for path in shell.cwd.iterdir()] == ["home"]


def test_a_root_with_a_field_of_ours_that_is_none(tmp_path: Path) -> None:
    """What an old root says in our name is no ledger's key, and keeps nobody from publishing."""

    class Marked(Existing):
        """A repository whose root names a ledger key that is no key."""

        def root(self, version: int, roles: Mapping[str, Sequence[str]]) -> Root:
            """As any, but for that field."""
            root = super().root(version, roles)
            root.unrecognized_fields["x-waveledger"] = {"ledger-key": "zz"}
            return root

    roles = {"root": ["a"], "targets": ["b"], "snapshot": ["c"], "timestamp": ["c"]}
    existing = Marked(tmp_path / "old", [roles], {"root": 1, "targets": 1})
    shell = shell_in(tmp_path)
    shell.do(*existing.adopting())
    shell.do("tuf", "publish", "public")


WARNINGS: dict[str, tuple[dict[str, object], list[str], str]] = {
    "expired": ({"days": -1}, [], "clients go on once this ledger is published"),
    "fewer signatures": ({}, ["--threshold", "2"], "needs 1 offline signatures from now on, and needed 2"),
    "another layout": ({"consistent": False}, [], "no consistent snapshots"),
    "an online root key": ({"chain": [{**FIRST, "timestamp": ["root-a"]}]}, [], "also signed timestamps or snapshots"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(tmp_path: Path, serve: Serve, case: str) -> None:
    """What can be gone on from, though somebody should look at it, is said; clients go on."""
    different, options, text = WARNINGS[case]
    existing = Existing(tmp_path / "old", **different)  # type: ignore[arg-type]
    shell = shell_in(tmp_path, WAVELEDGER_PUBLISH="public")

    result = shell.do(*existing.adopting(), *options)

    assert f"warning: {text}" in result.err.replace("root 3 expired at", "warning: ") or text in result.err
    url = serve(shell.cwd / "public")
    found = refresh(tmp_path / "device", f"{url}/production/release", existing.path / "1.root.json")
    assert found[3] == expected("release")


def test_a_dry_run_checks_all_and_writes_nothing(pristine: Existing, tmp_path: Path) -> None:
    """It says what would be adopted."""
    shell = shell_in(tmp_path)

    told = shell.do(*pristine.adopting(), "--dry-run", "--format", "json").json

    assert told["dry_run"]
    assert told["adopted"]["root"]["version"] == 4
    assert [path.name for path in shell.cwd.iterdir()] == ["home"]
    assert shell.quick(*pristine.adopting("root-b"), "--dry-run").rc == 8


def test_never_over_a_ledger(pristine: Existing, tmp_path: Path) -> None:
    """A store or online keys that are there already are left as they are."""
    shell = shell_in(tmp_path)
    shell.do("init", "--factory", "acme")
    before = {path: path.read_bytes() for path in shell.cwd.rglob("*") if path.is_file()}

    assert shell.quick(*pristine.adopting()).rc == 7
    assert shell.quick("--store", "sqlite:///other.db", *pristine.adopting()).rc == 8
    assert {path: path.read_bytes() for path in shell.cwd.rglob("*") if path.is_file()} == before


ONLINE = [
    "ci.root.pem", "ci.snapshot.pem", "ci.targets.pem", "ci.timestamp.pem", "ledger.pem", "production.snapshot.pem",
    "production.targets.pem", "production.timestamp.pem",
]  # fmt: skip
KILLED = """
import os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from cli.main import main

left = int(sys.argv.pop(1))

def step():
    global left
    left -= 1
    if left == 0:
        os._exit(137)

def audit(name, arguments):
    if name in ("open", "os.mkdir", "os.remove", "sqlite3.connect") and "/new-" in str(arguments[0]):
        step()

sys.addaudithook(audit)
for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
    event.listen(Engine, name, lambda *_: step())
main()
"""


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((20, 150), id="some"),
        *(pytest.param(range(begin, 200, 11), id=f"from {begin}", marks=pytest.mark.slow) for begin in (2, 6, 9)),
    ],
)
def test_killed_at_any_step(pristine: Existing, tmp_path: Path, steps: Sequence[int]) -> None:
    """Wherever it is killed, the next try makes the ledger, or finds it whole; given keys are as they were."""
    keys = {path: path.read_bytes() for path in pristine.keys.iterdir()}
    killed = 0
    for step in steps:
        shell = Waveledger(tmp_path / f"new-{step}")
        shell.cwd.mkdir()
        first = _killed(shell, step, pristine.adopting())
        again = shell.quick(*pristine.adopting())

        assert (first.rc, again.rc) in {(137, 0), (137, 7), (0, 7)}, again.err
        told = shell.ask("status")
        assert {tag["tag"]: tag["latest"] for tag in told["tags"]} == {"beta": 41, "release": 40}
        assert sorted(path.name for path in (shell.cwd / "keys" / "online").iterdir()) == sorted(ONLINE)
        killed += first.rc == 137
    assert killed >= min(4, len(steps))
    assert {path: path.read_bytes() for path in pristine.keys.iterdir()} == keys


def _killed(shell: Waveledger, step: int, arguments: list[str]) -> Result:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(step), *arguments, "--keys", str(shell.cwd / "keys")],
        cwd=shell.cwd,
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(arguments, done.returncode, done.stdout, done.stderr)
