"""The trie of token sequences: which tokens may follow which, and what logits at its nodes make of the sequences."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.effects import Sampling
from bench.token_sampling import log_probabilities
from surrogates.errors import InputError


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """Token sequences, of which none begins another, with what they share held once.

    Node 0 is the root, the empty prefix; each other node stands for its parent's prefix and one token more. Nodes are
    numbered in depth-first order, so a node's ancestors come before it, and its subtree is an unbroken range.

    Attributes:
        tokens: Token of each node, shape (nodes,); -1 for the root.
        parents: Parent of each node, shape (nodes,); -1 for the root.
        depths: Tokens of each node's prefix, shape (nodes,).
        ends: First node after each node's subtree, shape (nodes,).
        paths: Nodes below the root that each sequence passes, in the order given: shape (sequences, longest), filled up
            with the root.
    """

    tokens: NDArray[np.int64]
    parents: NDArray[np.int64]
    depths: NDArray[np.int64]
    ends: NDArray[np.int64]
    paths: NDArray[np.int64]

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]]) -> Self:
        """Builds the trie.

        Args:
            sequences: The sequences, each of one token or more, all ids at least 0.

        Raises:
            InputError: There is no sequence, one is empty, or one is equal to another or begins it.
        """
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        if lengths.size == 0 or lengths.min() == 0:
            raise InputError(f"{lengths.size} token sequences were given; expected one or more, none of them empty")
        rows = np.full((lengths.size, lengths.max()), -1, dtype=np.int64)
        rows[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate([np.asarray(s) for s in sequences])
        order = np.lexsort(rows.T[::-1])
        rows = rows[order]
        # Among sorted sequences, those with the same prefix are neighbours: a node is new where a row leaves the last.
        new = np.ones(rows.shape, dtype=bool)
        new[1:] = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
        new &= rows >= 0
        nodes = np.maximum.accumulate(np.where(new, np.cumsum(new).reshape(new.shape), 0), axis=0)
        nodes[rows < 0] = 0
        paths = np.empty_like(nodes)
        paths[order] = nodes
        root = np.array([-1])
        before = np.pad(nodes[:, :-1], ((0, 0), (1, 0)))
        depths = np.concatenate([[0], np.nonzero(new)[1] + 1])
        ends = np.full(depths.size, depths.size)
        ends[nodes] = nodes.max(axis=1, keepdims=True) + 1
        ends[0] = depths.size
        trie = cls(np.concatenate([root, rows[new]]), np.concatenate([root, before[new]]), depths, ends, paths)
        if np.count_nonzero(trie.children == 0) < lengths.size:
            raise InputError("token sequences: one is equal to another or begins it; expected that each ends by itself")
        return trie

    @property
    def size(self) -> int:
        """Number of nodes, the root included."""
        return self.tokens.size

    @cached_property
    def children(self) -> NDArray[np.int64]:
        """Number of children of each node, shape (nodes,)."""
        return np.bincount(self.parents[1:], minlength=self.size)

    def leading_to(self, marked: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns the nodes that are marked or have a marked node below them, ascending.

        Args:
            marked: Shape (nodes,).
        """
        before = np.concatenate([[0], np.cumsum(marked)])
        return np.flatnonzero(before[self.ends] > before[:-1])

    def ancestors(self, node: int) -> NDArray[np.int64]:
        """Returns the nodes between the root and a node, both left out, ascending."""
        return 1 + np.flatnonzero(self.ends[1:node] > node)

    def within(self, nodes: NDArray[np.int64], roots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns whether each node is in the subtree of each root, the root itself included: shape (nodes, roots)."""
        return (roots <= nodes[:, None]) & (nodes[:, None] < self.ends[roots])

    def log_probabilities(self, logits: ArrayLike, sampling: Sampling) -> NDArray[np.float64]:
        """Returns the log-probability of each node among its parent's children, shape (nodes,); 0 for the root.

        Args:
            logits: One for each node, shape (nodes,), all finite; that of a node without siblings does not matter.
            sampling: How tokens are drawn.
        """
        return np.r_[0.0, log_probabilities(np.asarray(logits)[1:], self.parents[1:], sampling)]

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the sum over the nodes that each sequence passes: shape (sequences,).

        Args:
            values: One for each node, shape (nodes,); 0 for the root.
        """
        return values[self.paths].sum(axis=1)
