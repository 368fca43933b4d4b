"""The part of a report that is about design principles, on runs driven for real and on made-up ones."""

import json
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import transfer_report
from analysis.report import report
from analysis.statistics import Comparison, Estimate
from analysis.transfer_claims import Judged
from bench.driver import run_study
from bench.executors import Inline
from bench.study import Grid, Study
from surrogates.benchmarks import benchmarks
from theory.claim import Level

GRAPH = benchmarks.get("nas-bench-graph")
FAST, CLOSE = list(range(1, 21)), [88 + i % 5 for i in range(20)]


def test_answers_in_words_that_were_cut_are_counted(transfer_study):
    (row,) = transfer_report._words(transfer_study).tables[0].frame.to_dict("records")
    assert (row["question"], row["answers"], row["runs"], row["cut"], row["empty"]) == (
        "lapt_patterns",
        2,
        1,
        1,
        0,
    )
    assert row["share"] == 0.5


@pytest.mark.parametrize("shown", [{"archive": "worst"}, {"source": "photo"}])
def test_parts_that_are_the_same_whatever_is_shown_are_told(transfers, transfer_study, shown):
    first = transfers.parts[(transfers.parts["part"] == 0) & (transfers.parts["method"] == "random_subspace")]
    given = {"source": "arxiv", "archive": "best"}
    one, other = json.dumps(given), json.dumps(given | shown)
    blind = [first.assign(label=kind, method_parameters=kind) for kind in (one, other)]
    (table,) = transfer_report._archives(transfers._replace(parts=pd.concat(blind)), transfer_study).tables
    assert table.frame[["method", "compared with", "pairs", "same"]].to_numpy().tolist() == [[one, other, 2 * 4, 1.0]]
    blind[1] = blind[1].assign(allowed="other")
    (table,) = transfer_report._archives(transfers._replace(parts=pd.concat(blind)), transfer_study).tables
    assert table.frame["same"].tolist() == [0.0]


@pytest.mark.parametrize("shown", [{"source": ""}, {"source": "photo", "archive": "worst"}, {"options": 2}])
def test_parts_are_compared_where_only_what_was_shown_differs(transfers, transfer_study, shown):
    first = transfers.parts[(transfers.parts["part"] == 0) & (transfers.parts["method"] == "random_subspace")]
    given = {"source": "arxiv", "archive": "best", "options": 3}
    kinds = [json.dumps(given), json.dumps(given | shown)]
    both = pd.concat([first.assign(label=kind, method_parameters=kind) for kind in kinds])
    assert transfer_report._archives(transfers._replace(parts=both), transfer_study).tables == []


def test_source_and_target_are_compared_over_all_architectures_with_both_scores(transfers, transfer_study):
    (run,) = transfers.parts[transfers.parts["method_parameters"].str.contains("arxiv")].head(1).to_dict("records")
    # Few architectures have a score on "proteins"; from "cora" nothing was learned for "citeseer".
    more = [run | {"task": "proteins"}, run | {"method_parameters": json.dumps({"source": "cora"}), "task": "proteins"}]
    parts = pd.concat([transfers.parts, pd.DataFrame(more)])
    (table,) = transfer_report._sources(transfers._replace(parts=parts), transfer_study).tables
    pairs = [("arxiv", "cora"), ("arxiv", "citeseer"), ("arxiv", "proteins"), ("cora", "proteins")]
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


def test_a_study_of_one_evaluation_says_nothing_of_searching(transfer_study):
    single = transfer_study.incumbents.groupby("run").head(1)
    found = transfer_report.sections(replace(transfer_study, incumbents=single))
    assert [section.title for section in found.sections] == [
        "Parts of the space", "How alike are source and target?", "Translations of principles", "Principles in words",
    ]  # fmt: skip
    assert found.verdicts == []


def test_the_report_shows_tables_figures_verdicts_and_principles(transfer_folder):
    page = report(transfer_folder).read_text(encoding="utf-8")
    for name in ("archs", "model_ranks", "parts", "translations", "transfer_claims"):
        assert (transfer_folder / "tables" / f"{name}.csv").is_file()
    for name in ("model_ranks", "concentration"):
        assert (transfer_folder / "figures" / f"{name}.svg").is_file()
    assert "Principles, and how they changed" in page
    assert "operation of layer 1: gat" in page
    assert "is GPT-4; here it is smollm2." in page
    assert "Published rows" not in page
    assert "or a better one, logarithmic axes. n = 4 runs a line." in page
    assert "would be the diagonal. n = 1 and 4 runs a line." in page
    assert "<script>document" not in page
    assert "&lt;script&gt;document" in page


def test_the_summary_has_a_sentence_for_each_claim_and_level():
    levels: list[tuple[str, str, str, Level]] = [
        ("faster", "a", "x", "refuted"), ("faster", "b", "x", "confirmed"), ("better", "a", "x", "refuted"),
        ("faster", "a", "y", "refuted"), ("faster", "c", "y", "refuted"),
    ]  # fmt: skip
    nothing = Estimate(0.5, 0.4, 0.6, 10)
    judged = [
        Judged(claim, label, other, 1, Comparison(nothing, nothing, 1.0, level, None, ""))
        for claim, label, other, level in levels
    ]
    assert [tuple(headline) for headline in transfer_report.headlines(judged)] == [
        ("refuted", "Design principles: faster: a against x and y; c against y."),
        ("confirmed", "Design principles: faster: b against x."),
        ("refuted", "Design principles: better: a against x."),
    ]


def test_published_numbers_stand_beside_ours_and_are_marked(outcomes):
    reached = outcomes(counts=("operation_counts", {"source": "s"}, FAST, CLOSE))
    reached = reached.assign(benchmark="nas-bench-201", task="cifar10")

    class Drawn:
        rng = np.random.default_rng(0)

    (told,) = transfer_report._soon(reached, cast(transfer_report.Study, Drawn())).tables
    assert "Published rows" in told.caption
    table = told.frame
    published = {row.method: (row.archs, row.score) for row in table[table["origin"] == "published"].itertuples()}
    assert published["LAPT-REA, GPT-4"] == (4.9, 94.36)
    assert published["HEBO"] == (100, 94.34)
    measured = table[table["origin"] == "measured"].iloc[0]
    assert measured["archs"] == np.mean(FAST)
    assert measured["archs_low"] < measured["archs"] < measured["archs_high"]


def test_published_scores_and_ranks_of_the_papers_table_3_stand_beside_ours(outcomes):
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
