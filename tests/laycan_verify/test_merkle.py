"""The Merkle tree against the recursive definition of RFC 9162, and proofs that are not to be believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from laycan_verify.merkle import extends, includes, leaf_hash, root
from tests.laycan_verify.recursive import Hashes, recursive_path, recursive_proof, recursive_root

HASHES = st.binary(min_size=32, max_size=32)


LEAVES = [b"", b"\x00", b"\x10", b"\x20\x21", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"] + [b"%d" % i for i in range(33)]


class TestRoot:
    def test_equals_the_recursive_definition(self) -> None:
        """For every size up to 41 the root is the one of section 2.1.1."""
        for n in range(len(LEAVES) + 1):
            assert root(LEAVES[:n]) == recursive_root(LEAVES[:n])

    def test_known_roots(self) -> None:
        """The roots that Certificate Transparency's own test data gives for these leaves."""
        assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        assert root(LEAVES[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        assert root(LEAVES[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        assert root(LEAVES[:8]).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


class TestProofs:
    def test_every_leaf_of_every_size(self) -> None:
        """The proof of section 2.1.3.1 holds for its leaf, index, size and root, and for no neighbour."""
        for n in range(1, 20):
            head = recursive_root(LEAVES[:n])
            for m in range(n):
                proof, leaf = recursive_path(m, LEAVES[:n]), leaf_hash(LEAVES[m])
                assert includes(head, n, m, leaf, proof)
                assert not any(includes(head, n, other, leaf, proof) for other in range(-1, n + 1) if other != m)
                assert not includes(head, n, m, leaf_hash(b"other"), proof)
                assert not includes(head, n, m, leaf, [*proof, leaf])
                assert not proof or not includes(head, n, m, leaf, proof[:-1])

    def test_every_pair_of_sizes(self) -> None:
        """The proof of section 2.1.4.1 holds for its sizes and roots, and for no other root or shorter or longer proof."""
        for n in range(1, 20):
            new = recursive_root(LEAVES[:n])
            for m in range(1, n + 1):
                old, proof = recursive_root(LEAVES[:m]), recursive_proof(m, LEAVES[:n])
                assert extends(old, m, new, n, proof)
                assert not extends(leaf_hash(b"x"), m, new, n, proof)
                assert not extends(old, m, leaf_hash(b"x"), n, proof)
                assert not extends(old, m, new, n, [*proof, old])
                assert not proof or not extends(old, m, new, n, proof[:-1])
                assert m == n or not extends(new, n, old, m, proof)

    def test_the_empty_tree_begins_every_tree(self) -> None:
        """Nothing needs to be proven about no entries, but the root must be the one of the empty tree."""
        assert extends(root([]), 0, root(LEAVES), len(LEAVES), [])
        assert extends(root([]), 0, root([]), 0, [])
        assert not extends(root(LEAVES), 0, root(LEAVES), len(LEAVES), [])
        assert not extends(root([]), 0, root(LEAVES), 0, [])

    @given(st.integers(-2, 20), st.integers(-2, 20), st.lists(HASHES, max_size=6))
    def test_noise_proves_nothing(self, m: int, n: int, proof: Hashes) -> None:
        """Whatever the numbers and hashes are, a proof that nobody made is refused and raises nothing."""
        head = recursive_root(LEAVES[:20])
        assert not includes(head, n, m, leaf_hash(b"noise"), proof)
        assert m == n or not extends(leaf_hash(b"noise"), m, head, n, proof)
