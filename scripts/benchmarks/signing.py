"""Signing a large targets document, against python-tuf's own way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from factory import EXPIRES, a_target
from measure import Entry, Sizes, interleaved, made_up
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile, Targets

from ledger.tuf import canonical, documents
from ledger.tuf.keys import KeyPair

VERSION = 1000
BAR = 5.0


def measure(_: Path, sizes: Sizes) -> Sequence[Entry]:
    """From each target's own canonical bytes, as the ledger keeps them, to the signed file."""
    pair = KeyPair.of(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(made_up(sizes.seed, "key"))))
    made = [a_target(sizes.seed, 1, place) for place in range(sizes.targets)]
    bodies = {target.name: target.body for target in made}
    kept = {name: canonical.encode(body) for name, body in bodies.items()}
    metadata = _as_tuf_has_it(EXPIRES, {n: TargetFile.from_dict(dict(body), n) for n, body in bodies.items()})
    signer = CryptoSigner(pair.private, pair.key)
    files: dict[str, bytes] = {}

    def sign(cached: dict[str, bytes]) -> bytes:
        signed = documents.targets_signed(VERSION, EXPIRES, canonical.targets_body(cached))
        return documents.file_bytes(signed, [(pair.keyid, pair.sign(signed))])

    def ours() -> float:
        start = time.perf_counter()
        files["ours"] = sign(kept)
        return time.perf_counter() - start

    def encoding() -> float:
        start = time.perf_counter()
        files["encoding"] = sign({name: canonical.encode(body) for name, body in bodies.items()})
        return time.perf_counter() - start

    def tuf() -> float:
        start = time.perf_counter()
        metadata.sign(signer)
        files["tuf"] = metadata.to_bytes()
        return time.perf_counter() - start

    seconds = interleaved(sizes.rounds, {"ours": ours, "encoding": encoding, "tuf": tuf})
    if len(set(files.values())) != 1:
        raise RuntimeError("the signed files are not the same bytes")
    name, size = f"sign_{sizes.targets}", {"targets": sizes.targets, "file_bytes": len(files["ours"])}
    against = "against Metadata.sign() plus to_bytes(), the same bytes"
    return [
        Entry(name, seconds["ours"], seconds["tuf"], "speed", BAR, size,
              f"signing a document from each target's kept bytes {against}"),
        Entry(f"{name}_encoding", seconds["encoding"], seconds["tuf"], "speed", None, size,
              f"the same when every target is checked and encoded again, {against}"),
    ]  # fmt: skip


def _as_tuf_has_it(expires: datetime, targets: dict[str, TargetFile]) -> Metadata[Targets]:
    return Metadata(Targets(VERSION, documents.SPEC_VERSION, expires, targets))
