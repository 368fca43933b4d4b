"""Tests of trends and steps in series that are repeated over seeds.

Series are arrays of shape (seeds, cycles). Seeds are independent and are the unit of replication; cycles of one seed
are not independent, so nothing here treats them as a sample. Nothing is smoothed, and NaN, a cycle that was not
measured, is left out of the means it would enter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""Differences up to this size are none."""

SIGN_TEST = 5
"""Seeds below which a test of signs cannot reach .05."""

SEEDS_AT_MOST = 100_000
"""Beyond this number of seeds a required sample size is not searched for."""


@dataclass(frozen=True)
class Means:
    """Means over seeds, one for each column; those of fewer than 2 seeds have no standard error (NaN).

    Attributes:
        mean: Means, shape (columns,).
        error: Their standard errors.
        n: Number of seeds behind each.
    """

    mean: Floats
    error: Floats
    n: NDArray[np.intp]

    @property
    def sd(self) -> Floats:
        """Standard deviations between seeds."""
        return self.error * np.sqrt(self.n)

    def below(self, bound: float = 0.0) -> Floats:
        """Returns one-sided p-values of Student's t test against mean >= bound; NaN for one seed.

        Of n seeds that are all alike, which Student's test would take for a proof, it is the sign test's, 2^-n.
        """
        gap = self.mean - bound
        # Differences of rounding size are none.
        gap = np.where(np.abs(gap) <= ROUNDING, 0.0, gap)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(gap == 0, 0.0, gap / self.error)
        p = stats.t.cdf(t, np.maximum(self.n - 1, 1))
        p = np.where((self.error <= ROUNDING) & (gap < 0), 0.5**self.n, p)
        return np.where(self.n >= 2, p, np.nan)

    def above(self, bound: float = 0.0) -> Floats:
        """Returns one-sided p-values of Student's t test against mean <= bound; NaN for one seed."""
        return Means(-self.mean, self.error, self.n).below(-bound)

    def lower(self, confidence: float = 0.95) -> Floats:
        """Returns one-sided lower confidence bounds; -inf of seeds that are alike and too few for the sign test."""
        low = self.mean - stats.t.ppf(confidence, np.maximum(self.n - 1, 1)) * self.error
        return np.where((self.error <= ROUNDING) & (0.5**self.n > 1 - confidence), -np.inf, low)

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """Returns two-sided confidence intervals."""
        half = stats.t.ppf((1 + confidence) / 2, np.maximum(self.n - 1, 1)) * self.error
        return self.mean - half, self.mean + half


def steps(series: Floats) -> Floats:
    """Returns the change to each cycle from the last one before it that is known, NaN where there is none.

    Args:
        series: Shape (seeds, cycles), NaN where there is none.

    Returns:
        Shape (seeds, cycles - 1).
    """
    known = np.where(np.isnan(series), 0, np.arange(series.shape[1]))
    last = np.take_along_axis(series, np.maximum.accumulate(known, axis=1), axis=1)
    return np.asarray(series[:, 1:] - last[:, :-1])


def first_to_last(series: Floats) -> Floats:
    """Returns the change from the first to the last known cycle of each seed, shape (seeds,); NaN below two."""
    changes = steps(series)
    return np.where(np.isnan(changes).all(axis=1), np.nan, np.nansum(changes, axis=1))


def lowest_if_flat(found: Means, column: int, level: float) -> tuple[float, float] | None:
    """Returns where a mean in [-1, 1], the lowest of all columns, falls if all are 0: Student's one-sided limit to 1.

    Args:
        found: The means.
        column: The lowest one; None is returned where it has fewer than 2 seeds.
        level: Chance that any of the columns is below, by Bonferroni's bound.
    """
    if found.n[column] < 2:
        return None
    low, _ = Means(np.zeros(1), found.error[[column]], found.n[[column]]).interval(1 - 2 * level / len(found.mean))
    return (float(low[0]), 1.0)


def read_series(values: ArrayLike, name: str, low: float = -np.inf, high: float = np.inf, cycles: int = 2) -> Floats:
    """Checks series over seeds and cycles; one series of shape (cycles,) is one seed.

    Args:
        values: Shape (seeds, cycles) or (cycles,), NaN where there is none.
        name: What they are, for the error.
        low: Smallest value allowed.
        high: Largest value allowed.
        cycles: Number of cycles at least.

    Raises:
        ValueError: Another shape, too few cycles, or values that are infinite or out of range.
    """
    x = np.asarray(values, dtype=float)
    x = x[None] if x.ndim == 1 else x
    if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] < cycles:
        raise ValueError(f"{name} must have shape (seeds, at least {cycles} cycles), not {np.shape(values)}")
    # Rounding may carry a share past 1.
    bad = np.isinf(x) | (x < low - 1e-9) | (x > high + 1e-9)
    if bad.any():
        seed, cycle = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} must be finite and in [{low:g}, {high:g}]; seed {seed}, cycle {cycle} has {x[seed, cycle]:g}"
        )
    if np.isnan(x).all():
        raise ValueError(f"{name} holds no number")
    return x


def means(values: ArrayLike) -> Means:
    """Computes the mean over seeds of each column, shape (seeds, columns), and its standard error."""
    x = np.atleast_2d(np.asarray(values, dtype=float))
    present = ~np.isnan(x)
    n = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, x, 0).sum(axis=0) / n
        squares = (np.where(present, x - mean, 0) ** 2).sum(axis=0)
        error = np.where(n >= 2, np.sqrt(squares / np.maximum(n - 1, 1) / n), np.nan)
    return Means(mean, error, n)


def holm(p: ArrayLike) -> Floats:
    """Returns p-values adjusted for the family they form, NaN staying NaN and not counting.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
    6. The chance that any true hypothesis has an adjusted value <= α is at most α, whatever the dependence.

    Args:
        p: P-values of any shape: cycles x models x tasks.
    """
    p = np.asarray(p, dtype=float)
    found = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    values = p[tested]
    order = np.argsort(values)
    adjusted = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    found[tested] = adjusted[np.argsort(order)]
    return found


def joint_below(values: ArrayLike, rng: np.random.Generator, flips: int = 999) -> Floats:
    """Returns p-values against mean >= 0 of each column, adjusted jointly for all columns, whatever their dependence.

    Each column's t statistic is held against the lowest of all columns' when the signs of whole seeds are flipped: the
    single-step minimum of Westfall and Young (1993), Resampling-Based Multiple Testing, section 2.3. Exact when seeds
    are symmetric about means of 0. Of few seeds all signs are tried: fewer than `SIGN_TEST` cannot reach .05.

    Args:
        values: Shape (seeds, columns), NaN where there is none; columns of fewer than 2 seeds get NaN.
        rng: Draws the signs.
        flips: Their number, at most.
    """
    x = np.asarray(values, dtype=float)
    n = (~np.isnan(x)).sum(axis=0)
    filled = np.nan_to_num(x, nan=0.0)
    filled = np.where(np.abs(filled) <= ROUNDING, 0.0, filled)
    if 2 ** len(x) <= flips:
        signs, flips = np.array(list(product((1.0, -1.0), repeat=len(x)))), 2 ** len(x) - 1
    else:
        signs = np.vstack([np.ones(len(x)), rng.choice([-1.0, 1.0], size=(flips, len(x)))])
    sums = signs @ filled
    scale = np.sqrt((filled**2).sum(axis=0))
    ratio = np.divide(sums, scale, out=np.zeros_like(sums), where=scale > 0)
    # Student's t by sums; rounding must not make it infinite when all seeds are alike.
    t = ratio * np.sqrt((n - 1) / np.maximum(n - ratio**2, 1e-9))
    tested = n >= 2
    if not tested.any():
        return np.full(x.shape[1], np.nan)
    least = t[1:, tested].min(axis=1)
    count = (least[:, None] <= t[0] + 1e-9 * (1 + np.abs(t[0]))).sum(axis=0)
    return np.where(tested, (1 + count) / (1 + flips), np.nan)


def equivalence(values: ArrayLike, margin: float) -> Floats:
    """Returns p-values of the two one-sided tests that a mean over seeds is 0 to within the margin.

    Source: Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power approach for assessing
    the equivalence of average bioavailability", Journal of Pharmacokinetics and Biopharmaceutics 15.

    Args:
        values: Differences, shape (seeds, columns).
        margin: Smallest difference that matters, > 0.

    Raises:
        ValueError: A margin that is not positive.
    """
    _positive("margin", margin)
    found = means(values)
    upper = found.below(margin)
    lower = found.above(-margin)
    return np.maximum(upper, lower)


def power_of_decrease(effect: float, sd: float, n: int, alpha: float = 0.05) -> float:
    """Returns the chance that a one-sided t test at level α finds a mean that is `effect` below 0, by noncentral t.

    Args:
        effect: How far below 0 the mean is, > 0.
        sd: Standard deviation between seeds, > 0.
        n: Number of seeds, at least 2.
        alpha: Level; α / m for one step of m under Bonferroni's (and Holm's first) bound.
    """
    return float(stats.nct.sf(stats.t.isf(alpha, n - 1), n - 1, effect / sd * np.sqrt(n)))


def power_of_equivalence(margin: float, sd: float, n: int, alpha: float = 0.05) -> float:
    """Returns the chance that `equivalence` finds p <= α when the mean is 0.

    Source: Phillips (1990), "Power of the two one-sided tests procedure in bioequivalence", Journal of Pharmacokinetics
    and Biopharmaceutics 18.

    Args:
        margin: Margin, > 0.
        sd: Standard deviation between seeds, > 0.
        n: Number of seeds, at least 2.
        alpha: Level.
    """
    quantile, df = stats.t.isf(alpha, n - 1), n - 1
    # P(|mean| <= margin - quantile · s / √n), averaged over s by equal shares of its distribution.
    share = (np.arange(2000) + 0.5) / 2000
    s = sd * np.sqrt(stats.chi2.ppf(share, df) / df)
    room = np.maximum(margin - quantile * s / np.sqrt(n), 0)
    return float((2 * stats.norm.cdf(room / (sd / np.sqrt(n))) - 1).mean())


def needed_seeds(power: Callable[[int], float], wanted: float = 0.8, at_least: int = 2) -> int | None:
    """Returns the smallest number of seeds with the wanted power; None beyond 100,000.

    Args:
        power: The power at a number of seeds, not decreasing.
        wanted: Power to reach, in (0, 1).
        at_least: Number of seeds to begin with.
    """
    low, high = at_least, at_least
    while power(high) < wanted:
        low, high = high + 1, high * 2
        if high > SEEDS_AT_MOST:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= wanted else (middle + 1, high)
    return high


def seeds_to_exclude(found: Means, margin: float, alpha: float, at_least: int = 2) -> int | None:
    """Returns the seeds with which every mean's lower bound is above -margin with power .8, if all means are 0.

    Args:
        found: The means, of which those of 2 seeds or more are tested; with none, `at_least` are needed.
        margin: Smallest fall that matters, > 0.
        alpha: Level of each bound.
        at_least: Number of seeds to begin with, if there are fewer.
    """
    tested = found.n >= 2
    if not tested.any():
        return at_least
    sd, n = float(found.sd[tested].max()), int(found.n[tested].min())
    if sd <= ROUNDING:
        return max(n + 1, SIGN_TEST)
    # Each of the means must pass; the chances to fail add up to .2 at most.
    wanted = 1 - 0.2 / tested.sum()
    return needed_seeds(lambda m: power_of_decrease(margin, sd, m, alpha), wanted, at_least=max(n, at_least))


def largest_change(series: Floats | None) -> float | None:
    """Returns by how much known values of a seed differ at most, shape (seeds, cycles); None: none is known."""
    if series is None or np.isnan(series).all():
        return None
    known = series[~np.isnan(series).all(axis=1)]
    return float(np.nanmax(np.nanmax(known, axis=1) - np.nanmin(known, axis=1)))


@dataclass(frozen=True)
class Trend:
    """A trend over cycles.

    Attributes:
        estimate: Its size.
        interval: 95% interval of the size; None where the test gives none.
        rise: One-sided p-value of a rise.
        fall: One-sided p-value of a fall.
        n: Number of seeds.
    """

    estimate: float
    interval: tuple[float, float] | None
    rise: float
    fall: float
    n: int


def trend_within(values: ArrayLike, rng: np.random.Generator, permutations: int = 1999) -> Trend:
    """Tests for a trend within the seeds at hand by permuting the cycles of each seed.

    The statistic is that of Page (1963), "Ordered hypotheses for multiple treatments", Journal of the American
    Statistical Association 58: the sum over seeds of Σ cycle · rank; the estimate is the mean of the seeds' Spearman
    correlations with the cycle. Exact when the cycles of a seed are exchangeable; those of a random walk are not, so it
    speaks of these seeds and of noise that is independent between cycles.

    Args:
        values: Shape (seeds, cycles), NaN where there is none.
        rng: Draws the permutations.
        permutations: Their number.
    """
    x = read_series(values, "values")
    observed, random, correlations = 0.0, np.zeros(permutations), []
    for row in x:
        t = np.flatnonzero(~np.isnan(row)).astype(float)
        if len(t) < 2:
            continue
        t -= t.mean()
        ranks = stats.rankdata(row[~np.isnan(row)])
        ranks -= ranks.mean()
        observed += float(t @ ranks)
        random += rng.permuted(np.tile(ranks, (permutations, 1)), axis=1) @ t
        # A seed that stands still has no trend.
        place = t.argsort() - (len(t) - 1) / 2
        spread = float(np.sqrt((ranks @ ranks) * (place @ place)))
        correlations.append(float(place @ ranks) / spread if spread > 0 else 0.0)
    # Rounding must not make a tie a difference.
    tie = 1e-9 * (1 + abs(observed))
    return Trend(
        estimate=float(np.mean(correlations)) if correlations else 0.0,
        interval=None,
        rise=float((1 + (random >= observed - tie).sum()) / (1 + permutations)),
        fall=float((1 + (random <= observed + tie).sum()) / (1 + permutations)),
        n=len(correlations),
    )


def trend_across(values: ArrayLike, confidence: float = 0.95) -> Trend:
    """Tests for a trend across seeds by Student's t of their least-squares slopes per cycle.

    It allows for any dependence between cycles.

    Args:
        values: Shape (seeds, cycles), at least 2 seeds with 2 cycles each.
        confidence: Coverage of the interval.

    Raises:
        ValueError: Fewer than 2 seeds with a slope.
    """
    x = read_series(values, "values")
    t = np.arange(x.shape[1], dtype=float)
    slopes = [
        float(np.polynomial.polynomial.polyfit(t[ok], row[ok], 1)[1]) for row in x if (ok := ~np.isnan(row)).sum() >= 2
    ]
    if len(slopes) < 2:
        raise ValueError(f"a trend across seeds needs at least 2 seeds with 2 cycles; there are {len(slopes)}")
    found = means(np.array(slopes)[:, None])
    low, high = found.interval(confidence)
    fall = float(found.below()[0])
    rise = float(found.above()[0])
    return Trend(float(found.mean[0]), (float(low[0]), float(high[0])), rise, fall, len(slopes))


def isotonic_test(values: ArrayLike, rng: np.random.Generator, flips: int = 1999) -> tuple[Floats, float]:
    """Tests that the mean series never falls, by its distance from the nearest series that does not.

    The statistic is the sum of squared distances between the mean over seeds and its isotonic fit (pool adjacent
    violators). Its reference flips the signs of whole seeds' series, centred on their own means over cycles, which
    keeps the dependence between cycles; it is exact for a flat mean with symmetric noise, and a flat mean is the least
    favourable one, because non-decreasing series form a convex cone.
    Source: Robertson, Wright and Dykstra (1988), Order Restricted Statistical Inference, chapter 2.

    Args:
        values: Shape (seeds, cycles), without NaN, at least 2 seeds.
        rng: Draws the signs.
        flips: Their number.

    Returns:
        The isotonic fit, shape (cycles,), and the p-value.

    Raises:
        ValueError: NaN, or fewer than 2 seeds.
    """
    x = read_series(values, "values")
    if np.isnan(x).any() or len(x) < 2:
        raise ValueError("the isotonic test needs at least 2 seeds, each with all cycles")

    mean = x.mean(axis=0)
    centred = x - x.mean(axis=1, keepdims=True)
    signs = rng.choice([-1.0, 1.0], size=(flips, len(x)))
    series = np.vstack([mean, signs @ centred / len(x)])
    fit = isotonic_fit(series)
    distance = ((series - fit) ** 2).sum(axis=1)
    # Rounding must not make a tie a difference.
    tie = 1e-12 * (1 + distance[0])
    return fit[0], float((1 + (distance[1:] >= distance[0] - tie).sum()) / (1 + flips))


def isotonic_fit(series: ArrayLike) -> Floats:
    """Returns the nearest non-decreasing series of each row, by the minimum-maximum formula.

    fit_i = max over j <= i of min over k >= i of the mean from j to k. Source: Robertson, Wright and Dykstra (1988),
    theorem 1.4.4.

    Args:
        series: Shape (rows, cycles).
    """
    x = np.asarray(series, dtype=float)
    cycles = x.shape[1]
    sums = np.concatenate([np.zeros((len(x), 1)), x.cumsum(axis=1)], axis=1)
    j, k = np.indices((cycles, cycles))
    mean = np.where(k >= j, (sums[:, None, 1:] - sums[:, :-1, None]) / np.maximum(k - j + 1, 1), np.inf)
    least = np.minimum.accumulate(mean[:, :, ::-1], axis=2)[:, :, ::-1]
    least = np.where(k >= j, least, -np.inf)
    return least.max(axis=1)


def descents_distribution(cycles: int) -> Floats:
    """Returns the chances of 0, 1, ... cycles - 1 falls in a series of exchangeable values without ties.

    They are Eulerian numbers over cycles!: A(n, k) = (k + 1) A(n-1, k) + (n - k) A(n-1, k-1). Source: Graham, Knuth and
    Patashnik, Concrete Mathematics, section 6.2.

    Args:
        cycles: Length of the series, at least 1.
    """
    p = np.ones(1)
    for n in range(2, cycles + 1):
        k = np.arange(n)
        p = ((k + 1) * np.append(p, 0.0) + (n - k) * np.append(0.0, p)) / n
    return p


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, it is {value}")
