import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory import proxy_reliability as claim6
from theory.proxy_reliability import pearson_from_snr, predict
from theory.replicates import Replicates


def normal(n, k, snr, seed=0):
    rng = np.random.default_rng(seed)
    arch = np.sqrt(snr) * rng.normal(size=n)
    return arch[:, None] + rng.normal(size=(n, k)), arch


def run(y, **given) -> Any:
    return claim6.test(y, np.random.default_rng(0), **given)


def failed(found):
    return {e.name for e in found.assumptions if not e.holds}


def test_the_three_forms():
    assert pearson_from_snr([0, 1, 3, np.inf], "replicates") == pytest.approx([0, 1 / 2, 3 / 4, 1])
    assert pearson_from_snr([0, 1, 3, np.inf], "truth") == pytest.approx([0, 0.5**0.5, 0.75**0.5, 1])
    # R_x = 3/4, R_y = 1/2.
    assert pearson_from_snr(3, "general", 0.8, other_snr=1) == pytest.approx(0.8 * (3 / 8) ** 0.5)
    assert pearson_from_snr(3, "general") == pytest.approx(0.75)


def test_predictions_by_hand():
    # SNR 1 between replicates: ρ_P = 1/2, ρ_S = 6/π arcsin(1/4); n = 2: E[r_s] = τ = 2/π arcsin(1/2) = 1/3.
    assert predict(1, "replicates") == pytest.approx(6 / np.pi * np.arcsin(0.25))
    assert predict(1, "replicates", n=2) == pytest.approx(1 / 3)
    assert predict(np.inf, "truth") == pytest.approx(1)
    assert predict(0, "truth") == 0


@pytest.mark.parametrize("selection", ["third replicate", "compared replicate", "truth"])
@pytest.mark.parametrize("form", ["replicates", "truth"])
def test_selection_lowers_the_prediction_the_more_the_smaller_the_share(form, selection):
    values = [predict(10, form, share=share, selection=selection) for share in (1, 0.5, 0.1, 0.01)]
    assert np.all(np.diff(values) < 0)


def test_predictions_reject_what_has_no_meaning():
    with pytest.raises(ValueError, match="SNR must not be negative"):
        predict(-1, "truth")
    with pytest.raises(ValueError, match="share must be in"):
        predict(1, "truth", share=0)
    with pytest.raises(ValueError, match="must be selected on"):
        predict(1, "truth", share=0.1)


def test_normal_scores_confirm_the_claim():
    found = run(normal(2000, 3, 4)[0])
    assert found.level == "confirmed"
    assert found.form == "replicates"
    assert not failed(found)
    # SNR 4: ρ_P = .8, ρ_S = 6/π arcsin(.4) = .7859.
    assert found.estimate_interval[0] < 0.7859 < found.estimate_interval[1]
    assert found.interval[0] < found.estimate < found.interval[1]
    assert found.components.snr_interval[0] < 4 < found.components.snr_interval[1]
    assert found.predictions["truth"] > found.predictions["replicates"]
    assert found.needed_n is None
    json.dumps(asdict(found), allow_nan=False)


def test_small_samples_are_undecided_and_the_number_asked_for_suffices():
    small = [run(normal(12, 2, 2, seed)[0]) for seed in range(5)]
    undecided = [found for found in small if found.level == "undecided"]
    # Each is undecided but for a rejection at 5% or a false alarm: P(fewer than 3 of 5) < .002.
    assert len(undecided) >= 3
    needed = max(found.needed_n for found in undecided)
    assert needed > 12
    assert run(normal(needed, 2, 2)[0]).level in ("confirmed", "direction")


def test_a_truth_is_compared_by_its_own_form():
    found = [run(y, truth=arch) for y, arch in (normal(600, 2, 2, seed) for seed in range(6))]
    assert {f.form for f in found} == {"truth"}
    # SNR 2: ρ_P = sqrt(2/3), ρ_S = 6/π arcsin(ρ_P / 2) = .8029; P(fewer than 4 of 6 intervals hold it) < .003.
    assert sum(f.estimate_interval[0] < 0.8029 < f.estimate_interval[1] for f in found) >= 4
    assert sum(f.level == "confirmed" for f in found) >= 4


def test_noise_in_the_truth_is_found():
    y, arch = normal(3000, 2, 2)
    found = run(y, truth=arch + np.random.default_rng(1).normal(size=3000))
    assert found.level == "vacuous"
    assert failed(found) == {"noise-free truth"}
    # The general form needs none.
    assert found.predictions["general"] == pytest.approx(found.estimate, abs=0.03)


@pytest.mark.parametrize(
    ("k", "with_truth", "selection"),
    [(3, False, "third replicate"), (2, False, "compared replicate"), (2, True, "truth")],
)
def test_among_the_top_share_the_truncated_prediction_holds_and_the_plain_one_does_not(k, with_truth, selection):
    y, arch = normal(12_000, k, 10)
    found = run(y, truth=arch if with_truth else None, share=0.1)
    assert (found.selection, found.n, found.level) == (selection, 1200, "confirmed")
    assert found.predictions[found.form] > found.estimate_interval[1] + 0.1
    assert found.predictions["truncated"] == pytest.approx(found.estimate, abs=0.05)
    errors = [abs(found.estimate - found.predictions[name]) for name in (found.form, "truncated")]
    assert found.gain == pytest.approx(errors[0] - errors[1])
    assert 0 < found.gain_interval[0] < found.gain < found.gain_interval[1]
    if k == 3:
        assert found.snr < found.components.snr / 2


def test_a_top_share_with_too_few_architectures_is_undecided():
    found = run(normal(300, 3, 10)[0], share=0.01)
    assert (found.level, found.n, found.needed_n, found.estimate) == ("undecided", 3, 10, None)
    json.dumps(asdict(found), allow_nan=False)


def test_outliers_with_high_pearson_and_low_spearman_are_vacuous():
    # A share f of outliers at distance L, no correlation otherwise: ρ_S = 3 f (1-f) = .19, and
    # ρ_P = f (1-f) L² / (1 + f (1-f) L²) = .99.
    rng = np.random.default_rng(0)
    n, f = 4000, 0.068
    shared = (np.arange(n) < f * n) * np.sqrt(99 / (f * (1 - f)))
    found = run(shared[:, None] + rng.normal(size=(n, 2)))
    assert found.pearson == pytest.approx(0.99, abs=0.002)
    assert found.estimate == pytest.approx(0.19, abs=0.05)
    assert found.level == "vacuous"
    assert "normal architectures" in failed(found)
    assert found.difference_interval[1] < -0.5
    assert "off by more than" in found.explanation


def test_pooled_tasks_are_vacuous_and_show_nothing_within():
    # Three tasks far apart and no signal within: pooled ranks have ρ_S = 1 - 1/9.
    rng = np.random.default_rng(0)
    tasks = np.repeat(["a", "b", "c"], 500)
    y = np.repeat([0.0, 50.0, 100.0], 500)[:, None] + rng.normal(size=(1500, 2))
    pooled = run(y, tasks=tasks)
    assert pooled.estimate == pytest.approx(8 / 9, abs=0.02)
    assert pooled.level == "vacuous"
    assert "one task" in failed(pooled)
    for task in "abc":
        within = run(y[tasks == task], tasks=tasks[tasks == task])
        assert "one task" not in failed(within)
        # Four standard errors of a null correlation.
        assert abs(within.estimate) < 4 / np.sqrt(500)


def test_a_wrong_size_of_the_right_sign_is_direction():
    # Noise has variance .5 in the tails of the architectures and 1.5 in the middle: every assumption holds to
    # within its bound, yet scores are not jointly normal.
    rng = np.random.default_rng(5)
    arch = rng.normal(size=20_000)
    sd = np.sqrt(np.where(np.abs(arch) > 0.6745, 0.5, 1.5))
    found = run(arch[:, None] + sd[:, None] * rng.normal(size=(20_000, 2)))
    assert not failed(found)
    assert found.level == "direction"
    assert found.difference_interval[0] > 0
    assert "smaller than what matters" in found.explanation


def test_a_correlation_where_none_is_predicted_is_refuted():
    x = np.random.default_rng(0).normal(size=200)
    # Equal variances, correlation -.6.
    found = run(np.column_stack([x, -0.6 * x + 0.8 * np.random.default_rng(1).normal(size=200)]))
    assert found.components.snr == 0
    assert found.predicted == 0
    assert found.estimate_interval[1] < 0
    assert found.level == "refuted"


@pytest.mark.parametrize(
    "y",
    [np.ones((20, 2)), np.arange(20.0)[:, None] + [0, 1], np.column_stack([np.ones(20), np.arange(20.0)])],
    ids=["constant", "identical", "one constant"],
)
@pytest.mark.parametrize("share", [1, 0.5])
def test_scores_without_noise_or_variance_are_vacuous(y, share):
    found = run(y, share=share)
    assert found.level == "vacuous"
    assert failed(found)


def test_missing_replicates_are_left_out_and_counted():
    y, _ = normal(200, 3, 4)
    y[:50, 1:] = np.nan
    y[50:80, 2] = np.nan
    assert (run(y).left_out, run(y).n) == (50, 150)
    assert run(y, share=0.5).left_out == 80
    assert run(y, share=0.5).n == 60


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 50), st.lists(st.floats(-20, 20), min_size=2, max_size=2))
def test_units_and_offsets_change_no_verdict(seed, unit, offsets):
    y, _ = normal(15, 2, 2, seed)
    first, second = run(y), run(y * unit + np.array(offsets))
    assert second.level == first.level
    assert second.estimate == pytest.approx(first.estimate)
    assert second.difference_interval == pytest.approx(first.difference_interval, abs=1e-6)


@pytest.mark.parametrize(
    ("y", "given", "message"),
    [
        (np.ones((20, 1)), {}, "shape"),
        (np.ones(20), {}, "shape"),
        (normal(9, 2, 1)[0], {}, "at least 10"),
        (normal(20, 2, 1)[0], {"share": 1.5}, "share must be in"),
        (normal(20, 2, 1)[0], {"truth": np.ones(3)}, "truth must have shape"),
        (np.full((20, 2), np.inf), {}, "finite"),
        (np.full((20, 2), np.nan), {}, "at least 10"),
    ],
)
def test_bad_input_is_an_error(y, given, message):
    with pytest.raises(ValueError, match=message):
        run(y, **given)


def test_a_true_claim_is_rejected_in_about_five_percent():
    rejected = 0
    for seed in range(40):
        found = claim6.test(normal(30, 2, 2, seed)[0], np.random.default_rng(seed))
        rejected += found.level in ("direction", "refuted")
    # P(more than 7 of 40 at 5%) < .001.
    assert rejected <= 7


@pytest.mark.parametrize("with_truth", [False, True])
@pytest.mark.parametrize("k", [2, 3])
def test_statistics_of_many_samples_are_those_of_each(k, with_truth):
    samples = [normal(20, k, 2, seed) for seed in range(5)]
    read = [Replicates.read(y, arch if with_truth else None) for y, arch in samples]
    each = [claim6._statistics(sample)(np.ones(20, dtype=bool)) for sample in read]
    truth = np.array([arch for _, arch in samples])[..., None] if with_truth else None
    together = claim6._complete_statistics(np.array([y for y, _ in samples]), truth, read[0].comparisons)
    np.testing.assert_allclose(together, each)
