from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from surrogates.cell_space import EDGES
from surrogates.space import ArchitectureError
from surrogates.spaces.trans_nas_bench_101_micro import OPERATIONS, trans_nas_bench_101_micro

PUBLISHED = Path("../shared/data/tnb101_micro.parquet")
needs_published = pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs {PUBLISHED}")

ARCHS = [tuple(arch) for arch in trans_nas_bench_101_micro.enumerate().tolist()]


@pytest.fixture(scope="module")
def canonical():
    return [trans_nas_bench_101_micro.canonical(arch) for arch in ARCHS]


@pytest.fixture(scope="module")
def published():
    scores = pd.read_parquet(PUBLISHED).set_index("arch_str").filter(like="_final")
    return scores.set_index(
        pd.Index([trans_nas_bench_101_micro.parse(key) for key in scores.index], tupleize_cols=False)
    )


def fingerprints(halving: bool) -> np.ndarray:
    """What each cell computes, told by numbers: shape (4096, features).

    A convolution is a nonlinear function of a batch of three numbers, less its mean, times a weight, plus an offset,
    as batch normalisation does it. Cells that differ in the names of nodes and edges give the same set of
    outputs over all orders of six weights; the features are sums over the orders.
    """
    weights = np.array(list(permutations([0.31, 0.47, 0.59, 0.83, 1.07, 1.39])))
    cell_input = np.tile([0.37, -0.71, 1.13], (len(weights), 1))

    def operate(op: int, value: np.ndarray, edge: int) -> np.ndarray:
        if op == 0:
            return np.zeros_like(value)
        if op == 1 and not (halving and EDGES[edge][0] == 0):
            return value
        weight = weights[:, [edge]]
        result = np.sin((0.5 + 0.4 * op) * value)
        return weight * (result - result.mean(axis=1, keepdims=True)) + weight**2

    def sums(*inputs: tuple[int, np.ndarray]) -> list[np.ndarray]:
        """Returns a node for each choice of operations on its edges, in lexicographic order."""
        nodes = [np.zeros_like(cell_input)]
        for edge, value in inputs:
            results = [operate(op, value, edge) for op in range(4)]
            nodes = [node + result for node in nodes for result in results]
        return nodes

    outputs = [
        output
        for one in sums((0, cell_input))
        for two in sums((1, cell_input), (2, one))
        for output in sums((3, cell_input), (4, one), (5, two))
    ]
    return np.array([[*y.mean(axis=0), *(y**3).mean(axis=0), (y[:, 0] * y[:, 1] ** 2).mean()] for y in outputs])


def test_has_as_many_cells_as_published():
    """Duan et al. 2021, section 3: 4,096 cells."""
    assert len(set(ARCHS)) == 4_096


def test_reads_the_key_as_the_authors_explain_it():
    """The example of the authors' repository: which operation node 1, 2 and 3 apply to which node."""
    arch = trans_nas_bench_101_micro.parse("64-41414-1_02_333")
    assert dict(zip(EDGES, (OPERATIONS[op] for op in arch), strict=True)) == {
        (0, 1): "skip_connect",
        (0, 2): "none",
        (1, 2): "nor_conv_1x1",
        (0, 3): "nor_conv_3x3",
        (1, 3): "nor_conv_3x3",
        (2, 3): "nor_conv_3x3",
    }


def test_cells_have_one_canonical_form_exactly_if_they_compute_the_same(canonical):
    features = fingerprints(halving=True)
    rows = trans_nas_bench_101_micro.index(canonical)
    np.testing.assert_allclose(features, features[rows], rtol=0, atol=1e-9)
    different = features[np.unique(rows)]
    order = np.lexsort(different.round(7).T)
    assert np.abs(np.diff(different[order], axis=0)).max(axis=1).min() > 1e-6


def test_canonical_form_computes_the_same_where_the_resolution_stays(canonical):
    features = fingerprints(halving=False)
    rows = trans_nas_bench_101_micro.index(canonical)
    np.testing.assert_allclose(features, features[rows], rtol=0, atol=1e-9)


def test_canonical_form_is_the_smallest_of_its_class(canonical):
    classes = pd.Series(ARCHS).groupby(pd.Series(canonical))
    assert (classes.min() == classes.min().index).all()


@pytest.mark.parametrize(
    ("key", "smallest"),
    [
        ("64-41414-3_21_300", "64-41414-0_00_300"),  # nothing reads nodes 1 and 2
        ("64-41414-3_00_010", "64-41414-0_00_300"),  # node 1 is passed on
        ("64-41414-3_20_033", "64-41414-2_30_033"),  # nodes 1 and 2 change places
        ("64-41414-1_00_010", "64-41414-0_00_100"),  # from node 0, to skip is an operation like others
        ("64-41414-0_03_002", "64-41414-0_00_002"),  # what reads no input gives a constant
        ("64-41414-3_01_022", "64-41414-3_01_022"),  # node 3 reads one node twice, not two equal ones ...
        ("64-41414-3_30_022", "64-41414-3_30_022"),  # ... as here
        ("64-41414-0_33_000", "64-41414-0_00_000"),
    ],
)
def test_canonical_form_of_a_few_cells(key, smallest):
    space = trans_nas_bench_101_micro
    assert space.format(space.canonical(space.parse(key))) == smallest


@needs_published
def test_cells_of_equal_scores_in_all_tasks_have_one_canonical_form(published, canonical):
    """Training was deterministic: the same function from the same random weights scores the same to the last digit."""
    forms = pd.Series(canonical, index=pd.Index(ARCHS, tupleize_cols=False))
    assert set(published.index) == set(ARCHS)
    groups = published.assign(form=forms).groupby(list(published.columns))["form"]
    assert (groups.size() > 1).sum() > 500
    assert groups.nunique().max() == 1


@needs_published
def test_scores_within_a_class_hardly_differ(published, canonical):
    forms = pd.Series(canonical, index=pd.Index(ARCHS, tupleize_cols=False))
    within = published.groupby(forms[published.index]).var(ddof=1).mean()
    assert (within < 0.1 * published.var()).all()


def test_neighbours_are_the_18_cells_at_hamming_distance_one():
    archs = np.array(ARCHS)
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = trans_nas_bench_101_micro.sample(rng)
        expected = archs[(archs != arch).sum(axis=1) == 1]
        assert len(expected) == 18
        assert sorted(trans_nas_bench_101_micro.neighbours(arch)) == [tuple(other) for other in expected.tolist()]


def test_encoding_is_one_of_four_on_each_edge():
    features = trans_nas_bench_101_micro.encode([(0, 1, 2, 3, 3, 0)])
    assert features.reshape(6, 4).argmax(axis=1).tolist() == [0, 1, 2, 3, 3, 0]
    assert features.sum() == 6


def test_example_of_the_description_is_a_cell():
    trans_nas_bench_101_micro.parse(trans_nas_bench_101_micro.description.rpartition("Example: ")[2])


@pytest.mark.parametrize("bad", ["64-41414-1_02_334", "64-41414-1_02_33", "64-1234-basic", "64-41414-102333"])
def test_error_shows_the_form(bad):
    with pytest.raises(ArchitectureError, match=f"{bad}.*64-41414-a_bc_def.*0 to 3"):
        trans_nas_bench_101_micro.parse(bad)
