"""Claim 6, proxy reliability: how well rankings by a noisy score can agree, given its signal-to-noise ratio.

Symbols: σ²_arch and σ²_noise are the variances between architectures and between replicates of one; SNR is their ratio;
R = SNR / (1 + SNR) is the reliability of one replicate; ρ_P and ρ_S are Pearson's and Spearman's correlations.

How the verdict is found. D is the observed Spearman correlation minus the predicted one. Both come from the same
scores, so the standard error is estimated for D itself. Where all assumptions hold, bias and standard errors are
those of samples simulated from the normal model that the claim assumes, with the estimated SNR. Where one fails, the
standard error is that of a grouped jackknife over architectures, which assumes no distribution. The rule, in this
order:

- `vacuous`: an assumption does not hold. The numbers are given all the same.
- `direction` or `refuted`: the interval of D does not contain 0. It is `direction` when the interval of the observed
  correlation lies on the predicted side of 0, else `refuted`.
- `undecided`: the interval of D contains 0, but its half-width exceeds the margin.
- `confirmed`: it contains 0, and its half-width is at most the margin.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from theory import proxy_assumptions as assume
from theory.claim import Assumption, Claim, Level, Verdict
from theory.jackknife import jackknife
from theory.rank_correlation import (
    kendall_from_pearson,
    sample_spearman,
    spearman_from_pearson,
    truncated_pearson,
    truncated_spearman,
)
from theory.replicates import SMALLEST, Comparison, Replicates, Selection, correlation, top_rows
from theory.variance_components import VarianceComponents, intraclass_correlation, variance_components

Form = Literal["truth", "replicates", "general"]
"""What the proxy is compared with: the noise-free truth; an equally noisy replicate; anything."""

MARGIN = 0.05
"""Smallest difference of Spearman correlations that matters."""

LEVEL = 0.05

SIMULATIONS = 300

Interval = tuple[float, float]

CLAIM = Claim(
    name="proxy-reliability",
    title="Reliability of proxy rankings",
    statement="Proxy reliability admits the closed form ρ_S = (6/π) arcsin(ρ_P(SNR)/2), with SNR = σ²_arch / σ²_noise.",
    source="arXiv:2605.30103, result 6",
    assumptions=(
        Assumption("one task", "All scores are of one task.", assume.one_task),
        Assumption("continuous scores", "Ties are negligible.", assume.continuous_scores),
        Assumption(
            "normal architectures",
            "Architectures' expected scores are normally distributed.",
            assume.normal_architectures,
        ),
        Assumption("normal noise", "Noise is normally distributed.", assume.normal_noise),
        Assumption("equal noise", "Noise has the same variance for good and bad architectures.", assume.equal_noise),
        Assumption(
            "equally noisy replicates", "All replicates have the same variance.", assume.equally_noisy_replicates
        ),
        Assumption("noise-free truth", "A truth that is compared with holds no noise.", assume.noise_free_truth),
    ),
    lemma=(
        "For bivariate normal scores ρ_S = (6/π) arcsin(ρ_P/2) exactly, and a sample of n has "
        "E[r_s] = 6/(π(n+1)) · (arcsin ρ_P + (n-2) arcsin(ρ_P/2)). ρ_P is sqrt(SNR/(1+SNR)) against noise-free truth, "
        "SNR/(1+SNR) between equally noisy replicates, ρ_true · sqrt(R_x R_y) in general. Among the top share by a "
        "normal score, ρ_S is that of the truncated normal distribution."
    ),
)


@dataclass(frozen=True, kw_only=True)
class ProxyReliability(Verdict):
    """The verdict, and what it rests on; `estimate` is the observed Spearman correlation.

    Numbers that do not exist are None.

    Attributes:
        form: The form of ρ_P(SNR) that was judged.
        share: Top share that was compared.
        selection: What it was selected on.
        left_out: Architectures left out because they lack scores that the comparison needs.
        components: Variance components of all architectures that are not left out.
        snr: SNR among the architectures compared; None when it does not exist.
        icc: Intraclass correlation among them.
        predictions: Predicted Spearman correlations by form, from the SNR of all architectures and ignoring any
            selection; and "truncated", the judged form among the top share.
        prediction_interval: The judged prediction at the ends of the SNR's interval; needs normality.
        estimate_interval: Interval of the observed Spearman correlation.
        pearson: Observed Pearson correlation.
        pearson_interval: Its interval.
        difference: Observed minus predicted Spearman correlation.
        difference_interval: Its interval, on which the verdict rests.
        gain: Among a top share, how much nearer to the observed correlation its prediction is than the closed form
            without selection: the difference of the two errors' sizes.
        gain_interval: Its interval, by the jackknife.
    """

    form: Form
    share: float
    selection: Selection
    left_out: int
    components: VarianceComponents
    snr: float | None = None
    icc: float | None = None
    predictions: dict[str, float | None]
    prediction_interval: Interval | None = None
    estimate_interval: Interval | None = None
    pearson: float | None = None
    pearson_interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    gain: float | None = None
    gain_interval: Interval | None = None


def pearson_from_snr(
    snr: ArrayLike, form: Form, true_correlation: float = 1.0, other_snr: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Returns ρ_P, Pearson's correlation of a proxy with what it is compared with.

    "truth": sqrt(SNR / (1 + SNR)). "replicates": SNR / (1 + SNR). "general": ρ_true · sqrt(R_x R_y), Spearman (1904),
    "The proof and measurement of association between two things".

    Args:
        snr: Signal-to-noise ratios of the proxy, >= 0; infinite without noise.
        form: Which of the three.
        true_correlation: ρ_true, the correlation that there would be without noise ("general" only).
        other_snr: Signal-to-noise ratios of what it is compared with ("general" only); None: those of the proxy.

    Raises:
        ValueError: A negative SNR.
    """
    r = _reliability(snr)
    match form:
        case "truth":
            return np.sqrt(r)
        case "replicates":
            return r
        case "general":
            return true_correlation * np.sqrt(r * (r if other_snr is None else _reliability(other_snr)))


def _reliability(snr: ArrayLike) -> NDArray[np.float64]:
    snr = np.asarray(snr, dtype=float)
    if (snr < 0).any():
        raise ValueError(f"SNR must not be negative, it is {snr.min()}")
    return 1 - 1 / (1 + snr)


def predict(
    snr: float,
    form: Literal["truth", "replicates"],
    n: float = math.inf,
    share: float = 1.0,
    selection: Selection = "none",
) -> float:
    """Returns the Spearman correlation to expect.

    Args:
        snr: Signal-to-noise ratio among all architectures.
        form: What the proxy is compared with.
        n: Number of architectures compared; infinite for the population.
        share: Top share that is compared, in (0, 1].
        selection: What the share is selected on.

    Raises:
        ValueError: A negative SNR, a share outside (0, 1], or a share below 1 that is selected on nothing.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], it is {share}")
    if share < 1 and selection == "none":
        raise ValueError("a share below 1 must be selected on a third replicate, a compared replicate or the truth")
    return float(_expected_spearman(float(_reliability(snr)), form, n, share, selection))


def _expected_spearman(
    reliability: float, form: Form, n: ArrayLike, share: float, selection: Selection
) -> NDArray[np.float64]:
    # A score's loading is its correlation with the architectures' effect; scores correlate by the product of theirs.
    proxy = math.sqrt(max(reliability, 0.0))
    if share == 1:
        pearson = reliability if form == "replicates" else proxy
        spearman = spearman_from_pearson(pearson)
    else:
        other = proxy if form == "replicates" else 1.0
        selector = 1.0 if selection == "truth" else proxy
        correlations = (proxy * other, 1.0 if selection == "compared replicate" else proxy * selector, other * selector)
        pearson = truncated_pearson(*correlations, share)
        spearman = truncated_spearman(*correlations, share)
    return sample_spearman(spearman, kendall_from_pearson(pearson), n)


def test(
    replicates: ArrayLike,
    rng: np.random.Generator,
    truth: ArrayLike | None = None,
    share: float = 1.0,
    tasks: ArrayLike | None = None,
    margin: float = MARGIN,
    confidence: float = 0.95,
) -> ProxyReliability:
    """Tests the claim on replicated scores, by the rule that the module's docstring states.

    Without a truth, the observed correlation is the mean over pairs of replicates (form "replicates"); with one, the
    mean over replicates against it (form "truth"). Mean differences between replicates are removed first, so
    validation and test scores can be two replicates. Among the top share, selection is on the truth if there is one;
    else on each replicate in turn, the next two being compared; with two replicates only, on each of the two, and the
    prediction allows for that. Means are weighted by the number of architectures compared.

    Args:
        replicates: Scores, shape (n, k), k >= 2, NaN where there is none.
        rng: Draws the groups of the jackknife.
        truth: Scores to compare with, shape (n,), NaN where there is none.
        share: Top share that is compared, in (0, 1].
        tasks: Task of each architecture, shape (n,); more than one makes the verdict vacuous.
        margin: Smallest difference of Spearman correlations that matters.
        confidence: Coverage of every interval.

    Raises:
        ValueError: Wrong shapes, infinite scores, a share outside (0, 1], or no two replicates with 10 architectures in
            common.
    """
    sample = Replicates.read(replicates, truth, share, tasks)
    rows = [top_rows(sample.scores, c, share) for c in sample.comparisons]
    sizes = [len(r) for r in rows]
    n = len(np.unique(np.concatenate(rows))) if share == 1 else round(np.mean(sizes))
    components = variance_components(sample.replicates, confidence)
    predictions = _plain_predictions(sample, components, n)
    evidence = tuple(assumption.check(sample) for assumption in CLAIM.assumptions)
    found = ProxyReliability(
        form="replicates" if sample.truth is None else "truth",
        share=share,
        selection=sample.selection,
        left_out=sample.left_out,
        components=components,
        predictions=predictions | {"truncated": None},
        n=n,
        assumptions=evidence,
        level="undecided",
        estimate=None,
        predicted=None,
        interval=None,
        needed_n=SMALLEST,
        explanation=(
            f"The top {share:.3g} of {len(sample.scores)} architectures are {n}; at least {SMALLEST} are needed."
        ),
    )
    if n < SMALLEST:
        return found

    expected = _expectation(sample, sizes)
    (spearman, pearson, icc), covariance = jackknife(_statistics(sample), len(sample.scores), rng)
    predicted = expected(icc)
    failed = [e.name for e in evidence if not e.holds]
    if failed:
        contrasts = np.array([[1, 0, 0], [0, 1, 0], [1, 0, -_slope(expected, icc)]])
        variances = np.diag(contrasts @ covariance @ contrasts.T)
        bias, errors = 0.0, np.sqrt(np.maximum(variances, 0)) if np.isfinite(variances).all() else variances
        quantile = stats.t.ppf((1 + confidence) / 2, min(n, 100) - 1)
    else:
        bias, errors = _simulated_errors(sample, icc, expected, rng)
        quantile = stats.norm.ppf((1 + confidence) / 2)
    half_spearman, half_pearson, half = (float(v) for v in quantile * errors)
    gain, half_gain = _gain(sample, spearman, icc, covariance, expected, n)
    half_gain *= float(stats.t.ppf((1 + confidence) / 2, min(n, 100) - 1))
    estimate_interval = _fisher(spearman, half_spearman)
    difference = float(spearman - predicted - bias)

    level: Level
    if failed:
        level = "vacuous"
    elif abs(difference) > half:
        right_sign = predicted > 0 and estimate_interval is not None and estimate_interval[0] > 0
        level = "direction" if right_sign else "refuted"
    else:
        level = "confirmed" if half <= margin else "undecided"
    arch, noise = np.average(
        [_components_within(sample, c, r) for c, r in zip(sample.comparisons, rows, strict=True)], axis=0, weights=sizes
    )
    snr_within, icc_within = components.snr, components.icc
    if share < 1:
        snr_within = arch / noise if noise > 0 else math.nan
        icc_within = arch / (arch + noise) if arch + noise > 0 else math.nan
    found = replace(
        found,
        level=level,
        estimate=_number(spearman),
        predicted=_number(predicted),
        interval=_ends(max(predicted + bias - half, -1.0), min(predicted + bias + half, 1.0)),
        needed_n=math.ceil(n * (half / margin) ** 2) if level == "undecided" else None,
        snr=_number(snr_within),
        icc=_number(icc_within),
        predictions=predictions | {"truncated": _number(predicted)},
        prediction_interval=_ends(expected(components.icc_interval[0]), expected(components.icc_interval[1])),
        estimate_interval=estimate_interval,
        pearson=_number(pearson),
        pearson_interval=_fisher(pearson, half_pearson),
        difference=_number(difference),
        difference_interval=_ends(difference - half, difference + half),
        gain=_number(gain),
        gain_interval=_ends(gain - half_gain, gain + half_gain),
    )
    return replace(found, explanation=_explanation(found, failed, margin))


def _gain(
    sample: Replicates,
    spearman: float,
    icc: float,
    covariance: NDArray[np.float64],
    expected: Callable[[float], float],
    n: int,
) -> tuple[float, float]:
    """Returns |observed - closed form| - |observed - prediction among the top share|, and its standard error."""
    form: Form = "replicates" if sample.truth is None else "truth"

    def plain(icc: float) -> float:
        return float(_expected_spearman(icc, form, n, 1.0, "none"))

    if sample.share == 1 or math.isnan(icc):
        return math.nan, math.nan
    a, b = spearman - plain(icc), spearman - expected(icc)
    slopes = np.sign(a) * _slope(plain, icc), np.sign(b) * _slope(expected, icc)
    contrast = np.array([np.sign(a) - np.sign(b), 0, slopes[1] - slopes[0]])
    return abs(a) - abs(b), math.sqrt(max(float(contrast @ covariance @ contrast), 0.0))


def _statistics(sample: Replicates) -> Callable[[NDArray[np.bool_]], NDArray[np.float64]]:
    """Returns the function from the architectures kept to (Spearman, Pearson, ICC)."""
    scores, comparisons = sample.scores, sample.comparisons

    def statistics(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        used = [(c.x, c.y, top_rows(scores, c, sample.share, kept)) for c in comparisons]
        spearman = [correlation(_ranks(scores[r, x]), _ranks(scores[r, y])) for x, y, r in used]
        pearson = [correlation(scores[r, x], scores[r, y]) for x, y, r in used]
        means = np.average([spearman, pearson], axis=1, weights=[len(r) for _, _, r in used])
        return np.array([*means, intraclass_correlation(sample.replicates[kept])])

    return statistics


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns ranks, ties sharing their mean; scipy's `rankdata` takes ten times as long on short arrays."""
    code = np.unique(values, return_inverse=True)[1]
    counts = np.bincount(code)
    return (np.cumsum(counts) - (counts - 1) / 2)[code]


def _expectation(sample: Replicates, sizes: list[int]) -> Callable[[float], float]:
    """Returns the function from the ICC of all architectures to the expected mean Spearman correlation."""
    form: Form = "replicates" if sample.truth is None else "truth"

    def expected(icc: float) -> float:
        if math.isnan(icc):
            return math.nan
        each = _expected_spearman(icc, form, np.array(sizes), sample.share, sample.selection)
        return float(np.average(each, weights=sizes))

    return expected


def _slope(expected: Callable[[float], float], icc: float) -> float:
    step = max(1e-5, 0.01 * icc * (1 - icc))
    low, high = max(icc - step, 0.0), min(icc + step, 1.0)
    return (expected(high) - expected(low)) / (high - low)


def _simulated_errors(
    sample: Replicates, icc: float, expected: Callable[[float], float], rng: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Returns the mean of D when the claim holds, and the standard deviations of (Spearman, Pearson, D).

    They are those of samples of the normal model, with the architectures' numbers of replicates and the SNR that was
    estimated. Of large data, as many architectures are simulated as leave 1,000 to compare; the results are scaled by
    the size.
    """
    n, k = sample.replicates.shape
    rows = min(n, math.ceil(1000 / sample.share))
    present = ~np.isnan(sample.replicates)

    def draw(*shape: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns effects, and scores of them."""
        effect = math.sqrt(icc) * rng.standard_normal((*shape, rows, 1))
        return effect, effect + math.sqrt(1 - icc) * rng.standard_normal((*shape, rows, k))

    if sample.share == 1 and present.all():
        effects, scores = draw(SIMULATIONS)
        found = _complete_statistics(scores, None if sample.truth is None else effects, sample.comparisons)
    else:
        found = []
        for _ in range(SIMULATIONS):
            pattern = present if rows == n else present[rng.choice(n, rows, replace=False)]
            effect, scores = draw()
            truth = None if sample.truth is None else effect[:, 0]
            simulated = replace(sample, replicates=np.where(pattern, scores, np.nan), truth=truth, tasks=None)
            found.append(_statistics(simulated)(np.ones(rows, dtype=bool)))
    spearman, pearson, iccs = np.array(found).T
    grid = np.linspace(iccs.min(), iccs.max(), 9)
    difference = spearman - np.interp(iccs, grid, [expected(v) for v in grid])
    errors = np.std([spearman, pearson, difference], axis=1, ddof=1) * math.sqrt(rows / n)
    return float(difference.mean() * rows / n), errors


def _complete_statistics(
    replicates: NDArray[np.float64], truth: NDArray[np.float64] | None, comparisons: list[Comparison]
) -> NDArray[np.float64]:
    """Returns what `_statistics` does of many samples at once: all architectures, no score missing, no ties.

    Args:
        replicates: Shape (samples, n, k).
        truth: Shape (samples, n, 1).
        comparisons: Columns to compare.

    Returns:
        Spearman, Pearson and ICC of each sample, shape (samples, 3).
    """
    scores = replicates if truth is None else np.concatenate([replicates, truth], axis=-1)
    ranks = scores.argsort(axis=1).argsort(axis=1).astype(float)

    def correlations(values: NDArray[np.float64]) -> NDArray[np.float64]:
        z = values - values.mean(axis=1, keepdims=True)
        z = z / np.sqrt((z * z).sum(axis=1, keepdims=True))
        return np.mean([(z[..., c.x] * z[..., c.y]).sum(axis=1) for c in comparisons], axis=0)

    n, k = replicates.shape[1:]
    y = replicates - replicates.mean(axis=1, keepdims=True)
    mean = y.mean(axis=2)
    noise = ((y - mean[..., None]) ** 2).sum(axis=(1, 2)) / ((n - 1) * (k - 1))
    arch = np.maximum(mean.var(axis=1, ddof=1) - noise / k, 0)
    return np.column_stack([correlations(ranks), correlations(scores), arch / (arch + noise)])


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _ends(low: float, high: float) -> Interval | None:
    return (float(low), float(high)) if math.isfinite(low + high) else None


def _fisher(r: float, half: float) -> Interval | None:
    """Returns the interval of a correlation by Fisher's z, from its half-width on the scale of r (delta method)."""
    if not math.isfinite(r + half):
        return None
    if abs(r) >= 1 - 1e-12:
        return (float(r), float(r))
    z = half / (1 - r * r)
    return (float(np.tanh(np.arctanh(r) - z)), float(np.tanh(np.arctanh(r) + z)))


def _plain_predictions(sample: Replicates, components: VarianceComponents, n: int) -> dict[str, float | None]:
    icc = components.icc
    plain = {"truth": math.sqrt(icc), "replicates": icc, "general": _general_pearson(sample)}
    return {
        form: _number(float(sample_spearman(spearman_from_pearson(r), kendall_from_pearson(r), n)))
        for form, r in plain.items()
    }


def _general_pearson(sample: Replicates) -> float:
    """Returns the mean of ρ_true · sqrt(R_x R_y) over comparisons, each score having its own R.

    Replicates have ρ_true = 1 and R = σ²_arch / variance. Of a truth only the product ρ_true · sqrt(R_y) can be known
    from the data, as the observed Pearson correlation over sqrt(R_x); what remains of the claim is then the arcsine.
    """
    values = []
    for x, y, by in sample.comparisons:
        everyone = Comparison(x, y, by)
        rows = top_rows(sample.scores, everyone, 1.0)
        a, b = sample.scores[rows][:, [x, y]].T
        if sample.truth is None:
            spread = math.sqrt(a.var(ddof=1) * b.var(ddof=1))
            arch, _ = _components_within(sample, everyone, rows)
            values.append(min(arch / spread, 1.0) if spread > 0 else math.nan)
        else:
            values.append(correlation(a, b))
    return float(np.mean(values))


def _components_within(sample: Replicates, comparison: Comparison, rows: NDArray[np.intp]) -> Interval:
    """Returns σ²_arch and σ²_noise among the rows compared: of the two replicates, or of all beside a truth."""
    columns = [comparison.x, comparison.y] if sample.truth is None else list(range(sample.replicates.shape[1]))
    found = variance_components(sample.replicates[rows][:, columns])
    return found.arch, found.noise


def simulate(rng: np.random.Generator, n: int, replicates: int, snr: float) -> NDArray[np.float64]:
    """Draws scores of the normal model that the claim assumes, with noise of variance 1, shape (n, replicates)."""
    return math.sqrt(snr) * rng.standard_normal((n, 1)) + rng.standard_normal((n, replicates))


def simulate_uneven_noise(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Draws two replicates that are off the closed form by about the margin, though no assumption is broken.

    Effects are Beta(2, 2) with SNR 1/2; the noise of architectures in the middle has three times the variance of the
    others, so that good ones are as noisy as bad ones and kurtosis stays within its bounds.

    Args:
        rng: Draws effects and noise.
        n: Number of architectures.
    """
    effect = (rng.beta(2, 2, n) - 0.5) * math.sqrt(20)
    quartile = 0.6745
    low, high = stats.beta.cdf(0.5 + np.array([-quartile, quartile]) / math.sqrt(20), 2, 2)
    variance = np.where(np.abs(effect) < quartile, 1.5, 0.5) / (0.5 + high - low)
    return math.sqrt(0.5) * effect[:, None] + np.sqrt(variance)[:, None] * rng.standard_normal((n, 2))


def predicted_power(rng: np.random.Generator, n: int, samples: int = 2000) -> tuple[float, float]:
    """Returns the mean of D in `simulate_uneven_noise`, and the chance that `test` rejects there, by normal theory.

    D is taken as normal with the mean and standard deviation that it has there; the test's standard error and bias are
    those of the normal model.

    Args:
        rng: Draws the samples behind both.
        n: Number of architectures.
        samples: Their number.
    """
    drawn = np.array([simulate_uneven_noise(rng, n) for _ in range(samples)])
    sample = Replicates.read(drawn[0])
    expected = _expectation(sample, [n])
    spearman, _, icc = _complete_statistics(drawn, None, sample.comparisons).T
    difference = spearman - np.array([expected(v) for v in icc])
    # Each call rests on few simulations.
    calls = [_simulated_errors(sample, float(icc.mean()), expected, rng) for _ in range(10)]
    bias, error = np.mean([call[0] for call in calls]), np.mean([call[1][2] for call in calls])
    critical = stats.norm.isf(LEVEL / 2) * error
    d = stats.norm(difference.mean() - bias, difference.std(ddof=1))
    return float(difference.mean()), float(d.sf(critical) + d.cdf(-critical))


def _explanation(found: ProxyReliability, failed: list[str], margin: float) -> str:
    """Returns the verdict in words."""
    observed, interval = found.estimate, found.difference_interval
    if observed is None or interval is None or found.interval is None or found.difference is None:
        return f"Nothing can be compared: {', '.join(failed)} do not hold."
    low, high = interval
    kind = "replicates" if found.form == "replicates" else "replicates and truth"
    where = "" if found.share == 1 else f" among the top {found.share:.3g} by {_SELECTED[found.selection]}"
    text = [
        f"Spearman's correlation of {kind}{where} is {observed:.3f} (n = {found.n}); form {found.form!r} predicts "
        f"{found.predicted:.3f} from SNR {found.components.snr:.3g} of all, and the interval is "
        f"{found.interval[0]:.3f} to {found.interval[1]:.3f} if the claim holds.",
        f"The difference is {found.difference:+.3f} [{low:+.3f}, {high:+.3f}].",
    ]
    match found.level:
        case "confirmed":
            text.append(f"It is compatible with 0 and known to within {margin}.")
        case "undecided":
            text.append(
                f"It is compatible with 0, but not known to within {margin}; about {found.needed_n} would decide."
            )
        case "direction" if -margin < low and high < margin:
            text.append(f"It is not 0, but smaller than what matters ({margin}): right sign, slightly wrong size.")
        case "direction":
            text.append("It is not 0: right sign, wrong size.")
        case "refuted":
            text.append("It is not 0, and a correlation of the predicted sign is not shown.")
        case "vacuous":
            if -margin < low and high < margin:
                numbers = f"the number agrees to within {margin} all the same"
            elif low > margin or high < -margin:
                numbers = f"the number is off by more than {margin}, too"
            else:
                numbers = f"whether the number agrees to within {margin} cannot be told"
            text.append(f"The claim does not apply, for want of: {', '.join(failed)}; {numbers}.")
    text.append("Mean differences between replicates were removed.")
    if found.left_out:
        text.append(f"{found.left_out} architectures lack scores that this needs and are left out.")
    if found.components.note:
        text.append(f"Note: {found.components.note}.")
    return " ".join(text)


_SELECTED = {
    "third replicate": "a replicate that is not compared",
    "compared replicate": "one of the two that are compared (there is no third; the prediction allows for it)",
    "truth": "the truth",
    "none": "nothing",
}
