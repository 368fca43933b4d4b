"""Claim 2: expected quality never falls from cycle to cycle.

Symbols: p_t is the generator at cycle t, q quality in [0, 1], E = {a : q(a) >= τ}; E_t[w] is the mean of w under p_t,
C_t that of w = 1[a in E]. A step is the change from one cycle to the next, of a seed's cycles that are known.

The lemma, as in expectation-maximisation: if p_{t+1} raises the mean log-likelihood under p_t · w, as an exact
projection does, then E_{t+1}[w] >= E_t[w]. With w = 1[q >= τ], τ fixed, C_t never falls; with w = q, E_t[q] never
falls. Thresholding does not make E_t[q] monotone. The published proof assumes that the projection is
"quality-monotone", which is the conclusion; its failure therefore counts against the claim, not as an assumption that
did not hold.

How the verdict is found, from series over seeds and cycles:

- `vacuous`: an assumption does not hold.
- Exact values (enumerated, no sampling error): any step down by more than 1e-9 (or the tolerance given) in any seed is
  a fall. Without a fall `confirmed`; with one `refuted`, or `direction` if the change from first to last cycle is
  upward (one-sided t over seeds, 5%; of a single seed, its sign).
- Sampled values: each step's mean over seeds, at least 2, is tested against a fall (one-sided t, Holm's correction over
  all steps of all models and tasks given, 5%). With a significant fall `refuted`, or `direction` if the last cycle is
  significantly above the first. Without one, `confirmed` if every step's one-sided 95% lower bound is above -margin:
  all steps must pass, so no correction is due (Berger 1982, intersection-union test); else `undecided`, with the seeds
  for which flat means would pass with power .8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.claim import Assumption, Claim, Evidence, Level, Verdict
from theory.families import Family, Floats
from theory.progress_certificate import Certificate
from theory.progress_certificate import predict as certificate
from theory.proportion import proportion_interval
from theory.trend import (
    Means,
    first_to_last,
    holm,
    isotonic_test,
    largest_change,
    lowest_if_flat,
    means,
    power_of_decrease,
    read_series,
    seeds_to_exclude,
    steps,
    trend_within,
)
from theory.worlds import elites, quantile_threshold, tilted

MARGIN = 0.01
"""Smallest fall of quality, or of elite mass, in one step that matters."""

TOLERANCE = 1e-9
"""Rounding error that exact values are allowed."""

LEVEL = 0.05

Quantity = Literal["E[q]", "C", "E[w]"]
"""What the series is: expected quality (the published claim), elite mass or another expected weight (the lemma)."""


@dataclass(frozen=True)
class Series:
    """What the claim is tested on.

    Attributes:
        values: Shape (seeds, cycles), NaN where there is none.
        gains: Δ of each step, shape (seeds, cycles - 1); None: not measured.
        thresholds: τ of each cycle, shape (seeds, cycles) or (cycles,); None: not recorded.
        raw: Whether values are known to be of each cycle's own generator.
        tolerance: Rounding error that exact values and gains are allowed.
    """

    values: Floats
    gains: Floats | None
    thresholds: Floats | None
    raw: bool = False
    tolerance: float = TOLERANCE


def raw_series(sample: Series) -> Evidence:
    """Returns evidence on whether the series are raw, and not of the best so far, which never falls by definition.

    A best-so-far stands still and then rises again, and never falls: a series of which no step is down and an exact tie
    comes before a rise is taken for one. The assumption fails when more than half of the seeds look so.
    """
    if sample.raw:
        return Evidence("raw series", True, f"of each cycle's own generator, n = {len(sample.values)}")
    looks = 0
    for row in sample.values:
        steps = np.diff(row[~np.isnan(row)])
        ups = np.flatnonzero(steps > 0)
        looks += bool(len(ups) and (steps >= 0).all() and (steps[: ups[-1]] == 0).any())
    n = len(sample.values)
    return Evidence("raw series", looks <= n / 2, f"{looks} of {n} seeds never fall and rise after a tie (bound half)")


def fixed_threshold(sample: Series) -> Evidence:
    """Returns evidence on whether τ is the same at all cycles of a seed."""
    change, n = largest_change(sample.thresholds), len(sample.values)
    if change is None:
        return Evidence("fixed threshold", True, f"not recorded; it is taken to be fixed, n = {n}")
    return Evidence(
        "fixed threshold", change <= TOLERANCE, f"τ changes by up to {change:.3g} (bound {TOLERANCE}), n = {n}"
    )


def likelihood_rose(sample: Series) -> Evidence:
    """Returns evidence on whether tuning raised the likelihood under p_t · w, as a projection does: no Δ below 0."""
    name = "likelihood rose"
    if sample.gains is None:
        return Evidence(name, True, f"Δ was not measured; it is taken to be >= 0, n = {len(sample.values)}")
    worst = float(np.nanmin(sample.gains))
    below = int((sample.gains < -sample.tolerance).sum())
    return Evidence(
        name,
        below == 0,
        f"{below} of {(~np.isnan(sample.gains)).sum()} steps have Δ < 0 (bound 0), the least {worst:.3g}",
    )


CLAIM = Claim(
    name="expected-quality",
    title="Expected quality never falls",
    statement="Expected architecture quality E_{p_t}[q] is monotonically non-decreasing across cycles.",
    source="arXiv:2605.30103, result 2",
    assumptions=(
        Assumption("raw series", "Values are of each cycle's own samples, not the best so far.", raw_series),
        Assumption("fixed threshold", "The elites are the same set at all cycles.", fixed_threshold),
        Assumption(
            "likelihood rose", "Each tuning step raised the mean log-likelihood of p_t's elites.", likelihood_rose
        ),
    ),
    lemma=(
        "A step to p_{t+1} that does not lower the mean log-likelihood under p_t · w, so any exact projection, has "
        "E_{t+1}[w] >= E_t[w]. With w = 1[q >= τ] and τ fixed C_t never falls; with w = q E_t[q] never falls."
    ),
)


def predict(start: float, gains: ArrayLike) -> Floats:
    """Returns what E_t[w] cannot be below at each cycle, E_0[w] · exp(ΣΔ).

    The published form is that with gains of 0, for w = q.

    Args:
        start: E_0[w].
        gains: Δ of each step in nats, shape (cycles - 1,).
    """
    return start * np.exp(np.append(0.0, np.cumsum(gains)))


def lemma(before: ArrayLike, after: ArrayLike, weights: ArrayLike) -> tuple[Certificate, NDArray[np.bool_]]:
    """Checks the lemma on pairs of generators.

    Args:
        before: p_t, shape (..., n).
        after: p_{t+1}, shape (..., n).
        weights: w, shape (..., n).

    Returns:
        E_t[w], E_{t+1}[w] and Δ; and whether the lemma holds, shape (...): Δ < 0 (then it says nothing) or E_{t+1}[w]
        >= E_t[w].
    """
    found = certificate(before, after, weights)
    return found, (found.gain < -TOLERANCE) | (found.after >= found.before - TOLERANCE)


@dataclass(frozen=True, kw_only=True)
class ExpectedQuality(Verdict):
    """The verdict; `estimate` is the lowest mean over seeds of a step, `n` the number of seeds.

    Attributes:
        quantity: What the series is of.
        exact: Whether values have no sampling error.
        falls: Raw steps down, of all seeds; nothing is smoothed.
        steps: Raw steps.
        seeds_with_falls: Share of seeds with a step down.
        seeds_interval: Its 95% interval.
        worst_step: The cycle, from 0, whose step that is.
        p_values: P-value of a fall for each step, Holm-adjusted, NaN below 2 seeds; empty for exact values or one seed.
        lower_bounds: One-sided 95% lower bound of each step; likewise.
        change: Mean change from the first to the last cycle that is known of a seed.
        change_interval: Its 95% interval; None for one seed.
        isotonic_p: P-value of the whole mean series' distance from a non-decreasing one; None with missing cycles or
            one seed.
        trend: Spearman's correlation with the cycle, mean over seeds.
        trend_p: P-value of a rise when the cycles of each seed are permuted.
    """

    quantity: Quantity
    exact: bool
    falls: int
    steps: int
    seeds_with_falls: float
    seeds_interval: tuple[float, float]
    worst_step: int
    p_values: tuple[float, ...] = ()
    lower_bounds: tuple[float, ...] = ()
    change: float
    change_interval: tuple[float, float] | None
    isotonic_p: float | None
    trend: float
    trend_p: float


def test(
    values: ArrayLike,
    rng: np.random.Generator,
    exact: bool = False,
    quantity: Quantity = "E[q]",
    gains: ArrayLike | None = None,
    thresholds: ArrayLike | None = None,
    others: Sequence[ArrayLike] = (),
    margin: float = MARGIN,
    tests: int = 1,
    raw: bool = False,
    tolerance: float = TOLERANCE,
) -> ExpectedQuality:
    """Tests whether a series never falls, by the rule that the module's docstring states.

    Args:
        values: E_t[q] (the published claim) or C_t (the lemma) in [0, 1], shape (seeds, cycles), NaN where there is
            none.
        rng: Draws permutations and signs.
        exact: Whether values were computed over the whole space, without sampling.
        quantity: What they are.
        gains: Δ of each step in nats, shape (seeds, cycles - 1), if measured.
        thresholds: τ of each cycle, if recorded.
        others: The series of other models and tasks that are tested beside this one; Holm's correction counts their
            steps.
        margin: Smallest fall that matters, > 0.
        tests: Verdicts on exact values that are given together; the level of the rise is divided by it (Bonferroni).
        raw: Whether values are known to be of each cycle's own generator; else their looks decide.
        tolerance: Rounding error that exact values and gains are allowed.

    Raises:
        ValueError: Wrong shapes, values outside [0, 1], no seed with two cycles, or a margin that is not positive.
    """
    x = read_series(values, "values", 0, 1)
    if not margin > 0:
        raise ValueError(f"margin must be positive, it is {margin}")
    changes = steps(x)
    if np.isnan(changes).all():
        raise ValueError("values must hold two cycles of some seed")
    sample = Series(x, _matching(gains, changes.shape, "gains"), _tau(thresholds, x.shape), raw, tolerance)
    evidence = tuple(assumption.check(sample) for assumption in CLAIM.assumptions)
    failed = [e.name for e in evidence if not e.holds]

    found = means(changes)
    fell = changes < -tolerance
    seeds, n = int(fell.any(axis=1).sum()), len(x)
    change = means(first_to_last(x)[:, None])
    rose = _rose(change, LEVEL / tests)
    tested = found.n >= 2
    several = bool(tested.any())
    adjusted, lower = np.array([]), np.array([])
    if several and not exact:
        family = [found.below(), *(means(steps(read_series(o, "others", 0, 1))).below() for o in others)]
        adjusted = holm(np.concatenate(family))[: changes.shape[1]]
        lower = found.lower()

    level: Level
    needed = None
    if failed:
        level = "vacuous"
    elif exact:
        level = ("direction" if rose else "refuted") if fell.any() else "confirmed"
    elif not several:
        level, needed = "undecided", 2
    elif (adjusted <= LEVEL).any():
        level = "direction" if rose else "refuted"
    elif (lower[tested] > -margin).all():
        level = "confirmed"
    else:
        level, needed = "undecided", seeds_to_exclude(found, margin, LEVEL)

    worst = int(np.nanargmin(np.where(tested if several else found.n > 0, found.mean, np.nan)))
    complete = several and not np.isnan(x).any()
    trend = trend_within(x, rng, permutations=199)
    low, high = change.interval()
    result = ExpectedQuality(
        level=level,
        estimate=float(found.mean[worst]),
        predicted=0.0,
        interval=(0.0, 1.0) if exact else lowest_if_flat(found, worst, LEVEL),
        n=n,
        assumptions=evidence,
        needed_n=needed,
        explanation="",
        quantity=quantity,
        exact=exact,
        falls=int(fell.sum()),
        steps=int((~np.isnan(changes)).sum()),
        seeds_with_falls=seeds / n,
        seeds_interval=proportion_interval(seeds, n),
        worst_step=worst,
        p_values=tuple(adjusted.tolist()),
        lower_bounds=tuple(lower.tolist()),
        change=float(change.mean[0]),
        change_interval=(float(low[0]), float(high[0])) if change.n[0] >= 2 else None,
        isotonic_p=isotonic_test(x, rng, flips=199)[1] if complete else None,
        trend=trend.estimate,
        trend_p=trend.rise,
    )
    return ExpectedQuality(**{**vars(result), "explanation": _explanation(result, failed, margin)})


def _matching(values: ArrayLike | None, shape: tuple[int, ...], name: str) -> Floats | None:
    if values is None:
        return None
    found = np.asarray(values, dtype=float)
    found = found[None] if found.ndim == 1 else found
    if found.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {found.shape}")
    return found


def _tau(thresholds: ArrayLike | None, shape: tuple[int, ...]) -> Floats | None:
    if thresholds is None or np.ndim(thresholds) != 1:
        return _matching(thresholds, shape, "thresholds")
    return _matching(thresholds, (1, shape[1]), "thresholds")


def _rose(change: Means, level: float) -> bool:
    if change.n[0] >= 2:
        return bool(change.above()[0] <= level)
    return bool(change.mean[0] > TOLERANCE)


def _explanation(found: ExpectedQuality, failed: list[str], margin: float) -> str:
    counted = (
        f"{found.quantity} falls in {found.falls} of {found.steps} raw steps, in "
        f"{found.seeds_with_falls:.0%} of {found.n} seeds; the mean change is lowest "
        f"after cycle {found.worst_step}, {found.estimate:+.4g}; "
        f"from first to last cycle {found.change:+.4g}."
    )
    match found.level:
        case "vacuous":
            words = f"Not tested: {', '.join(failed)} does not hold."
        case "confirmed" if found.exact:
            words = "No exact value falls."
        case "confirmed":
            words = f"No fall is significant, and a fall by {margin:g} in any one step can be excluded."
        case "undecided" if found.p_values:
            words = f"No fall is significant, but one by {margin:g} cannot be excluded with {found.n} seeds"
            words += f"; about {found.needed_n} are needed." if found.needed_n else "."
        case "undecided":
            words = "Sampled values need at least 2 seeds in each step."
        case _:
            words = "It falls" + (
                "" if found.exact else f" significantly (Holm-adjusted p = {np.nanmin(found.p_values):.2g})"
            )
            words += ", though it rises on the whole." if found.level == "direction" else "."
    return f"{counted} {words}"


def random_step(
    rng: np.random.Generator, family: Family, worlds: int, share: float | None, reward: bool = False
) -> dict[str, Floats]:
    """Projects random generators of a family on their elites, or on their rewards, in worlds with random qualities.

    Args:
        rng: Draws parameters, qualities (uniform) and thresholds (uniform up to the best quality).
        family: The family.
        worlds: Number of worlds.
        share: Top share that is elite; None: a fixed random τ.
        reward: Whether weights are the qualities.

    Returns:
        "before", "after", "weights", "quality" of shape (worlds, n).
    """
    start = family.random(rng, worlds)
    before = family.probabilities(start)
    quality = rng.random(before.shape)
    tau = rng.random(worlds) * quality.max(axis=-1) if share is None else quantile_threshold(before, quality, share)
    weights = quality if reward else elites(quality, tau)
    after = family.probabilities(family.project(tilted(before, weights), start))
    return {"before": before, "after": after, "weights": weights, "quality": quality}


def simulate(
    rng: np.random.Generator, seeds: int, cycles: int, candidates: int = 50, fall: float = 0.0, at: int | None = None
) -> Floats:
    """Simulates measured mean qualities of a converged generator, whose E[q] is flat: the least favourable case.

    The world has 16 architectures of quality 0, 1/15, ... 1, equally likely; each seed draws candidates at each cycle.

    Args:
        rng: Draws the candidates.
        seeds: Number of seeds.
        cycles: Number of cycles.
        candidates: Samples per seed and cycle.
        fall: By how much E[q] is lower after step `at`, in [0, .5].
        at: The step of the fall; None: the middle one.

    Returns:
        Mean qualities, shape (seeds, cycles).
    """
    quality = np.linspace(0, 1, 16)
    flat = np.full(16, 1 / 16)
    # Mass moves to the worst architecture.
    lower = flat * (1 - 2 * fall)
    lower[0] += 2 * fall
    after = cycles // 2 if at is None else at + 1
    p = np.where((np.arange(cycles) >= after)[:, None], lower, flat)
    counts = rng.multinomial(candidates, p, size=(seeds, cycles))
    return counts @ quality / candidates


def step_sd(candidates: int = 50) -> float:
    """Returns the standard deviation of one step of `simulate`, without a fall."""
    return float(np.sqrt(2 * np.linspace(0, 1, 16).var() / candidates))


def predicted_power(fall: float, seeds: int, cycles: int, candidates: int = 50) -> float:
    """Returns the chance that `test` rejects on `simulate` with a fall, by noncentral t at Holm's first level.

    Args:
        fall: Size of the fall, > 0.
        seeds: Number of seeds.
        cycles: Number of cycles.
        candidates: Samples per seed and cycle.
    """
    steps = cycles - 1
    one = power_of_decrease(fall, step_sd(candidates), seeds, LEVEL / steps)
    return 1 - (1 - one) * (1 - LEVEL * (steps - 1) / steps)


def counterexample() -> tuple[tuple[Floats], Floats]:
    """Returns two bits' start and quality: with τ = 1, E[q] falls from .902 to .727 and C rises from .32 to .50."""
    return (np.array([[[0.8, 0.2], [0.8, 0.2]]]),), np.array([10 / 11, 1.0, 1.0, 0.0])
