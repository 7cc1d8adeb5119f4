"""Keys and roots for the tests of `ledger.tuf`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from ledger.tuf import roots
from ledger.tuf.keypair import KeyPair, generate

EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class Factory:
    """The keys of a factory: two holders, online keys, the ledger's, and the roots they make."""

    def __init__(self) -> None:
        self.root, self.holder, self.other = generate("ed25519"), generate("ed25519"), generate("ed25519")
        self.online = {role: generate("ed25519") for role in ("targets", "snapshot", "timestamp")}
        self.ci_root = generate("ed25519")
        self.ci_online = {role: generate("ed25519") for role in ("targets", "snapshot", "timestamp")}
        self.ledger = generate("ed25519")
        self.ledger_hex = self.ledger.key.keyval["public"]

    def production(self, **changes):
        """The production root, or one that differs in the arguments given."""
        given = {
            "root_keys": [self.root.key],
            "root_threshold": 1,
            "offline_targets": [self.holder.key, self.other.key],
            "online": {role: pair.key for role, pair in self.online.items()},
            "targets_threshold": 2,
            "expires": EXPIRES,
            "ledger_key": self.ledger_hex,
        }
        return roots.production_root(**{**given, **changes})

    def ci(self):
        """The CI root."""
        keys = {role: pair.key for role, pair in self.ci_online.items()}
        return roots.ci_root(self.ci_root.key, keys, EXPIRES, self.ledger_hex)


@pytest.fixture(scope="session")
def factory():
    return Factory()


@pytest.fixture(scope="session")
def rsa():
    """Generated once: RSA of 4096 bits takes a second."""
    return generate("rsa4096")


@pytest.fixture(scope="session")
def ecdsa():
    return KeyPair.of(generate_private_key(SECP256R1()))


@pytest.fixture(params=["ed25519", "rsa4096"])
def pair(request, factory, rsa):
    return factory.holder if request.param == "ed25519" else rsa
