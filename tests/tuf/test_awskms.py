"""awskms: URIs against moto's server: how a key is opened, and what is refused."""

from __future__ import annotations

import hashlib
import logging

import pytest
from securesystemslib.signer import Signature

from ledger.tuf.errors import SignerFailed, UnsupportedKey
from ledger.tuf.keys import load_signers, public_key_of

pytestmark = pytest.mark.xdist_group("moto")


@pytest.fixture(scope="module", name="kms")
def _kms():
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "anything")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setenv("AWS_ENDPOINT_URL_KMS", f"http://{host}:{port}")
        yield boto3.client("kms")
    server.stop()


def create(kms, spec):
    return kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec=spec)["KeyMetadata"]


@pytest.mark.parametrize(
    ("spec", "scheme"), [("ECC_NIST_P256", "ecdsa-sha2-nistp256"), ("RSA_2048", "rsassa-pss-sha256")]
)
def test_a_key_in_the_cloud(kms, spec, scheme):
    """A key is opened by its id, ARN or alias, and tells its own public key, under our keyid and a portable scheme."""
    made = create(kms, spec)
    kms.create_alias(AliasName=f"alias/{spec}", TargetKeyId=made["KeyId"])

    for name in (made["KeyId"], made["Arn"], f"alias/{spec}"):
        (signer,) = load_signers(f"awskms:{name}")
        assert signer.key == public_key_of(f"awskms:{name}")
        assert (signer.key.scheme, signer.keyid) == (scheme, signer.key.keyid)
    # The service is given the digest; moto takes that for the message (AWS does not) and hashes it once more.
    signature = Signature(signer.keyid, signer.sign(b"data"))
    signer.key.verify_signature(signature, hashlib.sha256(b"data").digest())


@pytest.mark.parametrize("spec", ["ECC_NIST_P384", "ECC_SECG_P256K1"])
def test_keys_that_not_every_client_can_use(kms, spec):
    """Curves that other clients lack are refused, also the one whose signatures the service calls by the same name."""
    with pytest.raises(UnsupportedKey):
        load_signers(f"awskms:{create(kms, spec)['KeyId']}")


def test_what_the_service_says(kms, factory):
    """What the service says when it has no such key is in the error, at once and with listed keys to try."""
    for listed in ([], [factory.holder.key]):
        with pytest.raises(SignerFailed, match=r"awskms:alias/none cannot be used: NotFoundException: .* is not found"):
            load_signers("awskms:alias/none", None, listed)


def test_nothing_to_log_in_with(monkeypatch):
    """Without a region the error says so, instead of a traceback."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    with pytest.raises(SignerFailed, match="NoRegionError: You must specify a region"):
        load_signers("awskms:x")
