import numpy as np
import pandas as pd
import pytest

from analysis import results, trajectories
from surrogates.benchmarks import benchmarks

GRAPH = benchmarks.get("nas-bench-graph")
OPTIMUM = float(np.nanmax(GRAPH.scores("cora", "test")))
MEDIAN = float(np.nanmedian(GRAPH.scores("cora", "test")))


def evaluations(validation, test=None, run="a", benchmark="nas-bench-graph", task="cora", fidelity=None, **columns):
    n = len(validation)
    frame = pd.DataFrame(
        {
            "run": run,
            "benchmark": benchmark,
            "task": task,
            "evaluation": range(1, n + 1),
            "validation": np.array(validation, dtype=float),
            "test": np.array(test if test is not None else [np.nan] * n, dtype=float),
            "fidelity": pd.array([None] * n if fidelity is None else fidelity, dtype="Int64"),
            "tokens": 0,
            "seconds": np.nan,
        }
    )
    return frame.assign(**columns)


def test_the_incumbent_is_chosen_by_validation_and_reported_on_test():
    found = trajectories.incumbents(evaluations([0.5, 0.4, 0.7, 0.6], [0.50, 0.90, 0.45, 0.80]))
    assert found["reported"].tolist() == [0.50, 0.50, 0.45, 0.45]  # test may fall; the best test score is never chosen
    assert found["regret"].tolist() == pytest.approx([OPTIMUM - s for s in (0.50, 0.50, 0.45, 0.45)])
    assert found["normalised"].tolist() == pytest.approx(
        [(OPTIMUM - s) / (OPTIMUM - MEDIAN) for s in (0.50, 0.50, 0.45, 0.45)]
    )


def test_the_first_of_ties_stays():
    found = trajectories.incumbents(evaluations([0.5, 0.5, 0.5], [0.1, 0.2, 0.3]))
    assert found["reported"].tolist() == [0.1, 0.1, 0.1]


def test_before_the_first_score_there_is_nothing():
    found = trajectories.incumbents(evaluations([np.nan, np.nan, 0.3], [np.nan, np.nan, 0.2]))
    assert found["regret"].isna().tolist() == [True, True, False]


def test_a_run_does_not_take_over_the_incumbent_of_another():
    rows = pd.concat([evaluations([0.9], [0.9], run="a"), evaluations([np.nan, 0.1], [np.nan, 0.1], run="b")])
    found = trajectories.incumbents(rows.reset_index(drop=True))
    assert found["reported"].tolist()[0] == 0.9
    assert np.isnan(found["reported"].iloc[1])
    assert found["reported"].iloc[2] == 0.1


def test_lower_fidelities_are_no_incumbents():
    found = trajectories.incumbents(evaluations([0.5, 0.9], [0.4, 0.8], fidelity=[None, 12]))
    assert found["reported"].tolist() == [0.4, 0.4]


def test_an_incumbent_with_an_unknown_reported_score_is_unknown():
    found = trajectories.incumbents(evaluations([0.5, 0.6], [0.4, np.nan]))
    assert found["reported"].iloc[0] == 0.4
    assert np.isnan(found["reported"].iloc[1])


def test_a_task_without_a_split_reports_its_only_score():
    rows = evaluations([80.0, 90.0], benchmark="analog-nasbench", task="clean")
    found = trajectories.incumbents(rows)
    optimum = benchmarks.get("analog-nasbench").scores("clean", "validation").max()
    assert found["regret"].tolist() == pytest.approx([optimum - 80, optimum - 90])


def test_the_optimum_has_no_regret_and_the_median_one_unit():
    scores = GRAPH.scores("cora", "test")
    found = trajectories.incumbents(evaluations([0.1, 0.2], [MEDIAN, scores.max()]))
    assert found["normalised"].tolist() == pytest.approx([1, 0])


def test_curves_are_steps_and_early_ends_carry_on():
    rows = trajectories.incumbents(evaluations([0.5, 0.4, 0.7], [0.5, 0.9, 0.4], tokens=[10, 25, 30]))
    found = trajectories.steps(rows, ["a", "none"], "tokens", np.array([0, 10, 24.9, 25, 30, 99]), "reported")
    np.testing.assert_array_equal(found[0], [np.nan, 0.5, 0.5, 0.5, 0.4, 0.4])
    assert np.isnan(found[1]).all()


def test_an_axis_of_which_nothing_is_known_is_not_drawn():
    rows = evaluations([0.5])
    assert trajectories.known(rows, "evaluations")
    assert not trajectories.known(rows, "tokens")
    assert not trajectories.known(rows, "seconds")


def runs(*rows):
    """Runs given as (label, benchmark/task, seed, run, evaluations, reason)."""
    names = ["label", "place", "seed", "run", "evaluations", "reason"]
    frame = pd.DataFrame(rows, columns=names)
    frame[["benchmark", "task"]] = frame["place"].str.split("/", expand=True)
    return frame


def test_scores_by_seed_and_task_tell_missing_runs_from_runs_without_an_architecture():
    place = "nas-bench-graph/cora"
    rows = pd.concat(
        [
            evaluations([0.5, 0.6], [0.5, 0.6], run="a"),
            evaluations([np.nan, np.nan], run="b"),
            evaluations([0.5, 0.6], [0.5, 0.6], run="d"),
        ]
    )
    table = runs(
        ("m", place, 0, "a", 2, "evaluations"),
        ("m", place, 1, "b", 2, "evaluations"),
        ("m", place, 2, "c", 0, "tokens"),
        ("m", "nas-bench-graph/arxiv", 0, "d", 2, "evaluations"),
    )
    found = trajectories.incumbents(rows.reset_index(drop=True))
    scores = trajectories.by_seed_and_task(found, table, 1, "regret")["m"]
    assert scores[place].tolist() == pytest.approx([OPTIMUM - 0.5, np.inf, np.inf])
    assert scores["nas-bench-graph/arxiv"].isna().tolist() == [False, True, True]
    unknown = trajectories.by_seed_and_task(found.assign(regret=np.nan), table[table["run"] != "c"], 1, "regret")["m"]
    assert unknown["nas-bench-graph/arxiv"].isna().all()


def test_methods_are_compared_at_the_largest_numbers_of_evaluations_that_they_reach():
    place = "nas-bench-graph/cora"
    table = runs(
        ("long", place, 0, "a", 100, "evaluations"),
        ("long", place, 1, "b", 100, "evaluations"),
        ("other", place, 0, "c", 120, "evaluations"),
        ("short", place, 0, "d", 40, "evaluations"),
        ("short", place, 1, "e", 38, "tokens"),
    )
    assert trajectories.levels(table) == [(38, ("long", "other", "short")), (100, ("long", "other"))]
    assert trajectories.levels(table[table["label"] != "short"]) == [(100, ("long", "other"))]
    assert trajectories.levels(table[table["label"] == "other"]) == [(120, ("other",))]
    nothing = table.assign(evaluations=0)
    assert trajectories.levels(nothing) == []


def test_a_method_that_ended_by_itself_reaches_every_number():
    place = "nas-bench-graph/cora"
    table = runs(("a", place, 0, "a", 100, "evaluations"), ("b", place, 0, "b", 7, "method ended"))
    assert trajectories.levels(table) == [(100, ("a", "b"))]


def configured(*rows):
    names = ["method", "method_parameters", "model", "budget_evaluations"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(budget_simulated_seconds=np.nan, budget_tokens=np.nan, budget_wall_seconds=np.nan)


def test_labels_say_what_differs_and_no_more():
    table = configured(
        ("random_search", "{}", None, 100.0),
        ("evolution", '{"population": 10, "tournament": 5}', None, 100.0),
        ("evolution", '{"population": 20, "tournament": 5}', None, 100.0),
        ("genius", "{}", "smollm2", 40.0),
        ("genius", "{}", "gemma3", 40.0),
        ("genius", "{}", "gemma3", 20.0),
    )
    assert trajectories.labels(table).tolist() == [
        "random_search",
        "evolution population=10",
        "evolution population=20",
        "genius (smollm2)",
        "genius (gemma3) at 40 evaluations",
        "genius (gemma3) at 20 evaluations",
    ]


def test_random_search_over_the_journal_agrees_with_the_mathematics_of_sampling(small_study):
    """The mean best score of n draws with replacement is the sum of F(s)^n's increments times s."""
    found = results.read(small_study / "journal.sqlite")
    rows = found.trajectories.query("method == 'random_search' and task == 'clean'")
    reached = trajectories.incumbents(rows).query("evaluation == 10")["reported"]
    scores = np.sort(benchmarks.get("analog-nasbench").scores("clean", "validation"))
    upto = np.arange(1, len(scores) + 1) / len(scores)
    chance = np.diff(upto**10, prepend=0)
    mean = float(chance @ scores)
    spread = float(np.sqrt(chance @ (scores - mean) ** 2))
    assert abs(reached.mean() - mean) < 4 * spread / np.sqrt(len(reached))
