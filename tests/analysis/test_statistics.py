import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis import statistics
from analysis.statistics import Estimate

finite = st.floats(-1e6, 1e6, allow_nan=False)
scores = arrays(float, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8), elements=finite)


def table(values):
    return pd.DataFrame(np.asarray(values, dtype=float))


@given(scores)
def test_the_interquartile_mean_is_rliables(values):
    expected = stats.trim_mean(values.ravel(), 0.25)
    assert statistics.interquartile_mean(values) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_the_interquartile_mean_leaves_missing_runs_out_and_counts_runs_without_an_architecture():
    assert statistics.interquartile_mean([1.0, np.nan, 3.0]) == 2
    assert statistics.interquartile_mean([1.0, 2.0, 3.0, np.inf]) == 2.5
    assert statistics.interquartile_mean([1.0, np.inf, np.inf, np.inf]) == np.inf
    assert np.isnan(statistics.interquartile_mean([np.nan]))


def test_the_bootstrap_distribution_is_that_of_resampling_and_sorting():
    """The fast form (counts of sorted values) against the definition."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=11)
    counts = statistics._resample([11], rng, 200)
    expected = [stats.trim_mean(np.repeat(values, row.astype(int)), 0.25) for row in counts]
    np.testing.assert_allclose(statistics._resampled_iqm(values, counts), expected)


def test_resampling_is_stratified_and_uniform():
    counts = statistics._resample([3, 7], np.random.default_rng(0), 20_000)
    assert (counts[:, :3].sum(axis=1) == 3).all()
    assert (counts[:, 3:].sum(axis=1) == 7).all()
    # Each count is binomial(size, 1/size): mean 1, variance 1 - 1/size.
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.03)
    assert counts.var(axis=0) == pytest.approx([2 / 3] * 3 + [6 / 7] * 7, abs=0.04)


def test_the_interval_covers_the_interquartile_mean():
    """Of symmetric scores the interquartile mean is the centre; 95% intervals from 20 seeds on 4 tasks cover it."""
    rng, covered, trials = np.random.default_rng(3), 0, 600
    for _ in range(trials):
        found = statistics.iqm_interval(rng.normal(size=(20, 4)), rng, resamples=500)
        covered += found.low <= 0 <= found.high
    low, high = stats.binom.interval(0.999, trials, 0.935)  # a percentile interval falls a little short of 95%
    assert low <= covered <= high


def test_an_interval_with_an_unequal_number_of_seeds():
    values = np.array([[1.0, 2.0], [1.0, np.nan], [1.0, np.nan]])
    found = statistics.iqm_interval(values, np.random.default_rng(0))
    # One quarter of the four values is cut from each end, whatever is drawn: 1, 1, 1 and the lone 2.
    assert found == Estimate(1.0, 1.0, 1.0, 4)


def test_a_band_has_an_interval_at_each_point():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    band = statistics.iqm_band(np.stack([one, two], axis=2), rng)
    assert band.n == 60
    for i, values in enumerate((one, two)):
        alone = statistics.iqm_interval(values, np.random.default_rng(9))
        assert band.value[i] == alone.value
        assert (band.low[i], band.high[i]) == pytest.approx((alone.low, alone.high), abs=0.06)


def test_no_runs_give_no_number():
    rng = np.random.default_rng(0)
    assert np.isnan(statistics.iqm_interval(np.full((2, 2), np.nan), rng)[:3]).all()
    assert np.isnan(statistics.mean_interval(np.full((2, 2), np.nan), rng)[:3]).all()
    assert statistics.probability_of_improvement(np.full((2, 1), np.nan), np.ones((2, 1)), rng).n == 0
    assert np.isnan(statistics.van_elteren(np.full((2, 1), np.nan), np.ones((2, 1))))


def test_the_mean_has_the_interval_of_its_standard_error():
    values = np.random.default_rng(5).normal(size=(400, 1))
    found = statistics.mean_interval(values, np.random.default_rng(6))
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.08)


def test_the_mean_of_runs_of_which_one_returned_nothing_is_infinite():
    values = np.array([[1.0, 2.0], [np.inf, 3.0], [4.0, 5.0]])
    found = statistics.mean_interval(values, np.random.default_rng(0))
    assert (found.value, found.high, found.n) == (np.inf, np.inf, 6)
    assert 1 < found.low < 5


def test_a_bootstrapped_statistic_is_scipys_for_one_task_and_resampled_within_several():
    values = np.random.default_rng(5).normal(size=(60, 1))
    found = statistics.bootstrap(lambda tasks: float(np.median(tasks[0])), values, np.random.default_rng(6))
    expected = stats.bootstrap(
        (values[:, 0],), np.median, method="percentile", n_resamples=2000, rng=np.random.default_rng(7)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.06)
    assert (found.value, found.n) == (np.median(values), 60)
    apart = np.array([[0.0, 10.0, np.nan]] * 4)
    held = statistics.bootstrap(lambda tasks: float(sum(t.mean() for t in tasks)), apart, np.random.default_rng(0))
    assert held == (10, 10, 10, 8)


@given(scores, st.integers(0, 2**32))
def test_improvement_is_the_mann_whitney_statistic_and_complementary(values, seed):
    rng = np.random.default_rng(seed)
    other = rng.permuted(values, axis=0)[: max(1, len(values) // 2)]
    found = statistics.probability_of_improvement(values, other, rng, 50)
    back = statistics.probability_of_improvement(other, values, rng, 50)
    u = [stats.mannwhitneyu(b, a).statistic / (len(a) * len(b)) for a, b in zip(values.T, other.T, strict=True)]
    assert found.value == pytest.approx(np.mean(u))
    assert found.value + back.value == pytest.approx(1)
    assert 0 <= found.low <= found.high <= 1


def test_the_interval_of_the_improvement_covers_its_true_value():
    """For normal scores one standard deviation apart, P(X < Y) = Φ(1 / √2)."""
    rng, truth, covered, trials = np.random.default_rng(4), stats.norm.cdf(1 / np.sqrt(2)), 0, 500
    for _ in range(trials):
        ours, theirs = rng.normal(size=(20, 4)), rng.normal(1, size=(20, 4))
        found = statistics.probability_of_improvement(ours, theirs, rng, 500)
        covered += found.low <= truth <= found.high
    low, high = stats.binom.interval(0.999, trials, 0.945)
    assert low <= covered <= high


@pytest.mark.parametrize("decimals", [0, 8])
def test_on_one_task_the_test_is_mann_whitneys(decimals):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(15, 1)).round(decimals), rng.normal(0.7, size=(12, 1)).round(decimals)
    expected = stats.mannwhitneyu(x[:, 0], y[:, 0], method="asymptotic").pvalue
    assert statistics.van_elteren(x, y) == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [(3, 3), (5, 20), (20, 20)])
def test_the_stratified_test_errs_no_more_often_than_it_says(seeds):
    rng, trials, tasks = np.random.default_rng(7), 2000, 4
    offsets = np.array([0.0, 10.0, 20.0, 30.0])  # tasks differ; the test must not see that
    p = [statistics.van_elteren(*(offsets + rng.exponential(size=(n, tasks)) for n in seeds)) for _ in range(trials)]
    # The continuity correction costs a third of the level with three seeds, nothing with twenty.
    assert stats.binom.ppf(0.001, trials, 0.035) <= np.sum(np.array(p) < 0.05) <= stats.binom.ppf(0.999, trials, 0.05)


def test_three_seeds_against_three_on_one_task_prove_nothing():
    """Of the 20 orders two are as extreme as a clean separation, so no test at 5% may reject."""
    assert statistics.van_elteren([[1.0], [2], [3]], [[4.0], [5], [6]]) > 0.05


def test_the_stratified_test_finds_small_gains_that_repeat_over_tasks():
    rng = np.random.default_rng(8)
    offsets = np.array([0.0, 10.0, 20.0, 30.0])
    ours, theirs = offsets + rng.normal(size=(30, 4)), offsets + rng.normal(0.5, size=(30, 4))
    assert statistics.van_elteren(ours, theirs) < 0.001
    assert stats.mannwhitneyu(ours.ravel(), theirs.ravel()).pvalue > 0.05  # pooling would hide it


def test_the_test_and_the_probability_of_improvement_are_of_one_direction():
    """Thirty runs each lose on one task, single runs win on two: A is above .5, and so little is no proof of it."""
    lost, won = np.arange(30.0), np.full(30, np.nan)
    won[0] = 0
    ours = np.column_stack([lost + 12, won, won])
    theirs = np.column_stack([lost + 0.5, won + 1, won + 1])
    found = judge(ours, theirs)
    assert found.improvement.value > 0.7
    assert found.level == "undecided"


def test_more_comparisons_need_more_runs():
    """At A = .6 of one task and ten pairs: (2.807 + .8416)^2 / (6 · .1^2) = 221.9 runs each."""
    ours = np.arange(20.0)[:, None]
    pair = (pd.DataFrame(ours), pd.DataFrame(ours[[*range(2, 20), 18, 19]] + np.array([0.5] * 18 + [3, 3])[:, None]))
    found = statistics.against_control({("a", str(i)): pair for i in range(10)}, np.random.default_rng(0))
    one = found["a", "0"]
    effect = max(abs(one.improvement.value - 0.5), 0.06)
    assert one.needed_n == int(np.ceil((2.807034 + 0.841621) ** 2 / (6 * effect**2)))


def test_where_nothing_differs_p_is_one():
    assert statistics.van_elteren(np.ones((3, 2)), np.ones((4, 2))) == 1


def test_holm_is_statsmodels_and_keeps_what_was_not_tested():
    p = [0.01, np.nan, 0.04, 0.03]
    expected = np.asarray(multipletests([0.01, 0.04, 0.03], method="holm")[1], dtype=float)
    found = statistics.holm(p)
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2, 3]], expected)
    assert len(statistics.holm([])) == 0


def test_ranks_are_averages_over_tasks_with_ties_shared():
    methods = {"a": np.ones((4, 2)), "b": np.ones((4, 2)) * [1, 2], "c": np.ones((4, 2)) * [5, 0]}
    found = statistics.average_ranks(methods, np.random.default_rng(0))
    # Task 1: a and b tie (1.5), c last (3). Task 2: c, a, b.
    assert {name: rank.value for name, rank in found.items()} == {"a": 1.75, "b": 2.25, "c": 2.0}
    assert all(rank.low == rank.value == rank.high for rank in found.values())


def test_pairwise_tests_name_every_pair_once_and_correct_over_them():
    rng = np.random.default_rng(0)
    methods = {name: table(rng.normal(shift, size=(10, 3))) for name, shift in (("a", 0), ("b", 0.1), ("c", 2))}
    found = statistics.pairwise_tests(methods, rng)
    assert list(zip(found["method"], found["other"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    corrected = np.asarray(multipletests(found["p"], method="holm")[1], dtype=float)
    np.testing.assert_allclose(found["p_holm"], corrected)
    assert found["improvement"].iloc[1] > 0.9


def test_friedman_and_nemenyi_take_tasks_as_blocks():
    """An outside computation: Friedman over the tasks' values, Nemenyi by the studentised range (Demšar 2006)."""
    rng = np.random.default_rng(1)
    values = rng.normal([0, 0.5, 1, 3], size=(6, 4))
    methods = {name: table(np.tile(values[:, i], (3, 1))) for i, name in enumerate("abcd")}
    p, pairs = statistics.friedman_nemenyi(methods)
    assert p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)
    ranks = stats.rankdata(values, axis=1).mean(axis=0)
    statistic = abs(ranks[0] - ranks[3]) / np.sqrt(4 * 5 / (6 * 6))
    assert pairs.loc["a", "d"] == pytest.approx(stats.studentized_range.sf(statistic * np.sqrt(2), 4, np.inf), abs=1e-6)


def judge(ours, theirs, seed=0):
    found = statistics.against_control({("m", "c"): (table(ours), table(theirs))}, np.random.default_rng(seed))
    return found["m", "c"]


def test_a_method_that_is_clearly_better_is_confirmed_and_its_control_refuted():
    rng = np.random.default_rng(0)
    better, worse = rng.normal(size=(20, 4)), rng.normal(1, size=(20, 4))
    found = judge(better, worse)
    assert found.level == "confirmed"
    assert found.difference.low <= found.difference.value <= found.difference.high
    assert found.difference.value == pytest.approx(
        stats.trim_mean(worse.ravel(), 0.25) - stats.trim_mean(better.ravel(), 0.25)
    )
    assert judge(worse, better).level == "refuted"


def test_a_gain_too_small_to_matter_is_a_direction():
    rng = np.random.default_rng(1)
    # P(X < Y) = Φ(shift / √2) = .54 < .56
    shift = stats.norm.ppf(0.54) * np.sqrt(2)
    assert judge(rng.normal(size=(2000, 2)), rng.normal(shift, size=(2000, 2))).level == "direction"


def test_a_gain_that_is_excluded_is_refuted_with_many_runs_and_undecided_with_few():
    rng = np.random.default_rng(2)
    assert judge(rng.normal(size=(400, 2)), rng.normal(size=(400, 2))).level == "refuted"
    few = judge(np.ones((3, 2)) * [1, 2], np.ones((3, 2)) * [1, 2])
    assert few.level == "undecided"
    assert few.improvement.value == 0.5


def test_the_runs_needed_are_noethers():
    """Undecided at A = .65 on one task: (1.96 + .8416)^2 / (6 · .15^2) = 58.1 runs each."""
    ours = np.arange(20.0)[:, None]
    theirs = ours + 5.5
    found = judge(ours, np.where(ours < 10, theirs - 4, theirs - 0.5))
    effect = abs(found.improvement.value - 0.5)
    assert found.level == "undecided"
    assert found.needed_n == max(21, int(np.ceil((1.959964 + 0.841621) ** 2 / (6 * max(effect, 0.06) ** 2))))


def test_the_runs_needed_give_the_power_they_promise():
    """At a true A of .7 on 2 tasks, Noether's number of runs rejects in about 80% of repetitions."""
    needed = int(np.ceil((1.959964 + 0.841621) ** 2 / (6 * 0.2**2) / 2))
    shift, rng = stats.norm.ppf(0.7) * np.sqrt(2), np.random.default_rng(3)
    p = [statistics.van_elteren(rng.normal(size=(needed, 2)), rng.normal(shift, size=(needed, 2))) for _ in range(1500)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.8, abs=0.06)


def level_of(ours, theirs, rng):
    """What `against_control` says of a single pair, without the correction that then changes nothing."""
    chance = statistics.probability_of_improvement(ours, theirs, rng, 500)
    p, pairs = statistics.van_elteren(ours, theirs), statistics._both(ours, theirs)
    return statistics._judge(p, chance, pairs, 1, rng)[0]


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_equal_methods_are_rarely_called_different(seeds):
    rng, trials = np.random.default_rng(11), 500
    levels = [level_of(rng.normal(size=(seeds, 4)), rng.normal(size=(seeds, 4)), rng) for _ in range(trials)]
    wrong = sum(level in ("confirmed", "direction") for level in levels)
    assert wrong <= stats.binom.ppf(0.999, trials, 0.025)


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_a_gain_that_matters_is_rarely_called_refuted(seeds):
    """At A = .56, the smallest effect that matters, by a test at 2.5% or an interval whose end errs as often."""
    shift, rng, trials = stats.norm.ppf(0.56) * np.sqrt(2), np.random.default_rng(12), 500
    levels = [level_of(rng.normal(size=(seeds, 4)), rng.normal(shift, size=(seeds, 4)), rng) for _ in range(trials)]
    assert sum(level == "refuted" for level in levels) <= stats.binom.ppf(0.999, trials, 0.03)


@pytest.mark.parametrize("seeds", [10, 20, 40])
def test_a_rare_gain_that_matters_is_rarely_called_refuted(seeds):
    """One run in eight finds what the control never does, so that A = .56; most samples are nearly all ties."""
    rng, trials = np.random.default_rng(13), 300
    ours = rng.random((trials, seeds, 1)) >= 0.12
    levels = [level_of(found.astype(float), np.ones((seeds, 1)), rng) for found in ours]
    assert sum(level == "refuted" for level in levels) <= stats.binom.ppf(0.999, trials, 0.03)


def test_runs_without_an_architecture_lose_and_leave_no_difference():
    found = judge(np.full((12, 2), np.inf), np.random.default_rng(0).normal(size=(12, 2)))
    assert found.level == "refuted"
    assert found.improvement.value == 0
    assert np.isnan(found.difference.value)


def test_methods_without_a_common_task_are_undecided():
    ours, theirs = pd.DataFrame({"x": [1.0]}), pd.DataFrame({"y": [1.0]})
    (found,) = statistics.against_control({("m", "c"): (ours, theirs)}, np.random.default_rng(0)).values()
    assert found.level == "undecided"
    assert found.needed_n is None
