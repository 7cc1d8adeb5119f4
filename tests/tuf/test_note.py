from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import check
from ledger.tuf import canonical, note
from ledger.tuf.errors import CheckpointInvalid, NoteDamaged
from ledger.tuf.keypair import KeyPair

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PAIR = KeyPair.of(PRIVATE)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
ROOT = hashlib.sha256(b"root").digest()
CHECKPOINT = note.sign_checkpoint(PAIR, "acme", 42, ROOT)
GOLDEN = (
    "waveledger/acme\n42\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n\n\u2014 waveledger/acme "
    "RFzCaka2hEROrcPtQuYQx5V5mpDfvfAkfRHkhMLPSt95EQfGpfzPfpVZcAUeGIXHy7TUCBVRCdPUiz6yJDOzvC3OeAg=\n"
)
FACTORIES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)


def c2sp_note(name, body, private):
    """A signed note, straight from c2sp.org/signed-note: the text, an empty line, the signature."""
    public = private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(name.encode() + b"\x0a" + b"\x01" + public).digest()[:4]
    return f"{body}\n\u2014 {name} {base64.b64encode(key_id + private.sign(body.encode())).decode()}\n"


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(FACTORIES, st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_as_the_specification_says(factory, size, root):
    """A checkpoint is the signed note of the specification, comes back from it, and verifies."""
    name = f"waveledger/{factory}"
    expected = c2sp_note(name, f"{name}\n{size}\n{base64.b64encode(root).decode()}\n", PRIVATE)

    checkpoint = note.sign_checkpoint(PAIR, factory, size, root)

    assert checkpoint.note() == expected
    assert note.parse_note(expected) == checkpoint
    assert note.from_field(checkpoint.field()) == checkpoint
    note.verify(checkpoint, PUBLIC.hex())


def test_a_vector_for_ever():
    """The note of a known key, size and root has these bytes."""
    assert CHECKPOINT.note() == GOLDEN


def test_key_hash_of_the_go_library():
    """Key hashes are those of golang.org/x/mod/sumdb/note, by the example key of its documentation."""
    key = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")

    assert check.key_hash("PeterNeumann", key[1:]).hex() == "c74f20a3"


def test_the_field_is_plain():
    """In a snapshot the checkpoint is ASCII, and canonical JSON takes it."""
    assert canonical.parse(canonical.encode(CHECKPOINT.field()), "field") == CHECKPOINT.field()
    assert CHECKPOINT.field()["root"] == ROOT.hex()


def test_any_change_shows():
    """Another size, root, origin, key or signature, and the checkpoint is not the ledger's."""
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    changed = [
        note.Checkpoint("waveledger/acme", 43, ROOT, CHECKPOINT.signature),
        note.Checkpoint("waveledger/acme", 42, bytes(32), CHECKPOINT.signature),
        note.Checkpoint("waveledger/other", 42, ROOT, CHECKPOINT.signature),
        note.Checkpoint("waveledger/acme", 42, ROOT, bytes(4) + CHECKPOINT.signature[4:]),
        note.Checkpoint("waveledger/acme", 42, ROOT, CHECKPOINT.signature[:-1] + bytes([CHECKPOINT.signature[-1] ^ 1])),
    ]
    for checkpoint in changed:
        with pytest.raises(CheckpointInvalid):
            note.verify(checkpoint, PUBLIC.hex())
    for key in (other, "", "zz", PUBLIC.hex()[:-2]):
        with pytest.raises(CheckpointInvalid):
            note.verify(CHECKPOINT, key)


def test_witnesses_may_sign_too():
    """Cosignatures by others are passed over, before and after the ledger's own."""
    body, own = CHECKPOINT.note().split("\n\n")
    witness = f"\u2014 witness.example/w {base64.b64encode(bytes(76)).decode()}\n"

    assert note.parse_note(f"{body}\n\n{witness}{own}{witness}") == CHECKPOINT


GOOD = CHECKPOINT.note()
BODY, OWN = GOOD.split("\n\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD[:-1],
        GOOD + "\n",
        BODY + "\n",
        f"{BODY}\n\n",
        f"{BODY}\nextension\n\n{OWN}",
        f"{BODY}\n\n{OWN}{OWN}",
        GOOD.replace("\u2014", "-"),
        GOOD.replace("\n42\n", "\n042\n"),
        GOOD.replace("\n42\n", "\n-42\n"),
        GOOD.replace("\n42\n", "\n+42\n"),
        GOOD.replace("\n42\n", "\n\u0664\u0662\n"),
        GOOD.replace("d7I=\n", "d7J=\n"),
        GOOD.replace("d7I=\n", "d7I\n"),
        GOOD.replace("waveledger/acme", "waveledger/a cme"),
        GOOD.replace("waveledger/acme", "other/acme"),
        GOOD.replace("\u2014 waveledger/acme", "\u2014 waveledger/other"),
        GOOD.replace(OWN, f"\u2014 waveledger/acme {base64.b64encode(bytes(67)).decode()}\n"),
        GOOD.replace("\n", "\r\n"),
        GOOD + "\u2014 w AAAA\n" * 10_000,
    ],
)
def test_what_is_no_checkpoint(text):
    """Text that the ledger would not have written is refused."""
    with pytest.raises(NoteDamaged):
        note.parse_note(text)


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": True},
        {"size": "42"},
        {"root": "00"},
        {"root": ROOT.hex().upper()},
        {"signature": "AAAA"},
        {"signature": 1},
        {"signature": "\u00e9"},
        {"origin": "acme"},
        {"more": 1},
    ],
)
def test_what_is_no_field(change):
    """A field of another shape is refused."""
    with pytest.raises(NoteDamaged):
        note.from_field({**CHECKPOINT.field(), **change})


def test_only_ed25519_signs(rsa):
    """The ledger's key is Ed25519; anything else is a programming error."""
    for signer, factory, size, root in [
        (rsa, "acme", 1, ROOT),
        (PAIR, "two words", 1, ROOT),
        (PAIR, "acme", -1, ROOT),
        (PAIR, "acme", 1, b""),
    ]:
        with pytest.raises((RuntimeError, ValueError)):
            note.sign_checkpoint(signer, factory, size, root)
