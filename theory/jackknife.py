"""The grouped jackknife: standard errors without a distribution."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def jackknife(
    statistic: Callable[[NDArray[np.bool_]], NDArray[np.float64]], n: int, rng: np.random.Generator, groups: int = 100
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Computes how a vector of statistics varies when groups of units are left out.

    The covariance is that of pseudo-values for groups of unequal size: Busing, Meijer and van der Leeden (1999),
    "Delete-m jackknife for unequal m", Statistics and Computing 9, equation 6. With `groups` >= n it is Tukey's
    delete-one jackknife.

    Args:
        statistic: Maps the units kept, shape (n,), to statistics of shape (p,).
        n: Number of units, at least 2.
        rng: Draws the groups.
        groups: Number of groups at most.

    Returns:
        The statistics with all units kept, shape (p,), and the covariance of their sampling errors, shape (p, p).
    """
    groups = min(groups, n)
    group = rng.permutation(n) % groups
    everything = statistic(np.ones(n, dtype=bool))
    without = np.array([statistic(group != g) for g in range(groups)])
    h = (n / np.bincount(group, minlength=groups))[:, None]
    pseudo = h * everything - (h - 1) * without
    centre = groups * everything - ((1 - 1 / h) * without).sum(axis=0)
    deviation = (pseudo - centre) / np.sqrt(h - 1)
    return everything, deviation.T @ deviation / groups
