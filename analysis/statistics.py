"""Statistics of methods over seeds and tasks: interquartile means, improvement, ranks, tests.

All functions take scores of which lower is better (regret), as an array of seeds by tasks for each method. Seeds are
the unit of replication: they are resampled and compared within their task, never pooled over tasks. Methods do not
share seeds, so their runs are independent samples; variants of one method do, and are taken as independent all the
same: where their runs begin alike, intervals and p-values are too large. NaN is a run that does not exist (numbers of
seeds may differ); infinite is a run that returned no architecture, worse than any other. Bootstrap intervals are
percentile intervals at 95%; with fewer than about ten seeds they are too narrow.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import combinations
from math import ceil
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from theory.claim import Level

LEVEL = 0.95
RESAMPLES = 2000

SIGNIFICANT = 0.05

SMALLEST_EFFECT = 0.56
"""Smallest probability of improvement that matters: Vargha and Delaney's (2000) "small" effect."""

POWER = 0.8

Runs = NDArray[np.float64]

Pair = TypeVar("Pair", bound=Hashable)


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes:
        value: The estimate; NaN without runs.
        low: Lower end of the interval.
        high: Upper end.
        n: Number of runs behind it.
    """

    value: float
    low: float
    high: float
    n: int

    def columns(self, name: str) -> dict[str, float]:
        """Returns it as the columns of a `Table`: `name`, `name_low` and `name_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


NO_RUNS = Estimate(np.nan, np.nan, np.nan, 0)


class Band(NamedTuple):
    """Numbers with their intervals, each an array with one entry a point; otherwise as `Estimate`."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int


class Comparison(NamedTuple):
    """How a method fares against its control; see `against_control`.

    Attributes:
        difference: Interquartile mean of the control minus that of the method; positive: the method is better. NaN when
            one of them is infinite.
        improvement: Probability that a run of the method is better than one of the control on the same task.
        p: P-value of the test, corrected by Holm over the comparisons made together.
        level: Verdict on "the method is better than its control".
        needed_n: When undecided, runs a task that each of the two needs; else None.
        explanation: The verdict in words.
    """

    difference: Estimate
    improvement: Estimate
    p: float
    level: Level
    needed_n: int | None
    explanation: str


def interquartile_mean(values: ArrayLike) -> float:
    """Returns the mean of the middle half of all values, NaN left out.

    A quarter of the values, rounded down, is cut from each end (Agarwal et al. 2021, "Deep reinforcement learning at
    the edge of the statistical precipice"; `scipy.stats.trim_mean(values, 0.25, axis=None)`).
    """
    found = np.sort(_present(np.asarray(values, dtype=float)))
    cut = len(found) // 4
    return float(found[cut : len(found) - cut].mean()) if len(found) else np.nan


def iqm_interval(values: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES) -> Estimate:
    """Returns the interquartile mean of a method's runs with a stratified bootstrap interval (Agarwal et al. 2021).

    Args:
        values: Shape (seeds, tasks).
        rng: Source of all randomness.
        resamples: Number of resamples.
    """
    if not np.size(values):
        return NO_RUNS
    band = iqm_band(np.asarray(values, dtype=float)[:, :, None], rng, resamples)
    return Estimate(float(band.value[0]), float(band.low[0]), float(band.high[0]), band.n)


def iqm_band(values: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES) -> Band:
    """Returns `iqm_interval` at many moments of the same runs, which are resampled together.

    Args:
        values: Shape (seeds, tasks, points); a run that is NaN at one point is left out.
        rng: Source of all randomness.
        resamples: Number of resamples.
    """
    array = np.asarray(values, dtype=float)
    runs = [task[~np.isnan(task).any(axis=1)] for task in np.moveaxis(array, 1, 0)]
    pooled = np.concatenate(runs)
    if not len(pooled):
        nothing = np.full(array.shape[2], np.nan)
        return Band(nothing, nothing, nothing, 0)
    counts = _resample([len(task) for task in runs if len(task)], rng, resamples)
    value = np.array([interquartile_mean(column) for column in pooled.T])
    low, high = np.transpose([_interval(_resampled_iqm(column, counts)) for column in pooled.T])
    return Band(value, low, high, len(pooled))


def mean_interval(values: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES) -> Estimate:
    """Returns the mean over a method's runs with a bootstrap interval stratified over tasks.

    Args:
        values: Shape (seeds, tasks); NaN where there is no run.
        rng: Source of all randomness.
        resamples: Number of resamples.
    """
    strata = [task for task in _strata(values) if len(task)]
    if not strata:
        return NO_RUNS
    pooled = np.concatenate(strata)
    infinite = np.isinf(pooled)
    counts = _resample([len(task) for task in strata], rng, resamples)
    # An infinite value that a resample left out would make NaN of it.
    drawn = np.where(counts @ infinite > 0, np.inf, counts @ np.where(infinite, 0, pooled) / len(pooled))
    return Estimate(float(pooled.mean()), *_interval(drawn), len(pooled))


def bootstrap(
    statistic: Callable[[list[Runs]], float], values: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Returns a statistic of a method's runs with a bootstrap interval stratified over tasks.

    Args:
        statistic: Computed from the runs of each task that has any, arrays of shape (seeds,).
        values: Shape (seeds, tasks); NaN where there is no run.
        rng: Source of all randomness.
        resamples: Number of resamples.
    """
    strata = [task for task in _strata(values) if len(task)]
    if not strata:
        return NO_RUNS
    drawn = [statistic([rng.choice(task, len(task)) for task in strata]) for _ in range(resamples)]
    return Estimate(statistic(strata), *_interval(np.array(drawn)), sum(map(len, strata)))


def probability_of_improvement(
    method: ArrayLike, control: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Returns the probability that a run of the method beats one of the control on a task drawn at random.

    The mean over tasks of the Mann-Whitney statistic U / (n m), ties counting half, with a bootstrap interval
    stratified over tasks and methods (Agarwal et al. 2021). Tasks that one of them lacks are left out.

    Args:
        method: Shape (seeds, tasks), lower is better.
        control: Shape (seeds, tasks), its tasks in the same order.
        rng: Source of all randomness.
        resamples: Number of resamples.
    """
    return _improvement(_both(method, control), rng, resamples)


def _improvement(pairs: list[tuple[Runs, Runs]], rng: np.random.Generator, resamples: int) -> Estimate:
    if not pairs:
        return NO_RUNS
    values, drawn = [], np.zeros(resamples)
    for x, y in pairs:
        wins = (x[:, None] < y).astype(float) + 0.5 * (x[:, None] == y)
        values.append(wins.mean())
        rows, columns = (_resample([size], rng, resamples) for size in wins.shape)
        drawn += ((rows @ wins) * columns).sum(axis=1) / wins.size
    low, high = _interval(drawn / len(pairs))
    return Estimate(float(np.mean(values)), low, high, sum(len(x) + len(y) for x, y in pairs))


def average_ranks(
    methods: Mapping[str, ArrayLike], rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Returns each method's rank among the methods, 1 being best, averaged over tasks.

    On each task the methods are ranked by the interquartile mean of their seeds, ties sharing the mean rank; the
    interval is a bootstrap over seeds within tasks and methods, so it holds for these tasks, not for others.

    Args:
        methods: For each method an array (seeds, tasks); all have runs on every task.
        rng: Source of all randomness.
        resamples: Number of resamples.
    """
    strata = {name: _strata(values) for name, values in methods.items()}
    sizes = {name: sum(map(len, tasks)) for name, tasks in strata.items()}
    value = stats.rankdata([[interquartile_mean(task) for task in tasks] for tasks in strata.values()], axis=0)
    drawn = np.array(
        [[_resampled_iqm(t, _resample([len(t)], rng, resamples)) for t in tasks] for tasks in strata.values()]
    )
    ranks = stats.rankdata(drawn, axis=0).mean(axis=1)
    return {
        name: Estimate(float(value[i].mean()), *_interval(ranks[i]), n) for i, (name, n) in enumerate(sizes.items())
    }


def van_elteren(method: ArrayLike, control: ArrayLike) -> float:
    """Returns the two-sided p-value of the stratified rank-sum test of van Elteren (1960), in its design-free form.

    Each task is a stratum: within it, independent seeds are ranked as by Mann and Whitney; the rank sums are added with
    weights 1 / (n m), so that tasks count alike and the sum is on that side of 0 on which `probability_of_improvement`
    is of .5, whatever the numbers of runs. It is held against its normal approximation, with variances corrected for
    ties and a continuity correction of half a rank in the largest stratum, without which few seeds reject too often.
    With one task it is the asymptotic Mann-Whitney test. 1 where nothing differs, NaN without common tasks.

    Args:
        method: Shape (seeds, tasks).
        control: Shape (seeds, tasks), its tasks in the same order.
    """
    pairs = _both(method, control)
    if not pairs:
        return np.nan
    distance, variance, step = 0.0, 0.0, np.inf
    for x, y in pairs:
        n, m = len(x), len(y)
        pooled = np.concatenate([x, y])
        ties = np.unique(pooled, return_counts=True)[1]
        weight = 1 / (n * m)
        step = min(step, weight)
        distance += weight * (stats.rankdata(pooled)[:n].sum() - n * (n + m + 1) / 2)
        correction = (ties**3 - ties).sum() / ((n + m) * (n + m - 1))
        variance += weight**2 * n * m / 12 * (n + m + 1 - correction)
    distance = max(abs(distance) - step / 2, 0.0)
    return float(2 * stats.norm.sf(distance / np.sqrt(variance))) if variance > 0 else 1.0


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """Returns p-values corrected for their number by Holm (1979); NaN stays NaN and does not count."""
    from statsmodels.stats.multitest import multipletests

    found = np.array(p, dtype=float)
    tested = ~np.isnan(found)
    if tested.any():
        found[tested] = multipletests(found[tested], method="holm")[1]
    return found


def pairwise_tests(methods: Mapping[str, pd.DataFrame], rng: np.random.Generator) -> pd.DataFrame:
    """Compares every two methods over the tasks.

    Args:
        methods: For each method a table of seeds by tasks, all with the same tasks.
        rng: Source of all randomness.

    Returns:
        One row a pair: `method`, `other`, `improvement` with `improvement_low` and `improvement_high`
        (`probability_of_improvement`), `p` (`van_elteren`), `p_holm` (corrected over all pairs) and `n`.
    """
    rows = []
    for a, b in combinations(methods, 2):
        chance = probability_of_improvement(methods[a], methods[b], rng)
        rows.append((a, b, chance.value, chance.low, chance.high, van_elteren(methods[a], methods[b]), chance.n))
    names = ["method", "other", "improvement", "improvement_low", "improvement_high", "p", "n"]
    found = pd.DataFrame(rows, columns=pd.Index(names))
    found.insert(6, "p_holm", holm(found["p"].tolist()))
    return found


def friedman_nemenyi(methods: Mapping[str, pd.DataFrame]) -> tuple[float, pd.DataFrame]:
    """Tests whether methods differ over tasks, and which (Demšar 2006).

    The blocks are the tasks, each with the interquartile means of the methods' seeds: seeds of one task are no further
    tasks, so they make no further blocks. n is the number of tasks; with few, only large differences of ranks show.

    Args:
        methods: For each of at least three methods a table of seeds by tasks; the same tasks, at least two.

    Returns:
        The p-value of Friedman's test and the p-values of Nemenyi's for every pair.
    """
    from scikit_posthocs import posthoc_nemenyi_friedman

    blocks = pd.DataFrame(
        {name: [interquartile_mean(task) for task in _strata(values)] for name, values in methods.items()}
    )
    # Ranks: the tests use nothing else, and infinite values would trouble them.
    ranks = blocks.rank(axis=1)
    alike = bool((ranks.nunique(axis=1) == 1).all())
    p = 1.0 if alike else float(stats.friedmanchisquare(*ranks.to_numpy().T).pvalue)
    return p, posthoc_nemenyi_friedman(ranks)


def against_control(
    pairs: Mapping[Pair, tuple[pd.DataFrame, pd.DataFrame]], rng: np.random.Generator
) -> dict[Pair, Comparison]:
    """Judges, for each pair, the statement "the method is better than its control".

    With p from `van_elteren`, corrected by Holm over the pairs, and A the probability of improvement with its 95%
    interval, the verdict is, in this order:

    - `confirmed`: p < .05 and A >= .56, the smallest effect that matters (Vargha and Delaney 2000, "small").
    - `direction`: p < .05 and .5 < A < .56: better, but by less than matters.
    - `refuted`: p < .05 and A < .5, so the control is better; or the whole interval of A is below .56, so a gain that
      matters is excluded. That takes at least ten runs of each on every task, since the interval is too narrow with
      fewer; and that the interval stays below .56 when each side is given one best and one worst run on every task:
      what has not happened yet is in no resample of runs that are all alike (after Agresti and Caffo 2000).
    - `undecided`: otherwise. `needed_n` is the number of runs a task that gives the test a power of 80% at the observed
      A, or at .56 if that is farther from .5, at .05 over the number of pairs, the level that Holm's correction asks of
      the first (Noether 1987, "Sample size determination for some common nonparametric tests").

    Args:
        pairs: For each pair the tables of the method and of its control, seeds by tasks; tasks that one of them lacks
            are left out.
        rng: Source of all randomness.
    """
    found = {}
    common = {}
    for names, (method, control) in pairs.items():
        tasks = [task for task in method.columns if task in control.columns]
        common[names] = (method[tasks], control[tasks])
    corrected = holm([van_elteren(*tables) for tables in common.values()])
    for p, (names, (method, control)) in zip(corrected.tolist(), common.items(), strict=True):
        chance = probability_of_improvement(method, control, rng)
        tests = int(np.sum(~np.isnan(corrected)))
        level, needed, explanation = _judge(p, chance, _both(method, control), tests, rng)
        found[names] = Comparison(_difference(method, control, rng), chance, p, level, needed, explanation)
    return found


def _judge(
    p: float, chance: Estimate, pairs: list[tuple[Runs, Runs]], tests: int, rng: np.random.Generator
) -> tuple[Level, int | None, str]:
    if not pairs:
        return "undecided", None, "there is no task on which both have runs"
    shown = f"probability of improvement {chance.value:.2f} [{chance.low:.2f}, {chance.high:.2f}], p = {p:.2g}"
    fewest = min(min(len(x), len(y)) for x, y in pairs)
    if p < SIGNIFICANT and chance.value >= SMALLEST_EFFECT:
        return "confirmed", None, f"it is better, {shown}"
    if p < SIGNIFICANT and chance.value > 0.5:
        return "direction", None, f"it is better, but by less than matters, {shown}"
    if p < SIGNIFICANT:
        return "refuted", None, f"the control is better, {shown}"
    if chance.high < SMALLEST_EFFECT and fewest >= 10:
        extremes = np.array([-np.inf, np.inf])
        widened = _improvement([(np.r_[x, extremes], np.r_[y, extremes]) for x, y in pairs], rng, RESAMPLES)
        if widened.high < SMALLEST_EFFECT:
            return "refuted", None, f"a gain that matters is excluded, {shown}"
    effect = max(abs(chance.value - 0.5), SMALLEST_EFFECT - 0.5)
    quantiles = stats.norm.isf(SIGNIFICANT / tests / 2) + stats.norm.ppf(POWER)
    # Noether's total for two equal groups is (z / effect)^2 / 3.
    needed = max(ceil(quantiles**2 / (6 * effect**2 * len(pairs))), fewest + 1)
    return "undecided", needed, f"too few runs to tell, {shown}; about {needed} runs a task of each would do"


def _difference(method: ArrayLike, control: ArrayLike, rng: np.random.Generator) -> Estimate:
    """Returns the interquartile mean of the control minus the method's, with a stratified bootstrap interval."""
    pairs = _both(method, control)
    if not pairs:
        return NO_RUNS
    ours, theirs = ([pair[i] for pair in pairs] for i in (0, 1))
    value = interquartile_mean(np.concatenate(theirs)), interquartile_mean(np.concatenate(ours))
    n = sum(map(len, ours)) + sum(map(len, theirs))
    if not np.isfinite(value).all():
        return Estimate(np.nan, np.nan, np.nan, n)
    drawn = [
        _resampled_iqm(np.concatenate(strata), _resample([len(x) for x in strata], rng, RESAMPLES))
        for strata in (theirs, ours)
    ]
    with np.errstate(invalid="ignore"):
        differences = drawn[0] - drawn[1]
    low, high = (np.nan, np.nan) if np.isnan(differences).any() else _interval(differences)
    return Estimate(value[0] - value[1], low, high, n)


def _present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _strata(values: ArrayLike) -> list[Runs]:
    """Returns the runs of each task."""
    return [_present(task) for task in np.asarray(values, dtype=float).T]


def _both(method: ArrayLike, control: ArrayLike) -> list[tuple[Runs, Runs]]:
    """Returns the runs of both on each task that both have."""
    return [(x, y) for x, y in zip(_strata(method), _strata(control), strict=True) if len(x) and len(y)]


def _resample(sizes: Sequence[int], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Returns how often each run is drawn, with replacement within its stratum: shape (resamples, runs)."""
    parts = []
    for size in sizes:
        drawn = rng.integers(size, size=(resamples, size)) + np.arange(resamples)[:, None] * size
        parts.append(np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size))
    return np.concatenate(parts, axis=1).astype(float)


def _resampled_iqm(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the interquartile mean of each resample, given how often it holds each value."""
    order = np.argsort(values)
    ordered, cut = values[order], len(values) // 4
    upto = counts[:, order].cumsum(axis=1).clip(cut, len(values) - cut)
    kept = np.diff(upto, axis=1, prepend=cut)
    finite = np.isfinite(ordered)
    means = kept[:, finite] @ ordered[finite] / (len(values) - 2 * cut)
    return np.where(kept[:, ~finite].any(axis=1), np.inf, means)


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    # No interpolation: it would make NaN of infinite values.
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
