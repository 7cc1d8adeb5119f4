"""`audit verify` of a large ledger: its chain against reading and hashing the same rows, all of it against a rebuild.

* The baseline of the chain reads all columns of all rows with the bare driver, and hashes payload and entry of each.
* The baseline of the whole is a rebuild of all projections, and the bare Ed25519 checks of all signatures that an audit
  looks at: only what `cryptography` takes for them, with keys that are loaded.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from typing import Any

from atscale import Lived
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from measure import Entry, Timed, interleaved
from securesystemslib.signer import SSlibKey
from sqlalchemy import Engine
from stores import Bare

from ledger import check
from ledger.store import events
from ledger.store.engine import reading
from projections import runner
from projections.audit.chain import Chain
from projections.audit.history import CHUNK, Audit
from projections.tuf.publish import publish

CHAIN_BAR, ALL_BAR = 3.0, 2.0


def measure(url: str, ledger: Lived, rounds: int, sizes: Mapping[str, int]) -> Sequence[Entry]:
    """The chain alone, then everything."""
    engine = ledger.made.ledger.engine
    publish(ledger.made.ledger, ledger.made.keys)
    with reading(engine) as connection:
        size = events.head(connection).size
    sizes = {**sizes, "reports": sizes["devices"], "events": size}
    chain = interleaved(rounds, {"ours": _chain(engine, size), "bare": _hashing(url, size)})
    ours, bare = [], []
    for _ in range(rounds):
        bare.append(_rebuild(engine) + _signatures(engine))
        start = time.perf_counter()
        assert not list(Audit(engine).findings())
        ours.append(time.perf_counter() - start)
    note = "`audit verify`, against `projections rebuild` and the bare checks of all signatures"
    return [
        Entry("audit_chain", chain["ours"], chain["bare"], "time", CHAIN_BAR, sizes,
              "the chain, against reading and hashing the same rows"),
        Entry("audit_verify", ours, bare, "time", ALL_BAR, sizes, note),
    ]  # fmt: skip


def _chain(engine: Engine, size: int) -> Timed:
    def run() -> float:
        chain, start = Chain(), time.perf_counter()
        while True:
            with reading(engine) as connection:
                rows = events.stored(connection, chain.position, CHUNK)
            if not rows:
                break
            for row in rows:
                assert not list(chain.look(row))
        taken = time.perf_counter() - start
        assert chain.rows == size
        return taken

    return run


def _hashing(url: str, size: int) -> Timed:
    columns = "position, stream, version, topic, recorded_at, actor, encoding, leaf, payload"

    def run() -> float:
        bare = Bare(url)
        number, hashed, start = struct.Struct(">QQ").pack, 0, time.perf_counter()
        for row in bare.run(f"SELECT {columns} FROM event ORDER BY position"):
            position, stream, version, topic, recorded_at, actor, encoding, leaf, payload = row
            plain = payload if encoding == "json" else zlib.decompress(payload)
            entry = b"\x00" + number(8, position)
            for text, value in ((stream, version), (topic, recorded_at)):
                part = text.encode()
                entry += number(0, len(part))[8:] + part + number(8, value)
            part = actor.encode()
            entry += number(0, len(part))[8:] + part + number(0, 32)[8:] + sha256(plain).digest()
            hashed += sha256(entry).digest() == leaf
        taken = time.perf_counter() - start
        bare.close()
        assert hashed == size, "the baseline hashes what the ledger hashed"
        return taken

    return run


def _rebuild(engine: Engine) -> float:
    start = time.perf_counter()
    for fold in runner.folds():
        runner.rebuild(engine, fold.name)
    return time.perf_counter() - start


def _signatures(engine: Engine) -> float:
    """The seconds that nothing but the checks of signatures takes, of one audit."""
    with _timing() as seconds:
        assert not list(Audit(engine).history())
    return sum(seconds)


@contextmanager
def _timing() -> Iterator[list[float]]:
    seconds: list[float] = []
    ours, notes = SSlibKey.verify_signature, check.is_signed

    def timed(public: str, signature: bytes, data: bytes) -> None:
        key = _key(public)
        start = time.perf_counter()
        key.verify(signature, data)
        seconds.append(time.perf_counter() - start)

    def verify_signature(self: SSlibKey, signature: Any, data: bytes) -> None:
        timed(self.keyval["public"], bytes.fromhex(signature.signature), data)

    def is_signed(text: str, name: str, signature: bytes, key: bytes) -> bool:
        timed(key.hex(), signature[4:], text.encode())
        return signature[:4] == check.key_hash(name, key)

    SSlibKey.verify_signature, check.is_signed = verify_signature, is_signed  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        SSlibKey.verify_signature, check.is_signed = ours, notes  # type: ignore[method-assign]


@lru_cache
def _key(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
