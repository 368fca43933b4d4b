"""Runs that search in parts of a space: what is measured of them, against the journal and the tables themselves."""

import json
import sqlite3
from dataclasses import replace
from itertools import product
from typing import cast

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import results, transfer, transfer_claims, transfer_report
from analysis.report import report
from bench.budget import Budget
from bench.driver import run_study
from bench.executors import Inline
from bench.journal import CompletionRow, Journal
from bench.llm import models
from bench.methods import methods
from bench.study import Grid, Run, Study
from surrogates.benchmarks import benchmarks
from surrogates.subspace import everything, format_options, parse_options

GRAPH = benchmarks.get("nas-bench-graph")
SEEDS, BUDGET, TASKS = 4, 20, ("cora", "citeseer")
SOURCE = {"source": "arxiv", "options": 3}
VARIANTS = [
    {"name": "operation_counts", **SOURCE},
    {"name": "operation_counts", **SOURCE, "adaptation": False},
    {"name": "operation_counts", "options": 3},
    {"name": "random_subspace", "options": 3},
    {"name": "regularized_evolution", "population": 5, "tournament": 2},
]
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of controls, driven for real, and of one LAPT run whose two translations are made up."""
    out = tmp_path_factory.mktemp("transfer")
    grid = {
        "methods": VARIANTS, "benchmarks": {"nas-bench-graph": list(TASKS)}, "seeds": SEEDS,
        "budget": {"evaluations": BUDGET},
    }  # fmt: skip
    study = Study(name="principles", title="Principles", grid=[Grid.model_validate(grid)])
    run_study(study, study.runs(), out, Inline())
    lapt = methods.get("lapt")
    run = Run(lapt, lapt.complete(SOURCE), GRAPH, "cora", 0, Budget(evaluations=BUDGET), models.get("smollm2"))
    whole = format_options(GRAPH.space, tuple(options[:3] for options in everything(GRAPH.space)))
    journal = Journal(out / results.JOURNAL)
    (row,) = journal.register([(run.key, run.config)]).values()
    for step, text in ((3, whole.replace("operation of layer 2: ", "operation of layer 2: pool, ")), (5, whole)):
        told = ("smollm2", "1", transfer.TRANSLATION, "0" * 64, HOSTILE, '{"seed": 1}', text, 9, 9, 0.5, None)
        journal.write_completion(CompletionRow(row.id, step, 0, *told))
    for step, failure in ((0, "cut after 256 tokens"), (1, None)):
        told = ("smollm2", "1", "lapt_patterns", "0" * 64, HOSTILE, '{"seed": 1}', HOSTILE, 9, 9, 0.5, failure)
        journal.write_completion(CompletionRow(row.id, step, 0, *told))
    journal.write_note(row.id, 2, "principles", HOSTILE)
    journal.write_note(row.id, 5, "empty_subspace", whole)
    journal.write_note(row.id, 6, "subspace", whole)
    journal.close()
    return out


@pytest.fixture(scope="module")
def study(folder):
    from analysis.report import _study

    return _study(folder, results.read(folder / results.JOURNAL))


@pytest.fixture(scope="module")
def measured(folder, study):
    return transfer.measure(folder / results.JOURNAL, study)


def rows(folder, query, *values):
    db = sqlite3.connect(folder / results.JOURNAL)
    try:
        return db.execute(query, values).fetchall()
    finally:
        db.close()


def test_every_part_of_every_run_is_there(measured):
    own = measured.parts[measured.parts["method"] != "lapt"]
    given = own["method_parameters"].map(json.loads)
    adapts = given.map(lambda p: p.get("adaptation", False)).astype(bool)
    assert set(own[~adapts].groupby(["label", "task", "seed"]).size()) == {1}
    adapting = own[adapts & given.map(lambda p: bool(p.get("source")))]
    assert len(adapting.groupby(["task", "seed"])) == len(TASKS) * SEEDS
    # 10 evaluations, then 5 and 5.
    assert set(adapting.groupby(["task", "seed"])["evaluations"].agg(tuple)) == {(0, 10, 15)}


def test_a_part_that_stands_in_for_an_empty_one_is_told(measured):
    assert measured.parts["empty"].tolist() == (measured.parts["method"] == "lapt").tolist()


def test_a_part_is_measured_over_all_its_architectures(measured):
    part = measured.parts.iloc[0]
    allowed = parse_options(GRAPH.space, part["allowed"])
    meant = {GRAPH.space.meaning(description) for description in product(*(options or () for options in allowed))}
    inside = np.array([tuple(arch) in meant for arch in GRAPH.space.enumerate().tolist()])
    scores = GRAPH.scores(part["task"], "validation")
    top = np.sort(scores)[-26]  # .1% of 26,206
    assert part["size"] == inside.sum()
    assert part["share"] == pytest.approx(inside.mean())
    assert part["mean"] == pytest.approx(scores[inside].mean())
    assert part["density"] == pytest.approx((scores[inside] >= top).mean())
    assert part["best"] == 1 + (scores > scores[inside].max()).sum()


def test_concentration_of_the_whole_space_is_the_share_itself():
    cells = benchmarks.get("nas-bench-201")
    whole = format_options(cells.space, everything(cells.space))
    found = transfer.concentration(cells, "cifar10", whole, transfer_report.SHARES)
    np.testing.assert_allclose(found, transfer_report.SHARES, rtol=0.05)


def test_unreadable_lines_of_translations_are_counted(measured):
    counts = measured.translations[["answers", "incomplete", "decisions", "replaced"]]
    assert counts.to_numpy().tolist() == [[1, 1, 8, 1], [1, 0, 8, 0]]


def test_a_line_that_an_answer_asked_for_again_has_is_not_replaced(folder, study):
    answers = study.completions[study.completions["template"] == transfer.TRANSLATION]
    again = replace(study, completions=answers.assign(step=[3, 4]))
    (row,) = transfer.measure(folder / results.JOURNAL, again).translations.to_dict("records")
    assert (row["answers"], row["incomplete"], row["replaced"]) == (2, 1, 0)
    worse = replace(study, completions=answers.assign(step=[3, 4], text=answers["text"].iloc[0]))
    (row,) = transfer.measure(folder / results.JOURNAL, worse).translations.to_dict("records")
    assert (row["answers"], row["incomplete"], row["replaced"]) == (2, 2, 1)


def test_answers_in_words_that_were_cut_are_counted(study):
    (row,) = transfer_report._words(study).tables[0].frame.to_dict("records")
    assert (row["question"], row["answers"], row["runs"], row["cut"], row["empty"]) == (
        "lapt_patterns",
        2,
        1,
        1,
        0,
    )
    assert row["share"] == 0.5


def test_parts_that_follow_the_list_or_leave_all_open_are_told(measured):
    (made_up,) = measured.parts[measured.parts["method"] == "lapt"].to_dict("records")
    few = np.mean([len(decision.options) <= 3 for decision in GRAPH.space.decisions])
    assert (made_up["listed"], made_up["open"]) == (True, few)
    for part in measured.parts[measured.parts["method"] == "operation_counts"].to_dict("records"):
        allowed = parse_options(GRAPH.space, part["allowed"])
        sizes = [len(decision.options) for decision in GRAPH.space.decisions]
        assert part["open"] == np.mean([len(chosen or ()) == n for chosen, n in zip(allowed, sizes, strict=True)])
        assert not (part["open"] == 1 and part["listed"])


@pytest.mark.parametrize("shown", [{"archive": "worst"}, {"source": "photo"}])
def test_parts_that_are_the_same_whatever_is_shown_are_told(measured, study, shown):
    first = measured.parts[(measured.parts["part"] == 0) & (measured.parts["method"] == "random_subspace")]
    given = {"source": "arxiv", "archive": "best"}
    one, other = json.dumps(given), json.dumps(given | shown)
    blind = [first.assign(label=kind, method_parameters=kind) for kind in (one, other)]
    (table,) = transfer_report._archives(measured._replace(parts=pd.concat(blind)), study).tables
    assert table.frame[["method", "compared with", "pairs", "same"]].to_numpy().tolist() == [
        [one, other, len(TASKS) * SEEDS, 1.0]
    ]
    blind[1] = blind[1].assign(allowed="other")
    (table,) = transfer_report._archives(measured._replace(parts=pd.concat(blind)), study).tables
    assert table.frame["same"].tolist() == [0.0]


@pytest.mark.parametrize("shown", [{"source": ""}, {"source": "photo", "archive": "worst"}, {"options": 2}])
def test_parts_are_compared_where_only_what_was_shown_differs(measured, study, shown):
    first = measured.parts[(measured.parts["part"] == 0) & (measured.parts["method"] == "random_subspace")]
    given = {"source": "arxiv", "archive": "best", "options": 3}
    kinds = [json.dumps(given), json.dumps(given | shown)]
    both = pd.concat([first.assign(label=kind, method_parameters=kind) for kind in kinds])
    assert transfer_report._archives(measured._replace(parts=both), study).tables == []


def test_source_and_target_are_compared_over_all_architectures_with_both_scores(measured, study):
    (run,) = measured.parts[measured.parts["method_parameters"].str.contains("arxiv")].head(1).to_dict("records")
    # Few architectures have a score on "proteins"; from "cora" nothing was learned for "citeseer".
    more = [run | {"task": "proteins"}, run | {"method_parameters": json.dumps({"source": "cora"}), "task": "proteins"}]
    parts = pd.concat([measured.parts, pd.DataFrame(more)])
    (table,) = transfer_report._sources(measured._replace(parts=parts), study).tables
    pairs = [("arxiv", TASKS[0]), ("arxiv", TASKS[1]), ("arxiv", "proteins"), ("cora", "proteins")]
    told = [(source, f"nas-bench-graph / {task}") for source, task in pairs]
    assert list(table.frame[["source", "task"]].itertuples(index=False, name=None)) == told
    for (name, task), row in zip(pairs, table.frame.to_dict("records"), strict=True):
        source, target = (GRAPH.scores(t, "validation") for t in (name, task))
        both = ~np.isnan(source) & ~np.isnan(target)
        assert row["n"] == both.sum()
        assert row["spearman"] == pytest.approx(stats.spearmanr(source[both], target[both])[0])
        assert row["spearman_low"] < row["spearman"] < row["spearman_high"]


def test_figures_of_many_methods_are_drawn_model_by_model():
    labels = [f"m{i}" for i in range(12)]
    runs = pd.DataFrame({"label": labels, "model": ["a"] * 5 + ["b"] * 3 + [None] * 4})
    assert transfer_report._shown(runs.head(8)) == {"": labels[:8]}
    assert transfer_report._shown(runs) == {"_a": labels[:5], "_b": labels[5:8], "_without_model": labels[8:]}


def test_a_study_of_one_evaluation_says_nothing_of_searching(study):
    single = study.incumbents.groupby("run").head(1)
    found = transfer_report.sections(replace(study, incumbents=single))
    assert [section.title for section in found.sections] == [
        "Parts of the space", "How alike are source and target?", "Translations of principles", "Principles in words",
    ]  # fmt: skip
    assert found.verdicts == []


def test_outcomes_are_those_of_the_journal(folder, study):
    found = transfer.outcomes(study)
    assert len(found) == len(VARIANTS) * len(TASKS) * SEEDS
    for outcome in found.itertuples():
        query = "SELECT e.validation, e.test FROM evaluations e JOIN runs r ON r.id = e.run WHERE r.key LIKE ?"
        validation, test = np.array(rows(folder, f"{query} ORDER BY e.rowid", f"{outcome.run}%")).T
        task = str(outcome.task)
        top, best = (np.flatnonzero(validation >= v) + 1 for v in (
            GRAPH.threshold(task, "validation"), GRAPH.optimum(task, "validation")[1]))  # fmt: skip
        assert outcome.made == len(validation) == BUDGET
        assert top.tolist()[:1] == [] if np.isnan(cast(float, outcome.top)) else outcome.top == top[0]
        assert outcome.archs == [*best, *top, BUDGET][0]
        assert outcome.accuracy == test[np.argmax(validation[: cast(int, outcome.archs)])]
        returned = test[np.argmax(validation)]
        assert outcome.rank == 1 + (GRAPH.scores(task, "test") > returned).sum()


def outcomes(**ranks):
    """Outcomes of methods on one task: label -> (method, parameters, tops, ranks)."""
    made = []
    for label, (method, given, tops, reached) in ranks.items():
        parameters = json.dumps(methods.get(method).complete(given))
        for seed, (top, rank) in enumerate(zip(tops, reached, strict=True)):
            row = {"run": f"{label}{seed}", "label": label, "benchmark": "b", "task": "t", "method": method}
            row |= {"method_parameters": parameters, "model": None, "seed": seed, "status": "done", "made": 50}
            made.append(row | {"top": top, "archs": top, "accuracy": 0.5, "rank": rank})
    return pd.DataFrame(made)


N = 20
FAST, SLOW, NEVER = list(range(1, N + 1)), list(range(25, 25 + N)), [np.nan] * N
SPREAD, CLOSE = [10 + 40 * (i % 5) for i in range(N)], [88 + i % 5 for i in range(N)]
SMALL = {"population": 5, "tournament": 2}


def test_each_claim_is_judged_where_its_two_sides_are_there():
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, FAST, CLOSE),
        still=("operation_counts", {"source": "s", "adaptation": False}, FAST, SPREAD),
        alone=("operation_counts", {}, SLOW, [r + 500 for r in CLOSE]),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
        other=("regularized_evolution", {"population": 10}, FAST, CLOSE),
    )
    judged = transfer_claims.judge(found, np.random.default_rng(0))
    levels = {(j.claim, j.label, j.other): j.outcome.level for j in judged}
    assert levels == {
        (transfer_claims.SPEED, "counts", "evolution"): "confirmed",
        (transfer_claims.SPEED, "still", "evolution"): "confirmed",
        (transfer_claims.TRANSFER, "counts", "alone"): "confirmed",
        (transfer_claims.ADAPTATION, "counts", "still"): "confirmed",
    }


def test_the_language_model_is_judged_against_counting_too():
    lapt = methods.get("lapt").parameters
    assert methods.get("operation_counts").parameters.keys() <= lapt.keys()
    found = outcomes(
        lapt=("lapt", {"source": "s"}, SLOW, [r / 3 for r in SPREAD]),
        leaking=("lapt", {"source": "s", "leak": True}, FAST, CLOSE),
        unrelated=("lapt", {"source": "other", "archive": "worst"}, FAST, CLOSE),
        counts=("operation_counts", {"source": "s"}, FAST, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
    )
    judged = transfer_claims.judge(found, np.random.default_rng(0))
    levels = {(j.claim, j.label, j.other): j.outcome.level for j in judged}
    assert levels == {
        (transfer_claims.SPEED, "lapt", "counts"): "refuted",
        (transfer_claims.BETTER, "lapt", "counts"): "confirmed",
        (transfer_claims.STEADIER, "lapt", "counts"): "refuted",
        (transfer_claims.SPEED, "lapt", "evolution"): "confirmed",
        (transfer_claims.SPEED, "counts", "evolution"): "confirmed",
    }


def test_principles_that_do_not_adapt_are_not_compared_in_spread():
    still = {"source": "s", "adaptation": False}
    found = outcomes(lapt=("lapt", still, SLOW, SPREAD), counts=("operation_counts", still, FAST, CLOSE))
    judged = transfer_claims.judge(found, np.random.default_rng(0))
    assert [j.claim for j in judged] == [transfer_claims.SPEED, transfer_claims.BETTER]


def test_a_learner_that_ignores_its_archive_is_not_said_to_look_at_it():
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
def test_what_comes_from_a_related_task_is_judged_against_what_comes_from_a_less_related_one(sources):
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


def test_departures_of_the_released_code_are_no_claims_of_the_paper():
    found = outcomes(
        lapt=("lapt", {"source": "s", "strict": True, "forget": True, "project": False}, FAST, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
    )
    assert transfer_claims.judge(found, np.random.default_rng(0)) == []


def test_speed_is_not_judged_where_no_run_found_a_top_architecture():
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, NEVER, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
    )
    assert transfer_claims.judge(found, np.random.default_rng(0)) == []


def test_speed_is_judged_within_the_evaluations_that_both_had():
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, NEVER, CLOSE),
        evolution=("regularized_evolution", SMALL, [60] * N, SPREAD),
    )
    longer = found["label"] == "evolution"
    assert transfer_claims.judge(found.assign(made=found["made"].where(~longer, 100)), np.random.default_rng(0)) == []


def test_ranks_are_compared_at_equal_budgets_and_runs_under_way_left_out():
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


def test_tasks_on_which_no_run_found_a_top_architecture_or_of_one_side_alone_say_nothing():
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


def ranked(ours, theirs):
    """The verdicts on adaptation for ranks of shape (seeds, tasks)."""
    columns = zip(np.transpose(ours), np.transpose(theirs), strict=True)
    tasks = [
        outcomes(counts=("operation_counts", {"source": "s"}, FAST, one),
                 still=("operation_counts", {"source": "s", "adaptation": False}, FAST, two)).assign(task=f"t{i}")
        for i, (one, two) in enumerate(columns)
    ]  # fmt: skip
    return transfer_claims.judge(pd.concat(tasks, ignore_index=True), np.random.default_rng(0))


def test_a_better_median_alone_is_no_lower_spread():
    rng = np.random.default_rng(7)
    low, high = (np.ceil(np.exp(rng.normal(np.log(median), 1, (N, 10)))) for median in (25, 250))
    (judged,) = ranked(low, high)
    assert judged.claim == transfer_claims.ADAPTATION
    assert judged.tasks == 10
    assert judged.outcome.p > 0.05


def test_spreads_near_the_best_rank_or_of_runs_that_returned_nothing_are_not_compared():
    near, far, none = np.full((N, 1), 3.0), np.full((N, 1), 50.0), np.full((N, 1), np.inf)
    assert ranked(near, far) == []
    assert ranked(far, none) == []


def test_spreads_are_distances_of_logarithms_without_the_one_at_the_median():
    found = transfer_claims._spread(pd.DataFrame({"odd": [8.0, 2.0, 32.0], "even": [8.0, 2.0, np.nan]}))
    assert found["odd"].to_numpy() == pytest.approx([np.nan, np.log(4), np.log(4)], nan_ok=True)
    assert found["even"].to_numpy() == pytest.approx([np.log(2), np.log(2), np.nan], nan_ok=True)


def test_speed_is_judged_against_the_same_search_alone():
    found = outcomes(
        counts=("operation_counts", {"source": "s", "inner": "local_search"}, FAST, CLOSE),
        evolution=("regularized_evolution", SMALL, NEVER, SPREAD),
        local=("local_search", {}, SLOW, SPREAD),
    )
    assert [(j.label, j.other) for j in transfer_claims.judge(found, np.random.default_rng(0))] == [("counts", "local")]


def test_a_run_that_returns_nothing_ranks_behind_all(study):
    broken = study.incumbents.assign(validation=np.nan, reported=np.nan)
    found = transfer.outcomes(replace(study, incumbents=broken))
    assert found["top"].isna().all()
    assert np.isinf(found["rank"]).all()


def test_architectures_without_a_score_do_not_count():
    whole = format_options(GRAPH.space, everything(GRAPH.space))
    assert np.isnan(GRAPH.scores("proteins", "validation")).mean() > 0.9
    assert transfer.concentration(GRAPH, "proteins", whole, [1.0]).tolist() == [1.0]


def test_adaptation_that_widens_the_spread_is_refuted():
    found = outcomes(
        counts=("operation_counts", {"source": "s"}, FAST, SPREAD),
        still=("operation_counts", {"source": "s", "adaptation": False}, FAST, CLOSE),
    )
    (judged,) = transfer_claims.judge(found, np.random.default_rng(0))
    assert (judged.claim, judged.outcome.level) == (transfer_claims.ADAPTATION, "refuted")


def test_the_report_shows_tables_figures_verdicts_and_principles(folder):
    page = report(folder).read_text(encoding="utf-8")
    for name in ("archs", "model_ranks", "parts", "translations", "transfer_claims"):
        assert (folder / "tables" / f"{name}.csv").is_file()
    for name in ("model_ranks", "concentration"):
        assert (folder / "figures" / f"{name}.svg").is_file()
    assert "Principles, and how they changed" in page
    assert "operation of layer 1: gat" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_published_numbers_stand_beside_ours_and_are_marked():
    reached = outcomes(counts=("operation_counts", {"source": "s"}, FAST, CLOSE))
    reached = reached.assign(benchmark="nas-bench-201", task="cifar10")

    class Drawn:
        rng = np.random.default_rng(0)

    table = transfer_report._soon(reached, cast(transfer_report.Study, Drawn())).tables[0].frame
    published = {row.method: (row.archs, row.score) for row in table[table["origin"] == "published"].itertuples()}
    assert published["LAPT-REA, GPT-4"] == (4.9, 94.36)
    assert published["HEBO"] == (100, 94.34)
    measured = table[table["origin"] == "measured"].iloc[0]
    assert measured["archs"] == np.mean(FAST)
    assert measured["archs_low"] < measured["archs"] < measured["archs_high"]


def test_published_scores_and_ranks_of_the_papers_table_3_stand_beside_ours():
    reached = outcomes(counts=("operation_counts", {"source": "s"}, FAST, CLOSE))
    reached = reached.assign(benchmark="trans-nas-bench-101-micro", task="room_layout", score=-0.65)

    class Drawn:
        rng = np.random.default_rng(0)

    table = transfer_report._returned(reached, cast(transfer_report.Study, Drawn())).frame
    published = table[table["origin"] == "published"].set_index("method")["score"]
    assert (published["LAPT-REA, GPT-4"], published["REA"], published["best of the space"]) == (
        -0.6018,
        -0.6175,
        -0.5938,
    )
    assert table[table["origin"] == "measured"]["score"].tolist() == [pytest.approx(-0.65)]
    assert dict(transfer_report.PUBLISHED_RANKS)["LAPT-REA, GPT-4"] == 12.3
    assert all(
        len(row) == len(transfer_report.PUBLISHED_RANKS) + 1 for row in transfer_report.PUBLISHED_SCORES.values()
    )
    for task, row in transfer_report.PUBLISHED_SCORES.items():
        assert max(row) == row[-1], task


def test_a_study_without_parts_has_no_such_section(reported):
    page = (reported / "index.html").read_text(encoding="utf-8")
    assert "Design principles" not in page


def test_methods_that_share_no_task_are_reported_all_the_same(tmp_path):
    grids = [
        {"methods": [method], "benchmarks": {"nas-bench-graph": [task]}, "seeds": 2, "budget": {"evaluations": 5}}
        for method, task in (("random_search", "cora"), ("regularized_evolution", "citeseer"))
    ]
    study = Study(name="apart", title="", grid=[Grid.model_validate(grid) for grid in grids])
    run_study(study, study.runs(), tmp_path, Inline())
    assert "there is no task on which all of" in report(tmp_path).read_text(encoding="utf-8")
