"""The fit of a geometric approach to a ceiling."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from theory.families import Floats
from theory.jackknife import jackknife
from theory.trend import read_series

Interval = tuple[float, float]

LARGEST_DECAY = 0.9999
"""λ is sought in [0, this]; beyond, a geometric approach is a straight line over any number of cycles that is run."""


@dataclass(frozen=True)
class GeometricFit:
    """C_t = C_∞ - (C_∞ - C_0) λ^t, fitted to the mean over seeds.

    Attributes:
        ceiling: C_∞; None where the series does not move.
        start: C_0.
        decay: λ in [0, 1); None where the series does not move.
        ceiling_interval: 95% interval over seeds; None for one seed, and where C_∞ of the fit to all seeds, or to all
            but some, is at an end of its range, 0 or 1, where the jackknife does not hold.
        decay_interval: Likewise for λ.
        residual: Root mean squared residual.
        n: Number of seeds.
    """

    ceiling: float | None
    start: float
    decay: float | None
    ceiling_interval: Interval | None
    decay_interval: Interval | None
    residual: float
    n: int


def fit_geometric(mass: ArrayLike, rng: np.random.Generator, confidence: float = 0.95) -> GeometricFit:
    """Fits the geometric approach by least squares; intervals by the jackknife over seeds and Student's t.

    Given λ the fit is linear (variable projection: Golub and Pereyra 1973). C_∞ is held within [0, 1]. The mean of
    geometric series with different λ is not geometric itself; the residual shows how far that matters.

    Args:
        mass: C_t, shape (seeds, cycles), at least 3 cycles, NaN where there is none.
        rng: Draws the groups of the jackknife beyond 100 seeds.
        confidence: Coverage of the intervals.

    Raises:
        ValueError: Wrong shape, values outside [0, 1], or a cycle that no seed has.
    """
    x = read_series(mass, "mass", 0, 1, cycles=3)
    if np.isnan(x).all(axis=0).any():
        raise ValueError("mass must hold each cycle for at least one seed")
    mean = np.nanmean(x, axis=0)
    ceiling, start, decay, residual = _fit(mean)
    found = GeometricFit(ceiling, start, decay, None, None, residual, len(x))
    if len(x) < 2 or ceiling is None or decay is None or np.isnan(x).any():
        return found

    fits = []

    def statistic(kept: np.ndarray) -> Floats:
        ceiling, _, decay, _ = _fit(x[kept].mean(axis=0))
        fits.append((np.nan, np.nan) if ceiling is None or decay is None else (ceiling, decay))
        return np.array(fits[-1])

    _, covariance = jackknife(statistic, len(x), rng)
    if np.isnan(covariance).any():
        return found
    inner = np.all((np.array(fits) > 0) & (np.array(fits) < (1, LARGEST_DECAY)), axis=0).tolist()
    half = stats.t.ppf((1 + confidence) / 2, min(len(x), 100) - 1) * np.sqrt(np.diag(covariance))
    intervals = [(max(float(v - h), 0.0), min(float(v + h), 1.0)) for v, h in zip((ceiling, decay), half, strict=True)]
    ceiling_interval, decay_interval = (i if ok else None for i, ok in zip(intervals, inner, strict=True))
    return replace(found, ceiling_interval=ceiling_interval, decay_interval=decay_interval)


def _fit(mean: Floats) -> tuple[float | None, float, float | None, float]:
    t = np.arange(len(mean))
    if np.ptp(mean) <= 1e-12:
        return None, float(mean[0]), None, 0.0

    def solve(decay: Floats) -> tuple[Floats, Floats, Floats]:
        """Returns ceiling, start and squared residual for each λ."""
        shape = decay[:, None] ** t
        centred = shape - shape.mean(axis=1, keepdims=True)
        slope = centred @ (mean - mean.mean()) / (centred**2).sum(axis=1)
        ceiling = np.clip(mean.mean() - slope * shape.mean(axis=1), 0, 1)
        slope = ((mean - ceiling[:, None]) * shape).sum(axis=1) / (shape**2).sum(axis=1)
        squares = ((mean - ceiling[:, None] - slope[:, None] * shape) ** 2).sum(axis=1)
        return ceiling, ceiling + slope, squares

    grid = np.append(np.linspace(0, 0.99, 100), LARGEST_DECAY)
    best = int(solve(grid)[2].argmin())
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    refined = optimize.fminbound(lambda v: float(solve(np.array([v]))[2][0]), low, high, xtol=1e-12)
    candidates = np.array([grid[best], np.asarray(refined).item()])
    ceiling, start, squares = solve(candidates)
    chosen = int(squares.argmin())
    residual = float(np.sqrt(squares[chosen] / len(mean)))
    return float(ceiling[chosen]), float(start[chosen]), float(candidates[chosen]), residual
