"""Claim 3: the elite mass converges geometrically, C_t >= 1 - (1 - ρ_0)^t.

Symbols: C_t = p_t(E) is the mass of the elites E = {a : q(a) >= τ} under the generator at cycle t, ρ_0 = C_0; α is the
rate of smoothing.

The statement has two readings. As *mass* it is about C_t itself. As *hit probability* it is about H_t, the chance that
a run with one draw a cycle has met an elite within its first t cycles, 1 - Π_{s<t} (1 - C_s).

How the verdict is found. The gap at cycle t is the measured quantity minus the bound; ρ_0 is each seed's own C_0 when
masses are exact.

- `vacuous`: an assumption does not hold.
- Exact masses: any gap below -1e-9 (or the tolerance given), in any seed and cycle, is a violation. Without one
  `confirmed`; with one `refuted`, or `direction` if the mass rises from first to last cycle (one-sided t over seeds,
  5%; of a single seed, its sign).
- Counts of elites among candidates, several seeds: each cycle's mean gap is tested against 0, one-sided at 5%, on the
  scale log(1 - C_t) - t log(1 - ρ_0), where the gap is nearest to normal, by t statistics whose joint distribution over
  cycles comes from flipping the signs of seeds; with other models and tasks, Holm's correction over them. With a
  violation as above. Without one, `confirmed` if each cycle's one-sided 95% lower bound is above -margin (all must
  pass: Berger 1982), else `undecided`.
- Counts of one seed, mass only: each cycle against the first by the signed root of the likelihood ratio of two
  binomials, Holm's correction over cycles too; otherwise alike, but never `confirmed`, for one seed says nothing of
  others.

Where the bound leaves fewer than 50 misses to expect among all candidates of a cycle, counts cannot tell it from 1:
from there on the mass is held against the bound of the last cycle before, which the claim implies too; H_t, which
cannot fall, is not compared any further.

Counts are of seeds that start from one generator. k_t / n_t estimates C_t without bias, and so does (n - k)_t / (n)_t,
falling factorials of the first cycle's candidates of all seeds, estimate (1 - ρ_0)^t: it is the chance that t of them,
drawn without replacement, hold no elite (a U-statistic; Hoeffding 1948). A seed's part in it is taken to first order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from theory.claim import Assumption, Claim, Evidence, Level, Verdict
from theory.families import Categorical, Floats, Parameters
from theory.geometric_fit import GeometricFit, fit_geometric
from theory.proportion import proportion_interval
from theory.trend import (
    SIGN_TEST,
    first_to_last,
    holm,
    joint_below,
    largest_change,
    lowest_if_flat,
    means,
    read_series,
    seeds_to_exclude,
)
from theory.worlds import Cycles, run

MARGIN = 0.05
"""Smallest shortfall of mass, or of hit probability, that matters."""

TOLERANCE = 1e-9
"""Rounding error that exact masses are allowed."""

LEVEL = 0.05

SIGNIFICANT = 0.01

MISSES = 50
"""Misses to expect under the bound, among all candidates of a cycle, for it to be told from 1."""

Reading = Literal["mass", "hit"]
READINGS: tuple[Reading, ...] = ("mass", "hit")


@dataclass(frozen=True)
class Masses:
    """What the claim is tested on.

    Attributes:
        mass: C_t, exact or as the share of elites, shape (seeds, cycles), NaN where there is none.
        candidates: Candidates per seed and cycle; None: `mass` is exact.
        thresholds: τ of each cycle, shape (seeds, cycles) or (1, cycles); None: not recorded.
    """

    mass: Floats
    candidates: Floats | None
    thresholds: Floats | None


def positive_start(sample: Masses) -> Evidence:
    """Returns evidence on whether some seed has 0 < ρ_0 < 1; at 0 the bound is 0, at 1 it is 1 at once."""
    start = sample.mass[:, 0]
    inside = int(((start > 0) & (start < 1)).sum())
    exact = sample.candidates is None
    return Evidence(
        "positive start",
        inside > 0 if exact else bool(np.nanmax(start) > 0 and np.nanmin(start) < 1),
        f"ρ_0 is from {np.nanmin(start):.3g} to {np.nanmax(start):.3g}, "
        f"strictly inside (0, 1) for {inside} of {len(start)} seeds",
    )


def same_start(sample: Masses) -> Evidence:
    """Returns evidence on whether the seeds' first counts are of one generator: the χ² test of homogeneity."""
    if sample.candidates is None or len(sample.mass) < 2:
        return Evidence("same start", True, f"each seed has its own ρ_0, n = {len(sample.mass)}")
    sizes = sample.candidates[:, 0]
    hits = sample.mass[:, 0] * sizes
    share = hits.sum() / sizes.sum()
    if share in (0, 1):
        return Evidence("same start", True, f"all seeds have ρ_0 = {share:g}, n = {len(sizes)}")
    chi2 = float(((hits - share * sizes) ** 2 / (share * (1 - share) * sizes)).sum())
    p = float(stats.chi2.sf(chi2, len(sizes) - 1))
    return Evidence(
        "same start", p >= SIGNIFICANT, f"χ² = {chi2:.3g}, p = {p:.2g} (bound {SIGNIFICANT}), n = {len(sizes)}"
    )


def fixed_threshold(sample: Masses) -> Evidence:
    """Returns evidence on whether τ, and so E, is the same at all cycles of a seed."""
    change = largest_change(sample.thresholds)
    if change is None:
        return Evidence("fixed threshold", True, f"not recorded; it is taken to be fixed, n = {len(sample.mass)}")
    return Evidence("fixed threshold", change <= TOLERANCE, f"τ changes by up to {change:.3g} (bound {TOLERANCE})")


CLAIM = Claim(
    name="elite-mass",
    title="Geometric convergence of the elite mass",
    statement="Elite-set probability converges to a fixed point at a geometric rate, C_t >= 1 - (1 - ρ_0)^t.",
    source="arXiv:2605.30103, result 3",
    assumptions=(
        Assumption("positive start", "The first generator gives the elites some mass, but not all.", positive_start),
        Assumption("same start", "Seeds of which only counts are known start from one generator.", same_start),
        Assumption("fixed threshold", "The elites are the same set at all cycles.", fixed_threshold),
    ),
    lemma=(
        "If C_s >= ρ_0 for all s < t, a run of one draw a cycle has met an elite by cycle t with chance at least "
        "1 - (1 - ρ_0)^t. As mass: the unrestricted exact update has C_1 = 1; smoothed with rate α it has "
        "C_t = 1 - (1 - α)^t (1 - C_0), so the rate is α, not ρ_0; a restricted family may have a ceiling below 1."
    ),
)


def predict(start: ArrayLike, cycles: int) -> Floats:
    """Returns the published bound 1 - (1 - ρ_0)^t for t = 0 ... cycles - 1, shape (..., cycles).

    Args:
        start: ρ_0, shape (...).
        cycles: Number of cycles, the first one included.
    """
    return np.asarray(1 - (1 - np.asarray(start, dtype=float)[..., None]) ** np.arange(cycles), dtype=float)


def smoothed_mass(start: float, rate: float, cycles: int) -> Floats:
    """Returns the lemma's C_t = 1 - (1 - α)^t (1 - C_0) of the unrestricted update with rate α, shape (cycles,)."""
    return np.asarray(1 - (1 - rate) ** np.arange(cycles) * (1 - start), dtype=float)


def hit_probability(mass: ArrayLike) -> Floats:
    """Returns H_t = 1 - Π_{s<t} (1 - C_s) of a run with one draw a cycle, shape (..., cycles)."""
    miss = np.cumprod(1 - np.asarray(mass, dtype=float), axis=-1)
    return np.asarray(1 - np.concatenate([np.ones_like(miss[..., :1]), miss[..., :-1]], axis=-1), dtype=float)


def lemma(mass: ArrayLike) -> tuple[Floats, Floats]:
    """Returns H_t and the lemma's bound on it, 1 - (1 - min_{s<t} C_s)^t, where the minimum is ρ_0 if C_s >= ρ_0.

    Args:
        mass: C_t, shape (..., cycles).
    """
    mass = np.asarray(mass, dtype=float)
    t = np.arange(mass.shape[-1])
    least = np.minimum.accumulate(mass, axis=-1)
    bound = 1 - (1 - least[..., :-1]) ** t[1:]
    return hit_probability(mass), np.concatenate([np.zeros_like(mass[..., :1]), bound], axis=-1)


@dataclass(frozen=True, kw_only=True)
class EliteMass(Verdict):
    """The verdict; `estimate` is the lowest mean gap to the bound, `n` the number of seeds.

    Attributes:
        reading: Which reading was tested.
        exact: Whether masses have no sampling error.
        violations: Cycles of all seeds in which the measured quantity is below the bound, as it stands.
        comparisons: Cycles compared, of all seeds.
        seeds_violating: Share of seeds with one.
        seeds_interval: Its 95% interval.
        first_violation: First cycle whose violation counts: exact, or significant; None without.
        worst_cycle: The cycle of the lowest mean gap.
        gaps: Mean gap at each cycle that is compared, in order.
        cycles: Those cycles.
        p_values: Adjusted p-value of a violation at each of those cycles; empty for exact masses, None where there is
            none.
        fit: C_t = C_∞ - (C_∞ - C_0) λ^t fitted to the masses, C_∞ being the ceiling; None with fewer than 3 cycles.
    """

    reading: Reading
    exact: bool
    violations: int
    comparisons: int
    seeds_violating: float
    seeds_interval: tuple[float, float]
    first_violation: int | None
    worst_cycle: int
    gaps: tuple[float, ...]
    cycles: tuple[int, ...]
    p_values: tuple[float | None, ...] = ()
    fit: GeometricFit | None


def test(
    elites: ArrayLike,
    rng: np.random.Generator,
    candidates: ArrayLike | None = None,
    reading: Reading = "mass",
    thresholds: ArrayLike | None = None,
    others: Sequence[tuple[ArrayLike, ArrayLike]] = (),
    margin: float = MARGIN,
    tests: int = 1,
    tolerance: float = TOLERANCE,
) -> EliteMass:
    """Tests the bound, by the rule that the module's docstring states.

    Args:
        elites: Exact C_t in [0, 1]; or, with `candidates`, the number of elites among them. Shape (seeds, cycles), NaN
            where there is none; the first cycle is t = 0 and must be there.
        rng: Draws the groups of the jackknife of the fit.
        candidates: Number of candidates of each cycle, shape (seeds, cycles), or one number for all.
        reading: Which reading to test.
        thresholds: τ of each cycle, if recorded.
        others: (elites, candidates) of other models and tasks tested beside this one; the correction counts them.
        margin: Smallest shortfall that matters, > 0.
        tests: Verdicts on exact masses that are given together; the level of the rise is divided by it (Bonferroni).
        tolerance: Rounding error that exact masses are allowed.

    Raises:
        ValueError: Wrong shapes, masses outside [0, 1], counts that are no counts, a missing first cycle, nothing to
            compare, or a margin that is not positive.
    """
    if not margin > 0:
        raise ValueError(f"margin must be positive, it is {margin}")
    mass, sizes = _read(elites, candidates)
    sample = Masses(mass, sizes, _tau(thresholds, mass.shape))
    evidence = tuple(assumption.check(sample) for assumption in CLAIM.assumptions)
    failed = [e.name for e in evidence if not e.holds]

    gaps, cycles = _gaps(mass, sizes, reading)
    found = means(gaps)
    n = len(mass)
    below = gaps < -tolerance
    seeds = int(below.any(axis=1).sum())
    p = np.array([])
    if sizes is not None:
        families = [_p_values(mass, sizes, reading, rng)]
        for other in others:
            m, k = _read(*other)
            if k is not None:
                families.append(_p_values(m, k, reading, rng))
        p = _over_groups(families)
    counts = below.any(axis=0) if sizes is None else p <= LEVEL
    first = int(cycles[counts.argmax()]) if counts.any() else None

    level: Level
    needed = None
    if failed:
        level = "vacuous"
    elif first is not None:
        level = "direction" if _rose(mass, sizes, LEVEL / tests) else "refuted"
    elif sizes is None or ((found.n >= 2).any() and bool((found.lower()[found.n >= 2] > -margin).all())):
        level = "confirmed"
    else:
        level, needed = "undecided", seeds_to_exclude(found, margin, LEVEL, SIGN_TEST)

    worst = int(np.nanargmin(np.where(found.n >= min(int(found.n.max()), 2), found.mean, np.nan)))
    result = EliteMass(
        level=level,
        estimate=float(found.mean[worst]),
        predicted=0.0,
        interval=(0.0, 1.0) if sizes is None else lowest_if_flat(found, worst, LEVEL),
        n=n,
        assumptions=evidence,
        needed_n=needed,
        explanation="",
        reading=reading,
        exact=sizes is None,
        violations=int(below.sum()),
        comparisons=int((~np.isnan(gaps)).sum()),
        seeds_violating=seeds / n,
        seeds_interval=proportion_interval(seeds, n),
        first_violation=first,
        worst_cycle=int(cycles[worst]),
        gaps=tuple(found.mean.tolist()),
        cycles=tuple(cycles.tolist()),
        p_values=tuple(None if math.isnan(v) else v for v in p.tolist()),
        fit=None if mass.shape[1] < 3 or np.isnan(mass).all(axis=0).any() else fit_geometric(mass, rng),
    )
    return replace(result, explanation=_explanation(result, failed, margin))


def _read(elites: ArrayLike, candidates: ArrayLike | None) -> tuple[Floats, Floats | None]:
    if candidates is None:
        mass, sizes = read_series(elites, "elites", 0, 1), None
    else:
        counts = read_series(elites, "elites", 0)
        sizes = np.broadcast_to(np.asarray(candidates, dtype=float), counts.shape)
        wrong = ~np.isnan(counts) & ~((sizes >= 1) & (counts <= sizes) & (counts % 1 == 0) & (sizes % 1 == 0))
        if wrong.any():
            seed, cycle = np.argwhere(wrong)[0]
            raise ValueError(
                f"elites must be whole numbers up to candidates, at least 1; seed {seed}, cycle {cycle} has "
                f"{counts[seed, cycle]:g} of {sizes[seed, cycle]:g}"
            )
        mass = counts / np.where(sizes > 0, sizes, np.nan)
    if np.isnan(mass[:, 0]).any():
        raise ValueError(f"the first cycle must be there; seed {int(np.isnan(mass[:, 0]).argmax())} lacks it")
    return mass, sizes


def _tau(thresholds: ArrayLike | None, shape: tuple[int, ...]) -> Floats | None:
    if thresholds is None:
        return None
    tau = np.atleast_2d(np.asarray(thresholds, dtype=float))
    if tau.shape not in (shape, (1, shape[1])):
        raise ValueError(f"thresholds must have shape {shape} or ({shape[1]},), not {np.shape(thresholds)}")
    return tau


def _gaps(mass: Floats, sizes: Floats | None, reading: Reading) -> tuple[Floats, NDArray[np.intp]]:
    """Returns measured minus bound, shape (seeds, compared cycles), and those cycles."""
    t = np.arange(mass.shape[1])
    if sizes is None:
        bound = predict(mass[:, 0], mass.shape[1])
    else:
        total = sizes[:, 0].sum()
        missed = total - np.round(mass[:, 0] * sizes[:, 0]).sum()
        factors = np.clip((missed - t[:-1]) / np.maximum(total - t[:-1], 1), 0, None)
        miss = np.append(1.0, np.cumprod(factors))
        # Each seed's part in the estimate, to first order, so that seeds remain the unit.
        part = sizes[:, :1] / total * len(mass) * ((1 - mass[:, :1]) - missed / total)
        bound = 1 - (miss + t * miss * total / max(missed, 1) * part)
    # The bound is 0 at t = 0; of hits it is met with equality at t = 1.
    first = 1 if reading == "mass" else 2
    measured = mass if reading == "mass" else hit_probability(mass)
    last = mass.shape[1] - 1 if sizes is None else _last(mass, sizes, first)
    if reading == "hit":
        measured, t = measured[:, : last + 1], t[: last + 1]
    gaps = (measured - bound[:, np.minimum(t, last)])[:, first:]
    there = ~np.isnan(gaps).all(axis=0)
    if not there.any():
        raise ValueError(f"the {reading} reading compares cycles from {first} on; there is none")
    return gaps[:, there], t[first:][there]


def _last(mass: Floats, sizes: Floats, first: int) -> int:
    """Returns the last cycle whose bound leaves enough misses to expect, at least the first that is compared."""
    total = sizes[:, 0].sum()
    share = 1 - np.round(mass[:, 0] * sizes[:, 0]).sum() / total
    expected = total * share ** np.arange(mass.shape[1])
    return max(int((expected >= MISSES).sum()) - 1, first)


def _p_values(mass: Floats, sizes: Floats, reading: Reading, rng: np.random.Generator) -> Floats:
    """Returns p-values of a violation at each cycle compared, adjusted for all cycles of this model and task."""
    _, cycles = _gaps(mass, sizes, reading)
    if len(mass) >= 2:
        return joint_below(_log_gaps(mass, sizes, reading, cycles), rng)
    if reading == "hit":
        return np.full(len(cycles), np.nan)
    counts = np.round(mass[0] * sizes[0])
    each = [_binomial_p(counts[0], sizes[0, 0], k, n, t) for t, (k, n) in enumerate(zip(counts, sizes[0], strict=True))]
    return holm(np.array(each)[cycles])


def _log_gaps(mass: Floats, sizes: Floats, reading: Reading, cycles: NDArray[np.intp]) -> Floats:
    """Returns each seed's part in t log(1 - ρ_0) - log(1 - C_t), the gap on the scale where it is nearest to normal."""
    measured = (1 - (mass if reading == "mass" else hit_probability(mass)))[:, cycles]
    weights = sizes[:, :1] / sizes[:, 0].mean()
    start = (1 - mass[:, :1]) * weights
    # Half a miss where there is none.
    floor = 0.5 / sizes[:, 0].sum()
    miss, first = np.maximum(means(measured).mean, floor), max(float(start.mean()), floor)
    held = np.minimum(cycles, _last(mass, sizes, 1 if reading == "mass" else 2))
    parts = held * ((1 - mass[:, :1]) - first) * weights / first - (measured - miss) / miss
    return held * np.log(first) - np.log(miss) + parts


def _over_groups(families: list[Floats]) -> Floats:
    """Returns the first family's p-values, raised as Holm's correction over families raises its smallest."""
    smallest = np.array([np.nan if np.isnan(p).all() else np.nanmin(p) for p in families])
    if np.isnan(smallest[0]):
        return families[0]
    return np.maximum(np.minimum(families[0] * np.maximum(holm(smallest)[0] / smallest[0], 1), 1), families[0])


def _binomial_p(first: float, first_size: float, later: float, later_size: float, t: int) -> float:
    """Returns the p-value of C_t < 1 - (1 - ρ_0)^t by the signed root of the likelihood ratio; NaN if missing."""
    if np.isnan(later):
        return np.nan
    if later / later_size >= 1 - (1 - first / first_size) ** t:
        return 1.0

    def likelihood(log_miss: float) -> float:
        # On the boundary both masses follow from the log-chance of a miss at the start.
        hits = -np.expm1(log_miss), -np.expm1(t * log_miss)
        return float(
            special.xlogy(first, hits[0])
            + (first_size - first) * log_miss
            + special.xlogy(later, hits[1])
            + (later_size - later) * t * log_miss
        )

    at = optimize.fminbound(lambda v: -likelihood(-np.exp(v)), -20.0, 4.0)
    free = sum(
        float(special.xlogy(k, k / n) + special.xlogy(n - k, 1 - k / n))
        for k, n in ((first, first_size), (later, later_size))
    )
    return float(stats.norm.sf(np.sqrt(max(2 * (free - likelihood(-math.exp(np.asarray(at).item()))), 0.0))))


def _rose(mass: Floats, sizes: Floats | None, level: float) -> bool:
    change = means(first_to_last(mass)[:, None])
    if change.n[0] >= 2:
        return bool(change.above()[0] <= level)
    if sizes is None:
        return bool(change.mean[0] > TOLERANCE)
    counts = np.round(mass * sizes)[0]
    # Fisher's exact test: the chance of so many of all elites among the last cycle's candidates.
    end = int(np.flatnonzero(~np.isnan(counts))[-1])
    elite, last = counts[0] + counts[end], sizes[0, end]
    return bool(stats.hypergeom.sf(counts[end] - 1, last + sizes[0, 0], elite, last) <= LEVEL)


def _explanation(found: EliteMass, failed: list[str], margin: float) -> str:
    what = "C_t" if found.reading == "mass" else "The hit probability"
    counted = (
        f"{what} is below the bound in {found.violations} of {found.comparisons} cycles, in "
        f"{found.seeds_violating:.0%} of {found.n} seeds; the lowest mean gap is {found.estimate:.4g} "
        f"at cycle {found.worst_cycle}."
    )
    match found.level:
        case "vacuous":
            words = f"Not tested: {', '.join(failed)} does not hold."
        case "confirmed" if found.exact:
            words = "No exact mass is below the bound."
        case "confirmed":
            words = f"A shortfall of {margin:g} can be excluded at each cycle."
        case "undecided":
            words = f"No violation is significant, but a shortfall of {margin:g} cannot be excluded"
            words += f"; about {found.needed_n} seeds are needed." if found.needed_n else "."
        case _:
            words = f"It is violated{'' if found.exact else ' significantly'} from cycle {found.first_violation} on"
            words += ", though the mass rises." if found.level == "direction" else ", and the mass does not rise."
    return f"{counted} {words}"


def simulate(
    rng: np.random.Generator,
    seeds: int,
    cycles: int,
    start: float = 0.1,
    candidates: int = 50,
    shortfall: float = 0.0,
    at: int = 3,
    reading: Reading = "mass",
) -> Floats:
    """Simulates counts of elites among candidates in a world on the edge of the claim.

    For the mass reading the unrestricted generator stands still for one cycle and is then smoothed with rate α = ρ_0,
    so that C_t = 1 - (1 - ρ_0)^t exactly; for the hit reading it stands still for ever.

    Args:
        rng: Draws the candidates.
        seeds: Number of seeds.
        cycles: Number of cycles, the first one included.
        start: ρ_0 in (0, 1).
        candidates: Samples per seed and cycle.
        shortfall: By how much the mass at cycle `at` is lower.
        at: That cycle.
        reading: The reading that is on its edge.

    Returns:
        Numbers of elites, shape (seeds, cycles).
    """
    mass = np.full(cycles, start)
    if reading == "mass":
        mass[1:] = smoothed_mass(start, start, cycles - 1)
    mass[at] -= shortfall
    return rng.binomial(candidates, mass, size=(seeds, cycles)).astype(float)


def predicted_power(
    rng: np.random.Generator,
    shortfall: float,
    seeds: int,
    cycles: int,
    start: float,
    candidates: int,
    at: int,
    draws: int = 4000,
) -> float:
    """Returns the chance that `test` rejects on `simulate` of the mass reading with a shortfall, by normal theory.

    Gaps are taken as normal with the covariance of the binomial model; the level is that of the lowest of their t
    statistics.

    Args:
        rng: Draws normal gaps.
        shortfall: Size of the shortfall, > 0.
        seeds: Number of seeds.
        cycles: Number of cycles.
        start: ρ_0.
        candidates: Samples per seed and cycle.
        at: Cycle of the shortfall.
        draws: Number of data sets drawn.
    """
    expected = candidates * seeds * (1 - start) ** np.arange(cycles)
    last = min(cycles - 1, int((expected >= MISSES).sum()) - 1)
    t = np.arange(1, cycles)
    held = np.minimum(t, last)
    mass = predict(start, cycles)[1:].copy()
    mass[at - 1] -= shortfall
    # Of k_0 to first order, which all gaps share, and of each cycle's own count.
    slope = held * (1 - start) ** (held - 1)
    covariance = np.outer(slope, slope) * start * (1 - start) / candidates + np.diag(mass * (1 - mass) / candidates)
    noise = rng.multivariate_normal(np.zeros(len(t)), covariance, size=(draws, seeds), method="cholesky")
    error = noise.std(axis=1, ddof=1) / np.sqrt(seeds)
    centre = mass - (1 - (1 - start) ** held)
    critical = np.quantile((noise.mean(axis=1) / error).min(axis=1), LEVEL)
    return float((((noise.mean(axis=1) + centre) / error).min(axis=1) <= critical).mean())


def bits(mean: float) -> tuple[Parameters, Floats]:
    """Returns start and quality of two independent bits with equal means whose elites, τ = 1, are 00 and 11.

    With means .5 the generator stays at C = .5 for ever; with means .02 a de-duplicated corpus drops C from .961 to
    .50.

    Args:
        mean: Chance of a 1.
    """
    return (np.array([[[1 - mean, mean]] * 2]),), np.array([1.0, 0.0, 0.0, 1.0])


def lose_optimum(
    rng: np.random.Generator, runs: int, candidates: int = 50, mass: float = 0.01, cycles: int = 10
) -> NDArray[np.bool_]:
    """Returns which runs of the unrestricted generator lose the best of 21 architectures, fitting 20% of few samples.

    Without memory an optimum that is not drawn has probability 0 ever after; the first cycle alone loses it with chance
    (1 - mass)^candidates.

    Args:
        rng: Draws the candidates.
        runs: Number of runs.
        candidates: Samples per cycle.
        mass: Probability of the optimum at the start.
        cycles: Number of cycles.
    """
    quality = np.linspace(0, 1, 21)
    start = np.append(np.full(20, (1 - mass) / 20), mass)
    p = run(
        Categorical(21), (np.tile(start, (runs, 1)),), quality, cycles, Cycles(share=0.2, candidates=candidates), rng
    )
    return p[-1, :, -1] == 0
