"""A holder's targets key in a hardware security module, from the root to a device: SoftHSM, through PKCS #11.

Needs Debian's softhsm2, which scripts/test-all installs. Everything that talks to the token is a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Metadata, Root, Targets
from tuf.ngclient import Updater

from ledger.tuf.keypair import own_key
from ledger.tuf.keys import material
from ledger.tuf.online import write_online
from tests.cli.conftest import DATA, Waveledger
from tests.cli.test_passphrase import Terminal
from tests.support import Factory

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hsm")]

LABEL, PIN = "our token #1", "246810"
TOKEN = "?label=our+token+%231"
HOLDER, OTHER, P384, HIDDEN = (f"hsm:{number}{TOKEN}" for number in (2, 3, 4, 5))
LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
PUBLIC_KEY = (
    "import json, sys; from ledger.tuf.keys import public_key_of;"
    "print(json.dumps(public_key_of(sys.argv[1], lambda _: sys.argv[2] or None).to_dict()))"
)


@dataclasses.dataclass(frozen=True)
class Token:
    """A token with keys in it: the environment that leads to it, and the public keys by number."""

    env: dict[str, str]
    keys: dict[str, Key]


@dataclasses.dataclass(frozen=True)
class InToken:
    """As much of a key pair as a new factory's root needs."""

    key: SSlibKey


class HardwareFactory(Factory):
    """A factory whose one holder has a key in the token."""

    def __init__(self, path: Path, key: SSlibKey) -> None:
        self.key = key
        super().__init__(path, now=int(time.time()))

    def _create(self) -> None:
        self.keys = dataclasses.replace(self.keys, targets=(InToken(self.key),))
        super()._create()


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    """Keys 2 and 3 (P-256), 4 (P-384), and 5, whose public half is hidden until the PIN is given."""
    library = next((path for path in LIBRARIES if Path(path).exists()), None)
    tool = shutil.which("softhsm2-util")
    if library is None or tool is None:
        pytest.fail("softhsm2 is not installed: scripts/test-all does it, or apt-get install softhsm2")
    place = tmp_path_factory.mktemp("softhsm")
    (place / "tokens").mkdir()
    (place / "conf").write_text(f"directories.tokendir = {place}/tokens\nlog.level = ERROR\n")
    env = {"SOFTHSM2_CONF": str(place / "conf"), "PYKCS11LIB": library}
    for label in (LABEL, "another token"):
        make = [tool, "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "1234567"]
        subprocess.run(make, env=env, check=True, capture_output=True)
    wanted = ["2:secp256r1:open", "3:secp256r1:open", "4:secp384r1:open", "5:secp256r1:hidden"]
    program = [sys.executable, str(Path(__file__).with_name("hsm.py")), LABEL, PIN, *wanted]
    made = json.loads(subprocess.run(program, env=env, check=True, capture_output=True).stdout)
    return Token(env, {number: Key.from_dict("x", key) for number, key in made.items()})


@pytest.fixture
def shell(token: Token, tmp_path: Path) -> Waveledger:
    """A user of the factory whose targets key is number 2 in the token, with the data of acme."""
    factory = HardwareFactory(tmp_path / "waveledger.db", own_key(token.keys["2"]))
    factory.close()
    write_online(tmp_path / "keys/online", {**factory.keys.online, "ledger": factory.keys.ledger})
    shell = Waveledger(tmp_path, **token.env)
    shell.do("targets", "import", str(DATA / "acme/ci-targets.json"))
    shell.do("devices", "import", str(DATA / "acme/devices.csv"))
    return shell


def init(source: str, wave: str = "v48", number: str = "48") -> tuple[str, ...]:
    return ("waves", "init", wave, number, "release", "-k", source)


def test_a_wave_signed_by_hardware_reaches_a_device(shell: Waveledger, serve: Callable[[Path], str]) -> None:
    """Init with the key in the token, roll out, publish: a client verifies its signature; cancel needs no token."""
    pin = {"WAVELEDGER_KEY_PASSPHRASE": PIN}
    shell.ok(*init(HOLDER), env=pin)
    shell.ok("waves", "rollout", "v48", "--group", "canary")
    shell.ok("tuf", "publish", "tree")
    root = Metadata[Root].from_bytes(shell.do("keys", "tuf", "show-root", "--prod", "-f", "json").out.encode())
    assert "ecdsa" in {root.signed.keys[keyid].keytype for keyid in root.signed.roles["targets"].keyids}

    (shell.cwd / "device").mkdir()
    updater = Updater(str(shell.cwd / "device"), f"{serve(shell.cwd / 'tree')}/wave/v48/", bootstrap=root.to_bytes())
    updater.refresh()

    assert updater.get_targetinfo("intel-corei7-64-lmp-48") is not None
    targets = Metadata[Targets].from_bytes((shell.cwd / "device/targets.json").read_bytes())
    assert len(root.signed.get_verification_result("targets", targets.signed_bytes, targets.signatures).signed) == 2
    shell.ok("waves", "complete", "v48")
    shell.ok(*init(HOLDER, "v55", "55"), env=pin)  # with a recovery document: signed in one go
    shell.ok("waves", "cancel", "v55")


def test_the_pin_is_asked_for_at_a_terminal(shell: Waveledger) -> None:
    """The PIN is asked for once, hidden, and nobody waits for the ledger while the holder looks for it."""
    shell.ok(*init(HOLDER, "v48", "48"), env={"WAVELEDGER_KEY_PASSPHRASE": PIN})
    shell.ok("waves", "complete", "v48")
    terminal = Terminal(shell, *init(HOLDER, "v55", "55"))
    terminal.wait_for(f"PIN of {HOLDER}: ")
    shell.ok("members", "add", "bob", "--role", "admin")
    terminal.type(f"{PIN}\n")
    code, out = terminal.end()

    assert code == 0, terminal.shown
    assert terminal.shown.count("PIN of") == 1
    assert PIN not in terminal.shown + out


@pytest.mark.parametrize(
    ("source", "pin", "problem"),
    [
        (HOLDER, "135791", "the passphrase or PIN given does not open hsm:2"),
        (HOLDER, None, "asks for its PIN, and there is no terminal"),
        (OTHER, PIN, "none of the keys in hsm:3"),
        (P384, PIN, "keys of type ecdsa/ecdsa-sha2-nistp384 are not supported"),
        (f"hsm:9{TOKEN}", PIN, "could not find ECDSA key on the PKCS#11 token"),
        ("hsm:2?label=lost", PIN, "No PKCS#11 token found for label lost"),
        ("hsm:2", PIN, "Multiple PKCS#11 tokens found"),
    ],
    ids=["wrong PIN", "no PIN", "another key", "P-384", "no key", "no token", "which token"],
)
def test_refused(shell: Waveledger, source: str, pin: str | None, problem: str) -> None:
    """What the token refuses, or does not have, is exit 8 with a hint: nothing recorded, no PIN shown."""
    before = shell.head()

    came = shell.run("-v", *init(source), env={"WAVELEDGER_KEY_PASSPHRASE": pin} if pin else None)

    assert (came.rc, came.out) == (8, ""), came.err
    assert problem in came.err
    assert "\nhint: " in came.err
    assert pin is None or pin not in came.err
    assert shell.head() == before


def test_public_keys(token: Token) -> None:
    """The public half of a key in the token, to list it in a root: with our keyid; the PIN only where it is hidden."""
    for source, pin, number in [(HOLDER, "", "2"), (OTHER, "", "3"), (HIDDEN, PIN, "5")]:
        program = [sys.executable, "-c", PUBLIC_KEY, source, pin]
        told = json.loads(subprocess.run(program, env=token.env, check=True, capture_output=True).stdout)
        key = Key.from_dict("x", told)
        assert material(key) == material(token.keys[number])
