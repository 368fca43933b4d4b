"""The progress certificate: how much one tuning step raised the elite mass, proved from the likelihood of fresh elites.

Symbols: w are weights, 1[q >= τ] or q; E_t[w] is their mean under p_t, C_t if w is the indicator of the elites; Δ is
the mean of log p_{t+1}(a) - log p_t(a) over a ~ p_t · w, the log-ratio of an elite that the step was not tuned on.

Proof: E_{t+1}[w] = Σ p_t w · p_{t+1}/p_t (and more where p_t is 0) >= E_t[w] · mean of exp(log p_{t+1} - log p_t) under
p_t · w >= E_t[w] · exp(Δ), by Jensen's inequality. No exact projection is needed, and nothing of the family.

How the verdict on a measured step is found. The statement is that Δ > 0; the interval is Student's t over held-out
elites:

- `vacuous`: an assumption does not hold.
- `confirmed`: the one-sided 95% lower bound of Δ is above 0: the elite mass rose at least by the factor exp(bound).
- `refuted`: the one-sided upper bound is below 0: the step made fresh elites less likely. The mass may have risen all
  the same.
- `undecided`: otherwise; `needed_n` elites would show a Δ of the size that was measured with power .8.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from theory.claim import Assumption, Claim, Evidence, Level, Verdict
from theory.families import Family, Floats, log_likelihood
from theory.trend import means, needed_seeds, power_of_decrease
from theory.worlds import blend, draw, elites, expectation, tilted

SMALLEST = 10
"""Held-out elites below which no interval is given: that of Student needs means to be near normal."""

SCATTER = 1e-9
"""Range of log-ratios, in nats, up to which they count as one number: elites that are all one architecture."""

OUTLIER_SHARE = 0.5
"""Largest share of the sum of squares that one log-ratio may have for Student's interval to be trusted."""


@dataclass(frozen=True)
class HeldOut:
    """Log-ratios log p_{t+1}(a) - log p_t(a) of held-out elites, and how many of these were in the corpus."""

    log_ratios: Floats
    seen: int | None


def fresh_elites(sample: HeldOut) -> Evidence:
    """Returns evidence on whether the elites were kept out of the corpus."""
    n = len(sample.log_ratios)
    if sample.seen is None:
        return Evidence("fresh elites", True, f"not recorded; the elites are taken to be held out, n = {n}")
    return Evidence("fresh elites", sample.seen == 0, f"{sample.seen} of {n} were in the corpus (bound 0)")


def common_support(sample: HeldOut) -> Evidence:
    """Returns evidence on whether the tuned generator gives each held-out elite some probability."""
    lost = int(np.isneginf(sample.log_ratios).sum())
    n = len(sample.log_ratios)
    return Evidence("common support", lost == 0, f"{lost} of {n} have probability 0 after the step (bound 0)")


def elites_differ(sample: HeldOut) -> Evidence:
    """Returns evidence on whether the log-ratios scatter at all: without that, their interval has no width."""
    d = sample.log_ratios[np.isfinite(sample.log_ratios)]
    n, spread = len(d), float(np.ptp(d)) if len(d) else 0.0
    few = n < SMALLEST
    return Evidence("elites differ", few or spread > SCATTER, f"range {spread:.2g} nats (bound {SCATTER:g}), n = {n}")


def no_dominant_elite(sample: HeldOut) -> Evidence:
    """Returns evidence on whether one log-ratio dominates the spread, so that Student's interval cannot be trusted."""
    d = sample.log_ratios[np.isfinite(sample.log_ratios)]
    squares = (d - d.mean()) ** 2 if len(d) else np.zeros(1)
    share = float(squares.max() / squares.sum()) if squares.sum() > 0 else 0.0
    few = len(d) < SMALLEST
    return Evidence(
        "no dominant elite",
        few or share <= OUTLIER_SHARE,
        f"the largest squared deviation is {share:.2f} of their sum (bound {OUTLIER_SHARE}), n = {len(d)}",
    )


CLAIM = Claim(
    name="progress-certificate",
    title="Certified progress of the elite mass",
    statement="A tuning step that raises the mean log-likelihood of fresh elites of p_t by Δ > 0 raises the elite "
    "mass: C_{t+1} >= C_t · exp(Δ).",
    source="Nascent; Jensen's inequality",
    assumptions=(
        Assumption("fresh elites", "The elites are a sample of p_t that the step was not tuned on.", fresh_elites),
        Assumption("common support", "p_{t+1} gives each of them some probability.", common_support),
        Assumption("elites differ", "The log-ratios of the elites are not all the same.", elites_differ),
        Assumption(
            "no dominant elite", "No single elite has most of the variance of the log-ratios.", no_dominant_elite
        ),
    ),
    lemma="E_{t+1}[w] >= E_t[w] · exp(Δ_w) for any two generators, Δ_w being the mean of log p_{t+1} - log p_t under "
    "p_t · w / E_t[w].",
)


@dataclass(frozen=True)
class Certificate:
    """The certificate where p_t and p_{t+1} are known exactly; arrays have one value for each pair of generators.

    Attributes:
        before: E_t[w].
        after: E_{t+1}[w].
        gain: Δ; -inf when p_{t+1} lacks elites of p_t.
    """

    before: Floats
    after: Floats
    gain: Floats

    @property
    def bound(self) -> Floats:
        """What `after` cannot be below, E_t[w] · exp(Δ)."""
        return self.before * np.exp(self.gain)

    @property
    def tightness(self) -> Floats:
        """E_{t+1}[w] / (E_t[w] · exp(Δ)), at least 1; infinite where the bound is 0."""
        with np.errstate(divide="ignore"):
            return self.after / self.bound


def predict(before: ArrayLike, after: ArrayLike, weights: ArrayLike) -> Certificate:
    """Computes the exact certificate of pairs of generators.

    Args:
        before: p_t, shape (..., n).
        after: p_{t+1}, shape (..., n).
        weights: w >= 0, shape (..., n): 1[q >= τ], or q.

    Raises:
        ValueError: Negative weights, or p_t has no mass under them.
    """
    target = tilted(before, weights)
    gain = log_likelihood(target, after) - log_likelihood(target, before)
    return Certificate(expectation(before, weights), expectation(after, weights), np.asarray(gain))


@dataclass(frozen=True, kw_only=True)
class ProgressCertificate(Verdict):
    """The verdict; `estimate` is Δ in nats, `interval` where it falls in 95% of samples if Δ = 0.

    Attributes:
        estimate_interval: 95% interval of Δ.
        lower: One-sided 95% lower bound of Δ.
        factor: exp(lower): the elite mass rose at least by this factor, with 95% confidence.
    """

    estimate_interval: tuple[float, float] | None = None
    lower: float | None = None
    factor: float | None = None


def needed_elites(gain: float, sd: float, confidence: float = 0.95, power: float = 0.8) -> int | None:
    """Returns how many held-out elites show a given Δ: the one-sided lower bound is above 0 with the given power.

    Args:
        gain: Δ in nats, not 0.
        sd: Standard deviation of the log-ratios in nats.
        confidence: Of the lower bound.
        power: Chance that it is above 0.

    Returns:
        Their number, at least 10; None beyond 100,000.
    """
    if sd == 0:
        return SMALLEST
    return needed_seeds(lambda n: power_of_decrease(abs(gain), sd, n, 1 - confidence), power, at_least=SMALLEST)


def test(log_ratios: ArrayLike, seen: int | None = None, confidence: float = 0.95) -> ProgressCertificate:
    """Tests by held-out elites whether one tuning step raised the elite mass; the module's docstring states the rule.

    Args:
        log_ratios: log p_{t+1}(a) - log p_t(a) in nats for each held-out elite a of p_t, shape (n,); -inf where p_{t+1}
            is 0.
        seen: How many of them were in the corpus; None: not recorded.
        confidence: Coverage of the interval and of the lower bound.

    Raises:
        ValueError: Another shape, no log-ratio, or NaN or +inf among them.
    """
    d = np.asarray(log_ratios, dtype=float)
    if d.ndim != 1 or len(d) == 0 or np.isnan(d).any() or np.isposinf(d).any():
        raise ValueError(f"log_ratios must be numbers below infinity of shape (elites,), at least one; shape {d.shape}")
    sample = HeldOut(d, seen)
    evidence = tuple(assumption.check(sample) for assumption in CLAIM.assumptions)
    failed = [e.name for e in evidence if not e.holds]
    n = len(d)
    if n < SMALLEST or not np.isfinite(d).all():
        level: Level = "vacuous" if failed else "undecided"
        reason = f"does not hold: {', '.join(failed)}" if failed else f"at least {SMALLEST} elites are needed"
        return ProgressCertificate(
            level=level,
            estimate=float(d.mean()) if np.isfinite(d).all() else None,
            predicted=0.0,
            interval=None,
            n=n,
            assumptions=evidence,
            needed_n=None if failed else SMALLEST,
            explanation=f"{n} held-out elites; {reason}.",
        )
    found = means(d[:, None])
    gain, error, sd = float(found.mean[0]), float(found.error[0]), float(found.sd[0])
    low, high = (float(v[0]) for v in found.interval(confidence))
    half = float(stats.t.ppf(confidence, n - 1)) * error
    lower, upper = gain - half, gain + half
    if failed:
        level = "vacuous"
    elif lower > 0:
        level = "confirmed"
    else:
        level = "refuted" if upper < 0 else "undecided"
    needed = needed_elites(gain, sd, confidence) if level == "undecided" and gain != 0 else None
    with np.errstate(over="ignore"):
        factor = float(np.exp(lower))
    words = {
        "vacuous": f"Not tested: {', '.join(failed)} does not hold.",
        "confirmed": f"The step raised the elite mass at least by the factor {factor:.3f}.",
        "refuted": "The step made fresh elites less likely; nothing is certified.",
        "undecided": f"About {needed} elites would show such a Δ." if needed else "Δ is too near 0 to be shown.",
    }
    return ProgressCertificate(
        level=level,
        estimate=gain,
        predicted=0.0,
        interval=(-(high - low) / 2, (high - low) / 2),
        n=n,
        assumptions=evidence,
        needed_n=needed,
        explanation=f"Δ = {gain:.4f} nats, {confidence:.0%} interval {low:.4f} to {high:.4f}, n = {n}. {words[level]}",
        estimate_interval=(low, high),
        lower=lower,
        factor=factor,
    )


def certify(steps: list[NDArray[np.float64]], confidence: float = 0.95) -> tuple[float, float]:
    """Estimates ΣΔ over cycles and its one-sided lower bound: C_t >= ρ_0 · exp(ΣΔ).

    The steps' elites are independent samples, so variances add; Welch (1938) and Satterthwaite (1946) for the degrees
    of freedom.

    Args:
        steps: Log-ratios of held-out elites for each cycle, at least 10 each.
        confidence: Of the bound.

    Raises:
        ValueError: A cycle with fewer than 10 elites.
    """
    sizes = [len(d) for d in steps]
    if not sizes or min(sizes) < SMALLEST:
        raise ValueError(f"each cycle must have at least {SMALLEST} held-out elites; there are {sizes}")
    total = float(sum(d.mean() for d in steps))
    variances = np.array([d.var(ddof=1) / len(d) for d in steps])
    if variances.sum() == 0:
        return total, total
    df = variances.sum() ** 2 / (variances**2 / (np.array(sizes) - 1)).sum()
    return total, total - float(stats.t.ppf(confidence, df) * np.sqrt(variances.sum()))


def random_pairs(rng: np.random.Generator, pairs: int, family: Family | None = None, n: int = 16) -> Certificate:
    """Computes the certificate of random pairs of generators with random elites.

    Args:
        rng: Draws them.
        pairs: Their number.
        family: Family of both generators; None: any probabilities, from nearly uniform to nearly a point mass.
        n: Size of the space, if there is no family.
    """
    if family is None:
        concentration = 10 ** rng.uniform(-1.5, 1.5, size=(2, pairs, 1))
        before, after = (
            g / g.sum(axis=-1, keepdims=True) for g in rng.gamma(concentration, size=(2, pairs, n)) + 1e-12
        )
    else:
        before, after = (family.probabilities(family.random(rng, pairs)) for _ in range(2))
    quality = rng.random(before.shape)
    # Some of each world's architectures are elite, at least the best.
    threshold = np.quantile(quality, rng.random(), axis=-1)
    return predict(before, after, elites(quality, threshold))


def simulate(
    rng: np.random.Generator, family: Family, worlds: int, held_out: int, step: float = 0.5
) -> tuple[Floats, Floats]:
    """Simulates tuning steps in exact worlds and the log-ratios of their held-out elites.

    Each world has a random generator, random qualities whose upper half is elite, and takes the given part of a step
    toward its exact projection.

    Args:
        rng: Draws all.
        family: The generators' family.
        worlds: Number of worlds.
        held_out: Elites held out in each.
        step: Weight of the projection in the tuned parameters, in (0, 1).

    Returns:
        The exact Δ, shape (worlds,), and the log-ratios, shape (worlds, held_out).
    """
    start = family.random(rng, worlds)
    before = family.probabilities(start)
    quality = rng.random(before.shape)
    weights = elites(quality, np.median(quality, axis=-1))
    target = tilted(before, weights)
    after = family.probabilities(blend(start, family.project(target, start), np.full(worlds, step)))
    counts = draw(target, held_out, rng).astype(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(after / before)
    return predict(before, after, weights).gain, np.array(
        [np.repeat(r, c) for r, c in zip(ratios, counts, strict=True)]
    )
