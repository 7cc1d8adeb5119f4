"""Everything that can go wrong with keys, signatures and TUF documents, one class per cause (exit code 8).

`path` is what the user named: a file, or a place inside it. No message ever holds a private key or a part of one.
"""

from __future__ import annotations

from ledger.domain.errors import TufFailure


class KeyFileMissing(TufFailure):
    """The key file that was named does not exist."""

    message = "there is no key file {path}"
    hint = "name a Foundries archive (targets.only.key.tgz), a PEM file or a signer URI (file2:PATH)"
    path: str


class KeyFileUnreadable(TufFailure):
    """The key file exists, and the system does not let it be read or written."""

    message = "the key file {path} cannot be used: {problem}"
    hint = "check its owner and mode; private keys belong to whoever signs, mode 0600"
    path: str
    problem: str


class KeyFileDamaged(TufFailure):
    """What was named is no key file, or not a whole one."""

    message = "{path} is not a usable key file: {problem}"
    hint = "take it from a backup; a Foundries archive holds tufrepo/keys/fioctl-<role>-<keyid>.{{pub,sec}}"
    path: str
    problem: str


class KeyFileEmpty(TufFailure):
    """The key file can be read and holds no private key."""

    message = "{path} holds no private key"
    hint = "name the file that holds the private half: targets.only.key.tgz or root.keys.tgz, or a PEM file"
    path: str


class KeyFileExists(TufFailure):
    """A key was to be written where a file already is. Nothing was overwritten."""

    message = "{path} already exists, and keys are never overwritten"
    hint = "move it away, or name another place"
    path: str


class EncryptedKey(TufFailure):
    """The private key is encrypted, and there is no one to ask for its passphrase."""

    message = "the private key in {path} is encrypted, and there is no terminal to ask for its passphrase"
    hint = "set WAVELEDGER_KEY_PASSPHRASE, or run the command in a terminal"
    path: str


class SecretMissing(TufFailure):
    """What holds the key asks for a secret, such as a PIN, and there is no one to ask for it."""

    message = "{source} asks for its {secret}, and there is no terminal to ask at"
    hint = "set WAVELEDGER_KEY_PASSPHRASE, or run the command in a terminal"
    source: str
    secret: str


class WrongPassphrase(TufFailure):
    """The passphrase or PIN does not open the private key. It is never repeated in a message."""

    message = "the passphrase or PIN given does not open {path}"
    hint = (
        "WAVELEDGER_KEY_PASSPHRASE is taken for every key of a command; unset it to be asked for each one "
        "(a token locks itself after a few wrong PINs)"
    )
    path: str


class UnsupportedEncryption(TufFailure):
    """The private key is encrypted in a way that the library does not know."""

    message = "the private key in {path} is encrypted in a way that is not supported"
    hint = "encrypt it anew: openssl pkey -in KEY.pem -aes256 -out NEW.pem"
    path: str


class UnsupportedKey(TufFailure):
    """A key that not every TUF client could use; one of them in a root locks some clients out for ever."""

    message = "keys of type {keytype} are not supported"
    hint = "use ed25519, RSA of 2048 bits or more (rsassa-pss-sha256), or ECDSA on P-256 (ecdsa-sha2-nistp256)"
    keytype: str


class UnsupportedSigner(TufFailure):
    """A signer URI whose keys are of no kind that every TUF client can use."""

    message = "signer URIs with scheme {scheme!r} are not supported: not every TUF client can use such keys"
    hint = "use a Foundries archive, a PEM file, or a URI with file2, hsm, awskms, gcpkms, azurekms or hv"
    scheme: str


class SignerLibraryMissing(TufFailure):
    """The library that opens this kind of signer URI is optional, and not installed."""

    message = "signer URIs with scheme {scheme!r} need a library that is not installed"
    hint = "install it: pip install '{package}'"
    scheme: str
    package: str


class SignerFailed(TufFailure):
    """What holds the key does not tell its public half, or does not sign."""

    message = "the key {source} cannot be used: {problem}"
    hint = (
        "check the URI, and what its library reads from the environment (PYKCS11LIB for hsm:, the cloud's credentials)"
    )
    source: str
    problem: str


class SeveralKeys(TufFailure):
    """One key was to be named, and the place holds several that could be meant."""

    message = "{path} holds more than one key that could be meant: {keyids}"
    hint = "keep each key in a file of its own; of a public key, name its .pub or PEM file"
    path: str
    keyids: str


class KeyNotMade(TufFailure):
    """A new key was to be put where none can be put."""

    message = "a new {role} key cannot be put into {path}: {problem}"
    hint = "name a Foundries archive, or a file that does not exist yet (it becomes one)"
    path: str
    role: str
    problem: str


class NoMatchingKey(TufFailure):
    """None of the given keys is one that the root lists as an offline key of the role."""

    message = "none of the keys in {path} is a current offline {role} key"
    hint = "list the current keys with `waveledger keys tuf show-root --prod`"
    path: str
    role: str


class SeveralMatchingKeys(TufFailure):
    """Two or more active keys of one role lie in one place, so whoever finds it can meet a threshold alone."""

    message = "{path} holds more than one current key: {keyids}"
    hint = "keep each holder's key in a file of its own, and name the one to sign with"
    path: str
    keyids: str


class OnlineKeyMissing(TufFailure):
    """A key that signs online is not among the configured online keys."""

    message = "the online {role} key {keyid} is not in {where}"
    hint = "set WAVELEDGER_ONLINE_KEYS to the directory or the signer URIs that have it"
    role: str
    keyid: str
    where: str


class SignatureInvalid(TufFailure):
    """A signature does not verify with the key that the root lists."""

    message = "the signature of key {keyid} over {document} is not valid"
    hint = "nothing was recorded; check that the key is the one the root lists (`waveledger keys tuf show-root --prod`)"
    keyid: str
    document: str


class NotEnoughSignatures(TufFailure):
    """A document has fewer valid signatures than its role's threshold."""

    message = "{document} has {have} valid signatures and needs {need}"
    hint = "collect the missing ones, each holder with an own key"
    document: str
    have: int
    need: int


class UnencodableContent(TufFailure):
    """Content that TUF clients' encoders would not all write alike, so that a signature would not verify everywhere."""

    message = "signed content cannot hold what is at {path}: {problem}"
    hint = "signed metadata has printable ASCII text, integers below 2147483648, booleans, null, lists and maps"
    path: str
    problem: str


class DocumentDamaged(TufFailure):
    """Bytes that should be a TUF document as Waveledger writes it, and are not."""

    message = "{document} is not as Waveledger writes it: {problem}"
    hint = "find out with `waveledger audit verify` whether the ledger was changed"
    document: str
    problem: str


class RootDamaged(TufFailure):
    """Bytes that should be a TUF root, and are not one that clients could trust."""

    message = "the root metadata is not usable: {problem}"
    hint = "show the current one with `waveledger keys tuf show-root --prod`"
    problem: str


class ThresholdImpossible(TufFailure):
    """A threshold that the role's keys can never meet, or that one online key could meet alone."""

    message = "the {role} role cannot have threshold {threshold} with {keys} keys"
    hint = "add {role} keys, or set another threshold; for targets 2 at least, with the online signature"
    role: str
    threshold: int
    keys: int


class KeyInTwoPlaces(TufFailure):
    """One key stands where two different ones must: twice in a role, or as an online and an offline key."""

    message = "one key is used as {first} and as {second}"
    hint = "give each its own key; a threshold counts holders, and an online key is held by a machine"
    first: str
    second: str


class RootsShareKeys(TufFailure):
    """The CI root and the production root have a key in common, so one's metadata could pass for the other's."""

    message = "the production root and the CI root share keys: {keyids}"
    hint = "CI and production share no key in any role; create a new key for one of them"
    keyids: str


class LaneExhausted(TufFailure):
    """A targets version has no next revision in its lane of a thousand."""

    message = "targets version {version} is the last revision of its lane"
    hint = "start a wave: it takes new lanes"
    version: int


class NoteDamaged(TufFailure):
    """Text that should be a signed checkpoint, and is not."""

    message = "this is not a checkpoint: {problem}"
    hint = "a checkpoint is what `waveledger audit checkpoint` writes: three lines, an empty one and a signature"
    problem: str


class CheckpointInvalid(TufFailure):
    """A checkpoint that the ledger's key did not sign."""

    message = "the checkpoint of {origin} at size {size} is not signed by the ledger's key"
    hint = "compare the key with x-waveledger in the root that your devices trust"
    origin: str
    size: int
