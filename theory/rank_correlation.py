"""Rank correlation of normal variables: Pearson's r to Spearman's, for samples and for their top shares."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri


def spearman_from_pearson(pearson: ArrayLike) -> NDArray[np.float64]:
    """Returns Spearman's correlation of bivariate normal variables, (6/π) arcsin(ρ_P / 2).

    Source: Pearson (1907), "On further methods of determining correlation".

    Args:
        pearson: Pearson correlations in [-1, 1], of any shape.
    """
    return 6 / np.pi * np.arcsin(np.clip(pearson, -1, 1) / 2)


def pearson_from_spearman(spearman: ArrayLike) -> NDArray[np.float64]:
    """Returns 2 sin(π ρ_S / 6), the inverse of `spearman_from_pearson`."""
    return 2 * np.sin(np.pi / 6 * np.asarray(spearman, dtype=float))


def kendall_from_pearson(pearson: ArrayLike) -> NDArray[np.float64]:
    """Returns Kendall's τ of bivariate normal variables, (2/π) arcsin(ρ_P); Greiner (1909)."""
    return 2 / np.pi * np.arcsin(np.clip(pearson, -1, 1))


def sample_spearman(spearman: ArrayLike, kendall: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Returns the expected sample correlation E[r_s] = ((n - 2) ρ_S + 3 τ) / (n + 1), for any continuous distribution.

    Under bivariate normality this is 6 / (π (n + 1)) · (arcsin ρ + (n - 2) arcsin(ρ / 2)).
    Source: Moran (1948), "Rank correlation and product-moment correlation", Biometrika 35; Kendall, Rank Correlation
    Methods, chapter 9.

    Args:
        spearman: Spearman's correlation of the population.
        kendall: Kendall's τ of the population.
        n: Sample size, at least 2; infinite for the population itself.
    """
    shrink = 3 / (np.asarray(n, dtype=float) + 1)
    return np.asarray(spearman) + shrink * (np.asarray(kendall) - np.asarray(spearman))


def truncated_pearson(xy: float, xs: float, ys: float, share: float) -> float:
    """Returns Pearson's correlation of X and Y among the top `share` by S, all jointly normal.

    With c = Φ⁻¹(1 - share) and λ = φ(c) / share, the variance of S is 1 + cλ - λ² after truncation, and the regressions
    on S stay as they were. Source: Pearson (1903), "On the influence of natural selection on the variability and
    correlation of organs"; Thorndike's case 3.

    Args:
        xy: Correlation of X and Y before selection.
        xs: Correlation of X with S; 1 when X is S.
        ys: Correlation of Y with S; 1 when Y is S.
        share: Share that is kept, in (0, 1].
    """
    if share == 1:
        return xy
    c = ndtri(1 - share)
    mills = np.exp(-c * c / 2) / np.sqrt(2 * np.pi) / share
    change = c * mills - mills * mills
    return float((xy + xs * ys * change) / np.sqrt((1 + xs * xs * change) * (1 + ys * ys * change)))


def truncated_spearman(xy: float, xs: float, ys: float, share: float) -> float:
    """Returns Spearman's correlation of X and Y among the top `share` by S, all jointly normal.

    Truncation leaves X and Y skewed, so (6/π) arcsin of the truncated Pearson correlation is up to .065 too high. This
    is the definition instead, ρ_S = 12 E[F(X) G(Y)] - 3, by Gaussian quadrature over S (Legendre) and over X and Y
    given S (Hermite). It is within .0005 for correlations up to .9999.

    Args:
        xy: Correlation of X and Y before selection, in [0, 1].
        xs: Correlation of X with S, in [0, 1]; 1 when X is S.
        ys: Correlation of Y with S, in [0, 1]; 1 when Y is S.
        share: Share that is kept, in (0, 1].
    """
    if share == 1:
        return float(spearman_from_pearson(xy))
    # S: nodes from the threshold to where nothing is left.
    low = max(ndtri(1 - share), -9.0)
    high = max(low, 0.0) + 7
    node, weight = _legendre()
    s = low + (node + 1) / 2 * (high - low)
    ws = weight * np.exp(-s * s / 2)
    ws /= ws.sum()
    # X and Y given S: standard normal h, and its share in Y.
    h, wh = np.polynomial.hermite_e.hermegauss(32)
    wh = wh / wh.sum()
    sx, sy = np.sqrt(1 - xs * xs), np.sqrt(1 - ys * ys)
    partial = np.clip((xy - xs * ys) / (sx * sy), -1, 1) if sx > 0 and sy > 0 else 0.0
    x = xs * s[:, None] + sx * h
    y = ys * s[:, None, None] + sy * (partial * h[:, None] + np.sqrt(1 - partial**2) * h)

    def distribution(values: NDArray[np.float64], r: float, sd: float) -> NDArray[np.float64]:
        if sd == 0:
            return 1 - ndtr(-values) / share
        grid = np.linspace(values.min(), values.max(), 2001)
        return np.interp(values, grid, ndtr((grid[:, None] - r * s) / sd) @ ws)

    mean = np.einsum("s,h,sh,sh->", ws, wh, distribution(x, xs, sx), distribution(y, ys, sy) @ wh)
    return float(np.clip(12 * mean - 3, -1, 1))


@cache
def _legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns nodes and weights on (-1, 1), which take longer than what they are used for."""
    return np.polynomial.legendre.leggauss(200)
