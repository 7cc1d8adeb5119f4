from __future__ import annotations

import hashlib
import os
import stat
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from securesystemslib.signer import CryptoSigner, Key, Signature, SSlibKey
from tuf.api.metadata import Role

from ledger.tuf import files
from ledger.tuf.archive import write_archive
from ledger.tuf.errors import (
    EncryptedKey,
    KeyFileDamaged,
    KeyFileEmpty,
    KeyFileExists,
    KeyFileMissing,
    KeyFileUnreadable,
    NoMatchingKey,
    SeveralMatchingKeys,
    UnsupportedEncryption,
    UnsupportedKey,
    WrongPassphrase,
)
from ledger.tuf.keypair import KeyPair, known_as, material
from ledger.tuf.keys import find_offline_signer, generate, load_signers


@pytest.fixture(params=["ed25519", "rsa4096", "ecdsa"], name="any_pair")
def _any_pair(request, factory, rsa, ecdsa):
    return {"ed25519": factory.holder, "rsa4096": rsa, "ecdsa": ecdsa}[request.param]


def test_keyid_is_foundries(any_pair):
    """The keyid of every key is the SHA-256 of its DER public key."""
    der = any_pair.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert any_pair.keyid == any_pair.key.keyid == hashlib.sha256(der).hexdigest()
    assert material(any_pair.key) == der


def test_signatures_verify_in_securesystemslib(any_pair):
    """Each kind of key signs so that the library that clients use accepts it, and nothing but what was signed."""
    signature = Signature(any_pair.keyid, any_pair.sign(b"data"))

    any_pair.key.verify_signature(signature, b"data")
    with pytest.raises(Exception, match="verify"):
        any_pair.key.verify_signature(signature, b"other")


def test_pss_salt_is_fioctl_s(rsa):
    """RSA signatures have a salt of 32 bytes, which Go's verifier insists on, and ours takes Go's."""
    fixed = PSS(mgf=MGF1(SHA256()), salt_length=32)
    theirs = rsa.private.sign(b"data", fixed, SHA256()).hex()

    rsa.private.public_key().verify(bytes.fromhex(rsa.sign(b"data")), b"data", fixed, SHA256())
    rsa.key.verify_signature(Signature(rsa.keyid, theirs), b"data")


def test_ed25519_signatures_are_reproducible(factory):
    """The same bytes give the same signature, so published trees can be compared byte for byte."""
    assert factory.holder.sign(b"data") == factory.holder.sign(b"data")


def test_private_keys_do_not_show(any_pair):
    """A key pair shows its keyid and never its private half."""
    assert any_pair.keyid in repr(any_pair)
    assert "private" not in repr(any_pair).lower()


@pytest.mark.parametrize(
    "private",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa_keys.generate_private_key(65537, 1024),
        Ed448PrivateKey.generate(),
        dsa.generate_private_key(1024),
    ],
    ids=["p384", "rsa1024", "ed448", "dsa"],
)
def test_other_keys_are_refused(private):
    """One key type that a client lacks locks it out, so others are refused when they come in."""
    with pytest.raises(UnsupportedKey):
        KeyPair.of(private)


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": "ed25519ph"},
        {"keytype": "rsa", "scheme": "rsassa-pss-sha256"},
        {"keyval": {"public": "00"}},
        {"keyval": {"public": "zz" * 32}},
    ],
)
def test_a_public_key_must_be_what_it_says(factory, change):
    """A listed key with another scheme, or with no key in it, is refused."""
    key = SSlibKey(
        **{"keyid": "k", "keytype": "ed25519", "scheme": "ed25519", "keyval": factory.root.key.keyval, **change}
    )

    with pytest.raises(UnsupportedKey):
        material(key)


def test_a_pem_of_another_type(rsa):
    """A PEM that holds another type than the key says is refused."""
    with pytest.raises(UnsupportedKey):
        material(SSlibKey("k", "ecdsa", "ecdsa-sha2-nistp256", rsa.key.keyval))


def save(path, data):
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_pem_files(tmp_path, rsa, ecdsa, form):
    """PEM files hold PKCS #8, PKCS #1 or SEC 1, also with other text around them."""
    for pair in (rsa, ecdsa):
        pem = pair.private.private_bytes(Encoding.PEM, form, NoEncryption())

        assert load_signers(save(tmp_path / "k.pem", b"Bag Attributes\n" + pem + b"\n")) == [pair]


def test_uris_and_archives(tmp_path, pair):
    """An archive, a PEM file and a file2 URI name the same signer; a file2 key is as securesystemslib writes it."""
    archive = save(tmp_path / "keys.tgz", write_archive("targets", [pair]))
    pem = save(tmp_path / "key.pem", CryptoSigner(pair.private, pair.key).private_bytes)

    assert load_signers(archive) == load_signers(pem) == load_signers(f"file2:{pem}") == [pair]
    assert load_signers(f"file2:{archive}") == [pair]


def test_files_of_no_use(tmp_path, factory):
    """What cannot be a key file says which way it is not one."""
    public = factory.root.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    pem = factory.root.pem()
    broken = pem.replace(b"\nM", b"\nX")
    locked = factory.root.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for data, expected in [
        (b"", KeyFileEmpty),
        (b"hello", KeyFileDamaged),
        (public, KeyFileEmpty),
        (broken, KeyFileDamaged),
        (locked, EncryptedKey),
        (b"\x1f\x8b", KeyFileDamaged),
        (bytes(files.FILE_LIMIT_BYTES + 1), KeyFileDamaged),
        (b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 20_000 + b"\n-----END RSA PRIVATE KEY-----\n", KeyFileDamaged),
        (Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), UnsupportedKey),
    ]:
        with pytest.raises(expected):
            load_signers(save(tmp_path / "k", data))
    with pytest.raises(KeyFileMissing):
        load_signers(str(tmp_path / "none"))
    with pytest.raises(KeyFileMissing):
        load_signers(str(tmp_path / "k" / "below"))
    with pytest.raises(KeyFileUnreadable):
        load_signers(str(tmp_path))


IDEA = b"""-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: IDEA-CBC,0102030405060708

AAAAAAAAAAAAAAAAAAAAAA==
-----END RSA PRIVATE KEY-----
"""
CAMELLIA = b"""-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGdMFkGCSqGSIb3DQEFDTBMMCkGCSqGSIb3DQEFDDAcBAjaBd+6pB5RgAICCAAw
DAYIKoZIhvcNAgkFADAfBgsqgwiMmks9AQEBBAQQOkCLe0uaELAQ6fVnaTFO+gRA
4vWRuklQtmYo3/b7+gAvLmRVsW0HW8oCdKOYpW7uu7oAh3lVj+vCoVL99CGHS1Gh
to5s3a84yoPY8MNkcLftCQ==
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.fixture(params=[PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], name="locked")
def _locked(request, tmp_path, ecdsa):
    locked = ecdsa.private.private_bytes(Encoding.PEM, request.param, BestAvailableEncryption("sésame".encode()))
    return save(tmp_path / "locked.pem", locked)


def test_encrypted_pem(locked, ecdsa):
    """Encrypted PEM of either form opens with its passphrase, asked for by the name of the file, also as a URI."""
    asked = []

    def ask(what):
        asked.append(what)
        return "sésame"

    assert load_signers(locked, ask) == load_signers(f"file2:{locked}", ask) == [ecdsa]
    assert asked == [f"passphrase of {locked}"] * 2


@pytest.mark.parametrize("wrong", ["", "sesame", "s\ud800", "x" * 5000])
def test_wrong_passphrase(locked, wrong):
    """A wrong passphrase says which key it does not open, and is not repeated."""
    with pytest.raises(WrongPassphrase) as caught:
        load_signers(locked, lambda _: wrong)

    text = str(caught.value) + caught.value.render_hint()
    assert locked in text
    assert not wrong or wrong not in text
    assert caught.value.__cause__ is None


def test_no_one_to_ask(locked):
    """Without anyone to ask, or anyone who answers, an encrypted key says how to give its passphrase."""
    for ask in (None, lambda _: None):
        with pytest.raises(EncryptedKey, match="encrypted"):
            load_signers(locked, ask)


def test_bytes_of_the_environment(tmp_path, factory):
    """A passphrase that is no UTF-8 comes out of the environment as surrogates, and is meant as the bytes it was."""
    raw = b"caf\xe9"
    pem = factory.root.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(raw))
    locked = save(tmp_path / "k.pem", pem)

    assert load_signers(locked, lambda _: os.fsdecode(raw)) == [factory.root]


@pytest.mark.parametrize("pem", [IDEA, CAMELLIA], ids=["OpenSSL's form", "PKCS #8"])
def test_unknown_encryption(tmp_path, pem):
    """An encrypted key whose cipher the library does not have says so, and not that the passphrase is wrong."""
    with pytest.raises(UnsupportedEncryption):
        load_signers(save(tmp_path / "k.pem", pem), lambda _: "x")


def test_open_keys_ask_nothing(tmp_path, pair):
    """Nobody is asked for the passphrase of a key that has none."""
    assert load_signers(save(tmp_path / "k.pem", pair.pem()), pytest.fail) == [pair]


def test_a_pipe_will_do(tmp_path, factory):
    """A key can come through a pipe, and so from a password manager."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(factory.holder.pem(),))
    writer.start()

    assert load_signers(str(path)) == [factory.holder]
    writer.join()


def test_key_files_are_private_and_never_overwritten(tmp_path):
    """A key file is mode 0600 whatever the umask, its directory 0700, and a second write is refused."""
    path = tmp_path / "keys" / "k.pem"
    before = os.umask(0)
    try:
        files.write_key_file(path, b"one")
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(KeyFileExists):
        files.write_key_file(path, b"two")
    assert path.read_bytes() == b"one"


def test_a_dangling_link_is_not_followed(tmp_path):
    """A link where the key should go is in the way, even if it leads nowhere."""
    (tmp_path / "k").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KeyFileExists):
        files.write_key_file(tmp_path / "k", b"one")
    assert not (tmp_path / "elsewhere").exists()


def test_find_the_one(factory):
    """Among other keys, the one that the root lists for the role is found."""
    root = factory.production()
    online = factory.online["targets"]

    found = find_offline_signer([generate("ed25519"), factory.root, factory.other], root, exclude={online.keyid})

    assert found == factory.other
    assert find_offline_signer([factory.root, factory.other], root, role="root") == factory.root


def test_none_matches(factory):
    """A stranger's key, another role's key and the online key are all not this holder's."""
    root, online = factory.production(), factory.online["targets"]
    for keys in ([], [generate("ed25519")], [factory.root], [online]):
        with pytest.raises(NoMatchingKey) as caught:
            find_offline_signer(keys, root, source="k.tgz", exclude=frozenset({online.keyid}))

    assert "none of the keys in k.tgz is a current offline targets key" in str(caught.value)


def test_several_match(factory):
    """Two current keys in one place are refused; the same one twice is one."""
    root, online = factory.production(), factory.online["targets"].keyid

    with pytest.raises(SeveralMatchingKeys):
        find_offline_signer([factory.holder, factory.other], root, exclude={online})
    assert find_offline_signer([factory.holder, factory.holder], root, exclude={online}) == factory.holder


def test_the_root_s_keyid_is_signed_under(factory, rsa):
    """A key is matched by its material, and signs under the keyid that the root has, whatever that is."""
    root = factory.production()
    text = rsa.key.keyval["public"].strip()  # fioctl writes PEM with and without the last newline
    root.keys["their-id"] = Key.from_dict(
        "their-id", {"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": text}}
    )
    root.roles["targets"] = Role([*root.roles["targets"].keyids, "their-id"], 2)

    found = find_offline_signer([rsa], root, exclude={factory.online["targets"].keyid})

    assert found.keyid == found.key.keyid == "their-id"
    root.keys["their-id"].verify_signature(Signature("their-id", found.sign(b"data")), b"data")


def test_known_as_needs_the_same_key(factory):
    """No signer takes the name of another key."""
    with pytest.raises(RuntimeError):
        known_as(factory.holder, factory.other.key)
