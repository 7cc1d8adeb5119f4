"""The life of four waves, told twice: as the vendor's documentation tells it, and in the words of another factory.

What each device must see is worked out here from the rules, by a model that is a handful of dictionaries; what it is
told (``devices show``) and what a TUF client finds on the web server are compared with it at every step.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import Updater

from tests.cli.conftest import KEYS, QuickWaveledger, Waveledger


@dataclasses.dataclass(frozen=True)
class Script:
    """The story's words and numbers; the waves in the order in which they come."""

    factory: str
    tag: str
    early: str
    group: str
    newcomer: str
    share: int
    first: tuple[str, int]
    dropped: tuple[str, int]
    unseen: tuple[str, int]
    last: tuple[str, int]
    counts: tuple[int, int]
    processes: bool


SCRIPTS = [
    Script(
        "acme", "release", "beta", "canary", "ac8efe12-1c59-49f1-ba2d-de83458bfed0", 25,
        ("v48", 48), ("v52", 52), ("v55", 55), ("v60", 60), (41, 34), False,
    ),
    Script(
        "orchard", "field.stable_2", "field.early", "Pilot-7", "SN:00013/3fdba3", 33,
        ("2026.11-a", 107), ("Hot_fix.1", 112), ("x", 119), ("2027-spring_final", 131), (20, 32), False,
    ),
]  # fmt: skip


def numbers(targets: dict[str, Any], number: int) -> dict[str, str]:
    """Names and hardware of the targets with a number."""
    return {
        name: body["custom"]["hardwareIds"][0]
        for name, body in targets.items()
        if body["custom"]["version"] == str(number)
    }


class World:
    """A factory, its published tree on a web server, a client for each device, and the model."""

    def __init__(self, script: Script, data: Path, place: Path, serve: Callable[[Path], str]) -> None:
        self.script, self.place = script, place
        (place / "work").mkdir()
        self.tree = place / "tree"
        self.tree.mkdir()
        shell = Waveledger if script.processes else QuickWaveledger
        self.shell = shell(place / "work", WAVELEDGER_PUBLISH=str(self.tree))
        self.url = serve(self.tree)
        text = (data / script.factory / "ci-targets.json").read_text()
        document = json.loads(text)
        self.builds: dict[str, Any] = document["signed"]["targets"] if "signed" in document else document
        rows = csv.DictReader(io.StringIO((data / script.factory / "devices.csv").read_text()))
        self.devices = {row["uuid"]: row for row in rows}
        self.production: dict[str, str] | None = None
        self.wave: tuple[str, dict[str, str]] | None = None
        self.members: set[str] = set()
        self.roots: dict[str, bytes] = {}

    def begin(self, data: Path) -> None:
        """Init, the imports, and the roots that devices are made with."""
        self.shell.ok("init", "--factory", self.script.factory)
        directory = data / self.script.factory
        targets = self.shell.json("targets", "import", str(directory / "ci-targets.json"))
        devices = self.shell.json("devices", "import", str(directory / "devices.csv"))
        assert (targets["added"], devices["added"]) == self.script.counts
        self.roots["ci"] = self.shell.ok("keys", "tuf", "show-root", "--format", "json").out.encode()
        self.roots["production"] = self.shell.ok("keys", "tuf", "show-root", "--prod", "--format", "json").out.encode()

    @property
    def on_tag(self) -> set[str]:
        """Production devices that follow the story's tag."""
        return {u for u, d in self.devices.items() if d["tag"] == self.script.tag and d["production"] == "true"}

    def expected(self, uuid: str) -> tuple[str | None, set[str]]:
        """View and targets of a device, by the rules."""
        device = self.devices[uuid]
        tag, hardware = device["tag"], device["hardware_id"]
        if device["production"] == "false":
            names = {
                name: body["custom"]["hardwareIds"][0]
                for name, body in self.builds.items()
                if tag in body["custom"]["tags"]
            }
            view = f"ci/{tag}" if names else None
        elif tag != self.script.tag:
            view, names = None, {}
        elif self.wave is not None and uuid in self.members:
            view, names = f"wave/{self.wave[0]}", self.wave[1]
        else:
            view, names = (f"production/{tag}" if self.production is not None else None), self.production or {}
        return view, {name for name, its in names.items() if its == hardware}

    def check(self) -> None:
        """Everything that can be asked agrees, for every device."""
        told = {device["uuid"]: device for device in self.shell.ask("devices", "list")["devices"]}
        assert told.keys() == self.devices.keys()
        shown: dict[tuple[str | None, str], str] = {}
        for uuid, device in told.items():
            eligible = device["eligible"]
            view, names = self.expected(uuid)
            assert (eligible["view"], set(eligible["targets"])) == (view, names), device
            assert eligible["published"] is (view is not None), device
            if view is None:
                assert eligible["latest"] is None
                kind = "production" if device["production"] else "ci"
                assert not (self.tree / kind / device["tag"]).exists(), "no view, yet a directory to ask"
                continue
            newest = max((self.number(name) for name in names), default=None)
            assert eligible["latest"] is None if newest is None else self.number(eligible["latest"]) == newest
            assert self.fetch(device) == names, device
            shown.setdefault((view, device["hardware_id"]), uuid)
        for uuid in shown.values():
            assert self.shell.ask("devices", "show", uuid) == told[uuid]
        self.check_production()

    def number(self, name: str) -> int:
        """A target's number."""
        return int(self.builds[name]["custom"]["version"])

    def fetch(self, device: dict[str, Any]) -> set[str]:
        """What a TUF client on the device finds for its hardware: one more refresh in the client's life."""
        view = device["eligible"]["view"]
        kind = "ci" if view.startswith("ci/") else "production"
        cache = self.place / "devices" / device["name"] / kind / device["tag"]
        cache.mkdir(parents=True, exist_ok=True)
        updater = Updater(str(cache), f"{self.url}/{view}/", bootstrap=self.roots[kind])
        updater.refresh()
        targets = updater._trusted_set.targets.targets
        for name in device["eligible"]["targets"]:
            assert updater.get_targetinfo(name) is not None
        return {
            name for name, target in targets.items()
            if device["hardware_id"] in target.unrecognized_fields["custom"]["hardwareIds"]
        }  # fmt: skip

    def check_production(self) -> None:
        """``targets list --production`` says the same, each target with its content of CI under the tag's name."""
        script = self.script
        found = self.shell.ask("targets", "list", "--production", "--by-tag", script.tag)
        assert found["tag"] == script.tag
        assert found["targets"].keys() == (self.production or {}).keys()
        assert {"version", "expires"} <= found.keys()
        for name, body in found["targets"].items():
            build = self.builds[name]
            assert body == build | {"custom": build["custom"] | {"tags": [script.tag]}}
        empty = self.shell.ask("targets", "list", "--production", "--by-tag", script.early)
        assert empty["targets"] == {}

    def init(self, wave: tuple[str, int], *options: str) -> None:
        """Prepare a wave; nothing changes for any device."""
        name, number = wave
        before = self.published()
        self.shell.ok("waves", "init", name, str(number), self.script.tag, *KEYS, *options)
        assert self.published() == before, "init publishes nothing"
        self.wave = (name, (self.production or {}) | numbers(self.builds, number))

    def published(self) -> dict[str, bytes]:
        """All files of the tree."""
        return {str(path): path.read_bytes() for path in self.tree.rglob("*") if path.is_file()}

    def rollout(self, *options: str) -> set[str]:
        """Roll the active wave out; returns whom the program says it chose."""
        assert self.wave is not None
        answer = self.shell.json("waves", "rollout", self.wave[0], "--print-uuids", *options)
        assert answer["wave"] == self.wave[0]
        assert answer["devices"] == len(answer["uuids"]) == len(set(answer["uuids"]))
        return set(answer["uuids"])

    def complete(self, *pruned: int) -> None:
        """Complete the active wave."""
        assert self.wave is not None
        name, names = self.wave
        self.shell.ok("waves", "complete", name)
        self.production = {n: hardware for n, hardware in names.items() if self.number(n) not in pruned}
        self.wave, self.members = None, set()

    def set(self, uuid: str, **changes: str) -> None:
        """Change a device: its tag or group; no group for ``""``."""
        options = [word for name, value in changes.items() for word in (f"--{name}", value)]
        self.shell.ok("devices", "set", uuid, *(["--no-group"] if changes.get("group") == "" else options))
        self.devices[uuid].update(changes)


AS_PROCESSES = dataclasses.replace(SCRIPTS[0], processes=True)


@pytest.mark.parametrize(
    "script",
    [
        *(pytest.param(script, id=script.factory) for script in SCRIPTS),
        pytest.param(AS_PROCESSES, id=f"{AS_PROCESSES.factory}, each command a process", marks=pytest.mark.slow),
    ],
)
def test_the_whole_story(script: Script, data: Path, tmp_path: Path, serve: Callable[[Path], str]) -> None:
    """At every step of four waves each device is told, and finds as a TUF client, what the rules give it."""
    world = World(script, data, tmp_path, serve)
    world.begin(data)
    world.check()
    tell_first_wave(world)
    tell_canceled_wave(world)
    world.init(script.unseen)
    world.check()
    world.complete()
    world.check()
    world.init(script.last, "--prune", str(script.first[1]))
    world.check()
    world.complete(script.first[1])
    world.check()
    check_histories(world)


def tell_first_wave(world: World) -> None:
    """A wave to the canary group and who joins it, to a share of the others, to all."""
    script, group = world.script, world.script.group
    world.init(script.first)
    world.check()
    in_group = {uuid for uuid in world.on_tag if world.devices[uuid]["group"] == group}
    assert len(in_group) >= 3
    assert world.rollout("--group", group) == in_group
    world.members |= in_group
    world.check()
    assert script.newcomer in world.on_tag - in_group
    world.set(script.newcomer, group=group)
    world.members.add(script.newcomer)
    world.check()
    leaver, straggler = sorted(in_group)[:2]
    world.set(leaver, group="")  # leaves the group, keeps the wave
    world.set(straggler, tag=script.early)  # leaves the tag: the membership rests
    world.check()
    world.set(straggler, tag=script.tag)
    chosen = world.rollout("--limit", f"{script.share}%")
    assert chosen <= world.on_tag - world.members, "nobody twice, nobody from elsewhere"
    assert len(chosen) == ceil(script.share * len(world.on_tag) / 100)
    world.members |= chosen
    world.check()
    world.complete()
    world.check()
    views = {uuid: world.expected(uuid)[0] for uuid in world.devices}
    assert {uuid for uuid, view in views.items() if view == f"production/{script.tag}"} == world.on_tag


def tell_canceled_wave(world: World) -> None:
    """A wave to five devices, which go back to production when it is canceled."""
    world.init(world.script.dropped)
    world.check()
    chosen = world.rollout("--limit", "5")
    assert len(chosen) == 5
    assert chosen <= world.on_tag
    world.members = chosen
    world.check()
    world.shell.ok("waves", "cancel", world.script.dropped[0], "--reason", "battery drain")
    world.wave, world.members = None, set()
    world.check()


def check_histories(world: World) -> None:
    """At the end: the list of waves, the projections and the tree as their own checks see them."""
    script = world.script
    waves = world.shell.json("waves", "list")["waves"]
    assert [(w["name"], w["version"], w["status"]) for w in waves] == [
        (*script.last, "complete"), (*script.unseen, "complete"), (*script.dropped, "canceled"),
        (*script.first, "complete"),
    ]  # fmt: skip
    assert world.shell.json("projections", "verify")["ok"] is True
    assert world.shell.json("tuf", "verify")["ok"] is True
    empty = world.place / "mirror"
    before = world.published()
    world.shell.ok("tuf", "publish", str(empty), env={"WAVELEDGER_ONLINE_KEYS": "nowhere"})
    rebuilt = {str(world.tree / path.relative_to(empty)): path.read_bytes() for path in files(empty)}
    assert rebuilt == before, "the tree from the ledger alone, without any private key, has the same bytes"


def files(directory: Path) -> list[Path]:
    """All files below."""
    return [path for path in directory.rglob("*") if path.is_file()]


class Border:
    """A published tree with a production and a CI repository, and clients that are led astray."""

    def __init__(self, shell: Waveledger, tree: Path, url: str) -> None:
        self.shell, self.tree, self.url = shell, tree, url
        self.cases = 0
        self.roots = {
            "ci": shell.do("keys", "tuf", "show-root", "--format", "json").out.encode(),
            "production": shell.do("keys", "tuf", "show-root", "--prod", "--format", "json").out.encode(),
        }

    def refresh(self, kind: str, view: str) -> None:
        """A new client with the root of a kind asks a view."""
        self.cases += 1
        cache = self.shell.cwd / f"client-{self.cases}"
        cache.mkdir()
        Updater(str(cache), f"{self.url}/{view}/", bootstrap=self.roots[kind]).refresh()


@pytest.fixture
def border(acme: Waveledger, tmp_path: Path, serve: Callable[[Path], str]) -> Border:
    tree = tmp_path / "tree"
    acme.env["WAVELEDGER_PUBLISH"] = str(tree)
    acme.do("waves", "init", "v48", "48", "release", *KEYS)
    acme.do("waves", "complete", "v48")
    return Border(acme, tree, serve(tree))


def test_each_kind_of_client_refuses_the_others_metadata(border: Border) -> None:
    """A production client is fine with production and refuses CI's metadata, and the other way round."""
    border.refresh("production", "production/release")
    border.refresh("ci", "ci/main")
    with pytest.raises(UnsignedMetadataError):
        border.refresh("production", "ci/main")
    with pytest.raises(UnsignedMetadataError):
        border.refresh("ci", "production/release")


@pytest.mark.parametrize(("kind", "view"), [("production", "ci/main"), ("ci", "production/release")])
def test_each_kind_of_client_refuses_the_others_root_chain(border: Border, kind: str, view: str) -> None:
    """Served the other's root as its own next one, even re-signed by that root's key as version 2, a client refuses."""
    other = "production" if kind == "ci" else "ci"
    root = Metadata[Root].from_bytes(border.roots[other])
    shutil.copytree(border.tree / view, border.tree / "astray")
    (border.tree / "astray" / "2.root.json").write_bytes(border.roots[other])
    with pytest.raises(RepositoryError):
        border.refresh(kind, "astray")
    root.signed.version = 2
    root.sign(root_signer(border.shell, other, root.signed))
    root.verify_delegate("root", root)  # it is a good next root for its own kind
    (border.tree / "astray" / "2.root.json").write_bytes(root.to_bytes())
    with pytest.raises(UnsignedMetadataError):
        border.refresh(kind, "astray")


def root_signer(shell: Waveledger, kind: str, root: Root) -> CryptoSigner:
    """The root key of CI (online) or of production (in its archive)."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = root.keys[root.roles["root"].keyids[0]]
    if kind == "ci":
        private = load_pem_private_key((shell.cwd / "keys/online/ci.root.pem").read_bytes(), None)
    else:
        import tarfile

        with tarfile.open(shell.cwd / "keys/root.keys.tgz") as archive:
            member = archive.extractfile(next(n for n in archive.getnames() if n.endswith(".sec")))
            assert member is not None
            seed = json.loads(member.read())["keyval"]["private"]
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)[:32])
    return CryptoSigner(private, key)


def test_a_membership_rests_and_resumes(acme: Waveledger, data: Path) -> None:
    """Out of the group a member keeps the wave; off the tag, as a test device or removed it rests, and then resumes."""
    member, joined = "f6fadfa7-e5c1-4b62-9362-da5cc13da58a", "bc67ba94-637d-4efa-a09e-467ada679f81"
    rows = (data / "acme" / "devices.csv").read_text().splitlines()
    whole = next(row for row in rows if row.startswith(member))

    def views() -> list[str | None]:
        told = {d["uuid"]: d for d in acme.ask("devices", "list")["devices"]}
        return [told[uuid]["eligible"]["view"] if uuid in told else "gone" for uuid in (member, joined)]

    def load(row: str) -> None:
        acme.do("devices", "import", "-", stdin=f"{rows[0]}\n{row}\n")

    acme.do("waves", "init", "w", "50", "release", *KEYS)
    acme.do("waves", "rollout", "w", "--group", "canary")
    acme.do("devices", "set", joined, "--group", "canary")
    assert views() == ["wave/w", "wave/w"]
    acme.do("devices", "set", member, "--no-group")
    acme.do("devices", "set", joined, "--group", "us-west")
    assert views() == ["wave/w", "wave/w"]
    acme.do("devices", "set", member, joined, "--tag", "beta")
    assert views() == [None, None]
    acme.do("devices", "set", member, joined, "--tag", "release")
    assert views() == ["wave/w", "wave/w"]
    load(whole.replace(",true", ",false"))
    assert views() == [None, "wave/w"]
    load(whole)
    assert views() == ["wave/w", "wave/w"]
    acme.do("devices", "remove", member)
    assert views() == ["gone", "wave/w"]
    load(whole)
    assert views() == ["wave/w", "wave/w"]
    acme.do("waves", "cancel", "w")
    acme.do("waves", "init", "w2", "50", "release", *KEYS)
    acme.do("waves", "rollout", "w2", "--uuids", joined)
    assert views() == ["production/release", "wave/w2"], "a membership ends with its wave"
