from __future__ import annotations

import sys
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, SSlibKey

from ledger.tuf import online, uris
from ledger.tuf.errors import (
    NoMatchingKey,
    SecretMissing,
    SignerFailed,
    SignerLibraryMissing,
    UnsupportedSigner,
    WrongPassphrase,
)
from ledger.tuf.keypair import KeyPair, generate
from ledger.tuf.keys import find_offline_signer, is_uri, load_signers, public_key_of


class Safe:
    """A scheme of somebody's own, as securesystemslib lets one register it: it signs and does not tell its keys."""

    pairs: ClassVar = {}  # by name
    signed: ClassVar = []

    def __init__(self, name, key, secrets):
        pair = self.pairs[name]
        if pair.key.keytype != key.keytype:
            raise ValueError(f"unsupported scheme {key.scheme}")
        self.pair, self.key, self.secrets = pair, key, secrets

    @classmethod
    def from_priv_key_uri(cls, uri, key, secrets=None):
        """As securesystemslib calls it."""
        return cls(uri.partition(":")[2], key, secrets)

    def sign(self, payload):
        """Sign with the key of the name, whatever key it was opened with."""
        if self.secrets("combination") != "12-34":
            raise PermissionError("closed")
        self.signed.append(payload)
        signature = CryptoSigner(self.pair.private, self.pair.key).sign(payload)
        signature.keyid = self.key.keyid
        return signature


@pytest.fixture(name="safe")
def _safe(monkeypatch):
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "safe", Safe)
    monkeypatch.setattr(Safe, "pairs", {})
    monkeypatch.setattr(Safe, "signed", [])
    return Safe


def opened(_what):
    return "12-34"


def test_what_is_a_uri():
    """What begins with a scheme of securesystemslib is a URI; everything else is a path."""
    assert all(is_uri(f"{scheme}:") for scheme in ("file2", "hsm", "awskms", "gcpkms", "azurekms", "hv"))
    assert not any(is_uri(path) for path in ("keys.tgz", "./hsm:2", "C:key", "hsm", "https://x"))


@pytest.mark.parametrize("scheme", ["gnupg", "tkey"])
def test_keys_that_not_every_client_can_use(scheme):
    """Schemes whose keys are OpenPGP's or ML-DSA are refused as what they are."""
    with pytest.raises(UnsupportedSigner):
        load_signers(f"{scheme}:")
    with pytest.raises(UnsupportedSigner):
        public_key_of(f"{scheme}:")


@pytest.mark.parametrize(
    ("uri", "module", "flag", "package"),
    [
        ("hsm:2", "_hsm_signer", "PKCS11_IMPORT_ERROR", "waveledger[hsm]"),
        ("awskms:alias/x", "_aws_signer", "AWS_IMPORT_ERROR", "waveledger[aws]"),
        ("gcpkms:projects/p", "_gcp_signer", "GCP_IMPORT_ERROR", "waveledger[gcp]"),
        ("azurekms://v.vault.azure.net/keys/k/1", "_azure_signer", "AZURE_IMPORT_ERROR", "waveledger[azure]"),
        ("hv:key/1", "_vault_signer", "VAULT_IMPORT_ERROR", "securesystemslib[vault]"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, uri, module, flag, package):
    """Without the optional library of a scheme, the error says what to install."""
    monkeypatch.setattr(sys.modules[f"securesystemslib.signer.{module}"], flag, "not installed")

    for open_it in (load_signers, public_key_of):
        with pytest.raises(SignerLibraryMissing) as caught:
            open_it(uri)
        assert caught.value.render_hint() == f"install it: pip install '{package}'"


def test_a_key_is_found_among_the_listed(safe, factory, ecdsa, rsa):
    """A service that does not tell its public key signs as the listed key that verifies what it signs."""
    safe.pairs["holder"] = factory.holder
    root = factory.production()

    signers = load_signers("safe:holder", opened, [rsa.key, ecdsa.key, *root.keys.values()])
    found = find_offline_signer(signers, root, exclude={factory.online["targets"].keyid})

    assert found.keyid == factory.holder.keyid
    assert found.sign(b"document") == factory.holder.sign(b"document")
    assert set(safe.signed) == {uris.PROBE, b"document"}


def test_the_name_that_a_root_has(safe, factory):
    """A key behind a URI signs under the keyid that the root lists, whatever that is."""
    safe.pairs["holder"] = factory.holder
    root = factory.production()
    root.keys["their-id"] = SSlibKey("their-id", "ed25519", "ed25519", factory.holder.key.keyval)
    root.roles["targets"].keyids[root.roles["targets"].keyids.index(factory.holder.keyid)] = "their-id"

    found = find_offline_signer(load_signers("safe:holder", opened, root.keys.values()), root)

    assert (found.keyid, found.sign(b"x")) == ("their-id", factory.holder.sign(b"x"))


def test_none_of_the_listed(safe, factory):
    """A service that signs, with a key that nobody lists, has no matching key; that is no failure of the service."""
    safe.pairs["stranger"] = generate("ed25519")
    root = factory.production()

    signers = load_signers("safe:stranger", opened, root.keys.values())

    assert signers == []
    with pytest.raises(NoMatchingKey):
        find_offline_signer(signers, root, source="safe:stranger")


def test_failures_are_told(safe, factory, ecdsa):
    """What a service says when it fails is in the error, with the URI, at opening and at signing."""
    safe.pairs["ec"] = ecdsa
    for ask, listed, problem in [
        (opened, [], "can only be found among those of a root"),
        (opened, [factory.root.key], "unsupported scheme ed25519"),
        (lambda _: "0", [ecdsa.key], "PermissionError: closed"),
    ]:
        with pytest.raises(SignerFailed, match=problem) as caught:
            load_signers("safe:ec", ask, listed)
        assert caught.value.source == "safe:ec"
    with pytest.raises(SignerFailed):
        public_key_of("safe:ec", opened)

    answers = iter(["12-34", "0"])
    (signer,) = load_signers("safe:ec", lambda _: next(answers), [ecdsa.key])
    with pytest.raises(SignerFailed, match="PermissionError: closed"):
        signer.sign(b"x")


def test_no_one_to_ask(safe, factory):
    """A service that asks for a secret nobody gives says which secret it is."""
    safe.pairs["holder"] = factory.holder
    for ask in (None, lambda _: None):
        with pytest.raises(SecretMissing, match="safe:holder asks for its combination"):
            load_signers("safe:holder", ask, [factory.holder.key])
    with pytest.raises(WrongPassphrase) as caught:
        load_signers("safe:holder", lambda _: "secret\udcff", [factory.holder.key])
    assert "secret" not in str(caught.value)


def test_unportable_keys_are_not_tried(safe, factory):
    """A listed key that not every client can use is passed over."""
    p384 = SSlibKey.from_crypto(ec.generate_private_key(ec.SECP384R1()).public_key())
    safe.pairs["holder"] = factory.holder

    (signer,) = load_signers("safe:holder", opened, [p384, factory.holder.key])

    assert signer.keyid == factory.holder.keyid


def test_online_keys_behind_uris(safe, factory):
    """Online keys may be URIs of any scheme, mixed; those that do not tell are found among the keys given."""
    pairs = {**factory.online, "ledger": factory.ledger}
    safe.pairs.update(pairs)
    known = {pair.keyid: pair.key for pair in pairs.values()}

    keys = online.load_online(" ".join(f"safe:{name}" for name in pairs), known, opened)

    for role, pair in factory.online.items():
        assert keys.signer(pair.keyid, role).sign(b"x") == pair.sign(b"x")
    assert keys.ledger(factory.ledger_hex).sign(b"x") == factory.ledger.sign(b"x")


def test_hsm_uris_without_a_module(monkeypatch):
    """An hsm: URI without PYKCS11LIB, or with nonsense for a key number, says what is wrong."""
    monkeypatch.delenv("PYKCS11LIB", raising=False)
    for uri, problem in [("hsm:", "PYKCS11LIB environment variable must be set"), ("hsm:x", "invalid literal")]:
        with pytest.raises(SignerFailed, match=problem):
            load_signers(uri)
    monkeypatch.setenv("PYKCS11LIB", "/nonexistent.so")
    with pytest.raises(SignerFailed, match="PKCS11Error"):
        load_signers("hsm:")


def test_a_signer_does_not_show_what_it_holds(safe, factory):
    """A signer behind a URI shows its URI and keyid and nothing else."""
    safe.pairs["holder"] = KeyPair.of(factory.holder.private)

    (signer,) = load_signers("safe:holder", opened, [factory.holder.key])

    assert "safe:holder" in repr(signer)
    assert "12-34" not in repr(signer)
    assert "Safe" not in repr(signer)
