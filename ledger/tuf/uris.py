"""Signer URIs of securesystemslib: keys that stay where they are, in an HSM or in a cloud's key service.

Rules of this module:

* A URI names a private key and does not say its public half. The device or service is asked for it; where it does not
  tell (a role can be allowed to sign and not to look), the keys that a root lists are tried with a probe.
* A token locks itself after a few wrong PINs, so nothing is tried twice there, and never with a probe.
* Opening and signing take as long as a person or a network takes: neither is done inside a transaction.
* What the libraries raise is of any class. It is repeated in a message; secrets are not, nor what could quote them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from securesystemslib.exceptions import UnsupportedLibraryError, UnverifiedSignatureError
from securesystemslib.signer import (
    SIGNER_FOR_URI_SCHEME,
    AWSSigner,
    AzureSigner,
    GCPSigner,
    HSMSigner,
    Key,
    SecretsHandler,
    SSlibKey,
    VaultSigner,
)
from securesystemslib.signer import Signer as LibrarySigner

from ledger.domain.errors import LedgerError
from ledger.tuf.errors import (
    SecretMissing,
    SignerFailed,
    SignerLibraryMissing,
    UnsupportedKey,
    UnsupportedSigner,
    WrongPassphrase,
)
from ledger.tuf.keypair import Ask, own_key

FILE_SCHEME = "file2"  # an unencrypted or encrypted PEM file; `ledger.tuf.keys` reads it like any other
PROBE = b"waveledger asks which of the listed keys this is; these bytes are no TUF metadata"

_PACKAGES = {
    "hsm": "waveledger[hsm]",
    "awskms": "waveledger[aws]",
    "gcpkms": "waveledger[gcp]",
    "azurekms": "waveledger[azure]",
    "hv": "securesystemslib[vault]",
}
_UNPORTABLE = {"gnupg", "tkey"}  # OpenPGP and ML-DSA signatures: one in a root locks other clients out
_WRONG_PIN = {"PinIncorrect", "PinInvalid", "PinLenRange"}  # of python-pkcs11, which may not be installed
_PROBLEM_CHARACTERS = 300


@dataclass(frozen=True)
class UriSigner:
    """A signer that holds its private key out of reach."""

    keyid: str
    key: SSlibKey
    uri: str
    signer: LibrarySigner = field(repr=False, compare=False)

    def sign(self, data: bytes) -> str:
        """The hex signature over data. Raises: SignerFailed, SecretMissing, WrongPassphrase."""
        try:
            return self.signer.sign(data).signature
        except LedgerError:
            raise
        except Exception as error:
            raise _failure(self.uri, error) from error


class _NotTold(Exception):
    """The service does not tell the public half of this key."""


def is_uri(source: str) -> bool:
    """Whether a source is a signer URI, by a scheme that securesystemslib knows; all else is a path."""
    scheme, colon, _ = source.partition(":")
    return bool(colon) and scheme in SIGNER_FOR_URI_SCHEME


def open_uri(uri: str, ask: Ask | None = None, listed: Iterable[Key] = ()) -> list[UriSigner]:
    """The signer of a URI; none where the service signs and no listed key is its own.

    Args:
        uri: Of any scheme but `FILE_SCHEME`.
        ask: Asked for a PIN. An HSM's is asked for when it signs.
        listed: Public keys that it may be, for services that do not tell.

    Raises:
        UnsupportedSigner, UnsupportedKey: Not every client could use its signatures.
        SignerLibraryMissing, SignerFailed, SecretMissing, WrongPassphrase: It cannot be opened.
    """
    secrets = _secrets(uri, ask)
    try:
        found, key = _public_half(uri, secrets)
        return [_opened(found, key, secrets)]
    except _NotTold as untold:
        return _probed(uri, listed, secrets, untold)


def public_key_of_uri(uri: str, ask: Ask | None = None) -> SSlibKey:
    """The public half of a URI's key, under its own keyid. Raises: as `open_uri`."""
    try:
        return _public_half(uri, _secrets(uri, ask))[1]
    except _NotTold as untold:
        raise _failure(uri, untold.__cause__ or untold) from untold


def _public_half(uri: str, secrets: SecretsHandler) -> tuple[str, SSlibKey]:
    """The URI to open and its public key, as the device or service tells them. Raises also: _NotTold."""
    scheme = uri.partition(":")[0]
    if scheme in _UNPORTABLE:
        raise UnsupportedSigner(scheme=scheme)
    try:
        found, key = _imported(scheme, uri, secrets)
    except (LedgerError, _NotTold):
        raise
    except UnsupportedLibraryError:
        raise SignerLibraryMissing(scheme=scheme, package=_PACKAGES.get(scheme, "securesystemslib")) from None
    except Exception as error:
        if scheme == HSMSigner.SCHEME:
            raise _failure(uri, error) from error
        raise _NotTold from error
    return found, own_key(key)


def _imported(scheme: str, uri: str, secrets: SecretsHandler) -> tuple[str, Key]:
    parts = urlsplit(uri)
    match scheme:
        case "hsm":
            number = int(parts.path) if parts.path else None
            return uri, HSMSigner.import_(number, dict(parse_qsl(parts.query)).get("label"), secrets)[1]
        case "awskms":
            return AWSSigner.import_(parts.path)
        case "gcpkms":
            return GCPSigner.import_(parts.path)
        case "azurekms":
            found, key = AzureSigner.import_(parts.netloc.partition(".")[0], f"{parts.path}//".split("/")[2])
        case "hv":
            found, key = VaultSigner.import_(parts.path.partition("/")[0])
        case _:
            raise _NotTold("its public key can only be found among those of a root")
    # These two tell of a key's newest version only.
    if found != uri and not found.startswith(f"{uri.rstrip('/')}/"):
        raise _NotTold(f"only the public key of its newest version can be read, {found}")
    return found, key


def _opened(uri: str, key: SSlibKey, secrets: SecretsHandler) -> UriSigner:
    try:
        return UriSigner(key.keyid, key, uri, LibrarySigner.from_priv_key_uri(uri, key, secrets))
    except LedgerError:
        raise
    except Exception as error:
        raise _failure(uri, error) from error


def _probed(uri: str, listed: Iterable[Key], secrets: SecretsHandler, untold: _NotTold) -> list[UriSigner]:
    signs, problem = False, untold.__cause__ or untold
    for key in _portable(listed):
        try:
            signer = LibrarySigner.from_priv_key_uri(uri, key, secrets)
            signature = signer.sign(PROBE)
            signs = True
            key.verify_signature(signature, PROBE)
        except LedgerError:
            raise
        except UnverifiedSignatureError:
            continue
        except Exception as error:  # noqa: BLE001 -- a service refuses a key of another type in its own way
            problem = problem if untold.__cause__ else error
            continue
        return [UriSigner(key.keyid, key, uri, signer)]
    if signs:
        return []
    raise _failure(uri, problem) from problem


def _portable(listed: Iterable[Key]) -> list[SSlibKey]:
    keys: dict[str, SSlibKey] = {}
    for key in listed:
        try:
            mine = own_key(key)
        except UnsupportedKey:
            continue
        keys[mine.keyid] = mine
    return list(keys.values())


def _secrets(uri: str, ask: Ask | None) -> SecretsHandler:
    def secret(name: str) -> str:
        called = "PIN" if name == HSMSigner.SECRETS_HANDLER_MSG else name
        answer = ask(f"{called} of {uri}") if ask else None
        if answer is None:
            raise SecretMissing(source=uri, secret=called)
        if any("\ud800" <= character <= "\udfff" for character in answer):
            raise WrongPassphrase(path=uri)  # no UTF-8; the library's error would quote it
        return answer

    return secret


def _failure(uri: str, error: BaseException) -> LedgerError:
    name = type(error).__name__
    if name in _WRONG_PIN:
        return WrongPassphrase(path=uri)
    text = " ".join(str(error).split())[:_PROBLEM_CHARACTERS]
    plain = text and isinstance(error, (ValueError, _NotTold))
    return SignerFailed(source=uri, problem=text if plain else f"{name}: {text}" if text else name)
