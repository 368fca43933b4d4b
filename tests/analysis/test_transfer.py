"""What is measured of runs that search in parts of a space, against the journal and the tables themselves."""

import json
import sqlite3
from dataclasses import replace
from itertools import product
from typing import cast

import numpy as np
import pytest

from analysis import results, transfer
from surrogates.benchmarks import benchmarks
from surrogates.subspace import everything, format_options, parse_options

GRAPH = benchmarks.get("nas-bench-graph")


def rows(folder, query, *values):
    db = sqlite3.connect(folder / results.JOURNAL)
    try:
        return db.execute(query, values).fetchall()
    finally:
        db.close()


def test_every_part_of_every_run_is_there(transfers):
    own = transfers.parts[transfers.parts["method"] != "lapt"]
    given = own["method_parameters"].map(json.loads)
    adapts = given.map(lambda p: p.get("adaptation", False)).astype(bool)
    assert set(own[~adapts].groupby(["label", "task", "seed"]).size()) == {1}
    adapting = own[adapts & given.map(lambda p: bool(p.get("source")))]
    assert len(adapting.groupby(["task", "seed"])) == 2 * 4
    # 10 evaluations, then 5 and 5.
    assert set(adapting.groupby(["task", "seed"])["evaluations"].agg(tuple)) == {(0, 10, 15)}


def test_a_part_that_stands_in_for_an_empty_one_is_told(transfers):
    assert transfers.parts["empty"].tolist() == (transfers.parts["method"] == "lapt").tolist()


def test_a_part_is_measured_over_all_its_architectures(transfers):
    part = transfers.parts.iloc[0]
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
    cells, shares = benchmarks.get("nas-bench-201"), (0.001, 0.01, 0.1, 1.0)
    whole = format_options(cells.space, everything(cells.space))
    found = transfer.concentration(cells, "cifar10", whole, shares)
    np.testing.assert_allclose(found, shares, rtol=0.05)


def test_unreadable_lines_of_translations_are_counted(transfers):
    counts = transfers.translations[["answers", "incomplete", "decisions", "replaced"]]
    assert counts.to_numpy().tolist() == [[1, 1, 8, 1], [1, 0, 8, 0]]


def test_a_line_that_an_answer_asked_for_again_has_is_not_replaced(transfer_folder, transfer_study):
    answers = transfer_study.completions[transfer_study.completions["template"] == transfer.TRANSLATION]
    again = replace(transfer_study, completions=answers.assign(step=[3, 4]))
    (row,) = transfer.measure(transfer_folder / results.JOURNAL, again).translations.to_dict("records")
    assert (row["answers"], row["incomplete"], row["replaced"]) == (2, 1, 0)
    worse = replace(transfer_study, completions=answers.assign(step=[3, 4], text=answers["text"].iloc[0]))
    (row,) = transfer.measure(transfer_folder / results.JOURNAL, worse).translations.to_dict("records")
    assert (row["answers"], row["incomplete"], row["replaced"]) == (2, 2, 1)


def test_parts_that_follow_the_list_or_leave_all_open_are_told(transfers):
    (made_up,) = transfers.parts[transfers.parts["method"] == "lapt"].to_dict("records")
    few = np.mean([len(decision.options) <= 3 for decision in GRAPH.space.decisions])
    assert (made_up["listed"], made_up["open"]) == (True, few)
    for part in transfers.parts[transfers.parts["method"] == "operation_counts"].to_dict("records"):
        allowed = parse_options(GRAPH.space, part["allowed"])
        sizes = [len(decision.options) for decision in GRAPH.space.decisions]
        assert part["open"] == np.mean([len(chosen or ()) == n for chosen, n in zip(allowed, sizes, strict=True)])
        assert not (part["open"] == 1 and part["listed"])


def test_outcomes_are_those_of_the_journal(transfer_folder, transfer_study):
    found = transfer.outcomes(transfer_study)
    assert len(found) == 5 * 2 * 4
    for outcome in found.itertuples():
        query = "SELECT e.validation, e.test FROM evaluations e JOIN runs r ON r.id = e.run WHERE r.key LIKE ?"
        validation, test = np.array(rows(transfer_folder, f"{query} ORDER BY e.rowid", f"{outcome.run}%")).T
        task = str(outcome.task)
        top, best = (np.flatnonzero(validation >= v) + 1 for v in (
            GRAPH.threshold(task, "validation"), GRAPH.optimum(task, "validation")[1]))  # fmt: skip
        assert outcome.made == len(validation) == 20
        assert top.tolist()[:1] == [] if np.isnan(cast(float, outcome.top)) else outcome.top == top[0]
        assert outcome.archs == [*best, *top, 20][0]
        assert outcome.accuracy == test[np.argmax(validation[: cast(int, outcome.archs)])]
        returned = test[np.argmax(validation)]
        assert outcome.rank == 1 + (GRAPH.scores(task, "test") > returned).sum()


def test_a_run_that_returns_nothing_ranks_behind_all(transfer_study):
    broken = transfer_study.incumbents.assign(validation=np.nan, reported=np.nan)
    found = transfer.outcomes(replace(transfer_study, incumbents=broken))
    assert found["top"].isna().all()
    assert np.isinf(found["rank"]).all()


def test_architectures_without_a_score_do_not_count():
    whole = format_options(GRAPH.space, everything(GRAPH.space))
    assert np.isnan(GRAPH.scores("proteins", "validation")).mean() > 0.9
    assert transfer.concentration(GRAPH, "proteins", whole, [1.0]).tolist() == [1.0]
