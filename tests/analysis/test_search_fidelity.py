import hashlib

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from statsmodels.stats.multitest import multipletests

from analysis import results, search_fidelity, trajectories
from analysis.search_fidelity import METHODS
from surrogates.benchmark import Task
from surrogates.spaces import spaces
from surrogates.store import Column, Table
from surrogates.stored_benchmark import StoredBenchmark

SPACE = spaces.get("trans_nas_bench_101_micro")
TASK = Task("task", "accuracy", "%", ("validation", "test"))


def benchmark(validation, test):
    """A made-up table of the cells of TransNAS-Bench-101."""
    values = np.array([validation, test], dtype=float)
    columns = (Column("task", "validation"), Column("task", "test"))
    digest = hashlib.sha256(values.data).hexdigest()
    stored = Table("made-up", SPACE.name, "made up", "", "", "", "", SPACE.size, {}, digest, columns, values)
    return StoredBenchmark(stored, {"task": TASK})


@pytest.fixture(scope="module")
def made_up():
    """A table whose scores add up over edges, and noise that makes validation and test differ."""
    rng = np.random.default_rng(5)
    archs = SPACE.enumerate()
    additive = rng.normal(size=(6, 4))[np.arange(6), archs].sum(axis=1)
    return benchmark(additive + 0.3 * rng.normal(size=SPACE.size), additive + 0.3 * rng.normal(size=SPACE.size))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def compared(monkeypatch):
    """Decides on one task, given regrets on table and surrogate, two arrays of shape (methods, seeds)."""
    monkeypatch.setattr(search_fidelity, "MEASURES", ("area",))

    def decide(table, surrogate):
        values = {"table": {"task": table[..., None]}, "surrogate": {"task": surrogate[..., None]}}
        return search_fidelity.decisions(values, np.random.default_rng(0), 50)

    return decide


def test_searches_reach_what_the_report_of_a_study_says(graph, make_runs, drive, tmp_path):
    found = search_fidelity.search(graph, "cora", seeds=2, checkpoints=(5, 30))
    runs = [run for name in METHODS for run in make_runs(name, 2, graph, "cora", evaluations=30)]
    drive(runs)
    made = trajectories.incumbents(results.trajectories(tmp_path / "journal.sqlite"))
    keys = [run.key[:12] for run in runs]
    expected = trajectories.steps(made, keys, "evaluations", np.arange(1.0, 31), "normalised")
    assert found.regret.reshape(6, 30) == pytest.approx(expected)
    scores = graph.scores("cora", "test")[found.incumbents]
    assert search_fidelity.normalised_regret(graph, "cora", scores) == pytest.approx(found.regret[..., [4, 29]])


def test_the_incumbent_is_the_first_of_the_best():
    assert search_fidelity.incumbents(np.array([[2.0, 1, 2, 3, 3, 0]])).tolist() == [[0, 0, 0, 3, 3, 3]]


def test_the_area_is_the_mean_over_all_evaluations():
    regret = np.array([[[4.0, 2, 1, 1]]])
    assert search_fidelity.measures(regret, (1, 3)).tolist() == [[[4, 1, 2]]]


def test_a_surrogate_equal_to_the_table_changes_nothing(made_up, compared, rng):
    twin = benchmark(made_up.scores("task", "validation"), made_up.scores("task", "test"))
    pair = search_fidelity.search_both(made_up, twin, "task", 5, (10, 40))
    assert np.array_equal(pair.table.regret, pair.surrogate.regret)
    assert np.array_equal(pair.transferred, pair.table.regret[..., [9, 39]])
    final = pair.table.regret[..., -1]
    order = search_fidelity.orders(final, pair.surrogate.regret[..., -1], rng)
    assert order.table == order.surrogate
    assert order.same_probability == 1
    decided = compared(final, final)
    assert search_fidelity.verdicts(decided)["verdict"].tolist() == ["same decisions"]


def test_what_a_reversed_surrogate_recommends_is_bad_on_the_table(made_up):
    reverse = benchmark(*(-made_up.scores("task", split) for split in ("validation", "test")))
    pair = search_fidelity.search_both(made_up, reverse, "task", 5, (10, 40))
    assert (pair.surrogate.regret[..., -1] < 1).all()
    assert (pair.transferred[..., -1] > 1).all()


def test_reversed_regrets_are_another_ranking(compared, rng):
    regret = np.arange(3)[:, None] + rng.random((3, 20))
    decided = compared(regret, regret[::-1])
    assert decided["table"].eq(1).all()
    assert decided["surrogate"].eq(0).all()
    (found,) = search_fidelity.verdicts(decided).to_dict("records")
    assert found["verdict"] == "different ranking"
    assert found["opposite"] == len(decided) == 3


def test_a_pair_that_only_the_table_sets_apart_is_undecided(compared, rng):
    regret = np.arange(3)[:, None] + rng.random((3, 20))
    alike = regret.copy()
    alike[1] = alike[0]
    (found,) = search_fidelity.verdicts(compared(regret, alike)).to_dict("records")
    assert found["verdict"] == "same up to undecided pairs"
    assert (
        found["decided alike"] + found["undecided on both"],
        found["decided on the table only"],
        found["opposite"],
    ) == (2, 1, 0)


def test_tests_are_corrected_over_pairs_and_tasks_for_each_measure(monkeypatch, rng):
    monkeypatch.setattr(search_fidelity, "MEASURES", ("after 10", "area"))
    regret = {task: rng.random((3, 8, 2)) for task in "ab"}
    found = search_fidelity.decisions({"table": regret, "surrogate": regret}, rng, 50)
    p = [
        mannwhitneyu(regret[task][i, :, -1], regret[task][j, :, -1], method="asymptotic").pvalue
        for task in "ab"
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    area = found[found["measure"] == "area"]
    assert area["p_table"].to_numpy() == pytest.approx(multipletests(p, method="holm")[1])
    assert area["p_surrogate"].equals(area["p_table"].rename("p_surrogate"))


def test_the_probability_of_an_order_is_that_over_resamples(rng):
    # The mean of two draws from {0, 1} is above .4 three times in four.
    regret = np.array([[0.0, 1.0], [0.4, 0.4]])
    found = search_fidelity.orders(regret, regret[::-1], rng, resamples=20_000)
    assert (found.table, found.surrogate) == ((2, 1), (1, 2))
    assert found.table_probability == pytest.approx(0.75, abs=0.02)
    assert found.surrogate_probability == pytest.approx(0.75, abs=0.02)


def test_methods_of_one_mean_share_a_place(rng):
    regret = np.array([[0.1, 0.3], [0.3, 0.1], [0.5, 0.5]])
    assert search_fidelity.orders(regret, regret, rng, 100).table == (1, 1, 3)
