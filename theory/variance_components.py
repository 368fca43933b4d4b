"""Variance components of replicated scores: how far architectures differ, and how far replicates of one do."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f


@dataclass(frozen=True)
class VarianceComponents:
    """Components of the model y_ij = μ + offset_j + a_i + e_ij.

    Attributes:
        arch: σ²_arch, the variance of a; 0 when its estimate is negative.
        noise: σ²_noise, the variance of e.
        snr: σ²_arch / σ²_noise; infinite when there is no noise, NaN when nothing varies.
        icc: Intraclass correlation SNR / (1 + SNR), the reliability of one replicate; NaN when nothing varies.
        snr_interval: Interval of the SNR; exact under normality when balanced.
        icc_interval: The same interval as intraclass correlations.
        n: Number of architectures.
        observations: Number of scores.
        note: "" or what the reader must know of the estimate.
    """

    arch: float
    noise: float
    snr: float
    icc: float
    snr_interval: tuple[float, float]
    icc_interval: tuple[float, float]
    n: int
    observations: int
    note: str


def remove_offsets(replicates: ArrayLike) -> tuple[NDArray[np.float64], int]:
    """Removes the mean differences between replicates, which change no ranking within a replicate.

    The offsets are the least-squares column effects beside free row effects, so that architectures that lack a
    replicate do not bias them.

    Args:
        replicates: Scores, shape (n, k), NaN where there is none.

    Returns:
        The scores without offsets, shape (n, k), and the number of offsets that were estimated.
    """
    y = np.asarray(replicates, dtype=float)
    present = ~np.isnan(y)
    if len(y) and present.all():
        return y - y.mean(axis=0), y.shape[1] - 1
    count = np.maximum(present.sum(axis=1), 1)
    filled = np.where(present, y, 0)
    shares = present / count[:, None]
    normal = np.diag(present.sum(axis=0)) - shares.T @ present
    right = filled.sum(axis=0) - shares.T @ filled.sum(axis=1)
    offsets, _, rank, _ = np.linalg.lstsq(normal, right, rcond=1e-10)
    return y - offsets, int(rank)


def variance_components(replicates: ArrayLike, confidence: float = 0.95) -> VarianceComponents:
    """Estimates the components of replicated scores by the method of moments.

    Architectures are random effects; mean differences between replicates (a seed's luck, validation against test) are
    removed first, as in the consistency form of the intraclass correlation, ICC(3,1) of Shrout and Fleiss (1979). Every
    architecture counts once, however many replicates it has: σ²_arch is the variance of the architectures' means less
    σ²_noise times the mean of 1 / n_i, which is the analysis of variance when balanced and its unweighted form when not
    (Searle, Casella and McCulloch 1992, Variance Components). The interval is that of Thomas and Hultquist (1978),
    "Interval estimation for the unbalanced case of the one-way random effects model", Annals of Statistics 6; it is the
    exact F interval when balanced, and needs normality.

    Args:
        replicates: Scores, shape (n, k), k >= 2, NaN where there is none; rows without any are left out.
        confidence: Coverage of the interval.

    Raises:
        ValueError: Fewer than two architectures, or no architecture with two scores.
    """
    arch, noise, count, mean, df_noise = _moments(replicates)
    n = len(count)
    raw = _share(arch, noise)
    if noise == 0:
        snr = np.inf if arch > 0 else np.nan
        low = high = snr
    else:
        snr = max(arch, 0.0) / noise
        tail = (1 - confidence) / 2
        ratio = mean.var(ddof=1) / noise
        low, high = np.maximum(ratio / f.ppf([1 - tail, tail], n - 1, df_noise) - (1 / count).mean(), 0)
    return VarianceComponents(
        arch=max(arch, 0.0),
        noise=noise,
        snr=float(snr),
        icc=max(raw, 0.0),
        snr_interval=(float(low), float(high)),
        icc_interval=(_share(low, 1.0), _share(high, 1.0)) if noise > 0 else (raw, raw),
        n=n,
        observations=int(count.sum()),
        note="the estimate of the architectures' variance is negative; it is reported as 0" if arch < 0 else "",
    )


def intraclass_correlation(replicates: ArrayLike) -> float:
    """Returns the intraclass correlation alone, as `variance_components` estimates it."""
    arch, noise, *_ = _moments(replicates)
    return max(_share(arch, noise), 0.0)


def _share(arch: float, noise: float) -> float:
    return float(arch / (arch + noise)) if arch + noise > 0 else np.nan


def _moments(
    replicates: ArrayLike,
) -> tuple[float, float, NDArray[np.intp], NDArray[np.float64], int]:
    """Returns σ²_arch (maybe negative), σ²_noise, each architecture's number and mean of scores, and the noise's df."""
    y, offsets = remove_offsets(replicates)
    present = ~np.isnan(y)
    count = present.sum(axis=1)
    if not count.all():
        y, present, count = y[count > 0], present[count > 0], count[count > 0]
    n, total = len(y), int(count.sum())
    df_noise = total - n - offsets
    if n < 2 or df_noise < 1:
        raise ValueError(
            f"variance components need at least 2 architectures and noise to spare; there are {n} with {total} scores"
        )
    filled = np.where(present, y, 0)
    mean = filled.sum(axis=1) / count
    noise = float((np.where(present, y - mean[:, None], 0) ** 2).sum() / df_noise)
    arch = float(mean.var(ddof=1) - noise * (1 / count).mean())
    # Differences of rounding size are none.
    tiny = 1e-24 * float((filled**2).sum()) / total
    noise, arch = (0.0 if abs(v) <= tiny else v for v in (noise, arch))
    return arch, noise, count, mean, df_noise
