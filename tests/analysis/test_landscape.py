import json
import re
from itertools import pairwise, product
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import spearmanr

from analysis import figures, landscape
from analysis.figures import HeatMap, Look, Row, Small, Trace
from analysis.statistics import Estimate
from surrogates.benchmark import Benchmark, Scores, Task
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from surrogates.space import Space


class Product(Space):
    """All tuples of so many symbols; neighbours differ in one place."""

    description = grammar = ""

    def __init__(self, symbols, places):
        self.name, self.symbols, self.size = f"product_{symbols}_{places}", symbols, symbols**places
        self.all = np.array(list(product(range(symbols), repeat=places)))

    def enumerate(self):
        return self.all

    def neighbours(self, arch):
        return [
            (*arch[:i], new, *arch[i + 1 :]) for i, old in enumerate(arch) for new in range(self.symbols) if new != old
        ]

    def encode(self, archs):
        return np.asarray(archs, dtype=np.float32)

    def format(self, arch):
        return str(arch)

    def parse(self, text):
        raise NotImplementedError

    def canonical(self, arch):
        return arch


class Made(Benchmark):
    """Whatever scores are given, by task and split."""

    name, version, note, source = "made", "1", "A note to all readers.", "made for a test"

    def __init__(self, space, scores, kind: Literal["table", "surrogate", "training", "proxy"] = "table"):
        self.space, self.made, self.kind = space, scores, kind
        self.tasks = {name: Task(name, "accuracy", "1", tuple(splits)) for name, splits in scores.items()}

    @property
    def checksum(self):
        return "0" * 64

    def query(self, archs, task, fidelity=None, seed=None):
        unknown = np.full(len(archs), np.nan)
        rows = self.space.index(archs)
        found = {split: np.asarray(values, dtype=float)[rows] for split, values in self.made[task].items()}
        return Scores(found.get("validation", unknown), found.get("test", unknown), *[unknown] * 4)


def arcs(n, pairs):
    rows, columns = np.transpose(pairs)
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))


def path(n):
    return arcs(n, [(i, j) for i in range(n) for j in (i - 1, i + 1) if 0 <= j < n])


def table(found, name):
    return next(t.frame for part in found.parts for t in part.tables if t.name == name)


CUBE = Product(4, 4)
CUBE_GRAPH = landscape.neighbour_graph(CUBE)
RNG = np.random.default_rng(0)
DISTANCE = (CUBE.all != 0).sum(axis=1)


# Autocorrelation


@settings(max_examples=20)
@given(st.integers(2, 4), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_an_additive_score_has_the_autocorrelation_of_the_product_space(symbols, places, seed):
    """The score is an eigenvector of the step, with eigenvalue 1 - q / (m (q - 1)); Stadler (1996)."""
    space = Product(symbols, places)
    weights = np.random.default_rng(seed).normal(size=(places, symbols))
    scores = weights[np.arange(places), space.all].sum(axis=1)
    expected = (1 - symbols / (places * (symbols - 1))) ** np.arange(1, 5)
    found = landscape.autocorrelation(landscape.neighbour_graph(space), scores, 4)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_a_parity_of_p_of_m_bits_has_autocorrelation_1_minus_2p_over_m(order):
    space = Product(2, 6)
    parity = (-1.0) ** space.all[:, :order].sum(axis=1)
    found = landscape.autocorrelation(landscape.neighbour_graph(space), parity, 3)
    np.testing.assert_allclose(found, (1 - 2 * order / 6) ** np.arange(1, 4), atol=1e-12)


def test_a_random_score_has_no_autocorrelation():
    found = landscape.autocorrelation(CUBE_GRAPH, RNG.normal(size=CUBE.size), 1)
    # Var ρ(1) = 2 / (n k) for k neighbours.
    assert abs(found[0]) < 4 * np.sqrt(2 / (CUBE.size * 12))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_autocorrelation_is_the_correlation_over_all_walks_also_where_arcs_are_directed(seed):
    rng = np.random.default_rng(seed)
    dense = rng.random((6, 6)) < 0.4
    np.fill_diagonal(dense, False)
    scores = rng.normal(size=6)
    ends, weights = [], []
    for walk in product(range(6), repeat=4):
        chance = 1.0
        for here, there in pairwise(walk):
            near = np.flatnonzero(dense[here]) if dense[here].any() else [here]
            chance *= (there in near) / len(near)
        ends.append(scores[[walk[0], walk[-1]]])
        weights.append(chance)
    covariance = np.cov(np.transpose(ends), aweights=weights)
    if covariance[1, 1] > 1e-6:  # else all walks end at one score
        expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        found = landscape.autocorrelation(csr_array(dense.astype(float)), scores, 3)
        assert found[2] == pytest.approx(expected, abs=1e-9)


def test_autocorrelation_of_cells_is_that_over_their_24_neighbours():
    benchmark = benchmarks.get("analog-nasbench")
    scores = benchmark.scores("clean", "validation")
    cells = (scores - scores.mean()).reshape((5,) * 6)
    near = sum(cells.sum(axis=edge, keepdims=True) - cells for edge in range(6)) / 24
    found = landscape.autocorrelation(landscape.neighbour_graph(benchmark.space), scores, 1)
    assert found[0] == pytest.approx((cells * near).mean() / cells.var(), abs=1e-12)


def test_intervals_over_walks_hold_the_exact_autocorrelation_as_often_as_they_say():
    scores = CUBE.all.sum(axis=1) - RNG.exponential(3, size=CUBE.size)  # skewed
    exact = landscape.autocorrelation(CUBE_GRAPH, scores, 2)
    bands = [landscape.walk_autocorrelation(CUBE_GRAPH, scores, 2, 1000, RNG) for _ in range(400)]
    covered = np.mean([(band.low <= exact) & (exact <= band.high) for band in bands], axis=0)
    assert bands[0].n == 1000
    np.testing.assert_allclose(np.mean([band.value for band in bands], axis=0), exact, atol=0.01)
    assert (np.abs(covered - 0.95) < 0.05).all()


def test_a_walk_that_cannot_move_stays():
    graph = arcs(3, [(0, 1), (1, 0)])
    scores = np.array([1.0, 2, 9])
    assert landscape.autocorrelation(graph, scores, 1)[0] == pytest.approx(
        np.corrcoef([1, 2, 9], [2, 1, 9])[0, 1], abs=1e-12
    )
    nowhere = csr_array((3, 3))
    np.testing.assert_allclose(landscape.walk_autocorrelation(nowhere, scores, 2, 50, RNG).value, 1)


def test_correlation_length_inverts_an_exponential_and_is_unknown_without_one():
    lengths = landscape.correlation_length([np.exp(-1 / 3), np.exp(-1 / 0.5), 0, -0.2, 1, np.nan])
    np.testing.assert_allclose(lengths, [3, 0.5, *[np.nan] * 4])


# Distance and local search


def test_distance_to_the_optimum_is_hammings_in_a_product_space():
    np.testing.assert_array_equal(landscape.optimum_distance(CUBE_GRAPH, -DISTANCE.astype(float)), DISTANCE)


def test_distance_follows_arcs_towards_the_nearest_of_several_optima():
    one_way = arcs(5, [(0, 1), (1, 2), (2, 3), (4, 3)])
    np.testing.assert_array_equal(landscape.optimum_distance(one_way, np.array([0.0, 0, 0, 1, 0])), [3, 2, 1, 0, 1])
    np.testing.assert_array_equal(
        landscape.optimum_distance(one_way, np.array([0.0, 1, 0, 0, 1])), [1, 0, np.inf, np.inf, 0]
    )
    np.testing.assert_array_equal(landscape.optimum_distance(path(5), np.array([1.0, 0, 0, 0, 1])), [0, 1, 2, 1, 0])


@pytest.mark.parametrize(
    ("scores", "optima", "success"),
    [
        ([3, 1, 2, 1, 5], [0, 2, 4], [0, 0, 0, 1, 1]),  # moves to the best neighbour
        ([1, 2, 3, 4, 5], [4], [1, 1, 1, 1, 1]),
        ([5, 2, 1, 2, 4], [0, 4], [1, 1, 0.5, 0, 0]),  # tied neighbours are drawn uniformly
        ([2, 2, 1, 0, 2], [0, 1, 4], [1, 1, 1, 1, 1]),  # equal neighbours do not end it elsewhere: all are optima
        ([1, 1, 1, 2, 3], [0, 1, 4], [0, 0, 1, 1, 1]),  # a plateau is left only for a higher score
    ],
)
def test_local_search_on_a_path_ends_where_it_must(scores, optima, success):
    found = landscape.local_search(path(5), np.array(scores, dtype=float))
    np.testing.assert_array_equal(np.flatnonzero(found.optimum), optima)
    np.testing.assert_array_equal(found.success, success)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_local_search_succeeds_as_often_as_when_it_is_run(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, size=16).astype(float)
    space = Product(2, 4)
    found = landscape.local_search(landscape.neighbour_graph(space), scores)

    def chance(row):
        near = space.index(space.neighbours(tuple(space.all[row].tolist())))
        best = scores[near].max()
        if best <= scores[row]:
            assert found.optimum[row]
            return float(scores[row] == scores.max())
        assert not found.optimum[row]
        return float(np.mean([float(chance(other)) for other in near if scores[other] == best]))

    np.testing.assert_allclose(found.success, [chance(row) for row in range(16)], atol=1e-12)


def test_the_graph_of_the_scored_leaves_out_what_is_unknown():
    graph, scores = landscape.scored(path(4), np.array([1.0, np.nan, 2, 3]))
    np.testing.assert_array_equal(graph.toarray(), [[0, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(scores, [1, 2, 3])
    np.testing.assert_array_equal(landscape.optimum_distance(graph, scores), [np.inf, 1, 0])


def test_a_task_with_few_scores_is_walked_over_those_alone():
    benchmark = benchmarks.get("nas-bench-graph")
    values = benchmark.scores("proteins", "test")
    known = np.flatnonzero(~np.isnan(values))
    graph, scores = landscape.scored(landscape.neighbour_graph(benchmark.space), values)
    archs = [tuple(arch) for arch in benchmark.space.enumerate()[known].tolist()]
    row = {arch: i for i, arch in enumerate(archs)}
    near = [[row[other] for other in benchmark.space.neighbours(arch) if other in row] for arch in archs]
    assert min(map(len, near)) > 0
    first = np.repeat(scores, [len(others) for others in near])
    later, weight = scores[np.concatenate(near)], np.repeat([1 / len(others) for others in near], list(map(len, near)))
    covariance = np.cov(first, later, aweights=weight)
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert landscape.autocorrelation(graph, scores, 1)[0] == pytest.approx(expected, abs=1e-12)
    walk = landscape.walk_autocorrelation(graph, scores, 1, 20_000, np.random.default_rng(0))
    assert walk.value[0] == pytest.approx(expected, abs=2 * (walk.high[0] - walk.low[0]))


# Agreement


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_rank_correlation_is_spearmans_also_with_ties(seed, values):
    columns = np.random.default_rng(seed).integers(values, size=(3, 40)).astype(float)
    found = landscape.rank_correlation(columns, RNG, 2)
    expected = np.array(spearmanr(columns, axis=1)[0])
    np.testing.assert_allclose(found.value, expected, atol=1e-12)


def test_bootstrap_intervals_of_unrelated_columns_have_the_width_of_theory():
    found = landscape.rank_correlation(RNG.normal(size=(2, 1000)), RNG)
    assert found.high[0, 1] - found.low[0, 1] == pytest.approx(2 * 1.96 / np.sqrt(999), rel=0.2)
    assert found.low[0, 1] <= found.value[0, 1] <= found.high[0, 1]


def scores_of(**tasks):
    return {name: {"validation": values} for name, values in tasks.items()}


def test_tasks_agree_fully_with_themselves_and_not_with_their_opposite():
    values = RNG.permutation(CUBE.size).astype(float)
    frame = table(landscape.measure(Made(CUBE, scores_of(a=values, b=values * 2, c=-values))), "agreement")
    assert frame[["task", "other"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    np.testing.assert_allclose(frame["spearman"], [1, -1, -1])
    assert frame["top_of_task_in_other"].tolist() == [1, 0, 0]
    assert (frame["n"] == CUBE.size).all()


def test_tasks_are_compared_where_both_have_scores():
    values = RNG.normal(size=CUBE.size)
    partly = np.where(np.arange(CUBE.size) < 100, -values, np.nan)
    frame = table(landscape.measure(Made(CUBE, scores_of(a=values, b=values, c=partly))), "agreement")
    assert frame["n"].tolist() == [256, 100, 100]
    np.testing.assert_allclose(frame["spearman"], [1, -1, -1])


def test_the_top_holds_all_that_tie_with_its_last():
    np.testing.assert_array_equal(landscape._top(np.array([1.0, 2, 2, 3]), 0.5), [False, True, True, True])


def test_selection_says_what_a_perfect_search_on_validation_reaches_on_test():
    test = np.arange(CUBE.size) / 1000
    validation = test.copy()
    validation[[100, 200]] = 1
    frame = table(landscape.measure(Made(CUBE, {"a": {"validation": validation, "test": test}})), "selection")
    (row,) = frame.to_dict("records")
    assert row["of_best_validation"] == pytest.approx(0.15)
    assert row["regret"] == pytest.approx(0.255 - 0.15)
    assert row["share_better"] == pytest.approx(105 / 256)
    assert row["spearman"] == pytest.approx(spearmanr(validation, test)[0])
    chosen = validation >= np.sort(validation)[-26]
    assert row["n_top"] == 26
    assert row["spearman_top"] == pytest.approx(spearmanr(validation[chosen], test[chosen])[0])


# The whole


def test_a_score_that_falls_with_distance_is_the_easiest_landscape():
    found = landscape.measure(Made(CUBE, scores_of(easy=-DISTANCE.astype(float))))
    (row,) = table(found, "fitness_distance").to_dict("records")
    assert row["FDC"] == pytest.approx(-1)
    assert (row["global_optima"], row["local_optima"], row["basin"], row["largest_distance"]) == (1, 1, 1, 4)
    assert row["mean_distance"] == pytest.approx(3)
    by_distance = table(found, "scores_by_distance")
    assert by_distance["n"].tolist() == [1, 12, 54, 108, 81]
    assert by_distance["mean"].tolist() == [0, -1, -2, -3, -4]
    assert table(found, "locality")["autocorrelation"].tolist() == pytest.approx([2 / 3])


def test_scores_that_differ_by_rounding_alone_tie():
    values = -DISTANCE.astype(float)
    values[[0, 255]] = 0.1 + 0.2, 0.3
    assert table(landscape.measure(Made(CUBE, scores_of(a=values))), "fitness_distance")["global_optima"].item() == 2


def test_unknown_scores_leave_the_landscape_of_the_scored():
    """Without one symbol at all places, a product space is the product space of the others."""
    scores = np.exp(RNG.normal(size=CUBE.size))
    without = (CUBE.all < 3).all(axis=1)
    partly = landscape.measure(Made(CUBE, scores_of(a=np.where(without, scores, np.nan))))
    smaller = landscape.measure(Made(Product(3, 4), scores_of(a=scores[without])))
    for name in ("locality", "fitness_distance", "scores_by_distance"):
        whole, part = table(smaller, name), table(partly, name)
        exact = [column for column in whole.select_dtypes("number") if "sampled" not in str(column)]
        np.testing.assert_allclose(part[exact], whole[exact])
    row = table(partly, "scores").iloc[0]
    assert (row["n"], row["unknown"]) == (81, pytest.approx(1 - 81 / 256))
    assert any("Where scores are unknown" in note for part in partly.parts for note in part.notes)


def small(kind: Literal["table", "surrogate", "training", "proxy"] = "table"):
    first, second = RNG.normal(size=(2, CUBE.size))
    return Made(CUBE, {"a": {"validation": first, "test": first + second}, "b": scores_of(b=second)["b"]}, kind)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    benchmark, told = small(), []
    page = landscape.measure(benchmark, told.append).write(tmp_path_factory.mktemp("landscape"))
    return page, told


def test_the_page_has_all_exhibits_with_their_files(written):
    page, told = written
    text = page.read_text()
    for name in ("scores", "agreement", "shared_top", "selection", "locality", "fitness_distance"):
        assert f'id="figure-{name}"' in text
        for file in (f"figures/{name}.svg", f"figures/{name}.pdf"):
            assert (page.parent / file).stat().st_size > 0
    for name in ("scores", "agreement", "selection", "locality", "fitness_distance", "scores_by_distance"):
        assert f'id="table-{name}"' in text
        for file in (f"tables/{name}.csv", f"tables/{name}.tex"):
            assert (page.parent / file).stat().st_size > 0
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert text.count("A note to all readers.") == 1
    assert "neighbours, drawn uniformly" in text
    assert told[0] == "scores"
    assert told[-1] == "distances"


@pytest.mark.parametrize(("kind", "called"), [("surrogate", "a fitted surrogate"), ("proxy", "a proxy")])
def test_scores_that_no_trained_network_earned_are_said_to_be_such_everywhere(kind, called):
    found = landscape.measure(small(kind))
    captions = [drawing.caption for part in found.parts for drawing in part.drawings]
    captions += [t.caption for part in found.parts for t in part.tables]
    assert len(captions) == 12
    assert all(f"{called}, not of trained" in caption and "A note to all readers." in caption for caption in captions)
    assert all((t.frame["scores"] == kind).all() for part in found.parts for t in part.tables)
    assert all(row["kind"] == kind for row in found.rows())


def test_rows_are_plain_data_and_the_same_each_time():
    benchmark = small()
    rows = landscape.measure(benchmark).rows()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows == landscape.measure(benchmark).rows()
    assert {row["table"] for row in rows} >= {"scores", "locality"}


def test_networks_that_must_be_trained_have_no_landscape():
    with pytest.raises(InputError, match="made trains networks"):
        landscape.measure(small("training"))


@pytest.mark.parametrize("values", [np.ones(256), np.full(256, np.nan), np.where(np.arange(256) == 3, 1, np.nan)])
def test_a_task_without_two_different_scores_has_no_landscape(values):
    with pytest.raises(InputError, match="made: a landscape needs 30 scores that are not all the same; flat has"):
        landscape.measure(Made(CUBE, scores_of(flat=values)))


def test_a_task_with_too_few_scores_is_left_out_and_named():
    found = landscape.measure(Made(CUBE, scores_of(flat=np.ones(256), good=RNG.normal(size=256)), "surrogate"))
    assert {row["task"] for row in found.rows() if "task" in row} == {"good"}
    assert "flat has 256 validation scores, 1 of them different" in found.parts[0].notes[0]
    assert "of the surrogate" in found.parts[0].notes[1]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        landscape.measure(small()).write(tmp_path / "file")


def test_a_space_whose_steps_cannot_be_taken_back_is_described():
    assert "12 neighbours, drawn uniformly." in landscape._neighbours(CUBE_GRAPH)
    assert "1 to 2 neighbours" in landscape._neighbours(path(3))
    assert "taken back" not in landscape._neighbours(path(3))
    assert "taken back" in landscape._neighbours(arcs(3, [(0, 1), (1, 2), (1, 0), (2, 0)]))


# Figures


def words(figure):
    root = ElementTree.fromstring(figures.svg(figure, "x", "alt"))
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_heat_map_writes_its_numbers_and_leaves_unknown_cells_empty():
    found = words(figures.heat_map(HeatMap(["a", "b"], ["c", "d"], np.array([[1, np.nan], [-0.25, 0.5]]))))
    assert {"a", "b", "c", "d", "1.00", "−.25", ".50"} <= set(found)
    assert len(found) == 7


def test_estimates_below_zero_are_inside_their_axes():
    row = Row("a", [("all", "#0072B2", Estimate(-0.3, -0.4, -0.2, 9))])
    assert figures.estimates([row], "x").axes[0].get_xlim()[0] < -0.4
    assert figures.estimates([], "x").axes[0].get_xlim()[0] == pytest.approx(-0.02)


@pytest.mark.parametrize("panels", [1, 2, 4])
def test_small_multiples_have_a_title_each_and_one_legend(panels):
    traces = [
        Trace("validation", [0.01, 1, 10], [0.1, 0.5, 1], [0.1, 0.4, 1], [0.1, 0.6, 1]),
        Trace("test", [1], [0.5], line=False),
    ]
    look = {"validation": Look("#0072B2", "-"), "test": Look("#D55E00", "--")}
    drawn = [Small(f"task {i}", "x", "y", traces) for i in range(panels)]
    found = words(figures.small_multiples(drawn, look, log=True))
    assert [word for word in found if word.startswith("task")] == [f"task {i}" for i in range(panels)]
    assert found.count("validation") == found.count("test") == 1
    assert "validation" not in words(figures.small_multiples(drawn, look, legend=False))
