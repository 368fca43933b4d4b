"""Verdicts on LAPT's claims, from ranks and evaluations that are given."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import transfer_claims
from bench.methods import methods
from surrogates.benchmarks import benchmarks

GRAPH = benchmarks.get("nas-bench-graph")
N = 20
FAST, SLOW, NEVER = list(range(1, N + 1)), list(range(25, 25 + N)), [np.nan] * N
SPREAD, CLOSE = [10 + 40 * (i % 5) for i in range(N)], [88 + i % 5 for i in range(N)]
SMALL = {"population": 5, "tournament": 2}


def levels(outcomes):
    """The verdicts: (claim, method, what it is compared with) -> level."""
    judged = transfer_claims.judge(outcomes, np.random.default_rng(0))
    return {(j.claim, j.label, j.other): j.outcome.level for j in judged}


def test_each_claim_is_judged_where_its_two_sides_are_there(outcomes):
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, FAST, CLOSE),
        still=("operation_counts", {"source": "s", "adaptation": False}, FAST, SPREAD),
        alone=("operation_counts", {}, SLOW, [r + 500 for r in CLOSE]),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
        other=("regularized_evolution", {"population": 10}, FAST, CLOSE),
    )
    assert levels(found) == {
        (transfer_claims.SPEED, "counts", "evolution"): "confirmed",
        (transfer_claims.SPEED, "still", "evolution"): "confirmed",
        (transfer_claims.TRANSFER, "counts", "alone"): "confirmed",
        (transfer_claims.ADAPTATION, "counts", "still"): "confirmed",
    }


def test_the_language_model_is_judged_against_counting_too(outcomes):
    lapt = methods.get("lapt").parameters
    assert methods.get("operation_counts").parameters.keys() <= lapt.keys()
    found = outcomes(
        lapt=("lapt", {"source": "s"}, SLOW, [r / 3 for r in SPREAD]),
        leaking=("lapt", {"source": "s", "leak": True}, FAST, CLOSE),
        unrelated=("lapt", {"source": "other", "archive": "worst"}, FAST, CLOSE),
        counts=("operation_counts", {"source": "s"}, FAST, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
    )
    assert levels(found) == {
        (transfer_claims.SPEED, "lapt", "counts"): "refuted",
        (transfer_claims.BETTER, "lapt", "counts"): "confirmed",
        (transfer_claims.STEADIER, "lapt", "counts"): "refuted",
        (transfer_claims.SPEED, "lapt", "evolution"): "confirmed",
        (transfer_claims.SPEED, "counts", "evolution"): "confirmed",
    }


def test_principles_that_do_not_adapt_are_not_compared_in_spread(outcomes):
    still = {"source": "s", "adaptation": False}
    found = outcomes(lapt=("lapt", still, SLOW, SPREAD), counts=("operation_counts", still, FAST, CLOSE))
    judged = transfer_claims.judge(found, np.random.default_rng(0))
    assert [j.claim for j in judged] == [transfer_claims.SPEED, transfer_claims.BETTER]


def test_a_learner_that_ignores_its_archive_is_not_said_to_look_at_it(outcomes):
    found = outcomes(
        lapt=("lapt", {"source": "s"}, NEVER, SPREAD),
        fooled=("lapt", {"source": "s", "archive": "worst"}, NEVER, SPREAD),
        counts=("operation_counts", {"source": "s"}, NEVER, CLOSE),
        misled=("operation_counts", {"source": "s", "archive": "worst"}, NEVER, [r + 500 for r in CLOSE]),
    )
    judged = transfer_claims.judge(found, np.random.default_rng(0))
    levels = {(j.label, j.other): j.outcome.level for j in judged if j.claim == transfer_claims.READS}
    assert levels == {("lapt", "fooled"): "undecided", ("counts", "misled"): "confirmed"}


@pytest.mark.parametrize("sources", [("arxiv", "cs"), ("cs", "arxiv")])
def test_what_comes_from_a_related_task_is_judged_against_what_comes_from_a_less_related_one(sources, outcomes):
    known = [GRAPH.scores(task, "validation") for task in (*sources, "cora")]
    near = np.array([stats.spearmanr(scores, known[2], nan_policy="omit")[0] for scores in known[:2]])
    ranks = {True: CLOSE, False: [r + 500 for r in CLOSE]}
    found = outcomes(
        one=("operation_counts", {"source": sources[0]}, NEVER, ranks[near[0] > near[1]]),
        two=("operation_counts", {"source": sources[1]}, NEVER, ranks[near[1] > near[0]]),
        worst=("operation_counts", {"source": sources[1], "archive": "worst"}, NEVER, CLOSE),
    ).replace({"b": GRAPH.name, "t": "cora"})
    judged = transfer_claims.judge(found, np.random.default_rng(0))
    (related,) = [j for j in judged if j.claim == transfer_claims.RELATED]
    assert (related.label, related.other) == (("one", "two") if near[0] > near[1] else ("two", "one"))
    assert related.outcome.level == "confirmed"


def test_departures_of_the_released_code_are_no_claims_of_the_paper(outcomes):
    found = outcomes(
        lapt=("lapt", {"source": "s", "strict": True, "forget": True, "project": False}, FAST, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
    )
    assert transfer_claims.judge(found, np.random.default_rng(0)) == []


def test_speed_is_not_judged_where_no_run_found_a_top_architecture(outcomes):
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, NEVER, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
    )
    assert transfer_claims.judge(found, np.random.default_rng(0)) == []


def test_speed_is_judged_within_the_evaluations_that_both_had(outcomes):
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, NEVER, CLOSE),
        evolution=("regularized_evolution", SMALL, [60] * N, SPREAD),
    )
    longer = found["label"] == "evolution"
    assert transfer_claims.judge(found.assign(made=found["made"].where(~longer, 100)), np.random.default_rng(0)) == []


def test_ranks_are_compared_at_equal_budgets_and_runs_under_way_left_out(outcomes):
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, FAST, CLOSE),
        alone=("operation_counts", {}, SLOW, [r + 500 for r in CLOSE]),
    )
    ours = found["label"] == "counts"
    assert transfer_claims.judge(found.assign(made=found["made"].where(~ours, 100)), np.random.default_rng(0)) == []
    assert transfer_claims.judge(found.assign(status="running"), np.random.default_rng(0)) == []
    some = found.assign(status=found["status"].where(found["seed"] < 15, "running"))
    (judged,) = transfer_claims.judge(some.assign(made=some["made"].where(some["seed"] < 15, 3)),
                                      np.random.default_rng(0))  # fmt: skip
    assert judged.outcome.improvement.n == 30


def test_tasks_on_which_no_run_found_a_top_architecture_or_of_one_side_alone_say_nothing(outcomes):
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, FAST, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
    )
    never = found.assign(task="u", top=np.nan)
    alone = found[found["label"] == "counts"].assign(task="v")
    (judged,) = transfer_claims.judge(pd.concat([found, never, alone], ignore_index=True), np.random.default_rng(0))
    assert judged.tasks == 1
    assert judged.outcome.improvement.value == 1
    assert transfer_claims.judge(pd.concat([never, alone], ignore_index=True), np.random.default_rng(0)) == []


def ranked(outcomes, ours, theirs):
    """The verdicts on adaptation for ranks of shape (seeds, tasks)."""
    columns = zip(np.transpose(ours), np.transpose(theirs), strict=True)
    tasks: list[pd.DataFrame] = [
        outcomes(counts=("operation_counts", {"source": "s"}, FAST, one),
                 still=("operation_counts", {"source": "s", "adaptation": False}, FAST, two)).assign(task=f"t{i}")
        for i, (one, two) in enumerate(columns)
    ]  # fmt: skip
    return transfer_claims.judge(pd.concat(tasks, ignore_index=True), np.random.default_rng(0))


def test_a_better_median_alone_is_no_lower_spread(outcomes):
    rng = np.random.default_rng(7)
    low, high = (np.ceil(np.exp(rng.normal(np.log(median), 1, (N, 10)))) for median in (25, 250))
    (judged,) = ranked(outcomes, low, high)
    assert judged.claim == transfer_claims.ADAPTATION
    assert judged.tasks == 10
    assert judged.outcome.p > 0.05


def test_spreads_near_the_best_rank_or_of_runs_that_returned_nothing_are_not_compared(outcomes):
    near, far, none = np.full((N, 1), 3.0), np.full((N, 1), 50.0), np.full((N, 1), np.inf)
    assert ranked(outcomes, near, far) == []
    assert ranked(outcomes, far, none) == []


def test_spreads_are_distances_of_logarithms_without_the_one_at_the_median():
    found = transfer_claims._spread(pd.DataFrame({"odd": [8.0, 2.0, 32.0], "even": [8.0, 2.0, np.nan]}))
    assert found["odd"].to_numpy() == pytest.approx([np.nan, np.log(4), np.log(4)], nan_ok=True)
    assert found["even"].to_numpy() == pytest.approx([np.log(2), np.log(2), np.nan], nan_ok=True)


def test_speed_is_judged_against_the_same_search_alone(outcomes):
    found = outcomes(
        counts=("operation_counts", {"source": "s", "inner": "local_search"}, FAST, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
        local=("local_search", {}, SLOW, SPREAD),
    )
    assert [(j.label, j.other) for j in transfer_claims.judge(found, np.random.default_rng(0))] == [("counts", "local")]


def test_adaptation_that_widens_the_spread_is_refuted(outcomes):
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, FAST, SPREAD),
        still=("operation_counts", {"source": "s", "adaptation": False}, FAST, CLOSE),
    )
    (judged,) = transfer_claims.judge(found, np.random.default_rng(0))
    assert (judged.claim, judged.outcome.level) == (transfer_claims.ADAPTATION, "refuted")
