"""The ledger as an RFC 6962 Merkle tree: leaves, the frontier that grows with every append, and proofs.

Rules of this module, for ever: they decide the bytes that devices and mirrors bear witness to.

* An entry is seven fields, each as its length in bytes (8 bytes, unsigned, big-endian) followed by the field itself, in
  this order: position, stream, version, topic, recorded_at, actor, digest. position, version and recorded_at (seconds
  since 1970) are 8 bytes, unsigned, big-endian; stream, topic and actor are UTF-8; digest is SHA-256 of the payload as
  the codec wrote it, before compression. With all lengths written, two different events never share an entry.
* A leaf is SHA-256(0x00 | entry), an inner node SHA-256(0x01 | left | right), the root of no leaves SHA-256 of nothing
  (RFC 6962 §2.1). Events are leaves in order of position; position 1 has leaf index 0.
* A frontier holds the roots of the largest complete subtrees from left to right, one for each bit set in the size. As
  bytes: the size (8 bytes, unsigned, big-endian), then 32 bytes for each root.
* Proofs are made here; who checks them needs `ledger.check` and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

_LENGTH = struct.Struct(">Q")
_NUMBER_THEN_LENGTH = struct.Struct(">QQQ")  # the length of a number, the number, the length of the text after it
_DIGEST_LENGTH = _LENGTH.pack(HASH_BYTES)


def entry(position: int, stream: str, version: int, topic: str, recorded_at: int, actor: str, payload: bytes) -> bytes:
    """The bytes that stand for one event in the tree; `payload` uncompressed, `recorded_at` in seconds since 1970."""
    stream_utf8, topic_utf8, actor_utf8 = stream.encode(), topic.encode(), actor.encode()
    pack = _NUMBER_THEN_LENGTH.pack
    return b"".join(
        (
            pack(8, position, len(stream_utf8)),
            stream_utf8,
            pack(8, version, len(topic_utf8)),
            topic_utf8,
            pack(8, recorded_at, len(actor_utf8)),
            actor_utf8,
            _DIGEST_LENGTH,
            sha256(payload).digest(),
        )
    )


def leaf_hash(entry: bytes) -> bytes:
    """The leaf of one entry."""
    return sha256(b"\x00" + entry).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """What an append needs to know of the tree so far: at most one hash for each bit of the size."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> Frontier:
        """The frontier with one more leaf."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier with more leaves."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, rest = leaf, size
            while rest & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()  # _join, without the call: once for each event
                rest >>= 1
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """The root of the whole tree."""
        if not self.peaks:
            return EMPTY_ROOT
        *left, node = self.peaks
        for peak in reversed(left):
            node = _join(peak, node)
        return node

    def to_bytes(self) -> bytes:
        """The size and the peaks, as the module's rules say."""
        return _LENGTH.pack(self.size) + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: the bytes are not a frontier.
        """
        peaks = tuple(data[at : at + HASH_BYTES] for at in range(_LENGTH.size, len(data), HASH_BYTES))
        size = int.from_bytes(data[: _LENGTH.size], "big")
        if len(data) != _LENGTH.size + HASH_BYTES * size.bit_count():
            raise ValueError(f"a frontier of size {size} does not have {len(data)} bytes")
        return cls(size, peaks)


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of the tree over these leaves."""
    return Frontier().extend(leaves).root()


def inclusion_proof(leaves: Iterable[bytes], index: int, size: int) -> list[bytes]:
    """The proof that leaf `index` (from 0) is in the tree over the first `size` leaves (RFC 9162 §2.1.3.1).

    The leaves are taken one after the other, and none of them is kept.
    """
    if not 0 <= index < size:
        raise RuntimeError(f"no leaf {index} in a tree of {size}")
    start, end = 0, size
    path: list[tuple[int, int]] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return _roots(leaves, path[::-1], (index, index + 1))


def consistency_proof(leaves: Iterable[bytes], old_size: int, size: int) -> list[bytes]:
    """The proof that the tree over the first `old_size` leaves only grew into that of `size` (RFC 9162 §2.1.4.1).

    It is empty where there is nothing to prove: for an old size of 0, and for the same size.
    """
    if not 0 <= old_size <= size:
        raise RuntimeError(f"a tree of {size} never had size {old_size}")
    if old_size in (0, size):
        return []
    start, end = 0, size
    path: list[tuple[int, int]] = []
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start:  # else the old tree is a whole subtree, whose root the verifier has
        path.append((start, end))
    return _roots(leaves, path[::-1], (start, end))


def roots_at(leaves: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The roots that the tree over the leaves had at these sizes; sizes that it never had are left out."""
    found: dict[int, bytes] = {}
    frontier, source = Frontier(), iter(leaves)
    for size in sorted(set(sizes)):
        frontier = frontier.extend(islice(source, size - frontier.size))
        if frontier.size != size:
            break
        found[size] = frontier.root()
    return found


def _roots(leaves: Iterable[bytes], path: Sequence[tuple[int, int]], rest: tuple[int, int]) -> list[bytes]:
    """The roots of ranges of leaves. Together with `rest` they are all of the leaves: one pass finds them."""
    source, found = iter(leaves), {}
    for start, end in sorted({*path, rest}):
        found[start, end] = root_of(islice(source, end - start))
    return [found[part] for part in path]


def _join(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below size."""
    return 1 << (size - 1).bit_length() - 1
