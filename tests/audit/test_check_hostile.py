"""`ledger.check` reads what strangers hand over: whatever it is, it ends with plain text and a known exit code."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.main import app
from ledger import check
from ledger.check import NotProven

MODULE = Path(check.__file__)
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY = SECRET.public_key().public_bytes_raw()
ESCAPE = "\x1b]0;owned\x07\x1b[2J\r\n\u202e"


def note(size: int, root: bytes) -> str:
    """A checkpoint that the key signed."""
    text = check.body("waveledger/acme", size, root)
    signature = check.key_hash("waveledger/acme", KEY) + SECRET.sign(text.encode())
    return f"{text}\n— waveledger/acme {base64.b64encode(signature).decode()}\n"


def proof_of(**fields: Any) -> dict[str, Any]:
    """An inclusion proof of a ledger with two events, the second of which has these fields."""
    event = {
        "position": 2, "stream": "factory", "version": 1, "topic": "member.added/1",
        "recorded_at": "2027-01-15T08:00:00Z", "actor": "alice", "payload": "{}", **fields,
    }  # fmt: skip
    first = check.sha256(b"first").digest()
    leaf = check.sha256(b"\x00" + check.entry(event)).digest()
    root = check.sha256(b"\x01" + first + leaf).digest()
    return {
        "format": check.FORMAT, "kind": "inclusion", "event": event, "index": 1, "size": 2, "path": [first.hex()],
        "checkpoint": note(2, root),
    }  # fmt: skip


def run(directory: Path, *arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
    """The file as a program, in a terminal that knows ASCII only."""
    command = [sys.executable, "-I", str(MODULE), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    return subprocess.run(command, cwd=directory, capture_output=True, check=False, env=environment)


def write(directory: Path, proof: Any) -> None:
    (directory / "proof").write_bytes(proof if isinstance(proof, bytes) else json.dumps(proof).encode())


def is_plain(output: bytes) -> bool:
    """Whether it is one line that a terminal shows as it is."""
    return output.endswith(b"\n") and output[:-1].decode("ascii").isprintable()


def test_the_proof_of_these_tests_holds(tmp_path: Path) -> None:
    """What the tests below change is a proof."""
    write(tmp_path, proof_of())
    came = run(tmp_path, "proof", KEY.hex())

    assert (came.returncode, came.stderr) == (0, b"")
    assert came.stdout.startswith(b"proven: event 2 (member.added/1), of waveledger/acme at size 2")


_EVENT = proof_of()["event"]
HOSTILE = {
    "a name": {**proof_of(), ESCAPE: 1},
    "a name in the event": {**proof_of(), "event": {**_EVENT, ESCAPE: 1}},
    "half a character as a name": {**proof_of(), "\ud800": 1},
    "a kind": {**proof_of(), "kind": ESCAPE},
    "a checkpoint": {**proof_of(), "checkpoint": f"{ESCAPE}\n"},
    "a signer": {**proof_of(), "checkpoint": note(2, bytes(32)).replace("— waveledger/acme", f"— x{ESCAPE[:4]}")},
    "numbers with a point": {**proof_of(), "index": 1.0, "size": 2.0},
    "a truth value": {**proof_of(), "index": True},
    "half a character": {**proof_of(), "event": {**_EVENT, "actor": "\ud800"}},
    "no text": b"\xff\xfe",
    "too deep": b"{" + b'"a":{' * 50_000,
    "too many digits": b'{"index":' + b"9" * 5000 + b"}",
    "nothing": b"",
}


@pytest.mark.parametrize("proof", HOSTILE.values(), ids=HOSTILE)
def test_hostile_proofs_are_not_proven(tmp_path: Path, proof: Any) -> None:
    """Names, values and bytes that are meant to hurt: exit 6, one line without anything a terminal would act on."""
    write(tmp_path, proof)
    came = run(tmp_path, "proof", KEY.hex())

    assert (came.returncode, came.stderr) == (6, b"")
    assert came.stdout.startswith(b"not proven: ")
    assert is_plain(came.stdout)


def test_a_field_of_an_event_that_is_proven(tmp_path: Path) -> None:
    """A ledger whose own key signed an event with a strange topic proves it, and prints it in plain text."""
    write(tmp_path, proof_of(topic=ESCAPE))
    came = run(tmp_path, "proof", KEY.hex())

    assert came.returncode == 0
    assert is_plain(came.stdout)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing", KEY.hex()), b"nothing"),
        ((".", KEY.hex()), b"."),
        (("proof", "."), b"."),
        (("proof", "no-such-root.json"), b"neither a file nor a key"),
        (("proof", "x" * 5000), b"neither a file nor a key"),
        (("proof", "root.json"), b"which key is the ledger's"),
        (("proof", "deep.json"), b"which key is the ledger's"),
        (("proof", "locked"), b"key"),
        (("proof", b"\xff"), b"neither a file nor a key"),
        ((f"no{ESCAPE}", KEY.hex()), b"cannot read"),
        ((b"\xff", KEY.hex()), b"cannot read"),
    ],
)
def test_what_cannot_be_checked(tmp_path: Path, arguments: tuple[str | bytes, ...], told: bytes) -> None:
    """A file that can't be read, or a key that is none, says nothing about the proof: exit 7, and on stderr why."""
    write(tmp_path, proof_of())
    (tmp_path / "root.json").write_text('{"signed": {}}')
    (tmp_path / "deep.json").write_text('{"signed": {"x-waveledger": {"ledger-key": ' + "[" * 900 + "]" * 900 + "}}}")
    (tmp_path / "locked").write_bytes(b"-----BEGIN PUBLIC KEY-----\xff\n")
    came = run(tmp_path, *arguments)

    assert (came.returncode, came.stdout) == (7, b"")
    assert came.stderr.startswith(b"cannot check: ")
    assert told in came.stderr
    assert is_plain(came.stderr)


@pytest.mark.parametrize("arguments", [(), ("proof",), ("proof", KEY.hex(), "more"), ("--nonsense", "proof", "key")])
def test_how_it_is_used(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Too few or too many arguments: exit 2, and a line that says which there are."""
    came = run(tmp_path, *arguments)

    assert (came.returncode, came.stdout) == (2, b"")
    assert b"usage: python check.py PROOF ROOT.json|KEY" in came.stderr


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(tmp_path: Path, option: str) -> None:
    """Whoever asks for help gets it on stdout, with what the exit codes mean."""
    came = run(tmp_path, option)

    assert (came.returncode, came.stderr) == (0, b"")
    assert b"usage: python check.py PROOF ROOT.json|KEY" in came.stdout
    assert b"exit 0" in came.stdout.lower()


@pytest.mark.parametrize("payload", ["not JSON", "[" * 900 + "]" * 900, "1" * 5000, "\x00\x1b[2J", '{"a":1,"a":2}'])
def test_the_command_shows_what_is_proven(tmp_path: Path, payload: str) -> None:
    """`audit check` shows an event's payload as JSON where it is that, and as text where it is anything else."""
    write(tmp_path, proof_of(payload=payload))
    runner, command = CliRunner(), ["audit", "check", str(tmp_path / "proof"), "--key", KEY.hex()]
    table = runner.invoke(app, command)
    as_json = runner.invoke(app, [*command, "--format", "json"])

    assert (table.exit_code, as_json.exit_code) == (0, 0)
    assert "\x1b" not in table.output
    assert json.loads(as_json.stdout)["event"]["payload"] in (payload, *readings(payload))


def readings(payload: str) -> list[Any]:
    try:
        return [json.loads(payload)]
    except ValueError:
        return []


def test_the_command_with_a_key_that_is_none(tmp_path: Path) -> None:
    """`audit check` with a key that is too long to name a file says that it is no key: exit 7."""
    write(tmp_path, proof_of())
    came = CliRunner().invoke(app, ["audit", "check", str(tmp_path / "proof"), "--key", "x" * 5000])

    assert came.exit_code == 7
    assert "does not give the ledger's key" in came.stderr


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["{}", "0" * 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from([*proof_of(), *(f"event.{field}" for field in proof_of()["event"])]), value=VALUES)
def test_any_value_of_any_field(name: str, value: Any) -> None:
    """Whatever stands in a field, the answer is that it is proven as it was, or not proven, in printable ASCII."""
    proof = proof_of()
    outer, _, inner = name.partition(".")
    changed = {**proof, outer: {**proof["event"], inner: value} if inner else value}
    told, event = "", None
    try:
        event = check.check(json.dumps(changed).encode(), KEY).event
    except NotProven as problem:
        told = str(problem)

    assert told.isascii()
    assert told.isprintable()
    assert told or (event, changed) == (proof["event"], proof)


@settings(max_examples=300, deadline=None)
@given(data=st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(data: bytes) -> None:
    """No bytes are a proof or a key, and none raise anything else than NotProven."""
    for begin in (b"", b"{", b"-----BEGIN PUBLIC KEY-----\n", b'{"signed":'):
        with pytest.raises(NotProven):
            check.check(begin + data, KEY)
        with pytest.raises(NotProven):
            check.read_key(begin + data)
