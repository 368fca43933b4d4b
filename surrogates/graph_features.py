"""Features of architectures for fitted surrogates: what the output of a cell depends on, and through which paths.

A cell is six operations on `EDGES`, of which 0 is "none" and 1 is "skip_connect", as in the spaces of NAS-Bench-201 and
of TransNAS-Bench-101's cells. All functions take cells as integers, shape (n, 6).
"""

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from surrogates.cell_space import EDGES

Cells = NDArray[np.integer]
Features = NDArray[np.float64]

NONE, SKIP, POOL = 0, 1, 4
"""Codes of operations; 2 and 3 are convolutions, and pooling exists in NAS-Bench-201 only."""

_PATHS = tuple(tuple(map(EDGES.index, path)) for path in (
    ((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3)),
))  # fmt: skip
"""The edges of each path from the input, node 0, to the output, node 3."""


def _reachable(cells: Cells) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which nodes a path from the input reaches, and which reach the output: each of shape (n, 4)."""
    there = np.asarray(cells) != NONE
    forward, backward = np.zeros((2, len(there), 4), dtype=bool)
    forward[:, 0] = backward[:, 3] = True
    for edge, (source, target) in enumerate(EDGES):
        forward[:, target] |= there[:, edge] & forward[:, source]
    for edge, (source, target) in reversed(tuple(enumerate(EDGES))):
        backward[:, source] |= there[:, edge] & backward[:, target]
    return forward, backward


def live(cells: Cells) -> NDArray[np.int64]:
    """Returns the cells with "none" on each edge that lies on no path from the input to the output: shape (n, 6)."""
    forward, backward = _reachable(cells)
    sources, targets = np.array(EDGES).T
    return np.where(forward[:, sources] & backward[:, targets], cells, NONE)


def connected(cells: Cells) -> NDArray[np.bool_]:
    """Returns whether a path leads from the input to the output: shape (n,)."""
    return _reachable(cells)[0][:, 3]


def path_counts(cells: Cells, operations: int) -> Features:
    """Returns how many paths from the input to the output apply each sequence of operations.

    The skips of a path do not count towards its sequence, and a path with "none" is no path.

    Args:
        cells: Cells.
        operations: Number of operations of the space.

    Returns:
        Counts, shape (n, sequences): the sequences of no, one, two and three operations from code 2 on, in
        lexicographic order within a length.
    """
    cells = np.asarray(cells)
    codes = range(2, operations)
    columns = {sequence: i for i, sequence in enumerate(s for n in range(4) for s in product(codes, repeat=n))}
    counts = np.zeros((len(cells), len(columns)))
    for path in _PATHS:
        sequences = list(product(range(operations), repeat=len(path)))
        places = np.array([
            -1 if NONE in sequence else columns[tuple(op for op in sequence if op != SKIP)] for sequence in sequences
        ])  # fmt: skip
        place = places[np.ravel_multi_index(tuple(cells[:, path].T), (operations,) * len(path))]
        np.add.at(counts, (np.flatnonzero(place >= 0), place[place >= 0]), 1)
    return counts


def _one_hot(codes: NDArray[np.integer], size: int) -> Features:
    """Returns one column a decision and code from 1 on; code 0 has none."""
    return np.eye(size)[codes][:, :, 1:].reshape(len(codes), -1)


def cell_features(cells: Cells, operations: int) -> Features:
    """Returns the operations of the live edges (one-hot) and the counts of paths: what decides the scores of a cell."""
    return np.hstack([_one_hot(live(cells), operations), path_counts(cells, operations)])


def execution_features(cells: Cells) -> Features:
    """Returns what decides how long a cell of NAS-Bench-201 takes on a device, which may skip the edges without effect.

    These are the features of `cell_features`, the operations of all edges (one-hot), and those of the edges from which
    a path leads to the output.
    """
    needed = np.where(_reachable(cells)[1][:, np.array(EDGES)[:, 1]], cells, NONE)
    return np.hstack([cell_features(cells, 5), _one_hot(np.asarray(cells), 5), _one_hot(needed, 5)])


def operation_counts(cells: Cells) -> Features:
    """Returns how many edges of a cell of NAS-Bench-201 have each operation but "none": shape (n, 4)."""
    return (np.asarray(cells)[:, :, None] == np.arange(1, 5)).sum(1).astype(np.float64)


def _feeds(cell: tuple[int, ...], needed: NDArray[np.bool_]) -> list[set[int]]:
    """Returns the edges whose results each node adds up; an edge stands for its operation, -1 for the cell's input.

    A skip passes on what its source has added up, and a node without edges is zero.
    """
    feeds: list[set[int]] = [{-1}, set(), set(), set()]
    for edge, ((source, target), op) in enumerate(zip(EDGES, cell, strict=True)):
        if op == NONE or not needed[target]:
            continue
        if op != SKIP:
            feeds[target].add(edge)
        elif len(feeds[source]) == 1:
            feeds[target] |= feeds[source]
        elif feeds[source]:
            feeds[target].add(-2 - source)  # The sum of several results counts as one.
    return feeds


def edge_tpu_supports(cells: Cells) -> NDArray[np.bool_]:
    """Returns whether HW-NAS-Bench has a latency of a NAS-Bench-201 cell on the Edge TPU: shape (n,).

    A rule found from its table (Li et al. 2021, "HW-NAS-Bench", ICLR), where it is right for 99.5% of the cells. No
    latency has a cell whose output is zero; in which an operation that matters for the output reads a zero; in which a
    convolution alone reads what average pooling alone has written, also over the border of two cells; or which
    multiplies the result of a single convolution by zero ("none").
    """
    backward = _reachable(cells)[1]
    return np.array([_supported(tuple(cell), needed) for cell, needed in zip(cells.tolist(), backward, strict=True)])


def _supported(cell: tuple[int, ...], needed: NDArray[np.bool_]) -> bool:
    feeds = _feeds(cell, needed)
    if not feeds[3]:
        return False
    readers: dict[int, list[int]] = {}
    for (source, target), op in zip(EDGES, cell, strict=True):
        if op > SKIP and needed[target]:
            if not feeds[source]:
                return False
            if len(feeds[source]) == 1:
                readers.setdefault(min(feeds[source]), []).append(op)
    for target in (1, 2, 3):
        if len(feeds[target]) > 1:
            for edge in feeds[target]:
                readers.setdefault(edge, []).append(NONE)  # A sum reads it, too.
    if len(feeds[3]) == 1:
        readers.setdefault(min(feeds[3]), []).extend(readers.get(-1, []))  # The next cell reads the output.
    alone = [edge for edge, ops in readers.items() if edge >= 0 and cell[edge] == POOL and len(ops) == 1]
    return not any(readers[edge][0] in (2, 3) for edge in alone) and _dangling(cell) != [True]


def _dangling(cell: tuple[int, ...]) -> list[bool]:
    """Returns, for each single result that is only ever multiplied by zero, whether it is that of a convolution."""
    feeds = _feeds(cell, np.ones(4, dtype=bool))
    found = []
    for result in sorted({edge for feed in feeds[1:] for edge in feed if edge >= 0}):
        nodes = [node for node in (1, 2, 3) if feeds[node] == {result}]
        uses = [op for (source, _), op in zip(EDGES, cell, strict=True) if source in nodes]
        if nodes and 3 not in nodes and not any(uses):
            found.append(cell[result] != POOL)
    return found


FEATURES: Mapping[str, Callable[[NDArray[np.integer]], Features]] = {
    "nas_bench_201": lambda cells: cell_features(cells, 5),
    "trans_nas_bench_101_micro": lambda cells: cell_features(cells, 4),
    "trans_nas_bench_101_macro": lambda skeletons: _one_hot(np.asarray(skeletons), 5),
}
"""What the scores of a space's architectures are predicted from, by the name of the space."""
