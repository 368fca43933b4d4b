"""Cells with four nodes and one operation on each of six edges: what their search spaces share."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from surrogates.space import Arch, Decision, Space

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The edges (from, to) in the order of an architecture's operations."""

ROUTES = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""The ways from the input, node 0, to the output, node 3: each the places of its edges in `EDGES`."""


class CellSpace(Space):
    """All cells with four nodes and one of `operations` on each of `EDGES`; an architecture is six indices into them.

    Attributes:
        operations: Names of the operations.
    """

    operations: tuple[str, ...]

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The operation of each edge."""
        return tuple(Decision(f"{source}->{target}", self.operations) for source, target in EDGES)

    @cached_property
    def _all(self) -> NDArray[np.int64]:
        archs = np.indices((len(self.operations),) * len(EDGES)).reshape(len(EDGES), -1).T.copy()
        archs.flags.writeable = False
        return archs

    def enumerate(self) -> NDArray[np.int64]:
        """Returns all cells in lexicographic order: shape (size, 6), read-only."""
        return self._all

    def neighbours(self, arch: Arch) -> list[Arch]:
        """Returns the cells that differ in one operation."""
        return [
            (*arch[:edge], op, *arch[edge + 1 :])
            for edge, old in enumerate(arch)
            for op in range(len(self.operations))
            if op != old
        ]

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws one of the neighbours uniformly."""
        others = len(self.operations) - 1
        edge, step = divmod(int(rng.integers(len(EDGES) * others)), others)
        return (*arch[:edge], (arch[edge] + 1 + step) % (others + 1), *arch[edge + 1 :])

    def encode(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns one-hot operations, one feature an edge and operation: shape (n, 6 * operations)."""
        one_hot = np.eye(len(self.operations), dtype=np.float32)[self.as_array(archs)]
        return one_hot.reshape(-1, len(EDGES) * len(self.operations))

    def path_encoding(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns which paths a cell has (White et al. 2021, "BANANAS", AAAI, section 4.1): shape (n, paths).

        A path is the sequence of operations on a way from the input to the output. With q operations other than
        `none`, which is no connection, there are q + q^2 + q^3 of them: the shorter ones first, those of a length in
        lexicographic order. A path counts once, whichever nodes it passes, so the encoding does not tell apart cells
        that differ in these alone. (The authors' program for NAS-Bench-201 takes `none` for an operation on a path.)
        """
        rank = np.cumsum([op != "none" for op in self.operations]) - 1
        is_none = np.array([op == "none" for op in self.operations])
        kinds, longest = int(rank[-1]) + 1, max(map(len, ROUTES))
        cells = self._all[self.index(archs)]
        paths = np.zeros((len(cells), sum(kinds**length for length in range(1, longest + 1))), dtype=np.float32)
        for route in ROUTES:
            ops = cells[:, route]
            open_ = np.flatnonzero(~is_none[ops].any(axis=1))
            first = sum(kinds**length for length in range(1, len(route)))
            paths[open_, first + rank[ops[open_]] @ kinds ** np.arange(len(route))[::-1]] = 1
        return paths
