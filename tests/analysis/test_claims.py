import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.claims import CHECKS, check, claims
from surrogates.errors import InputError
from theory import cross_entropy_update, delta_validity, elite_mass, expected_quality, novelty_filter
from theory.generated_programs import Programs


def long(**columns):
    """Returns arrays of shape (seeds, cycles) as a table with a row a seed and cycle."""
    shape = next(iter(columns.values())).shape
    seed, cycle = np.indices(shape)
    values = {name: np.asarray(v).ravel() for name, v in columns.items()}
    return pd.DataFrame({"seed": seed.ravel(), "cycle": cycle.ravel(), **values})


def tables():
    """Returns a table for each claim."""
    rng = np.random.default_rng(0)
    falls = np.abs(rng.normal(1, 0.1, (5, 4)))
    length = np.concatenate([rng.integers(40, 80, 100), rng.integers(8, 16, 100)])
    programs = pd.DataFrame(
        {
            "kind": ["full"] * 100 + ["delta"] * 100,
            "valid": rng.random(200) < 0.98**length,
            "length": length,
        }
    )
    on, off = novelty_filter.simulate_entropies(rng, 5, 0.9)
    return {
        "cross-entropy-update": long(before=2 * falls, after=falls, least=0.99 * falls),
        "expected-quality": long(quality=expected_quality.simulate(rng, 6, 5)),
        "progress-certificate": pd.DataFrame({"cycle": [0] * 40, "log_ratio": rng.normal(0.5, 1, 40)}),
        "elite-mass": long(elite=elite_mass.simulate(rng, 6, 5), candidates=np.full((6, 5), 50)),
        "delta-validity": programs,
        "novelty-filter": pd.concat([long(entropy=on).assign(filter=True), long(entropy=off).assign(filter=False)]),
    }


def test_claims_are_named_once_and_each_can_be_checked():
    assert len({c.name for c in claims}) == len(claims)
    assert json.dumps([c.as_dict() for c in claims])
    assert {c.name for c in claims} == {*CHECKS, "proxy-reliability"}


@pytest.mark.parametrize("name", CHECKS)
def test_each_verdict_is_ready_for_json_and_the_same_from_csv_and_parquet(name, tmp_path):
    table = tables()[name]
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    found = check(name, table)
    assert found
    for one in found:
        assert one.keys() >= {"verdict", "estimate", "predicted", "interval", "n", "assumptions", "needed_n"}
        assert one["explanation"]
        assert all(e.keys() == {"name", "holds", "evidence"} for e in one["assumptions"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert check(name, tmp_path / "t.parquet") == found
    assert [f["verdict"] for f in check(name, str(tmp_path / "t.csv"))] == [f["verdict"] for f in found]


def test_columns_may_have_other_names_and_tasks_are_tested_apart():
    table = tables()["expected-quality"]
    both = pd.concat([table.assign(task="x"), table.assign(task="y")]).rename(columns={"quality": "acc", "cycle": "t"})
    found = check("expected-quality", both, {"quality": "acc", "cycle": "t"})
    assert [f["task"] for f in found] == ["x", "y"]
    alone = check("expected-quality", table)[0]
    # Holm's correction counts the steps of both.
    assert max(found[0]["p_values"]) >= max(alone["p_values"])
    assert found[0]["estimate"] == pytest.approx(alone["estimate"])
    pooled = check("expected-quality", both, {"quality": "acc", "cycle": "t"}, by=[])
    assert len(pooled) == 1


def test_candidates_are_averaged_within_seed_and_cycle_and_gaps_are_no_number():
    table = pd.DataFrame({"seed": [0] * 5, "cycle": [0, 0, 1, 3, 3], "quality": [0.2, 0.4, 0.5, np.nan, 0.6]})
    found = check("expected-quality", table, exact=True)[0]
    # .3, .5, nothing, .6: two steps of three known cycles.
    assert (found["steps"], found["falls"], found["change"]) == (2, 0, pytest.approx(0.3))


@pytest.mark.parametrize(("claim", "column"), [("expected-quality", "quality"), ("progress-certificate", "log_ratio")])
def test_a_row_without_its_seed_is_refused(claim: str, column: str):
    table = pd.DataFrame({"seed": [0, 0, np.nan], "cycle": [0, 1, 1], column: [0.1, 0.2, 0.3]})
    with pytest.raises(InputError, match="'seed' is empty in row 3"):
        check(claim, table)


def test_two_cycles_are_enough_for_the_reading_that_compares_them():
    table = pd.DataFrame({"cycle": [0, 1], "elite": [0.3, 0.5]})
    assert [found["reading"] for found in check("elite-mass", table, exact=True)] == ["mass"]


def test_twenty_tables_on_the_edge_are_seldom_all_wrong():
    """Twenty models for which the filter keeps exactly half of the loss: one verdict in twenty tables may be wrong."""
    rng, wrong, trials = np.random.default_rng(3), 0, 40
    for _ in range(trials):
        gain = 0.5 + 0.1 * rng.standard_normal((20, 8))
        rows = [
            {"model": m, "seed": s, "filter": on, "cycle": c, "entropy": 2.0 if c == 0 else 1 + on * gain[m, s]}
            for m in range(20) for s in range(8) for on in (0, 1) for c in (0, 1)
        ]  # fmt: skip
        wrong += any(found["verdict"] == "refuted" for found in check("novelty-filter", pd.DataFrame(rows)))
    assert wrong <= stats.binom.ppf(0.999, trials, 0.05)


def test_a_run_that_is_longer_than_its_pair_is_compared_as_far_as_both_go():
    rows = [
        {"seed": s, "filter": on, "cycle": c, "entropy": 3 - c * (1 - on) + 0.01 * s * c}
        for s in range(6) for on in (0, 1) for c in range(3 + (on and s == 0))
    ]  # fmt: skip
    assert check("novelty-filter", pd.DataFrame(rows))[0]["n"] == 6


def test_what_full_programs_have_for_a_context_is_not_read():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "kind": ["full"] * 60 + ["delta"] * 60, "valid": rng.random(120) < np.repeat([0.3, 0.8], 60),
        "length": np.r_[rng.integers(150, 250, 60), rng.integers(30, 50, 60)],
    })  # fmt: skip
    without = check("delta-validity", table.assign(matched=1))
    for blank in (0, np.nan):
        matched = np.where(table["kind"] == "full", blank, 1)
        assert check("delta-validity", table.assign(matched=matched)) == without


def test_two_units_are_too_few_to_judge_programs():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({
        "kind": ["full", "delta"] * 60, "valid": rng.random(120) < 0.5, "length": rng.integers(30, 250, 120),
        "unit": np.repeat([0, 1], 60),
    })  # fmt: skip
    assert {found["verdict"] for found in check("delta-validity", table)} == {"undecided"}


def test_a_falling_mean_is_refuted():
    values = np.array([[0.9, 0.727]])
    assert check("expected-quality", long(quality=values), exact=True)[0]["verdict"] == "refuted"


def test_elites_may_be_flags_counts_or_exact_masses():
    rng = np.random.default_rng(0)
    counts = elite_mass.simulate(rng, 4, 5, candidates=20)
    rows = [{"seed": s, "cycle": t, "elite": i < counts[s, t]} for s in range(4) for t in range(5) for i in range(20)]
    flags = check("elite-mass", pd.DataFrame(rows))
    counted = check("elite-mass", long(elite=counts, candidates=np.full((4, 5), 20)))
    assert flags == counted
    assert [f["reading"] for f in flags] == ["mass", "hit"]
    # Two bits that stay at .5: the bound fails at t = 2 as mass, and holds as hit probability.
    exact = check("elite-mass", long(elite=np.full((1, 6), 0.5)), exact=True)
    assert [(f["verdict"], f["first_violation"]) for f in exact] == [("refuted", 2), ("confirmed", None)]


def test_elites_that_were_lost_count_and_are_not_left_out():
    ratios = pd.DataFrame({"log_ratio": [*np.linspace(0.9, 1.1, 20), -np.inf]})
    (found,) = check("progress-certificate", ratios)
    assert (found["verdict"], found["n"]) == ("vacuous", 21)
    (lost,) = check("cross-entropy-update", long(before=np.full((9, 3), 0.4), after=np.full((9, 3), np.inf)))
    assert lost["verdict"] == "refuted"
    for table in (ratios.assign(log_ratio=np.inf), pd.DataFrame({"cycle": [0], "before": [-np.inf], "after": [1.0]})):
        with pytest.raises(InputError, match="finite numbers, row 1 holds"):
            check("progress-certificate" if "log_ratio" in table else "cross-entropy-update", table)


def test_thresholds_are_evidence_and_the_gains_of_elites_are_not():
    table = long(quality=np.full((3, 4), 0.5), threshold=np.arange(12).reshape(3, 4), gain=np.full((3, 4), -np.inf))
    broken = {e["name"] for e in check("expected-quality", table)[0]["assumptions"] if not e["holds"]}
    assert broken == {"fixed threshold"}


def test_programs_are_compared_under_each_model():
    found = check("delta-validity", tables()["delta-validity"].assign(matched=1))
    assert [f["model"] for f in found] == list(delta_validity.MODELS)
    of_one_length = check("delta-validity", tables()["delta-validity"].assign(length=10))
    assert [f["model"] for f in of_one_length] == ["independent"]


def test_each_step_is_certified_by_its_own_elites():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"seed": 0, "cycle": [0] * 50 + [1] * 50, "log_ratio": rng.normal([[1.0], [-1.0]], 0.5, (2, 50)).ravel()}
    )
    found = check("progress-certificate", table)
    assert [(f["cycle"], f["verdict"]) for f in found] == [(0, "confirmed"), (1, "refuted")]
    seen = check("progress-certificate", table.assign(in_corpus=[1] + [0] * 99))
    assert [f["verdict"] for f in seen] == ["vacuous", "refuted"]


def test_seeds_and_cycles_of_a_step_are_told_as_they_are():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"seed": ["s0"] * 50 + ["s1"] * 50, "cycle": 3, "log_ratio": rng.normal(1, 0.5, 100)})
    assert [(f["seed"], f["cycle"]) for f in check("progress-certificate", table)] == [("s0", 3), ("s1", 3)]


def test_a_row_without_elites_has_no_candidates_either():
    counts = elite_mass.simulate(np.random.default_rng(1), 4, 5, candidates=20)
    whole = long(elite=counts, candidates=np.full((4, 5), 20))
    for lacking in ("elite", "candidates"):
        more = pd.concat([whole.astype(float), whole.astype(float).assign(**{lacking: np.nan})])
        assert check("elite-mass", more) == check("elite-mass", whole)


def test_the_numbers_are_those_of_the_theory():
    table = tables()["cross-entropy-update"]
    wide = [table[c].to_numpy().reshape(5, 4) for c in ("before", "after", "least")]
    assert check("cross-entropy-update", table)[0]["fall"] == cross_entropy_update.test_table(*wide).fall
    table = tables()["delta-validity"]
    full, deltas = (table[table["kind"] == kind] for kind in ("full", "delta"))
    full, deltas = (Programs.from_table(p["valid"].astype(float), p["length"]) for p in (full, deltas))
    direct = delta_validity.test(full, deltas, np.random.default_rng(0), "independent")
    assert check("delta-validity", table)[0]["rates"] == direct.rates


@pytest.mark.parametrize(
    ("name", "change", "given", "message"),
    [
        ("expected-quality", lambda f: f.drop(columns="cycle"), {}, "no column 'cycle'.*--column cycle=COL"),
        ("expected-quality", lambda f: f, {"columns": {"quality": "acc"}}, "unknown column 'acc'"),
        ("expected-quality", lambda f: f, {"columns": {"qality": "quality"}}, "did you mean 'quality'"),
        ("expected-quality", lambda f: f, {"by": ["dataset"]}, "unknown column 'dataset'"),
        ("expected-quality", lambda f: f.assign(quality=2.0), {}, r"'quality' must be in \[0, 1\]; row 1 holds 2.0"),
        ("expected-quality", lambda f: f.assign(quality="high"), {}, "must hold numbers, row 1 holds 'high'"),
        ("expected-quality", lambda f: f.assign(cycle=0.5), {}, "whole numbers"),
        ("expected-quality", lambda f: f.head(0), {}, "no rows"),
        ("expected-quality", lambda f: f.assign(task=None), {}, "'task' is empty in row 1"),
        ("elite-mass", lambda f: f.drop(columns="candidates"), {}, "must hold 0 and 1"),
        ("elite-mass", lambda f: f.assign(elite=99), {}, "column 'elite' must be at most 'candidates'; row 1 holds 99"),
        (
            "elite-mass",
            lambda f: f.assign(seed=f["seed"].map("run {}".format))[(f["seed"] != 1) | (f["cycle"] != 0)],
            {},
            "seed 'run 1' lacks cycle 0",
        ),
        ("delta-validity", lambda f: f.assign(kind="patch"), {}, "not 'patch'"),
        ("delta-validity", lambda f: f.assign(length=0), {}, "at least 1"),
        ("novelty-filter", lambda f: f.assign(filter="on"), {}, "must hold numbers"),
        ("progress-certificate", lambda f: f.assign(log_ratio=np.nan), {}, "log_ratio"),
        ("cross-entropy-update", lambda f: f.assign(before=-1.0), {}, "'before' must be at least 0; row 1"),
    ],
)
def test_bad_input_is_one_clear_error(name, change, given, message):
    with pytest.raises(InputError, match=message) as error:
        check(name, change(tables()[name]), **given)
    assert "\n" not in str(error.value)
