import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from theory import expected_quality as claim
from theory.calibration import rejections
from theory.demonstrations import expected_quality as demonstration
from theory.families import Categorical, MarkovChain, Mixture, Product, sequences
from theory.worlds import Cycles, expectation, run

SPACE = sequences(4, 2)
FAMILIES = [Categorical(16), Product(SPACE, 2), MarkovChain(SPACE, 2), Mixture(SPACE, 2)]
RNG = np.random.default_rng


def bits():
    start, quality = claim.counterexample()
    p = run(Product(sequences(2, 2), 2), start, quality, 1, Cycles(threshold=1.0))[:, 0]
    return expectation(p, quality), expectation(p, quality >= 1), p, quality


def test_the_counterexample_has_the_digits_that_were_published():
    expected, mass, p, _ = bits()
    np.testing.assert_allclose(p[1], [0.25] * 4)
    assert [f"{v:.3f}" for v in expected] == ["0.902", "0.727"]
    assert [f"{v:.2f}" for v in mass] == ["0.32", "0.50"]


def test_the_counterexample_refutes_the_published_claim_and_not_the_lemma():
    expected, mass, p, quality = bits()
    found, holds = claim.lemma(p[0], p[1], quality >= 1)
    assert holds
    gains = np.atleast_1d(found.gain)
    assert claim.test(expected, RNG(0), exact=True, gains=gains).level == "refuted"
    assert claim.test(mass, RNG(0), exact=True, quantity="C", gains=gains).level == "confirmed"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
@pytest.mark.parametrize(("share", "reward"), [(None, False), (0.2, False), (None, True)])
def test_the_lemma_has_no_exception_in_random_worlds(family, share, reward):
    step = claim.random_step(RNG(1), family, 300, share, reward)
    found, holds = claim.lemma(step["before"], step["after"], step["weights"])
    assert (found.gain >= -1e-9).all()
    assert holds.all()


def test_thresholding_lowers_expected_quality_in_some_worlds_of_a_restricted_family():
    step = claim.random_step(RNG(2), Product(SPACE, 2), 1000, 0.2)
    change = expectation(step["after"], step["quality"]) - expectation(step["before"], step["quality"])
    assert 0 < (change < -1e-9).mean() < 0.1


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_the_unrestricted_update_never_lowers_expected_quality(seed):
    step = claim.random_step(RNG(seed), Categorical(16), 20, None)
    assert (expectation(step["after"], step["quality"]) >= expectation(step["before"], step["quality"]) - 1e-12).all()


def test_a_series_that_rises_exactly_is_confirmed():
    verdict = claim.test([[0.1, 0.2, 0.2], [0.3, 0.3, 0.4]], RNG(0), exact=True)
    assert verdict.level == "confirmed"
    assert verdict.falls == 0


def test_one_exact_fall_in_one_seed_is_a_fall_and_the_raw_count_is_given():
    values = np.tile(np.linspace(0.1, 0.5, 5), (4, 1))
    values[2, 3] = 0.1
    verdict = claim.test(values * (1 + 0.1 * RNG(0).random((4, 1))), RNG(0), exact=True)
    assert verdict.level == "direction"
    assert (verdict.falls, verdict.steps, verdict.seeds_with_falls) == (1, 16, 0.25)


def test_rounding_is_no_fall():
    assert claim.test([0.3, 0.3 - 1e-12], RNG(0), exact=True).level == "confirmed"


def test_the_best_so_far_is_never_taken_for_expected_quality():
    raw = RNG(3).random((6, 22))
    verdict = claim.test(np.maximum.accumulate(raw, axis=1), RNG(0))
    assert verdict.level == "vacuous"
    assert "raw series" in verdict.explanation


def test_a_threshold_that_moves_and_a_likelihood_that_fell_are_named():
    values = [[0.1, 0.2, 0.3]]
    moved = claim.test(values, RNG(0), exact=True, thresholds=[0.4, 0.4, 0.5])
    assert [e.name for e in moved.assumptions if not e.holds] == ["fixed threshold"]
    fell = claim.test(values, RNG(0), exact=True, gains=[0.1, -0.1])
    assert [e.name for e in fell.assumptions if not e.holds] == ["likelihood rose"]
    assert moved.level == fell.level == "vacuous"
    lost = claim.test(values, RNG(0), exact=True, gains=[np.nan, -np.inf])
    assert "1 of 1 steps have Δ < 0" in lost.assumptions[2].evidence


def test_sampled_values_reject_as_often_as_they_say_when_the_claim_is_true():
    rng = RNG(4)
    sets = 300
    rejected = sum(rejections(lambda: claim.test(claim.simulate(rng, 10, 8), rng), sets))
    assert stats.binomtest(rejected, sets, 0.05).pvalue > 1e-3


def test_the_power_is_the_one_predicted():
    rng = RNG(5)
    sets = 300
    power = claim.predicted_power(0.05, 20, 8)
    assert 0.2 < power < 0.9
    rejected = sum(rejections(lambda: claim.test(claim.simulate(rng, 20, 8, fall=0.05), rng), sets))
    assert stats.binomtest(rejected, sets, power).pvalue > 1e-3


def test_precise_flat_series_are_confirmed_and_imprecise_ones_say_how_many_seeds_are_needed():
    rng = RNG(6)
    precise = 0.5 + 1e-4 * rng.standard_normal((10, 6))
    assert claim.test(precise, rng).level == "confirmed"
    rough = claim.test(0.5 + 0.05 * rng.standard_normal((10, 6)), rng)
    assert rough.level == "undecided"
    assert rough.needed_n is not None
    assert rough.needed_n > 100


def test_the_correction_counts_other_models_and_tasks():
    rng = RNG(7)
    values = claim.simulate(rng, 10, 6, fall=0.1)
    others = [claim.simulate(rng, 10, 6) for _ in range(30)]
    alone, beside = claim.test(values, rng), claim.test(values, rng, others=others)
    assert min(beside.p_values) > 10 * min(alone.p_values)


def test_one_sampled_seed_is_undecided():
    verdict = claim.test([0.1, 0.3, 0.2], RNG(0))
    assert verdict.level == "undecided"
    assert verdict.needed_n == 2


def test_a_fall_over_a_missing_cycle_is_a_fall():
    values = 0.5 + 1e-4 * RNG(8).standard_normal((6, 5))
    values[0, 2] = np.nan
    verdict = claim.test(values, RNG(0))
    assert verdict.steps == 6 * 4 - 1
    assert verdict.isotonic_p is None
    fell = claim.test([0.5, 0.6, np.nan, 0.2, 0.3], RNG(0), exact=True)
    assert (fell.level, fell.falls, fell.worst_step) == ("refuted", 1, 2)


def test_a_cycle_that_one_seed_has_alone_does_not_undo_the_others():
    values = np.linspace(0.9, 0.1, 6) + 0.01 * RNG(9).standard_normal((10, 6))
    longer = np.column_stack([values, np.r_[0.1, np.full(9, np.nan)]])
    assert claim.test(values, RNG(0)).level == claim.test(longer, RNG(0)).level == "refuted"


def test_thresholds_that_are_all_unknown_are_not_recorded():
    assert claim.test([0.1, 0.2], RNG(0), exact=True, thresholds=[np.nan, np.nan]).level == "confirmed"


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        ([[0.1, 1.2]], {}, "values"),
        ([[0.1]], {}, "values"),
        ([[0.1, np.nan, np.nan]], {}, "two cycles"),
        ([[0.1, 0.2]], {"margin": 0}, "margin"),
        ([[0.1, 0.2]], {"gains": [1, 2, 3]}, "gains"),
        ([[0.1, 0.2]], {"thresholds": [1, 2, 3]}, "thresholds"),
    ],
)
def test_bad_input_is_refused_by_name(values, options, words):
    with pytest.raises(ValueError, match=words):
        claim.test(values, RNG(0), **options)


def test_the_prediction_is_the_certificates_product():
    np.testing.assert_allclose(claim.predict(0.2, [np.log(2), 0.0]), [0.2, 0.4, 0.4])


def test_verdicts_and_claim_are_json():
    json.dumps(asdict(claim.test(claim.simulate(RNG(0), 5, 4), RNG(0))), allow_nan=False)
    json.dumps(asdict(claim.test([0.1, 0.3], RNG(0))), allow_nan=False)
    json.dumps(claim.CLAIM.as_dict())


def test_the_demonstration_shows_where_it_holds_and_where_it_breaks():
    shown = demonstration.demonstrate(RNG(0), worlds=200, sets=5)
    verdicts = {row["quantity"]: row["verdict"] for row in shown.rows}
    assert all(v == "holds" for q, v in verdicts.items() if q.startswith("worlds in which C falls"))
    assert verdicts["change of E[q], two bits, τ = 1"] == "refuted"
    assert all(len(s["x"]) == len(s["y"]) for s in shown.series.values())
    json.dumps(asdict(shown), allow_nan=False)


def test_verdicts_on_exact_values_that_are_given_together_share_the_level():
    rises = np.array([0.1, 0.02, -0.01, 0.08, 0.05])
    p = float(np.asarray(stats.ttest_1samp(rises, 0, alternative="greater"))[1])
    assert 0.05 / 3 < p < 0.05
    values = 0.5 + np.stack([np.zeros(5), np.full(5, -0.01), rises], axis=1)
    levels = [claim.test(values, np.random.default_rng(0), exact=True, tests=n).level for n in (1, 3)]
    assert levels == ["direction", "refuted"]


def test_a_series_that_stood_still_is_raw_where_that_is_known():
    values = np.array([[0.1, 0.1, 0.3], [0.1, 0.2, 0.2], [0.2, 0.2, 0.4]])
    looks, known = (claim.test(values, np.random.default_rng(0), exact=True, raw=raw) for raw in (False, True))
    assert (looks.level, known.level) == ("vacuous", "confirmed")
