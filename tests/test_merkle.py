"""The tree against RFC 6962's definitions, written down naively, and against Certificate Transparency's vectors."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ledger import check, merkle

SIZES = range(71)
LEAVES = [merkle.leaf_hash(f"entry {number}".encode()) for number in SIZES]

# The reference inputs and roots of Certificate Transparency's own tests (google/certificate-transparency).
CT_INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, over leaves that are hashed already."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = naive_split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    k = naive_split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], *, complete: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2."""
    if m == len(leaves):
        return [] if complete else [naive_root(leaves)]
    k = naive_split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], complete=complete), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], complete=False), naive_root(leaves[:k])]


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def test_entry_bytes_are_for_ever() -> None:
    """The entry's layout is written out here field by field, and its leaf is a golden value."""
    expected = (
        bytes.fromhex("0000000000000008 0000000000000007")
        + bytes.fromhex("0000000000000006") + b"wave:a"
        + bytes.fromhex("0000000000000008 0000000000000002")
        + bytes.fromhex("0000000000000010") + b"wave.completed/1"
        + bytes.fromhex("0000000000000008 0000000065920080")
        + bytes.fromhex("0000000000000006") + "zoë".encode() + b"()"
        + bytes.fromhex("0000000000000020") + sha256(b"{}").digest()
    )  # fmt: skip

    entry = merkle.entry(7, "wave:a", 2, "wave.completed/1", 0x65920080, "zoë()", b"{}")

    assert entry == expected
    assert merkle.leaf_hash(entry).hex() == "19ea6189df1e4edc68e38e461eabecc7c59fe808e1063a31d9b92e7ab2d0bf9e"


def test_entries_of_different_events_differ() -> None:
    """Moving a character from one field into the next gives another entry."""
    assert merkle.entry(1, "ab", 1, "c", 0, "d", b"") != merkle.entry(1, "a", 1, "bc", 0, "d", b"")


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_of_certificate_transparency(size: int) -> None:
    """The roots of CT's reference trees come out, with one leaf after the other and with all at once."""
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in CT_INPUTS[:size]]
    frontier = merkle.Frontier()
    for leaf in leaves:
        frontier = frontier.append(leaf)

    assert frontier.root().hex() == CT_ROOTS[size - 1]
    assert merkle.root_of(leaves).hex() == CT_ROOTS[size - 1]


def test_root_of_nothing() -> None:
    """The empty tree's root is the hash of the empty string."""
    assert merkle.root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", SIZES)
def test_frontier_at_every_size(size: int) -> None:
    """The frontier's root is RFC 6962's, it survives its bytes, and can go on from any earlier size."""
    leaves = LEAVES[:size]
    frontier = merkle.Frontier().extend(leaves)

    assert frontier.size == size
    assert frontier.root() == naive_root(leaves)
    assert merkle.Frontier.from_bytes(frontier.to_bytes()) == frontier
    for earlier in range(size):
        assert merkle.Frontier().extend(leaves[:earlier]).extend(leaves[earlier:]) == frontier


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0" * 40, b"\0" * 7 + b"\1", b"\0" * 7 + b"\3" + b"\0" * 95])
def test_bytes_that_are_no_frontier(data: bytes) -> None:
    """Bytes whose length does not fit the size in them are refused."""
    with pytest.raises(ValueError, match="does not have"):
        merkle.Frontier.from_bytes(data)


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_at_every_size(size: int) -> None:
    """Every leaf's proof is RFC 6962's and is accepted for that leaf, index, size and root, and for no other."""
    leaves = LEAVES[:size]
    root = naive_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = merkle.inclusion_proof(leaves, index, size)

        assert proof == naive_path(index, leaves)
        assert check.verify_inclusion(leaf, index, size, proof, root)
        assert not check.verify_inclusion(flipped(leaf), index, size, proof, root)
        assert not check.verify_inclusion(leaf, index, size, proof, flipped(root))
        assert not check.verify_inclusion(leaf, index ^ 1, size, proof, root) or size == 1
        assert not check.verify_inclusion(leaf, index, size, [*proof, root], root)
        assert not check.verify_inclusion(leaf, index, 2 * size + 1, proof, root)
        for at, node in enumerate(proof):
            forged = [*proof[:at], flipped(node), *proof[at + 1 :]]
            assert not check.verify_inclusion(leaf, index, size, forged, root)
            assert not check.verify_inclusion(leaf, index, size, proof[:at], root)


@pytest.mark.parametrize("size", SIZES)
def test_consistency_at_every_size(size: int) -> None:
    """The proof from every earlier size is RFC 6962's and is accepted for those two trees, and for no others."""
    leaves = LEAVES[:size]
    root = naive_root(leaves)
    for old_size in range(size + 1):
        old_root = naive_root(leaves[:old_size])
        proof = merkle.consistency_proof(leaves, old_size, size)

        assert proof == (naive_subproof(old_size, leaves, complete=True) if old_size else [])
        assert check.verify_consistency(old_size, size, old_root, root, proof)
        assert not check.verify_consistency(old_size, size, flipped(old_root), root, proof)
        assert not check.verify_consistency(old_size, size, old_root, root, [*proof, root])
        if old_size:
            assert not check.verify_consistency(old_size, size, old_root, flipped(root), proof)
        for at, node in enumerate(proof):
            forged = [*proof[:at], flipped(node), *proof[at + 1 :]]
            assert not check.verify_consistency(old_size, size, old_root, root, forged)
            assert not check.verify_consistency(old_size, size, old_root, root, proof[:at])


def test_a_rewritten_history_has_no_consistency_proof() -> None:
    """A log that changed its third entry can't show that it grew from what it was."""
    rewritten = [*LEAVES[:2], flipped(LEAVES[2]), *LEAVES[3:20]]

    proof = merkle.consistency_proof(rewritten, 10, 20)

    assert not check.verify_consistency(10, 20, naive_root(LEAVES[:10]), naive_root(rewritten), proof)


def test_sizes_that_can_not_be() -> None:
    """Indices and sizes outside the tree are false for a verifier and misuse for a prover."""
    assert not check.verify_inclusion(LEAVES[0], -1, 1, [], LEAVES[0])
    assert not check.verify_inclusion(LEAVES[0], 1, 1, [], LEAVES[0])
    assert not check.verify_consistency(2, 1, LEAVES[0], LEAVES[0], [])
    assert not check.verify_consistency(3, 5, LEAVES[0], LEAVES[0], [])
    with pytest.raises(RuntimeError):
        merkle.inclusion_proof(LEAVES[:3], 3, 3)
    with pytest.raises(RuntimeError):
        merkle.consistency_proof(LEAVES[:3], 4, 3)
