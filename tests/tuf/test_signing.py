from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from ledger.tuf import canonical, documents, note, roots, signing
from ledger.tuf.errors import DocumentDamaged, NotEnoughSignatures, SignatureInvalid

EXPIRES = datetime(2999, 1, 2, 3, 4, 5, tzinfo=UTC)
TARGET = {"custom": {"tags": ["release"], "version": 5}, "hashes": {"sha256": "00" * 32}, "length": 7}


@pytest.fixture(name="signed")
def _signed():
    return documents.targets_signed(1000, EXPIRES, canonical.targets_body({"board-5": canonical.encode(TARGET)}))


def test_what_counts(factory, signed):
    """Valid signatures of listed keys count; a stranger's, another role's and another document's don't."""
    root, online = factory.production(), factory.online["targets"]
    signatures = {pair.keyid: pair.sign(signed) for pair in (factory.holder, factory.ledger, factory.root)}
    signatures[factory.other.keyid] = factory.other.sign(signed + b" ")

    assert signing.verify(root, "targets", signed, signatures) == {factory.holder.keyid}
    assert not signing.meets_threshold(root, "targets", signed, signatures)
    with pytest.raises(NotEnoughSignatures) as caught:
        signing.require_threshold(root, "targets", signed, list(signatures.items()), "wave/w")
    assert (caught.value.have, caught.value.need, caught.value.document) == (1, 2, "wave/w")

    signatures[online.keyid] = online.sign(signed)
    assert signing.meets_threshold(root, "targets", signed, list(signatures.items()))
    signing.require_threshold(root, "targets", signed, signatures)


def test_one_signature_at_a_time(factory, signed):
    """A signature is checked by itself before it is recorded."""
    root, holder = factory.production(), factory.holder
    good = holder.sign(signed)

    signing.require_valid(root, "targets", signed, holder.keyid, good)
    for data, keyid, signature in [
        (signed + b" ", holder.keyid, good),
        (signed, factory.other.keyid, good),
        (signed, factory.root.keyid, factory.root.sign(signed)),
        (signed, "unknown", good),
        (signed, holder.keyid, good[:-2] + ("00" if good[-2:] != "00" else "01")),
        (signed, holder.keyid, ""),
        (signed, holder.keyid, "zz"),
        (signed, holder.keyid, good.upper()),
        (signed, holder.keyid, good[:2] + " " + good[2:]),
    ]:
        with pytest.raises(SignatureInvalid):
            signing.require_valid(root, "targets", data, keyid, signature)


def test_one_key_signs_once(factory, signed):
    """A list with two signatures by one key is refused, as clients refuse the file."""
    pair = (factory.holder.keyid, factory.holder.sign(signed))

    with pytest.raises(DocumentDamaged):
        signing.verify(factory.production(), "targets", signed, [pair, pair])


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_client_accepts_what_we_sign(factory, rsa, ecdsa, kind):
    """python-tuf's client takes our root, timestamp, snapshot and targets, with each kind of offline key."""
    holder = {"ed25519": factory.holder, "rsa": rsa, "ecdsa": ecdsa}[kind]
    online = factory.online
    root = factory.production(root_keys=[holder.key], offline_targets=[holder.key], expires=EXPIRES)
    root_file = roots.sign_root(root, [holder])
    body = canonical.targets_body({"board-5": canonical.encode(TARGET)})
    signed = documents.targets_signed(1000, EXPIRES, body)
    targets = documents.file_bytes(signed, [(k.keyid, k.sign(signed)) for k in (holder, online["targets"])])
    checkpoint = note.sign_checkpoint(factory.ledger, "f", 3, bytes(32))
    signed = documents.snapshot_signed(7, EXPIRES, 1000, documents.FileMeta.of(targets), checkpoint.field())
    snapshot = documents.file_bytes(signed, [(online["snapshot"].keyid, online["snapshot"].sign(signed))])
    signed = documents.timestamp_signed(7, EXPIRES, 7, snapshot)
    timestamp = documents.file_bytes(signed, [(online["timestamp"].keyid, online["timestamp"].sign(signed))])

    client = TrustedMetadataSet(root_file, EnvelopeType.METADATA)
    client.update_timestamp(timestamp)
    client.update_snapshot(snapshot)
    trusted = client.update_targets(targets)

    assert trusted.targets["board-5"].custom == TARGET["custom"]
    field = Metadata.from_bytes(snapshot).signed.unrecognized_fields["x-waveledger"]["checkpoint"]
    assert note.from_field(field) == checkpoint
    note.verify(checkpoint, roots.ledger_key(roots.load_root(root_file).signed))


def test_a_client_refuses_the_online_key_alone(factory, signed):
    """Without an offline signature no production client takes a target; with one and the online key it does."""
    root = roots.load_root(roots.sign_root(factory.production(), [factory.root])).signed
    online, holder = ((k.keyid, k.sign(signed)) for k in (factory.online["targets"], factory.holder))

    alone = Metadata.from_bytes(documents.file_bytes(signed, [online]))
    both = Metadata.from_bytes(documents.file_bytes(signed, [holder, online]))

    with pytest.raises(UnsignedMetadataError):
        root.verify_delegate("targets", alone.signed_bytes, alone.signatures)
    root.verify_delegate("targets", both.signed_bytes, both.signatures)
