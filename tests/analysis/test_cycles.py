"""Measured cycles against the journal itself, read by a few lines of numpy."""

import json
import sqlite3

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import cycle_claims, cycle_report, cycles, results, trajectories
from analysis.report import report
from bench.driver import run_study
from bench.executors import Inline
from bench.study import Grid, Study
from surrogates.benchmarks import benchmarks
from theory.cross_entropy_update import CLAIM

CANDIDATES, CYCLES, SEEDS = 20, 5, 4
HELD = "eda held_out=0.4 smoothing=0.5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of categoricals in variants: as the theory has it, and with one departure each."""
    out = tmp_path_factory.mktemp("cycles")
    grid = {
        "methods": [
            {"name": "eda", "candidates": CANDIDATES},
            {"name": "eda", "candidates": CANDIDATES, "corpus": "accumulated", "smoothing": 0.5},
            {"name": "eda", "candidates": CANDIDATES, "novelty": "canonical"},
            {"name": "eda", "candidates": CANDIDATES, "held_out": 0.4, "smoothing": 0.5},
        ],
        "benchmarks": {"analog-nasbench": ["clean"], "nas-bench-graph": ["cora"]},
        "seeds": SEEDS,
        "budget": {"evaluations": CANDIDATES * CYCLES},
    }
    study = Study(name="categoricals", title="Categoricals", grid=[Grid.model_validate(grid)])
    run_study(study, study.runs(), out, Inline())
    return out


@pytest.fixture(scope="module")
def runs(folder):
    found = results.read(folder / results.JOURNAL).runs
    return found.assign(label=trajectories.labels(found))


@pytest.fixture(scope="module")
def measured(folder, runs):
    return cycles.measure(folder / results.JOURNAL, runs)


def the_run(measured, label="eda", task="clean", seed=0):
    table = measured.table
    return table[(table["label"] == label) & (table["task"] == task) & (table["seed"] == seed)].reset_index(drop=True)


def test_every_cycle_of_every_run_is_there(measured):
    sizes = measured.table.groupby(["label", "task", "seed"])["cycle"].agg(list)
    assert len(sizes) == 4 * 2 * SEEDS
    assert all(found == list(range(CYCLES)) for found in sizes)


@pytest.mark.parametrize("task", ["clean", "cora"])
def test_mass_quality_and_gain_are_those_of_the_journalled_distributions(folder, measured, runs, task):
    rows = the_run(measured, task=task)
    benchmark = benchmarks.get(rows["benchmark"][0])
    q = benchmark.scores(task, "validation") * (0.01 if benchmark.tasks[task].unit == "%" else 1)
    db = sqlite3.connect(folder / results.JOURNAL)
    (number,) = db.execute("SELECT id FROM runs WHERE key LIKE ?", (f"{rows['run'][0]}%",)).fetchone()
    query = "SELECT log_p FROM draws JOIN distributions ON hash = distribution WHERE run = ? ORDER BY step"
    p = [np.exp(np.frombuffer(blob, np.float32).astype(float)) for (blob,) in db.execute(query, (number,))]
    scored = [s for (s,) in db.execute("SELECT validation FROM evaluations WHERE run=? ORDER BY rowid", (number,))]
    db.close()
    first = np.sort(np.array(scored[:CANDIDATES]) * benchmark.tasks[task].scale)
    tau = first[-CANDIDATES // 4]
    assert rows["threshold"].tolist() == [pytest.approx(tau, abs=0)] * CYCLES
    elite = q >= tau
    for t, row in rows.iterrows():
        assert row["mass"] == pytest.approx(p[t][elite].sum(), abs=1e-5)
        assert row["quality"] == pytest.approx(p[t] @ q, abs=1e-5)
        shares = p[t][p[t] > 0]
        assert row["entropy"] == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-4)
        if t + 1 < CYCLES:
            target = p[t] * elite / p[t][elite].sum()
            lost = bool((p[t + 1][target > 0] == 0).any())
            with np.errstate(divide="ignore"):
                gain = (target[target > 0] * np.log(p[t + 1][target > 0] / p[t][target > 0])).sum()
            assert row["gain"] == (-np.inf if lost else pytest.approx(gain, abs=1e-4))
            assert row["tightness"] >= 1 - 1e-6


def test_categoricals_end_each_tune_at_the_least_of_their_family_where_all_combinations_are_architectures(measured):
    tuned = measured.table[(measured.table["label"] == "eda") & measured.table["after"].notna()]
    assert len(tuned) == 2 * SEEDS * (CYCLES - 1)
    excess = (tuned["after"] - tuned["least"]).to_numpy()
    clean = (tuned["task"] == "clean").to_numpy()
    assert excess[clean] == pytest.approx(0, abs=1e-5)
    assert (excess[~clean] > -1e-5).all()
    assert excess[~clean].max() > 1e-3
    assert (tuned["before"] >= tuned["after"] - 1e-5)[clean].all()
    assert (tuned["foreign"] == 0).all()


@pytest.mark.parametrize(("name", "task"), [("analog-nasbench", "clean"), ("nas-bench-graph", "cora")])
def test_the_likeliest_categoricals_have_the_frequencies_of_the_corpus_as_their_marginals(name, task):
    problem = cycles._problem(name, task)
    archs = problem.benchmark.space.enumerate()
    corpus = np.random.default_rng(0).integers(len(archs), size=30).tolist()
    p = np.exp(cycles._product(corpus, problem))
    assert p.sum() == pytest.approx(1)
    for decision in archs.T:
        wanted = np.bincount(decision[corpus], minlength=decision.max() + 1) / 30
        assert np.bincount(decision, p) == pytest.approx(wanted, abs=1e-5)
    # Where every combination is an architecture, it is the product of the frequencies.
    if name == "analog-nasbench":
        shares = [np.bincount(d[corpus], minlength=d.max() + 1)[d] / 30 for d in archs.T]
        assert p == pytest.approx(np.prod(shares, axis=0), abs=1e-9)


def test_a_method_without_elites_is_measured_as_far_as_it_goes(folder, runs):
    found = cycles.measure(folder / results.JOURNAL, runs.assign(method_parameters=json.dumps({"size": 10}))).table
    assert len(found) == 4 * 2 * SEEDS * CYCLES
    assert found["threshold"].isna().all()
    assert found["mass"].isna().all()
    assert found["quality"].notna().all()
    verdicts = cycle_claims.verdicts(cycles.Cycles(found, pd.DataFrame()), {})
    assert {f.claim for f in verdicts} == {"claim 2, expected quality"}
    assert "vacuous" not in {f.verdict.level for f in verdicts}


def test_rounding_of_single_precision_is_no_fall(measured):
    rows = measured.table[measured.table["label"] == "eda"]
    flat = cycles.Cycles(rows.assign(mass=0.5 - 1e-7 * rows["cycle"], quality=0.5 - 1e-7 * rows["cycle"], gain=-1e-9),
                         measured.held_out)  # fmt: skip
    levels = {f.claim: f.verdict.level for f in cycle_claims.verdicts(flat, {})}
    assert levels["claim 2, expected quality"] == levels["claim 2, its lemma for C"] == "confirmed"


def test_a_tune_that_was_undone_counts_as_no_fall(measured):
    rows = measured.table[(measured.table["label"] == HELD) & (measured.table["task"] == "clean")]
    tuned = rows[(rows["corpus"] > 0) & rows["after"].notna()]
    undone = tuned["tune_failure"].notna()
    assert undone.any()
    assert (tuned["before"] == tuned["after"])[undone].all()
    falls = (tuned["before"] - tuned["after"]).groupby(tuned["seed"]).mean()
    (found,) = (f.verdict for f in cycle_claims.verdicts(measured, {})
                if f.claim.startswith("claim 1") and (f.label, f.task) == (HELD, "clean"))  # fmt: skip
    assert found.estimate == pytest.approx(falls.mean())


def test_a_study_that_ends_with_its_first_cycle_is_reported(tmp_path):
    grid = {
        "methods": [{"name": "eda", "candidates": 5}, "random_search"], "benchmarks": {"analog-nasbench": ["clean"]},
        "seeds": 2, "budget": {"evaluations": 5},
    }  # fmt: skip
    study = Study(name="short", title="Short", grid=[Grid.model_validate(grid)])
    run_study(study, study.runs(), tmp_path, Inline())
    assert "There is no verdict yet" in report(tmp_path).read_text(encoding="utf-8")


def test_first_and_last_cycles_are_of_the_same_seeds(folder, measured):
    from analysis.report import _study

    ended = measured.table[(measured.table["cycle"] < CYCLES - 1) | (measured.table["seed"] == 0)]
    section = cycle_report._distributions(
        measured._replace(table=ended), _study(folder, results.read(folder / results.JOURNAL))
    )
    (table,) = (table for table in section.tables if table.name == "cycles")
    assert set(table.frame["seeds"]) == {1}
    first = the_run(measured)["mass"][0]
    assert table.frame["C first"][0] == pytest.approx(first)


def test_an_accumulated_corpus_holds_what_the_cycle_did_not_bring(measured):
    rows = the_run(measured, "eda corpus=accumulated smoothing=0.5")
    assert rows["foreign"][0] == 0
    assert (rows["foreign"][1 : CYCLES - 1] > 0).all()
    assert (np.diff(rows["corpus"][: CYCLES - 1]) > 0).all()


def test_a_corpus_without_repetitions_lacks_elites_and_is_no_sample_of_them(measured):
    filtered = measured.table[measured.table["label"] == "eda novelty=canonical"]
    assert (filtered["foreign"] == 0).all()
    assert filtered["lacking"].sum() > 0
    found = {(f.claim, f.label): f.verdict for f in cycle_claims.verdicts(measured, {}) if f.task == "clean"}
    assert found["claim 1, cross-entropy update", "eda novelty=canonical"].level == "vacuous"


def test_weights_make_a_corpus_another(measured):
    one = measured.table[measured.table["label"] == "eda"]
    weighted = cycles.Cycles(one.assign(weighted=True), measured.held_out)
    levels = {f.verdict.level for f in cycle_claims.verdicts(weighted, {}) if f.claim.startswith("claim 1")}
    assert levels == {"vacuous"}


def test_held_out_elites_are_those_that_the_corpus_lacks(folder, measured):
    rows = the_run(measured, HELD)
    db = sqlite3.connect(folder / results.JOURNAL)
    query = "SELECT held_out, failure FROM tunes JOIN runs ON id = run WHERE key LIKE ? ORDER BY step"
    tunes = db.execute(query, (f"{rows['run'][0]}%",)).fetchall()
    db.close()
    kept = [0 if failure else len(json.loads(texts)) for texts, failure in tunes]
    found = measured.held_out[measured.held_out["run"] == rows["run"][0]].groupby("cycle").size()
    assert sum(kept) > 0
    assert [found.get(t, 0) for t in range(CYCLES - 1)] == kept[: CYCLES - 1]


def test_what_held_out_elites_tell_of_a_step_stands_beside_the_exact_gain(measured):
    run = the_run(measured, HELD)["run"][0]
    ratios = np.random.default_rng(0).normal(0.3, 0.1, 12)
    few = pd.DataFrame({"run": run, "cycle": 1, "log_ratio": ratios[:3]})
    held = pd.concat([pd.DataFrame({"run": run, "cycle": 0, "log_ratio": ratios}), few])
    (row,) = cycle_claims.estimates(measured._replace(held_out=held)).to_dict("records")
    assert (row["run"], row["cycle"], row["held_out_elites"], row["certified"]) == (run, 0, 12, True)
    assert row["estimated_gain"] == pytest.approx(ratios.mean())
    assert row["estimated_gain_low"] < ratios.mean() < row["estimated_gain_high"]


def test_shares_are_means_over_seeds():
    hits, seeds = np.array([True, True, False, False]), np.array([0, 0, 0, 1])
    found = cycle_claims.share("x", hits, seeds)
    assert found["x"] == pytest.approx((2 / 3 + 0) / 2)
    assert (found["x_low"], found["x_high"]) == (0, 1)


def test_shares_that_all_seeds_have_leave_room_for_seeds_that_were_not_seen():
    seeds = np.repeat(np.arange(6), 4)
    none, some, every = (cycle_claims.share("x", np.tile(hits, 6), seeds) for hits in (
        np.zeros(4, bool), np.arange(4) == 0, np.ones(4, bool)))  # fmt: skip
    missed = stats.beta.ppf(0.975, 1, 6)  # Clopper and Pearson's limit for 0 of 6
    assert list(none.values()) == pytest.approx([0, 0, missed])
    assert list(every.values()) == pytest.approx([1, 1 - missed, 1])
    assert list(some.values()) == pytest.approx([0.25, 0.25 * (1 - missed), 0.25 * (1 - missed) + missed])


def test_the_distance_of_uniform_draws_is_what_counting_gives(measured):
    space = benchmarks.get("nas-bench-graph").space
    archs = [space.canonical(tuple(arch)) for arch in space.enumerate().tolist()]
    rng = np.random.default_rng(0)
    pairs = np.array(archs)[rng.integers(len(archs), size=(2, 200_000))]
    counted = (pairs[0] != pairs[1]).mean()
    assert the_run(measured, task="cora")["distance"][0] == pytest.approx(counted, abs=0.003)


def test_verdicts_follow_from_what_the_runs_did(measured):
    found = {(f.claim, f.label, f.task): f.verdict for f in cycle_claims.verdicts(measured, {})}
    claim = "claim 1, cross-entropy update"
    assert found[claim, "eda", "clean"].level == "confirmed"
    accumulated = found[claim, "eda corpus=accumulated smoothing=0.5", "clean"]
    assert accumulated.level == "vacuous"
    assert [e.name for e in accumulated.assumptions if not e.holds] == [CLAIM.assumptions[0].name]
    quality = found["claim 2, expected quality", "eda", "clean"]
    falls = np.diff(cycle_claims.series(measured.table.query("label == 'eda' and task == 'clean'"), "quality")) < -1e-9
    assert f"falls in {falls.sum()} of {falls.size}" in quality.explanation


def test_one_seed_confirms_nothing(measured):
    alone = cycles.Cycles(measured.table[measured.table["seed"] == 0], measured.held_out)
    found = cycle_claims.verdicts(alone, {})
    assert "confirmed" not in {f.verdict.level for f in found}
    assert all((f.verdict.estimate or 0) < 0 for f in found if f.verdict.level == "direction")
    assert any("One seed says nothing of others." in f.verdict.explanation for f in found)


def test_the_certificate_holds_in_every_step(measured):
    found = cycle_claims.certificates(cycle_claims.estimated(measured))
    assert (found["holds"] == found["steps"]).all()
    assert (found["quality_holds"] == found["steps"]).all()
    undone = measured.table.groupby(["label", "benchmark", "task"], sort=False)["tune_failure"].count()
    assert (found["steps"].to_numpy() >= SEEDS * (CYCLES - 1) - undone.to_numpy()).all()
    assert (found.loc[found["method"] != HELD, "steps"] == SEEDS * (CYCLES - 1)).all()


def test_a_run_with_the_filter_is_paired_with_that_without(measured, runs):
    pairs = cycle_report._pairs(runs)
    assert pairs == {"eda novelty=canonical": "eda"}
    found = [f for f in cycle_claims.verdicts(measured, pairs) if f.claim.startswith("claim 5")]
    assert [(f.task, f.verdict.n) for f in found] == [("clean", SEEDS), ("cora", SEEDS)]


def test_the_report_shows_cycles_and_their_table_can_be_read(folder, measured):
    page = report(folder).read_text()
    assert 'id="cycles"' in page
    assert "Claim 3, as mass, eda" in page
    kept = pd.read_parquet(folder / "cycles.parquet")
    assert kept["mass"].tolist() == measured.table["mass"].tolist()
    for name in ("cycles", "cycle_claims", "departures", "certificates", "cycle_costs"):
        assert (folder / "tables" / f"{name}.csv").is_file()
    for name in ("elite_mass", "expected_quality", "entropy", "target_distance"):
        assert (folder / "figures" / f"{name}.svg").is_file()
