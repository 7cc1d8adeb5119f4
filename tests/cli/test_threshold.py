"""A factory whose production targets need three signatures: the online key's and those of two holders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root, Targets
from tuf.ngclient import Updater

from tests.cli.conftest import KEYS, Waveledger

RSA = ("-k", "keys/targets.only.key.2.tgz")
DEVICE = "f6fadfa7-e5c1-4b62-9362-da5cc13da58a"

pytestmark = pytest.mark.xdist_group("threshold")  # an RSA key of 4096 bits takes a second or more: one for them all


@pytest.fixture(scope="module")
def factory(imported: Callable[..., Waveledger]) -> Waveledger:
    """One Ed25519 and one RSA-4096 holder."""
    return imported("acme", "--offline-key", "ed25519", "--offline-key", "rsa4096", "--threshold", "3")


@pytest.fixture
def shell(factory: Waveledger, tmp_path: Path) -> Waveledger:
    return factory.copy(tmp_path / "work", WAVELEDGER_PUBLISH=str(tmp_path / "tree"))


def root_of(shell: Waveledger) -> Metadata[Root]:
    """The production root."""
    return Metadata[Root].from_bytes(shell.do("keys", "tuf", "show-root", "--prod", "-f", "json").out.encode())


def test_the_root_asks_for_three_of_three(factory: Waveledger) -> None:
    """Online, Ed25519 and RSA: three keys for targets, and all three are needed."""
    root = root_of(factory).signed
    role = root.roles["targets"]
    assert role.threshold == 3
    assert sorted(root.keys[keyid].scheme for keyid in role.keyids) == ["ed25519", "ed25519", "rsassa-pss-sha256"]
    assert {path.name for path in (factory.cwd / "keys").iterdir()} == {
        "root.keys.tgz", "targets.only.key.tgz", "targets.only.key.2.tgz", "online",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param(KEYS, RSA, id="ed25519 first", marks=pytest.mark.slow), pytest.param(RSA, KEYS, id="rsa first")],
)
def test_both_holders_are_needed(
    shell: Waveledger, tmp_path: Path, serve: Callable[[Path], str], first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Init by one holder, then sign by the other, in either order; before that nothing is delivered."""
    init = shell.json("waves", "init", "w", "48", "release", *first)
    assert init["signatures"] == {"have": 1, "need": 2}
    waiting = shell.ask("waves", "show", "w")["signatures"]
    assert (waiting["threshold"], len(waiting["keyids"])) == (3, 1)
    for command in (("rollout", "w", "--limit", "1"), ("complete", "w")):
        refused = shell.quick("waves", *command)
        assert (refused.rc, refused.out) == (3, "")
        assert "wave w is not ready: it has 1 of 2 offline signatures" in refused.err
    again = shell.quick("waves", "sign", "w", *first)
    assert (again.rc, again.out) == (3, "")
    assert "already has the signature" in again.err
    assert not (tmp_path / "tree" / "wave").exists()
    signed = shell.json("waves", "sign", "w", *second)
    assert (signed["signatures"], signed["ready"]) == ({"have": 2, "need": 2}, True)
    ready = shell.quick("waves", "sign", "w", *second)
    assert (ready.rc, ready.out) == (3, "")
    assert "already signed" in ready.err
    assert len(shell.ask("waves", "show", "w")["signatures"]["keyids"]) == 2
    shell.ok("waves", "rollout", "w", "--uuids", DEVICE)
    check_published(shell, tmp_path, serve(tmp_path / "tree"), "wave/w")
    shell.ok("waves", "complete", "w")
    check_published(shell, tmp_path, serve(tmp_path / "tree"), "production/release")


def check_published(shell: Waveledger, place: Path, url: str, view: str) -> None:
    """A TUF client takes the view, and what it took carries three signatures that hold."""
    cache = place / "client"
    cache.mkdir(exist_ok=True)
    root = root_of(shell)
    updater = Updater(str(cache), f"{url}/{view}/", bootstrap=root.to_bytes())
    updater.refresh()
    targets = Metadata[Targets].from_bytes((cache / "targets.json").read_bytes())
    assert set(targets.signed.targets) == {"intel-corei7-64-lmp-48", "raspberrypi4-64-lmp-48"}
    assert len(targets.signatures) == 3
    keys = root.signed.roles["targets"].keyids
    assert len(root.signed.get_verification_result("targets", targets.signed_bytes, targets.signatures).signed) == 3
    for keyid in keys:
        fewer = {k: signature for k, signature in targets.signatures.items() if k != keyid}
        assert not root.signed.get_verification_result("targets", targets.signed_bytes, fewer)
    raw = shell.ask("waves", "show", "w", "--show-targets")["targets"]
    assert raw["signed"] == json.loads(targets.to_bytes())["signed"]


def test_a_second_wave_needs_both_again_with_its_recovery(shell: Waveledger) -> None:
    """With production there, sign covers the recovery documents too: cancel after a rollout works without any key."""
    for name, number in (("one", "48"), ("two", "55")):
        shell.do("waves", "init", name, number, "release", *RSA)
        shell.do("waves", "sign", name, *KEYS)
        shell.do("waves", "rollout", name, "--group", "canary")
        if name == "one":
            shell.do("waves", "complete", name)
    for name in ("root.keys.tgz", "targets.only.key.tgz", "targets.only.key.2.tgz"):
        (shell.cwd / "keys" / name).unlink()
    shell.do("waves", "cancel", "two")
    assert shell.ask("tuf", "verify")["ok"] is True
    assert shell.ask("devices", "show", DEVICE)["eligible"]["targets"] == ["intel-corei7-64-lmp-48"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--threshold", "1"), "threshold of 1"),
        (("--threshold", "3"), "threshold of 3"),
        (("--threshold", "0"), "threshold of 0"),
        (("--offline-key", "ed25519", "--offline-key", "ed25519", "--threshold", "4"), "threshold of 4"),
    ],
)
def test_thresholds_that_cannot_be(tmp_path: Path, options: tuple[str, ...], problem: str) -> None:
    """An online and an offline signature are always needed, and never more than there are keys; nothing is made."""
    shell = Waveledger(tmp_path)
    result = shell.quick("init", "--factory", "acme", *options)
    assert (result.rc, result.out) == (3, "")
    assert problem in result.err
    assert "hint: " in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
