"""Proofs against RFC 9162's verification algorithms, written here from its text, step by step.

The proofs that our prover makes must pass the RFC's verifier, and what its verifier says of a damaged proof ours must
say, too: exhaustively for small trees, at random for trees of up to a million leaves.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256

import pytest

from ledger import check, merkle

SIZES = range(1, 71)
LEAVES = [sha256(b"\x00" + str(number).encode()).digest() for number in range(70)]
ROOTS = [merkle.root_of(LEAVES[:size]) for size in range(71)]


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def rfc_inclusion(hash_: bytes, leaf_index: int, tree_size: int, path: Sequence[bytes], root_hash: bytes) -> bool:
    """§2.1.3.2, "Verifying an Inclusion Proof"."""
    # 1. Compare leaf_index from the inclusion_proof against the tree_size: fail if it is not smaller.
    if leaf_index >= tree_size:
        return False
    # 2. Set fn to leaf_index and sn to tree_size - 1.  3. Set r to hash.
    fn, sn, r = leaf_index, tree_size - 1, hash_
    # 4. For each value p in the inclusion_path array:
    for p in path:
        # a. If sn is 0, then stop the iteration and fail the proof verification.
        if sn == 0:
            return False
        # b. If LSB(fn) is set, or if fn is equal to sn:
        if fn % 2 == 1 or fn == sn:
            # i. Set r to HASH(0x01 || p || r).
            r = node(p, r)
            # ii. If LSB(fn) is not set, then right-shift both equally until either LSB(fn) is set or fn is 0.
            if fn % 2 == 0:
                while fn % 2 == 0 and fn != 0:
                    fn //= 2
                    sn //= 2
        else:
            # Otherwise, set r to HASH(0x01 || r || p).
            r = node(r, p)
        # c. Finally, right-shift both fn and sn one time.
        fn //= 2
        sn //= 2
    # 5. Compare sn to 0. Compare r against the root_hash.
    return sn == 0 and r == root_hash


def rfc_consistency(first: int, second: int, first_hash: bytes, second_hash: bytes, given: Sequence[bytes]) -> bool:
    """§2.1.4.2, "Verifying Consistency between Two Tree Heads", for 0 < first < second."""
    path = list(given)
    # 1. If consistency_path is an empty array, stop and fail the proof verification.
    if not path:
        return False
    # 2. If first is an exact power of 2, then prepend first_hash to the consistency_path array.
    if first.bit_count() == 1:
        path = [first_hash, *path]
    # 3. Set fn to first - 1 and sn to second - 1.  4. If LSB(fn) is set, right-shift both until it is not.
    fn, sn = first - 1, second - 1
    while fn % 2 == 1:
        fn //= 2
        sn //= 2
    # 5. Set both fr and sr to the first value in the consistency_path array.
    fr = sr = path[0]
    # 6. For each subsequent value c:
    for c in path[1:]:
        # a. If sn is 0, then stop the iteration and fail the proof verification.
        if sn == 0:
            return False
        # b. If LSB(fn) is set, or if fn is equal to sn:
        if fn % 2 == 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            if fn % 2 == 0:
                while fn % 2 == 0 and fn != 0:
                    fn //= 2
                    sn //= 2
        else:
            sr = node(sr, c)
        # c. Finally, right-shift both fn and sn one time.
        fn //= 2
        sn //= 2
    # 7. Verify that fr equals first_hash, that sr equals second_hash, and that sn is 0.
    return fr == first_hash and sr == second_hash and sn == 0


def damaged(path: Sequence[bytes]) -> list[list[bytes]]:
    """Proofs that are nearly this one."""
    flipped = [[*path[:at], sha256(hash_).digest(), *path[at + 1 :]] for at, hash_ in enumerate(path)]
    return [*flipped, list(path[1:]), list(path[:-1]), [*path, LEAVES[0]], [LEAVES[0], *path], list(path[::-1])]


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_in_every_small_tree(size: int) -> None:
    """Every leaf of every tree up to 70: the RFC's verifier takes our proof, and ours agrees with it on all others."""
    root = ROOTS[size]
    for index in range(size):
        path = merkle.inclusion_proof(LEAVES[:size], index, size)

        assert rfc_inclusion(LEAVES[index], index, size, path, root)
        assert check.verify_inclusion(LEAVES[index], index, size, path, root)
        for other in damaged(path):
            arguments = (LEAVES[index], index, size, other, root)
            assert check.verify_inclusion(*arguments) == rfc_inclusion(*arguments)
        for wrong in {0, size - 1, index + 1} - {index}:
            arguments = (LEAVES[index], wrong, size, path, root)
            assert check.verify_inclusion(*arguments) == rfc_inclusion(*arguments)


@pytest.mark.parametrize("size", SIZES)
def test_consistency_of_every_two_small_trees(size: int) -> None:
    """Every two sizes up to 70: the RFC's verifier takes our proof, and both take and refuse the same others."""
    for first in range(1, size):
        path = merkle.consistency_proof(LEAVES[:size], first, size)

        assert rfc_consistency(first, size, ROOTS[first], ROOTS[size], path)
        assert check.verify_consistency(first, size, ROOTS[first], ROOTS[size], path)
        for other in damaged(path):
            arguments = (first, size, ROOTS[first], ROOTS[size], other)
            assert check.verify_consistency(*arguments) == rfc_consistency(*arguments)
        arguments = (first, size, ROOTS[first - 1], ROOTS[size], path)
        assert check.verify_consistency(*arguments) == rfc_consistency(*arguments)


def in_large_trees(most: int, trees: int, proofs: int) -> None:
    """Random trees of up to `most` leaves, some proofs in each."""
    chance = random.Random(f"{most} leaves")
    leaves = [number.to_bytes(32, "big") for number in range(most)]
    for _ in range(trees):
        size = chance.randint(2, most)
        firsts = [chance.randint(1, size - 1) for _ in range(proofs)]
        roots = merkle.roots_at(leaves, {*firsts, size})
        for first in firsts:
            index = chance.randrange(size)
            path = merkle.inclusion_proof(leaves, index, size)
            assert rfc_inclusion(leaves[index], index, size, path, roots[size])
            assert check.verify_inclusion(leaves[index], index, size, path, roots[size])
            assert not check.verify_inclusion(leaves[index - 1], index, size, path, roots[size])
            path = merkle.consistency_proof(leaves, first, size)
            assert rfc_consistency(first, size, roots[first], roots[size], path)
            assert check.verify_consistency(first, size, roots[first], roots[size], path)
            assert not check.verify_consistency(first, size, roots[size], roots[first], path)


def test_proofs_in_larger_trees() -> None:
    """Random positions and sizes up to 20,000."""
    in_large_trees(20_000, trees=2, proofs=4)


@pytest.mark.slow
def test_proofs_in_trees_of_a_million() -> None:
    """Random positions and sizes up to 1,000,000."""
    in_large_trees(1_000_000, trees=6, proofs=4)
