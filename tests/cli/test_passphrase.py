"""Keys that ask for a passphrase: from the environment, at a terminal, or not at all."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

from ledger.tuf.keys import KeyPair, load_signers
from tests.cli.conftest import PROGRAM, Waveledger
from tests.tuf.test_uris import Safe

SECRET = "correct horse"
INIT = ("waves", "init", "v", "48", "release", "-k", "locked.pem")


def encrypt(pair: KeyPair, path: Path) -> None:
    locked = BestAvailableEncryption(SECRET.encode())
    path.write_bytes(pair.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))


@pytest.fixture
def shell(acme: Waveledger) -> Waveledger:
    """A user whose offline targets key is an encrypted PEM file."""
    (pair,) = load_signers(str(acme.cwd / "keys/targets.only.key.tgz"))
    assert isinstance(pair, KeyPair)
    encrypt(pair, acme.cwd / "locked.pem")
    return acme


class Terminal:
    """A command at a terminal of its own: stdin and stderr are it, stdout is not."""

    def __init__(self, shell: Waveledger, *args: str) -> None:
        self.ours, theirs = os.openpty()
        self.shown = ""
        # A session of its own, so that the passphrase is not asked for at the terminal of whoever runs the tests.
        self.process = subprocess.Popen(
            [*PROGRAM, *args],
            cwd=shell.cwd,
            env=shell.environment(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            encoding="utf-8",
            start_new_session=True,
        )
        os.close(theirs)

    def wait_for(self, text: str) -> None:
        """Read until the text is shown."""
        until = time.monotonic() + 60
        while text not in self.shown:
            assert time.monotonic() < until, self.shown
            if select.select([self.ours], [], [], 1)[0]:
                self.shown += self._read()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.ours, text.encode())

    def end(self) -> tuple[int, str]:
        """The exit code and what went to stdout."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(60)
        while select.select([self.ours], [], [], 0)[0] and (more := self._read()):
            self.shown += more
        os.close(self.ours)
        self.process.stdout.close()
        return code, out

    def _read(self) -> str:
        try:
            return os.read(self.ours, 65536).decode()
        except OSError:  # the other end is closed
            return ""


def test_a_passphrase_of_the_environment(shell: Waveledger) -> None:
    """WAVELEDGER_KEY_PASSPHRASE opens an encrypted PEM file, as a path and as a URI, without a question."""
    for dry, source in [("--dry-run", "locked.pem"), ("--dry-run", "file2:locked.pem"), ("-fjson", "locked.pem")]:
        came = shell.quick(*INIT[:-1], source, dry, env={"WAVELEDGER_KEY_PASSPHRASE": SECRET})
        assert came.rc == 0, came.err
        assert SECRET not in came.out + came.err
    assert shell.ask("waves", "show", "v")["signatures"]["threshold"] == 2


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({}, "locked.pem is encrypted, and there is no terminal to ask for its passphrase"),
        ({"WAVELEDGER_KEY_PASSPHRASE": ""}, "no terminal"),
        ({"WAVELEDGER_KEY_PASSPHRASE": "incorrect horse"}, "the passphrase or PIN given does not open locked.pem"),
    ],
)
def test_refused(shell: Waveledger, env: dict[str, str], problem: str) -> None:
    """Without a passphrase or with a wrong one: exit 8, a hint, nothing recorded, the passphrase not repeated."""
    before = shell.head()
    came = shell.run("-v", *INIT, stdin=f"{SECRET}\n", env=env)  # -v says more than is said without it
    assert (came.rc, came.out) == (8, "")
    assert problem in came.err
    assert "hint: " in came.err
    assert "WAVELEDGER_KEY_PASSPHRASE" in came.err
    assert "horse" not in came.err
    assert shell.head() == before


def test_asked_at_a_terminal(shell: Waveledger) -> None:
    """At a terminal it is asked for once, on stderr, and not shown; meanwhile nobody waits for the ledger."""
    terminal = Terminal(shell, *INIT, "-f", "json")
    terminal.wait_for("Passphrase of locked.pem: ")
    shell.ok("members", "add", "bob", "--role", "admin")
    terminal.type(f"{SECRET}\n")
    code, out = terminal.end()

    assert (code, '"wave"' in out) == (0, True), terminal.shown
    assert terminal.shown.count("Passphrase of") == 1
    assert SECRET not in terminal.shown + out


def test_wrong_at_a_terminal(shell: Waveledger) -> None:
    """A wrong passphrase is not asked for again: exit 8; the end of input there is an interruption."""
    before = shell.head()
    terminal = Terminal(shell, *INIT)
    terminal.wait_for("locked.pem: ")
    terminal.type("incorrect\n")
    assert terminal.end() == (8, "")
    assert "does not open locked.pem" in terminal.shown

    terminal = Terminal(shell, *INIT)
    terminal.wait_for("locked.pem: ")
    terminal.type("\x04")
    assert terminal.end() == (130, "")
    assert shell.head() == before


def test_encrypted_online_keys(shell: Waveledger) -> None:
    """Online keys may be encrypted; without the passphrase a wave is recorded and published later."""
    for path in (shell.cwd / "keys/online").glob("*.pem"):
        (pair,) = load_signers(str(path))
        assert isinstance(pair, KeyPair)
        encrypt(pair, path)
    shell.do(*INIT, env={"WAVELEDGER_KEY_PASSPHRASE": SECRET})
    publish = {"WAVELEDGER_PUBLISH": "tree"}

    came = shell.quick("waves", "rollout", "v", "--group", "canary", env=publish)
    assert came.rc == 0
    assert "recorded, not yet published" in came.err
    assert "WAVELEDGER_KEY_PASSPHRASE" in came.err
    refused = shell.quick("tuf", "publish", "tree")
    assert (refused.rc, refused.out) == (8, "")
    assert not (shell.cwd / "tree").exists()

    shell.do("tuf", "publish", "tree", env={"WAVELEDGER_KEY_PASSPHRASE": SECRET})
    assert shell.ask("tuf", "verify", "tree")["ok"] is True
    rotate = ("keys", "tuf", "rotate-online-key", "--role", "timestamp", "--keys", "keys/root.keys.tgz")
    assert "is not encrypted" in shell.do(*rotate, env={"WAVELEDGER_KEY_PASSPHRASE": SECRET}).err


def test_online_keys_as_uris(shell: Waveledger) -> None:
    """WAVELEDGER_ONLINE_KEYS may be a list of signer URIs."""
    files = sorted((shell.cwd / "keys/online").glob("*.pem"))
    uris = {"WAVELEDGER_ONLINE_KEYS": ",".join(f"file2:{path}" for path in files)}
    shell.do("waves", "init", "v", "48", "release", "-k", "file2:keys/targets.only.key.tgz")

    shell.do("waves", "rollout", "v", "--group", "canary", env={**uris, "WAVELEDGER_PUBLISH": "tree"})

    assert {found["view"] for found in shell.ask("tuf", "verify", "tree")["views"]} >= {"wave/v"}


def test_online_keys_in_a_service(shell: Waveledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Online keys whose service does not tell them are found among the roots' keys and the ledger's own."""
    files = sorted((shell.cwd / "keys/online").glob("*.pem"))
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "safe", Safe)
    monkeypatch.setattr(Safe, "pairs", {path.stem: load_signers(str(path))[0] for path in files})
    shutil.rmtree(shell.cwd / "keys/online")
    env = {
        "WAVELEDGER_ONLINE_KEYS": " ".join(f"safe:{path.stem}" for path in files),
        "WAVELEDGER_KEY_PASSPHRASE": "12-34",
    }

    shell.do("tuf", "publish", "tree", env=env)

    assert shell.ask("tuf", "verify", "tree")["ok"] is True


def test_the_passphrase_is_no_setting_to_show() -> None:
    """The settings do not show it."""
    from cli.settings import read

    assert SECRET not in repr(read(None, None, 0, {"WAVELEDGER_KEY_PASSPHRASE": SECRET}))
