from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates.cell_space import EDGES
from surrogates.graph_features import (
    FEATURES,
    cell_features,
    connected,
    edge_tpu_supports,
    execution_features,
    live,
    operation_counts,
    path_counts,
)
from surrogates.spaces import spaces
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro

TABLE = Path(__file__).parents[2] / ".." / "shared" / "data" / "nb201_hwnasbench.parquet"

CELLS = nas_bench_201.enumerate()

# Nodes are 0 to 3, and edges go from lower to higher ones: there are these four paths.
PATHS = [[3], [0, 4], [1, 5], [0, 2, 5]]

cell = st.tuples(*[st.integers(0, 4)] * 6)


def test_an_edge_is_live_exactly_if_a_path_without_none_has_it():
    expected = np.zeros_like(CELLS)
    for path in PATHS:
        whole = (CELLS[:, path] != 0).all(1)
        for edge in path:
            expected[whole, edge] = CELLS[whole, edge]
    np.testing.assert_array_equal(live(CELLS), expected)


def test_a_cell_is_connected_exactly_if_an_edge_is_live():
    np.testing.assert_array_equal(connected(CELLS), live(CELLS).any(1))


def test_numbers_of_paths_are_those_of_the_powers_of_the_adjacency_matrix():
    adjacency = np.zeros((len(CELLS), 4, 4))
    for edge, (source, target) in enumerate(EDGES):
        adjacency[:, source, target] = CELLS[:, edge] != 0
    walks = np.sum([np.linalg.matrix_power(adjacency, n) for n in (1, 2, 3)], axis=0)
    np.testing.assert_array_equal(path_counts(CELLS, 5).sum(1), walks[:, 0, 3])


def test_path_counts_of_a_cell_worked_out_by_hand():
    # Codes: 0 none, 1 skip, 2 and 3 convolutions, 4 pooling. Paths: 3, then 2 and 1, then 4 and 3, then 2, 1 and 3.
    counts = path_counts(np.array([[2, 4, 1, 3, 1, 3]]), 5)[0]
    sequences = ["", "2", "3", "4", "22", "23", "24", "32", "33", "34", "42", "43", "44"]
    found = {sequence: count for sequence, count in zip(sequences, counts[:13], strict=True) if count}
    assert found == {"3": 1, "2": 1, "43": 1, "23": 1}
    assert not counts[13:].any()


def test_isomorphic_cells_have_the_same_paths():
    canonical = np.array([nas_bench_201.canonical(tuple(arch)) for arch in CELLS.tolist()])
    np.testing.assert_array_equal(path_counts(CELLS, 5), path_counts(canonical, 5))


@given(cell=cell, edge=st.integers(0, 5), operation=st.integers(1, 4))
def test_what_stands_on_a_dead_edge_does_not_matter(cell, edge, operation):
    one = np.array([cell])
    other = one.copy()
    other[0, edge] = operation
    if live(other)[0, edge] == 0:
        np.testing.assert_array_equal(cell_features(one, 5)[0], cell_features(live(other), 5)[0])
        assert (cell_features(other, 5) == cell_features(one, 5)).all() or one[0, edge] != 0


@given(cells=st.lists(cell, min_size=1, max_size=5))
def test_features_do_not_depend_on_the_other_cells_asked_for(cells):
    for features in (FEATURES["nas_bench_201"], execution_features, edge_tpu_supports):
        whole = features(np.array(cells))
        np.testing.assert_array_equal(whole, np.concatenate([features(np.array([cell])) for cell in cells]))


def test_features_of_time_tell_all_cells_apart():
    assert len(np.unique(execution_features(CELLS), axis=0)) == nas_bench_201.size


@pytest.mark.parametrize("space", [trans_nas_bench_101_micro, trans_nas_bench_101_macro], ids=lambda s: s.name)
def test_features_are_finite_numbers_one_row_an_architecture(space):
    features = FEATURES[space.name](space.enumerate())
    assert features.shape[0] == space.size
    assert features.dtype == np.float64
    assert np.isfinite(features).all()
    assert features.std(0).min() > 0


def test_skeletons_have_one_feature_a_place_and_kind():
    features = FEATURES["trans_nas_bench_101_macro"](trans_nas_bench_101_macro.enumerate())
    assert len(np.unique(features, axis=0)) == trans_nas_bench_101_macro.size
    np.testing.assert_array_equal(features.sum(1), (trans_nas_bench_101_macro.enumerate() > 0).sum(1))


def test_every_space_with_features_exists():
    assert set(FEATURES) <= set(spaces.names())


def test_operation_counts_leave_out_none():
    np.testing.assert_array_equal(operation_counts(np.array([[0, 1, 2, 3, 4, 4]])), [[1, 1, 1, 2]])


@pytest.mark.parametrize(
    ("cell", "supported"),
    [
        ((3, 3, 3, 3, 3, 3), True),
        ((0, 0, 0, 0, 0, 0), False),  # The output is zero.
        ((0, 3, 3, 3, 1, 3), False),  # A convolution reads node 1, which is zero.
        ((0, 3, 1, 3, 1, 3), True),
        ((4, 0, 0, 3, 3, 0), False),  # A convolution alone reads pooling.
        ((4, 0, 0, 3, 4, 0), True),
        ((4, 3, 3, 3, 3, 3), True),  # Two read it.
        ((2, 0, 0, 0, 4, 0), False),  # The next cell's convolution does.
        ((1, 2, 0, 3, 1, 0), False),  # Node 2 is a single convolution, multiplied by zero.
        ((1, 2, 2, 3, 1, 0), True),
    ],
)
def test_edge_tpu_rule_on_cells_worked_out_by_hand(cell, supported):
    assert edge_tpu_supports(np.array([cell]))[0] == supported


@pytest.mark.skipif(not TABLE.is_file(), reason="needs the HW-NAS-Bench extract in ../shared/data")
def test_edge_tpu_rule_is_right_for_the_share_of_cells_it_says():
    table = pd.read_parquet(TABLE, columns=["arch_str", "c10_edgetpu_latency"])
    rows = nas_bench_201.index([nas_bench_201.parse(text) for text in table["arch_str"]])
    right = edge_tpu_supports(CELLS[rows]) == (table["c10_edgetpu_latency"] > 0).to_numpy()
    assert right.mean() >= 0.995
