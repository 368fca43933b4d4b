import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from theory import novelty_filter as claim
from theory.demonstrations import novelty_filter as demonstration
from theory.minhash import jaccard, shingles
from theory.novelty_filter import (
    CLAIM,
    admit,
    calibration,
    effective_number,
    entropy,
    lemma,
    power,
    simulate,
    simulate_entropies,
    single_admission,
)


def broken(verdict):
    return [evidence.name for evidence in verdict.assumptions if not evidence.holds]


def programs(n):
    return [shingles(f"def f{i} ( x ) : return x + {i}".split(), 3) for i in range(n)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda p: sum(p) > 1e-3))
def test_entropy_is_that_of_scipy(p):
    assert entropy(p) == pytest.approx(stats.entropy(p), abs=1e-9)


def test_entropy_of_a_corpus_of_different_programs_is_log_m():
    corpus = admit(programs(50), 0.9)
    assert len(corpus) == 50
    assert entropy(np.ones(len(corpus))) == pytest.approx(lemma(50)[0])
    assert effective_number(entropy(np.ones(50))) == pytest.approx(50)


def test_an_exact_filter_admits_only_programs_that_differ_pairwise():
    pool = programs(10) * 3
    kept = admit(pool, 0.9)
    assert kept == list(range(10))
    assert all(jaccard(pool[a], pool[b]) < 0.9 for a in kept for b in kept if a < b)


def test_one_admitted_program_makes_a_point_mass_that_passes_the_filter():
    admitted, nats = single_admission(programs(10))
    assert admitted == [0]
    assert nats == 0


def test_verdict_where_one_elite_is_left_is_vacuous():
    state = 3
    off = simulate(np.random.default_rng(state), elite=0.005, filtered=False, cycles=60)[0]
    on = simulate(np.random.default_rng(state), elite=0.005, cycles=60)[0]
    found = claim.test(on, off)
    assert on[:, -1].max() == 0
    assert found.level == "vacuous"
    assert broken(found) == ["filter acts"]


def test_verdict_is_refuted_where_the_filter_admits_one_program_and_then_none():
    # Without the filter the entropy falls to that of four programs; with it the generator is a point mass.
    rng = np.random.default_rng(0)
    off = np.array([np.linspace(math.log(10), h, 5) for h in rng.normal(0.6, 0.1, 12)])
    on = np.zeros((12, 5))
    on[:, 0] = math.log(10)
    found = claim.test(on, off)
    assert found.level == "refuted"
    assert found.estimate is not None
    assert found.estimate < 0


def test_the_filter_never_admits_two_programs_of_one_family():
    nats, admissions = simulate(np.random.default_rng(0), family=5, memory=True)
    assert (admissions.sum(axis=1) <= 200).all()
    assert (admissions.sum(axis=1) >= 1).all()
    # The corpus of a cycle holds different programs once each, so the fitted generator has entropy log M.
    fitted = admissions > 0
    np.testing.assert_allclose(nats[:, 1:][fitted], np.log(admissions[fitted]), atol=1e-12)


@pytest.mark.parametrize(
    ("kept", "level"), [(0.9, "confirmed"), (0.25, "direction"), (0.0, "refuted"), (-0.3, "refuted")]
)
def test_verdict_follows_the_share_of_the_collapse_that_is_prevented(kept, level):
    on, off = simulate_entropies(np.random.default_rng(1), 40, kept)
    found = claim.test(on, off)
    assert found.level == level
    assert found.estimate_interval is not None
    assert found.estimate_interval[0] < kept < found.estimate_interval[1]


def test_a_filter_without_effect_is_shown_to_be_equivalent():
    on, off = simulate_entropies(np.random.default_rng(1), 40, 0.0)
    assert claim.test(on, off).equivalent
    assert not claim.test(*simulate_entropies(np.random.default_rng(1), 40, 0.9)).equivalent


def test_without_a_collapse_there_is_nothing_to_prevent():
    rng = np.random.default_rng(0)
    series = 5 + 0.01 * rng.standard_normal((2, 10, 5))
    series[:, :, 0] = 5
    found = claim.test(*series)
    assert found.level == "vacuous"
    assert broken(found) == ["collapse without the filter"]


def test_runs_that_start_apart_are_no_pairs():
    on, off = simulate_entropies(np.random.default_rng(0), 10, 0.8)
    assert "paired start" in broken(claim.test(on + 0.5, off))


def test_undecided_says_how_many_seeds_decide():
    on, off = simulate_entropies(np.random.default_rng(4), 3, 0.5, spread=0.6)
    found = claim.test(on, off)
    assert found.level == "undecided"
    assert found.needed_n is not None
    assert found.needed_n > 3
    assert claim.test(on[:2], off[:2]).needed_n == claim.SMALLEST


def test_power_is_that_of_the_noncentral_t():
    rng = np.random.default_rng(0)
    drawn = rng.normal(-0.25, 0.4, (20_000, 8))
    t = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(8))
    expected = (t < stats.t.ppf(0.05, 7)).mean()
    assert power(0.25, 0.4, 8) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 20_000))
    assert power(claim.KEPT, 0.4, 8) == pytest.approx(0.05)


def test_needed_seeds_reach_the_power():
    n = claim.needed_seeds(0.5)
    assert power(claim.KEPT - claim.MARGIN, 0.5, n) >= claim.POWER


def test_unknown_entropies_are_left_out_and_counted():
    on, off = simulate_entropies(np.random.default_rng(1), 20, 0.9)
    on[3, -1] = np.nan
    off[4, 5] = np.nan
    found = claim.test(on, off)
    assert (found.n, found.left_out) == (19, 1)


@pytest.mark.parametrize(
    ("on", "off", "message"),
    [
        ([[1.0, 1.0]], [[1.0, 1.0, 1.0]], "one shape"),
        ([[1.0]], [[1.0]], "at least 2 cycles"),
        ([[1.0, np.inf]], [[1.0, 1.0]], "finite and not negative"),
        ([[1.0, -1.0]], [[1.0, 1.0]], "finite and not negative"),
    ],
)
def test_bad_entropies_are_refused(on, off, message):
    with pytest.raises(ValueError, match=message):
        claim.test(on, off)


def test_five_per_cent_test_is_calibrated_and_has_its_power():
    sets = 400
    for _, expected, rejected in calibration(sets, np.random.default_rng(0)):
        low, high = stats.binom.ppf([0.001, 0.999], sets, [max(expected - 0.015, 0.0), min(expected + 0.015, 1.0)])
        assert low <= sum(rejected) <= high


def test_verdict_and_claim_are_json():
    json.dumps(dataclasses.asdict(claim.test(*simulate_entropies(np.random.default_rng(0), 5, 0.5))), allow_nan=False)
    json.dumps(CLAIM.as_dict())


def test_demonstration_is_complete():
    found = demonstration.demonstrate(np.random.default_rng(0), sets=5, pairs=20)
    assert found.claim == CLAIM.name
    levels = {row["verdict"].split(" ")[0] for row in found.rows}
    assert {"confirmed", "direction", "vacuous"} <= levels
    for curve in found.series.values():
        assert len(curve["x"]) == len(curve["y"]) == len(curve["low"])


def test_verdicts_that_are_given_together_share_the_level():
    contrast = np.array([1.0, 0.2, -0.1, 0.8, 0.5])
    p = float(np.asarray(stats.ttest_1samp(contrast, 0, alternative="greater"))[1])
    assert 0.05 / 3 < p < 0.05
    off = np.tile([8.0, 4.0], (5, 1))
    on = np.stack([np.full(5, 8.0), 6.0 + contrast], axis=1)
    assert claim.test(on, off).level == "confirmed"
    assert claim.test(on, off, tests=3).level == "undecided"


def test_more_verdicts_need_more_seeds():
    one, many = (claim.needed_seeds(0.3, claim.SIGNIFICANT / tests) for tests in (1, 10))
    assert one < many
    assert claim.power(claim.KEPT - claim.MARGIN, 0.3, many, claim.SIGNIFICANT / 10) >= claim.POWER
