"""Key pairs of the kinds that every TUF client can use, and their keyids.

Rules of this module:

* ed25519, rsassa-pss-sha256 and ecdsa-sha2-nistp256 and no other: one unknown type in a root locks ngclient out.
* A keyid is the SHA-256 of the DER public key (SubjectPublicKeyInfo), Foundries' rule, for online keys too. Keys are
  compared by that material; the keyid to sign under is the one the root lists, clients never recompute it.
* Private keys never show in a `repr`, a message or a comparison.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from ledger.tuf.errors import EncryptedKey, KeyFileDamaged, UnsupportedEncryption, UnsupportedKey, WrongPassphrase

PrivateKey: TypeAlias = Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey
PublicKey: TypeAlias = Ed25519PublicKey | RSAPublicKey | EllipticCurvePublicKey
KeyKind: TypeAlias = Literal["ed25519", "rsa4096"]
Ask: TypeAlias = Callable[[str], str | None]
"""From what is asked for, in words ("passphrase of KEY.pem"), to the answer; None where there is no one to ask."""

PORTABLE = {"ed25519": "ed25519", "rsa": "rsassa-pss-sha256", "ecdsa": "ecdsa-sha2-nistp256"}  # keytype: scheme
RSA_BITS_MIN = 2048
RSA_EXPONENT = 65537
PEM_LIMIT_BYTES = 16 * 1024  # RSA of 16,384 bits takes 13 KB; longer ones keep OpenSSL's key check busy for minutes

_PRIVATE_PEM = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_PUBLIC_PEM = re.compile(rb"-----BEGIN ([A-Z ]*PUBLIC KEY)-----.*?-----END \1-----", re.DOTALL)


class Signer(Protocol):
    """Who can sign: a key pair, or something that holds one out of reach."""

    @property
    def keyid(self) -> str:
        """The keyid to sign under."""

    @property
    def key(self) -> SSlibKey:
        """The public key."""

    def sign(self, data: bytes) -> str:
        """The hex signature over data."""


@dataclass(frozen=True)
class KeyPair:
    """A private key in memory, and its public half as TUF has it."""

    keyid: str
    key: SSlibKey
    private: PrivateKey = field(repr=False, compare=False)

    @classmethod
    def of(cls, private: object) -> KeyPair:
        """The pair of a private key. Raises: UnsupportedKey."""
        if not isinstance(private, PrivateKey):
            raise UnsupportedKey(keytype=type(private).__name__.removesuffix("PrivateKey"))
        key = public_key(private.public_key())
        return cls(key.keyid, key, private)

    def sign(self, data: bytes) -> str:
        """The hex signature over data, by the key's own scheme."""
        return CryptoSigner(self.private, self.key).sign(data).signature

    def pem(self) -> bytes:
        """The private key as unencrypted PKCS #8."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class KnownAs:
    """A signer under the keyid that a root lists for its key."""

    keyid: str
    key: SSlibKey
    signer: Signer

    def sign(self, data: bytes) -> str:
        """The hex signature over data."""
        return self.signer.sign(data)


def known_as(signer: Signer, key: Key) -> Signer:
    """The signer under the keyid of `key`, which must be its own public key as a root has it."""
    if material(key) != material(signer.key):
        raise RuntimeError(f"key {key.keyid} is not the signer's")
    assert isinstance(key, SSlibKey)  # material() let nothing else through
    return signer if signer.keyid == key.keyid else KnownAs(key.keyid, key, signer)


def generate(kind: KeyKind) -> KeyPair:
    """A new key pair."""
    if kind == "ed25519":
        return KeyPair.of(Ed25519PrivateKey.generate())
    return KeyPair.of(generate_private_key(RSA_EXPONENT, 4096))


def public_key(public: object) -> SSlibKey:
    """A public key as TUF has it, under its own keyid. Raises: UnsupportedKey."""
    problem = _problem(public)
    if problem:
        raise UnsupportedKey(keytype=problem)
    assert isinstance(public, PublicKey)
    return SSlibKey.from_crypto(public, hashlib.sha256(_der(public)).hexdigest())


def ed25519_key(public_hex: str) -> SSlibKey:
    """An Ed25519 public key from its 32 bytes in hex. Raises: UnsupportedKey."""
    try:
        return public_key(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)))
    except ValueError:
        raise UnsupportedKey(keytype="ed25519 that is not 32 bytes in hex") from None


def own_key(key: Key) -> SSlibKey:
    """The same public key under its own keyid, whatever it was called. Raises: UnsupportedKey."""
    return public_key(load_der_public_key(material(key)))


def material(key: Key) -> bytes:
    """The DER public key, by which keys are compared. Raises: UnsupportedKey."""
    if not isinstance(key, SSlibKey) or PORTABLE.get(key.keytype) != key.scheme:
        raise UnsupportedKey(keytype=f"{key.keytype}/{key.scheme}")
    text = key.keyval["public"]
    public: object
    try:
        if key.keytype == "ed25519":
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
        else:
            public = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UnsupportedKey(keytype=f"{key.keytype} that cannot be read") from None
    problem = _problem(public)
    if problem or public_key(public).keytype != key.keytype:
        raise UnsupportedKey(keytype=problem or f"{key.keytype} that is another type's")
    assert isinstance(public, PublicKey)
    return _der(public)


def read_pem(data: bytes, path: str, ask: Ask | None = None) -> list[KeyPair]:
    """The private keys in PEM text: PKCS #8, PKCS #1 (RSA) or SEC 1 (ECDSA), among whatever else is there.

    Args:
        data: The text.
        path: Where it came from, for errors and for the question.
        ask: Asked for the passphrase of each key that is encrypted (PKCS #8 or OpenSSL's older form).

    Raises: KeyFileDamaged, EncryptedKey, WrongPassphrase, UnsupportedEncryption, UnsupportedKey.
    """
    return [_read_block(match.group(), path, ask) for match in _PRIVATE_PEM.finditer(data)]


def read_public_pem(data: bytes, path: str) -> list[SSlibKey]:
    """The public keys in PEM text. Raises: KeyFileDamaged, UnsupportedKey."""
    try:
        return [public_key(load_pem_public_key(match.group())) for match in _PUBLIC_PEM.finditer(data)]
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileDamaged(path=path, problem="its public key cannot be parsed") from None


def _read_block(block: bytes, path: str, ask: Ask | None) -> KeyPair:
    if len(block) > PEM_LIMIT_BYTES:
        raise KeyFileDamaged(path=path, problem="its private key is too long")
    if b"ENCRYPTED" in block:
        return _unlock(block, path, ask)
    try:
        return KeyPair.of(load_pem_private_key(block, None))
    except UnsupportedAlgorithm:
        raise UnsupportedKey(keytype="unknown") from None
    except (ValueError, TypeError):
        # The library's own text is left out: what it quotes may be of the key.
        raise KeyFileDamaged(path=path, problem="its private key cannot be parsed") from None


def _unlock(block: bytes, path: str, ask: Ask | None) -> KeyPair:
    passphrase = ask(f"passphrase of {path}") if ask else None
    if passphrase is None:
        raise EncryptedKey(path=path)
    try:
        # Bytes that are no UTF-8 come out of the environment as surrogates, and go back to what they were.
        return KeyPair.of(load_pem_private_key(block, passphrase.encode(errors="surrogateescape")))
    except UnsupportedAlgorithm:
        raise UnsupportedEncryption(path=path) from None
    except (ValueError, TypeError) as error:
        if "unknown" in str(error).lower():  # "Unknown key encryption algorithm", "Key encrypted with unknown cipher"
            raise UnsupportedEncryption(path=path) from None
        # Nor can it be told whether the passphrase is wrong or the file is damaged: both decrypt to nonsense.
        raise WrongPassphrase(path=path) from None


def _problem(public: object) -> str:
    """What keeps a public key from being portable; empty when nothing does."""
    if isinstance(public, RSAPublicKey):
        small = public.key_size < RSA_BITS_MIN
        return f"RSA with {public.key_size} bits" if small else ""
    if isinstance(public, EllipticCurvePublicKey):
        return "" if isinstance(public.curve, SECP256R1) else f"ECDSA on {public.curve.name}"
    return "" if isinstance(public, Ed25519PublicKey) else type(public).__name__.removesuffix("PublicKey")


def _der(public: PublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
