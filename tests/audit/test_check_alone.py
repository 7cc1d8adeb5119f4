"""`ledger.check` is all that an auditor needs: it runs alone, and agrees with notes and keys that others made."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger import check
from ledger.application import proofs
from ledger.check import NotProven
from ledger.domain.values import from_epoch
from ledger.store import events
from ledger.tuf import note
from tests.support import Factory

MODULE = Path(check.__file__)
ALONE = """
import importlib.util, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ledger", "projections", "cli", "tuf", "sqlalchemy", "orjson"}:
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
spec = importlib.util.spec_from_file_location("alone", sys.argv[1])
alone = importlib.util.module_from_spec(spec)
sys.modules["alone"] = alone
spec.loader.exec_module(alone)
sys.exit(alone.main(*sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def evidence(lived: Factory) -> dict[str, Any]:
    """A checkpoint, an inclusion proof, a consistency proof and a root of one ledger, and its key."""
    with lived.ledger.reading() as connection:
        tree = proofs.read_tree(connection)
        new = proofs.newest_checkpoint(tree, lived.online)
        old = proofs.kept_checkpoint(connection, next(iter(events.checkpoints(connection))).size)
        row = events.get(connection, 20)
        assert row is not None
        inclusion = proofs.inclusion(connection, row, new)
        consistency = proofs.consistency(connection, old, new)
        root = lived.facts.trusted(connection, "production").metadata
    key = lived.keys.ledger.key.keyval["public"]
    return {
        "note": new.note(),
        "inclusion": inclusion,
        "consistency": consistency,
        "root": root,
        "key": key,
        "row": row,
    }


def prove(evidence: dict[str, Any], proof: Any) -> check.Proven:
    data = proof.encode() if isinstance(proof, str) else json.dumps(proof).encode()
    return check.check(data, bytes.fromhex(evidence["key"]))


def test_everything_holds(evidence: dict[str, Any]) -> None:
    """Each kind of evidence is proven with the key from the root, and says what it proves."""
    assert (
        check.read_key(evidence["root"]) == check.read_key(evidence["key"].encode()) == bytes.fromhex(evidence["key"])
    )
    assert prove(evidence, evidence["note"]).kind == "checkpoint"
    included = prove(evidence, evidence["inclusion"])
    assert included.event is not None
    assert included.event["payload"].encode() == evidence["row"].payload
    grown = prove(evidence, evidence["consistency"])
    assert grown.kind == "consistency"
    assert grown.checkpoints[0].size < grown.checkpoints[1].size == included.checkpoints[0].size


def test_entries_are_the_ledgers(evidence: dict[str, Any]) -> None:
    """The entry that an auditor hashes is the one that the ledger hashed."""
    from ledger import merkle

    assert check.entry(evidence["inclusion"]["event"]) == merkle.entry(*evidence["row"])


@pytest.mark.parametrize(("kind", "key"), [("inclusion", "root.json"), ("consistency", "hex"), ("note", "key.pem")])
def test_it_runs_without_this_package(evidence: dict[str, Any], tmp_path: Path, kind: str, key: str) -> None:
    """The file alone, copied elsewhere, with nothing of this package importable: proven, or not with another key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    shutil.copy(MODULE, tmp_path / "alone.py")
    proof = evidence[kind]
    (tmp_path / "proof").write_bytes(proof.encode() if isinstance(proof, str) else orjson.dumps(proof))
    (tmp_path / "root.json").write_bytes(evidence["root"])
    pem = Ed25519PublicKey.from_public_bytes(bytes.fromhex(evidence["key"])).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pem").write_bytes(pem)

    def run(with_key: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-c", ALONE, "alone.py", "proof", with_key]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good, bad = run(evidence["key"] if key == "hex" else key), run("00" * 32)

    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("proven: ")
    assert bad.returncode == 6
    assert "not signed by the ledger's key" in bad.stdout


def variants(value: Any) -> list[Any]:
    """Values that are nearly this one."""
    if isinstance(value, bool) or value is None:
        return [0]
    if isinstance(value, int):
        return [value + 1, -value - 1, str(value), None, True, 2**64 + value]
    if isinstance(value, str):
        other = "0" if value[:1] != "0" else "1"
        return [other + value[1:], value + " ", value[:-1], None, 7, ""]
    if isinstance(value, list):
        return [value[1:], [*value, *value[:1]], None, {}, [1]]
    return []


def changed(proof: dict[str, Any]) -> list[dict[str, Any]]:
    """The proof with one field changed, missing, or one more."""
    found: list[dict[str, Any]] = [{**proof, "more": 1}]
    for name, value in proof.items():
        found.append({field: kept for field, kept in proof.items() if field != name})
        found += [{**proof, name: other} for other in variants(value)]
        if isinstance(value, dict):
            found += [{**proof, name: inner} for inner in changed(value)]
    return found


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_any_change_of_a_proof_shows(evidence: dict[str, Any], kind: str) -> None:
    """No field can be changed, taken away or added; and no checkpoint of another size passes."""
    for proof in changed(evidence[kind]):
        with pytest.raises(NotProven):
            prove(evidence, proof)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b"{}", b'{"format":"waveledger-proof/2"}', b"x\ny\nz\n\n", b"[" * 100_000]
)
def test_what_is_no_proof(evidence: dict[str, Any], data: bytes) -> None:
    """Files that are something else are refused, and say why."""
    with pytest.raises(NotProven):
        check.check(data, bytes.fromhex(evidence["key"]))


def test_a_field_that_is_there_twice(evidence: dict[str, Any]) -> None:
    """What reads one way here and another way elsewhere is no evidence."""
    text = json.dumps(evidence["inclusion"])

    with pytest.raises(NotProven, match="twice"):
        check.check(text.replace('"kind"', '"index": 3, "kind"', 1).encode(), bytes.fromhex(evidence["key"]))


@pytest.mark.parametrize(
    "text",
    ["", "zz", "00" * 31, '{"signed": {}}', '{"signed": {"x-waveledger": {"ledger-key": "zz"}}}', "[]", "{",
     "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"],
)  # fmt: skip
def test_what_is_no_key(text: str) -> None:
    """A root without the field, other text, and damaged PEM are refused."""
    with pytest.raises(NotProven):
        check.read_key(text.encode())


# Vectors by others: the example of golang.org/x/mod/sumdb/note, and signed trees of Go's checksum database.

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTES = [
    (PETER, TEXT, "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="),
    (ENOCH, TEXT, "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="),
    (
        SUMDB,
        "go.sum database tree\n6476701\nmb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=\n",
        "Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+o3GeoWwOoAw=",
    ),
    (
        SUMDB,
        "go.sum database tree\n19777102\n+g50vJoV4VVGa6aiQF3LYGUZHEP4pvGkW38vlR7WKtU=\n",
        "Az3griMTLHyRzj7jMuyEt85a2JnegVME6Lx3xLEBdzTd3FMDiD5y3bHV24rcl0yijOtWxV0zyygwTdo/rnaennuoqgU=",
    ),
]


@pytest.mark.parametrize(("verifier", "text", "signature"), NOTES)
def test_notes_that_others_signed(verifier: str, text: str, signature: str) -> None:
    """Signatures of Go's note package and of Go's checksum database verify, and over other text don't."""
    name, hash_, key = verifier.split("+", 2)
    public, signed = base64.b64decode(key)[1:], base64.b64decode(signature)

    assert check.key_hash(name, public).hex() == hash_
    assert check.is_signed(text, name, signed, public)
    assert not check.is_signed(text + "x", name, signed, public)
    assert not check.is_signed(text, name + "x", signed, public)
    assert not check.is_signed(text, name, signed, bytes(31) + b"\x01")


def test_a_checkpoint_has_the_form_of_those() -> None:
    """The text that we sign is three lines as in Go's signed trees: origin, size, root in base64."""
    size, root = 19777102, base64.b64decode("+g50vJoV4VVGa6aiQF3LYGUZHEP4pvGkW38vlR7WKtU=")

    assert check.body("go.sum database tree", size, root) == NOTES[3][1]


def test_times_beyond_our_calendar(evidence: dict[str, Any]) -> None:
    """A proof's time is a time in whole seconds UTC, written in one way."""
    event = evidence["inclusion"]["event"]
    for text in ("2027-01-15", "2027-01-15T08:00:00+00:00", "2027-01-15T08:00:00.0Z", "never", "9999-99-99T00:00:00Z"):
        with pytest.raises(NotProven):
            check.entry({**event, "recorded_at": text})
    assert from_epoch(evidence["row"].recorded_at).strftime("%Y-%m-%dT%H:%M:%SZ") == event["recorded_at"]
    assert note.parse_note(evidence["note"]).size > 20
