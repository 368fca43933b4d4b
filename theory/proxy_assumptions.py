"""The assumptions of proxy reliability, each a predicate with its numbers.

Assumptions of shape are held against bounds on effect sizes that were fixed beforehand: skewness .5 and excess kurtosis
1 move Spearman's correlation by at most about .035 (gamma, Student and uniform effects, SNR .5 to 10). An assumption
fails when the effect is beyond its bound *and* significant at .2%, so that a small sample is not blamed for its
scatter, nor a large one for a deviation that does not matter. What holds has not been proved: the data do not speak
against it.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from theory.claim import Evidence
from theory.replicates import Replicates, correlation, top_rows
from theory.variance_components import remove_offsets, variance_components

SIGNIFICANT = 0.002
"""A fifth of 1%, there being five tests: of samples for which all hold, at most 1% are blamed."""
SKEWNESS = 0.5
KURTOSIS = 1.0
NOISE_RATIO = 2.0
"""Ratio of noise variances, between high scores and the rest; it is an error of the SNR by that factor."""
REPLICATE_RATIO = 1.5
"""Ratio of two replicates' variances; 2 sqrt(1.5) / 2.5 = .98, so it lowers R against Pearson's correlation by 2%."""
TIES = 0.01
TRUTH_CORRELATION = 0.95


def one_task(sample: Replicates) -> Evidence:
    """Returns evidence on whether all scores are of one task; pooled tasks correlate by their means alone."""
    n = len(sample.replicates)
    if sample.tasks is None:
        return Evidence("one task", True, f"no task is named; the scores are taken to be of one, n = {n}")
    names = sorted({str(task) for task in sample.tasks})
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return Evidence("one task", len(names) == 1, f"{len(names)} of at most 1: {shown}; n = {n}")


def continuous_scores(sample: Replicates) -> Evidence:
    """Returns evidence on ties among the compared scores: the largest Σ(t³ - t) / (n³ - n), t being tied at a time."""
    scores = sample.scores
    worst, n = 0.0, 0
    for comparison in sample.comparisons:
        rows = top_rows(scores, comparison, sample.share)
        for column in (comparison.x, comparison.y):
            t = np.unique(scores[rows, column], return_counts=True)[1].astype(float)
            worst = max(worst, float((t**3 - t).sum()) / max(len(rows) ** 3 - len(rows), 1))
        n = max(n, len(rows))
    return Evidence("continuous scores", worst <= TIES, f"tie term {worst:.2g} (bound {TIES}), n = {n}")


def normal_architectures(sample: Replicates) -> Evidence:
    """Returns evidence on the normality of the architectures' means over replicates."""
    y, _ = remove_offsets(sample.replicates)
    return _shape("normal architectures", np.nanmean(y, axis=1))


def normal_noise(sample: Replicates) -> Evidence:
    """Returns evidence on the normality of the noise.

    It uses each score's deviation from the mean of the same architecture's earlier replicates, scaled to equal
    variance: such recursive residuals are independent when the noise is normal. Of two replicates they are the
    differences, in which heavy tails show, but not a skewness that both share.
    """
    y, _ = remove_offsets(sample.replicates)
    present = ~np.isnan(y)
    filled = np.where(present, y, 0)
    earlier = np.cumsum(present, axis=1) - present
    mean = (np.cumsum(filled, axis=1) - filled) / np.maximum(earlier, 1)
    residual = ((y - mean) * np.sqrt(earlier / (earlier + 1)))[present & (earlier > 0)]
    if np.abs(residual).max() <= 1e-12 * np.abs(filled).max():
        residual = np.zeros_like(residual)
    return _shape("normal noise", residual)


def _shape(name: str, values: NDArray[np.float64]) -> Evidence:
    n = len(values)
    scale = values.std()
    if scale <= 1e-12 * np.abs(values).max():
        return Evidence(name, False, f"does not vary, n = {n}")
    z = (values - values.mean()) / scale
    skewness, kurtosis = float(stats.skew(z)), float(stats.kurtosis(z))
    p = float(stats.normaltest(z).pvalue)
    beyond = abs(skewness) > SKEWNESS or abs(kurtosis) > KURTOSIS
    return Evidence(
        name,
        not (beyond and p < SIGNIFICANT),
        f"skewness {skewness:.2f} (bound {SKEWNESS}), excess kurtosis {kurtosis:.2f} (bound {KURTOSIS}), "
        f"p = {p:.2g} (bound {SIGNIFICANT}), n = {n}",
    )


def equal_noise(sample: Replicates) -> Evidence:
    """Returns evidence on whether noise has the same variance among the best architectures as among the rest.

    The best are the top share by mean score, the upper half if the share is larger; the test is Mann and Whitney's, of
    the architectures' variances over replicates. Under the claim's model means and variances are independent, so the
    split by the mean is fair.
    """
    y, _ = remove_offsets(sample.replicates)
    mean, variance = np.nanmean(y, axis=1), np.nanvar(y, axis=1, ddof=1)
    share = min(sample.share, 0.5)
    order = np.argsort(mean)
    cut = len(y) - max(2, round(share * len(y)))
    best, rest = variance[order[cut:]], variance[order[:cut]]
    if not (best.mean() > 0 and rest.mean() > 0):
        return Evidence("equal noise", False, f"no noise in a part, n = {len(best)} and {len(rest)}")
    ratio = float(best.mean() / rest.mean())
    p = float(stats.mannwhitneyu(best, rest).pvalue)
    return Evidence(
        "equal noise",
        1 / NOISE_RATIO <= ratio <= NOISE_RATIO or p >= SIGNIFICANT,
        f"noise variance of the top {share:.3g} by mean score is {ratio:.2f} times that of the rest "
        f"(bounds {1 / NOISE_RATIO:.2g} and {NOISE_RATIO:.2g}), p = {p:.2g} (bound {SIGNIFICANT}), "
        f"n = {len(best)} and {len(rest)}",
    )


def equally_noisy_replicates(sample: Replicates) -> Evidence:
    """Returns evidence on whether replicates have the same variance.

    Of the pair that differs most; the test is Pitman's and Morgan's (1939), which allows for their correlation.
    """
    name = "equally noisy replicates"
    y = sample.replicates
    worst = (1.0, 1.0, 0)
    for i, j in combinations(range(y.shape[1]), 2):
        a, b = y[~np.isnan(y[:, [i, j]]).any(axis=1)][:, [i, j]].T
        if len(a) < 3:
            continue
        low, high = sorted((float(a.var()), float(b.var())))
        if low == 0:
            return Evidence(name, False, f"a replicate does not vary, n = {len(a)}")
        r = correlation(a + b, a - b)
        if high / low > worst[0] and not np.isnan(r):
            t = abs(r) * np.sqrt((len(a) - 2) / max(1 - r * r, 1e-300))
            worst = (high / low, float(2 * stats.t.sf(t, len(a) - 2)), len(a))
    ratio, p, n = worst
    return Evidence(
        name,
        ratio <= REPLICATE_RATIO or p >= SIGNIFICANT,
        f"largest ratio of two replicates' variances {ratio:.2f} (bound {REPLICATE_RATIO}), p = {p:.2g} "
        f"(bound {SIGNIFICANT}), n = {n}",
    )


def noise_free_truth(sample: Replicates) -> Evidence:
    """Returns evidence on whether the truth, if there is one, is what the replicates have in common, without noise.

    Then replicates are uncorrelated given the truth (z test of their mean partial correlation), and their correlation
    with the truth, divided by sqrt(R), is 1.
    """
    name = "noise-free truth"
    if sample.truth is None:
        return Evidence(name, True, f"no truth is compared with, n = {len(sample.replicates)}")
    full = sample.scores
    partial, direct, sizes = [], [], []
    for i, j in combinations(range(sample.replicates.shape[1]), 2):
        x, y, t = full[~np.isnan(full[:, [i, j, -1]]).any(axis=1)][:, [i, j, -1]].T
        if len(x) < 5:
            continue
        xy, xt, yt = correlation(x, y), correlation(x, t), correlation(y, t)
        partial.append((xy - xt * yt) / np.sqrt(max((1 - xt * xt) * (1 - yt * yt), 1e-300)))
        direct.append((xt + yt) / 2)
        sizes.append(len(x))
    icc = variance_components(sample.replicates).icc
    if not (icc > 0 and np.isfinite(partial).all()):
        return Evidence(name, False, f"nothing in common to compare with the truth, n = {len(full)}")
    given, n = float(np.average(partial, weights=sizes)), max(sizes)
    p = float(2 * stats.norm.sf(abs(np.arctanh(np.clip(given, -0.999999, 0.999999))) * np.sqrt(n - 4)))
    corrected = float(np.average(direct, weights=sizes) / np.sqrt(icc))
    return Evidence(
        name,
        corrected >= TRUTH_CORRELATION or p >= SIGNIFICANT,
        f"correlation with the truth, corrected for noise, {corrected:.3f} (bound {TRUTH_CORRELATION}); "
        f"replicates' correlation given the truth {given:.2f}, p = {p:.2g} (bound {SIGNIFICANT}), n = {n}",
    )
