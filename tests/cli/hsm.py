"""A program that makes key pairs in a PKCS #11 token, and prints the public halves as JSON.

Arguments: label of the token, PIN, and for each key its number, its curve, and whether its public half is hidden
without the PIN (``2:secp256r1:open``). A program of its own: a PKCS #11 library reads its settings once a process.
"""

from __future__ import annotations

import json
import os
import sys

import pkcs11
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util import biginteger
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from securesystemslib.signer import SSlibKey

SCHEMES = {"secp256r1": "ecdsa-sha2-nistp256", "secp384r1": "ecdsa-sha2-nistp384"}


def main(label: str, pin: str, *wanted: str) -> None:
    """Make the keys."""
    made = {}
    token = pkcs11.lib(os.environ["PYKCS11LIB"]).get_token(token_label=label)
    with token.open(user_pin=pin, rw=True) as session:
        for number, curve, visibility in (each.split(":") for each in wanted):
            parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
            public, _ = session.create_domain_parameters(KeyType.EC, parameters, local=True).generate_keypair(
                mechanism=Mechanism.EC_KEY_PAIR_GEN,
                store=True,
                id=biginteger(int(number)),
                public_template={Attribute.PRIVATE: visibility == "hidden"},
            )
            key = load_der_public_key(encode_ec_public_key(public))
            made[number] = SSlibKey.from_crypto(key, scheme=SCHEMES[curve]).to_dict()
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    main(*sys.argv[1:])
