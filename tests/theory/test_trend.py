from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from theory.trend import (
    Means,
    descents_distribution,
    equivalence,
    first_to_last,
    holm,
    isotonic_fit,
    isotonic_test,
    joint_below,
    means,
    needed_seeds,
    power_of_decrease,
    power_of_equivalence,
    read_series,
    steps,
    trend_across,
    trend_within,
)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def agrees(successes, n, p):
    """A share that agrees with p, unless a 1-in-1,000 event happened."""
    return stats.binomtest(int(successes), n, p).pvalue > 1e-3


def test_means_agree_with_scipy_column_by_column():
    x = normal(0, 12, 4)
    found = means(x)
    p = np.asarray(stats.ttest_1samp(x, 0, alternative="less")[1], dtype=float)
    np.testing.assert_allclose(found.below(), p)
    low, high = found.interval()
    interval = stats.ttest_1samp(x, 0).confidence_interval()
    np.testing.assert_allclose([low, high], [interval.low, interval.high])


def test_missing_values_are_left_out_and_never_filled_in():
    x = normal(1, 6, 2)
    x[:2, 1] = np.nan
    found = means(x)
    assert found.n.tolist() == [6, 4]
    assert found.mean[1] == pytest.approx(x[2:, 1].mean())
    x[1:, 0] = np.nan
    assert np.isnan(means(x).error[0])
    assert np.isnan(means(x).below()[0])


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_without_spread_prove_as_much_as_their_signs(seeds):
    alike = means(np.full((seeds, 1), -1.0))
    assert alike.below()[0] == stats.binomtest(0, seeds, alternative="less").pvalue
    assert means(np.full((seeds, 1), 1.0)).below()[0] == 1
    assert means(np.zeros((seeds, 1))).below()[0] == 0.5
    assert alike.lower()[0] == (-1 if seeds == 5 else -np.inf)


def test_rounded_values_of_two_seeds_reject_no_more_often_than_they_say():
    rng, trials = np.random.default_rng(5), 4000
    rounded = np.round(0.01 * rng.standard_normal((2, trials)), 2)
    rejected = int((means(rounded).below() <= 0.05).sum())
    assert rejected <= stats.binom.ppf(0.999, trials, 0.05)


def test_changes_are_from_the_last_cycle_that_is_known():
    series = np.array([[0.5, np.nan, 0.2, 0.3], [np.nan, 0.1, np.nan, np.nan]])
    np.testing.assert_allclose(steps(series), [[np.nan, -0.3, 0.1], [np.nan] * 3])
    np.testing.assert_allclose(first_to_last(series), [-0.2, np.nan])


@settings(deadline=None, max_examples=8)
@given(arrays(float, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_agrees_with_statsmodels(p):
    np.testing.assert_allclose(holm(p), np.asarray(multipletests(p, method="holm")[1], dtype=float))


def test_holm_counts_only_what_was_tested():
    found = holm([[0.01, np.nan], [0.04, np.nan]])
    np.testing.assert_array_equal(np.isnan(found), [[False, True], [False, True]])
    np.testing.assert_allclose(found[:, 0], [0.02, 0.04])


def test_equivalence_agrees_with_statsmodels():
    x = normal(2, 15, 1) * 0.1 + 0.02
    assert equivalence(x, 0.1)[0] == pytest.approx(ttost_paired(x[:, 0], np.zeros(15), -0.1, 0.1)[0])


def test_equivalence_needs_a_margin():
    with pytest.raises(ValueError, match="margin"):
        equivalence(normal(0, 3, 1), 0)


@pytest.mark.parametrize(("effect", "n", "alpha"), [(0.5, 20, 0.05), (0.3, 50, 0.01), (1.0, 5, 0.05)])
def test_power_agrees_with_statsmodels(effect, n, alpha):
    expected = TTestPower().power(effect, n, alpha, alternative="larger")
    assert power_of_decrease(effect, 1.0, n, alpha) == pytest.approx(expected, abs=1e-6)


def test_power_of_equivalence_is_what_simulation_gives():
    sets = 4000
    x = normal(3, sets, 25)
    t = stats.t.isf(0.05, 24)
    half = t * x.std(axis=1, ddof=1) / 5
    passed = (np.abs(x.mean(axis=1)) + half <= 0.7).sum()
    assert agrees(passed, sets, power_of_equivalence(0.7, 1.0, 25))


def test_the_needed_number_is_the_smallest_with_the_power():
    n = needed_seeds(lambda m: power_of_decrease(0.4, 1.0, m))
    assert n is not None
    assert power_of_decrease(0.4, 1.0, n) >= 0.8 > power_of_decrease(0.4, 1.0, n - 1)


def test_no_number_is_needed_that_cannot_be_reached():
    assert needed_seeds(lambda m: 0.5) is None


@settings(deadline=None)
@given(arrays(float, st.tuples(st.integers(1, 4), st.integers(2, 9)), elements=st.floats(-5, 5)))
def test_the_isotonic_fit_agrees_with_scipy(x):
    expected = [optimize.isotonic_regression(row).x for row in x]
    np.testing.assert_allclose(isotonic_fit(x), expected, atol=1e-9)


def test_the_isotonic_test_rejects_a_flat_mean_as_often_as_it_says_and_a_falling_one_always():
    rng = np.random.default_rng(4)
    sets = 400
    flat = sum(isotonic_test(rng.standard_normal((10, 8)), rng, flips=199)[1] <= 0.05 for _ in range(sets))
    assert agrees(flat, sets, 0.05)
    falling = rng.standard_normal((10, 8)) - np.arange(8)
    assert isotonic_test(falling, rng)[1] <= 0.01
    assert isotonic_test(-falling, rng)[1] > 0.5


def test_joint_p_values_reject_as_often_as_they_say_whatever_the_dependence():
    rng = np.random.default_rng(5)
    sets = 600
    rejected = 0
    for _ in range(sets):
        common = rng.standard_normal((12, 1))
        rejected += joint_below(common + 0.5 * rng.standard_normal((12, 10)), rng, flips=199).min() <= 0.05
    assert agrees(rejected, sets, 0.05)


def test_joint_p_values_find_the_column_that_is_below():
    x = normal(6, 12, 5)
    x[:, 3] -= 4
    found = joint_below(x, np.random.default_rng(0))
    assert found[3] <= 0.01
    assert (np.delete(found, 3) > 0.05).all()


@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 6])
def test_joint_p_values_of_few_seeds_are_those_of_all_signs(seeds):
    """Seeds that all fall are the most extreme of 2^n signs, and their opposite is the least."""
    x = -1 - 0.1 * np.random.default_rng(1).random((seeds, 1))
    for seed in range(5):
        assert joint_below(x, np.random.default_rng(seed))[0] == pytest.approx(2.0**-seeds)


def test_joint_p_values_survive_missing_and_constant_columns():
    x = normal(7, 6, 4)
    x[:, 0] = 0
    x[1:, 1] = np.nan
    x[:, 2] = -1
    found = joint_below(x, np.random.default_rng(0))
    assert found[0] > 0.5
    assert np.isnan(found[1])
    # All of 6 seeds below: 1 of 2^6 sign patterns.
    assert found[2] == pytest.approx(1 / 64, abs=0.02)
    assert np.isnan(joint_below(x[:1], np.random.default_rng(0))).all()


def test_the_trend_within_seeds_is_pages_statistic():
    x = normal(8, 6, 5) + 0.6 * np.arange(5)
    expected = stats.page_trend_test(x, method="exact")
    found = trend_within(x, np.random.default_rng(0), permutations=20_000)
    assert found.rise == pytest.approx(expected.pvalue, abs=max(0.2 * expected.pvalue, 2e-3))
    assert found.fall > 0.9
    correlations = [stats.spearmanr(row, np.arange(5))[0] for row in x]
    assert found.estimate == pytest.approx(np.mean(np.asarray(correlations, dtype=float)))


def test_the_trend_within_seeds_allows_missing_cycles():
    x = normal(9, 4, 6) + np.arange(6)
    x[0, 2] = x[3, :5] = np.nan
    found = trend_within(x, np.random.default_rng(0))
    assert found.n == 3
    assert found.rise < 0.01


def test_the_trend_across_seeds_is_students_test_of_slopes():
    x = normal(10, 9, 7)
    slopes = [np.polyfit(np.arange(7), row, 1)[0] for row in x]
    found = trend_across(x)
    assert found.rise == pytest.approx(stats.ttest_1samp(slopes, 0, alternative="greater")[1])
    assert found.rise + found.fall == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        trend_across(x[:1])


def test_falls_of_noise_are_counted_by_eulerian_numbers():
    counts = np.bincount([sum(a > b for a, b in pairwise(p)) for p in permutations(range(6))])
    np.testing.assert_allclose(descents_distribution(6), counts / counts.sum())
    k = np.arange(22)
    p = descents_distribution(22)
    # Mean (n - 1) / 2 and variance (n + 1) / 12 are known.
    assert p @ k == pytest.approx(10.5)
    assert p @ (k - 10.5) ** 2 == pytest.approx(23 / 12)


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 2, 2)), np.zeros((2, 1)), [[0.1, np.inf]], [[0.1, 1.5]], [[np.nan, np.nan]]],
)
def test_series_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match="values"):
        read_series(values, "values", 0, 1)


def test_one_series_is_one_seed():
    assert read_series([0.1, 0.2], "values").shape == (1, 2)


def test_standard_deviations_are_those_of_seeds():
    x = normal(11, 8, 2)
    np.testing.assert_allclose(means(x).sd, x.std(axis=0, ddof=1))
    assert isinstance(means(x), Means)
