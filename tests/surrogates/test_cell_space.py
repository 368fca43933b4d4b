from itertools import product

import numpy as np
import pytest

from surrogates.cell_space import EDGES, ROUTES
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro

SPACES = [nas_bench_201, trans_nas_bench_101_micro]


def paths(space, arch):
    """The paths of a cell as sequences of names, by the definition: walks from node 0 to node 3 along open edges."""
    found: set[tuple[str, ...]] = set()
    walks: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while walks:
        node, ops = walks.pop()
        if node == 3:
            found.add(ops)
        for (source, target), op in zip(EDGES, arch, strict=True):
            if source == node and space.operations[op] != "none":
                walks.append((target, (*ops, space.operations[op])))
    return found


def test_the_routes_are_the_ways_from_the_input_to_the_output():
    assert {tuple(EDGES[edge] for edge in route) for route in ROUTES} == {
        ((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3)),
    }  # fmt: skip


@pytest.mark.parametrize(("space", "kinds"), [(nas_bench_201, 4), (trans_nas_bench_101_micro, 3)])
def test_there_are_as_many_paths_as_sequences_of_up_to_three_operations(space, kinds):
    encoded = space.path_encoding(space.enumerate())
    assert encoded.shape == (space.size, kinds + kinds**2 + kinds**3)
    assert set(np.unique(encoded).tolist()) == {0, 1}
    assert encoded.any(axis=0).all()
    assert encoded.sum(axis=1).max() == 4


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.name)
def test_a_cell_has_the_paths_that_walking_along_its_edges_finds(space):
    names = [op for op in space.operations if op != "none"]
    ordered = [path for length in (1, 2, 3) for path in product(names, repeat=length)]
    rows = np.random.default_rng(0).choice(space.size, 300, replace=False)
    for arch, encoded in zip(space.enumerate()[rows], space.path_encoding(space.enumerate()[rows]), strict=True):
        assert {ordered[i] for i in np.flatnonzero(encoded)} == paths(space, arch.tolist())


def test_an_example():
    # A pooling straight to the output; and 1x1 convolution, skip, 3x3 convolution by way of nodes 1 and 2.
    arch = nas_bench_201.parse("|nor_conv_1x1~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|")
    # Of skip (0), 1x1 (1), 3x3 (2), pooling (3): the path (3), and, after 4 + 16 shorter ones, (1, 0, 2) in base 4.
    assert np.flatnonzero(nas_bench_201.path_encoding([arch])[0]).tolist() == [3, 20 + 16 + 2]


def test_a_cell_without_connection_has_no_path_and_one_path_counts_once():
    none, skips = nas_bench_201.path_encoding([(0,) * 6, (1,) * 6])
    assert none.sum() == 0
    assert np.flatnonzero(skips).tolist() == [0, 4, 20]


def test_cells_that_differ_in_the_names_of_their_nodes_are_not_told_apart():
    first, second = nas_bench_201.path_encoding([(2, 3, 0, 1, 4, 2), (3, 2, 0, 1, 2, 4)])
    np.testing.assert_array_equal(first, second)
