"""Claim 1: fine-tuning on elites is the cross-entropy update within the generator's family.

Symbols: p_t is the generator at cycle t, E = {a : q(a) >= τ} the elites, g_t = p_t(.|E) the exact cross-entropy target;
p̂ is the corpus as a distribution, H(p̂) its entropy; θ̂ = argmin KL(p̂ || p_θ). D_t is the Jensen-Shannon divergence
of the tuned generator p_{t+1} from g_t, in nats; it is finite where samples leave support out. The fall F_t is KL(g_t
|| p_t) - KL(g_t || p_{t+1}), the Δ of the progress certificate; in a table, where g_t is not known, it is KL(p̂ || p_θ)
before less after tuning, p̂ being the elites that were tuned on: what the loss fell by. Elites that it was not tuned on
may have become less likely all the same; that is for the progress certificate to say.

How the verdict on exact generators is found (`test`), given how the family projects and how many elites each corpus
has: corpora are drawn from g_t and projected, which gives D as it is when the claim holds.

- `vacuous`: an assumption does not hold; the usual one is that the corpus is not a sample of g_t.
- `direction` or `refuted`: mean D is outside the central 95% of the simulated means. `direction` if the divergence from
  the target fell all the same, F > 0 (one-sided t over updates, 5%; of a single update, its sign).
- `undecided`: inside, but the half-width of the central 95% exceeds the margin; `needed_n` updates would do.
- `confirmed`: inside, and it is narrower.

The verdict on a table of divergences (`test_table`), where nothing can be projected:

- `vacuous`: an assumption does not hold, as far as it was recorded.
- `refuted`: the mean over seeds of F is below 0 (one-sided t, 5%; a sign test, where a Tune lost an elite and F is
  minus infinity).
- `direction`: it is above 0, and how far the exact update would fall is not known, or is missed by more than the
  margin.
- `confirmed`: it is above 0, and the tuned divergence exceeds the family's least one by less than the margin (two
  one-sided tests, 5%).
- `undecided`: otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.claim import Assumption, Claim, Evidence, Level, Verdict
from theory.families import Floats, log_likelihood
from theory.trend import (
    ROUNDING,
    SEEDS_AT_MOST,
    SIGN_TEST,
    Means,
    equivalence,
    means,
    needed_seeds,
    power_of_decrease,
    power_of_equivalence,
    read_series,
)
from theory.worlds import draw, entropy, jensen_shannon, kl_divergence, tilted

MARGIN = 0.01
"""Smallest divergence from the target, in nats, that matters."""

LEVEL = 0.05

SIGNIFICANT = 0.01

SIMULATIONS = 999

POWER = 0.8


@dataclass(frozen=True)
class Updates:
    """Tuning steps whose generators are known exactly.

    Attributes:
        before: p_t, shape (updates, n).
        after: p_{t+1}, shape (updates, n).
        target: g_t, shape (updates, n).
        corpus: How often each architecture occurs in the corpus, shape (updates, n); None: not recorded.
        rng: Draws corpora.
    """

    before: Floats
    after: Floats
    target: Floats
    corpus: Floats | None
    rng: np.random.Generator


def sampled_from_elites(sample: Updates) -> Evidence:
    """Returns evidence on whether corpora are samples of p_t given E: Pearson's χ² against corpora drawn from g_t.

    A static prior, de-duplication and accumulation over cycles each break it.
    """
    name = "corpus sampled from the elites"
    if sample.corpus is None:
        return Evidence(name, True, f"the corpus is not recorded; it is taken to be a sample, n = {len(sample.before)}")
    sizes = sample.corpus.sum(axis=-1)
    foreign = int(sample.corpus[(sample.target <= 0)].sum())
    if foreign:
        return Evidence(
            name, False, f"{foreign} of {int(sizes.sum())} texts are not elites that p_t can produce (bound 0)"
        )

    def distance(counts: Floats) -> Floats:
        expected = sizes[:, None] * sample.target
        return np.asarray(((counts - expected) ** 2 / np.where(expected > 0, expected, 1)).sum(axis=(-1, -2)))

    observed = float(distance(sample.corpus))
    drawn = [distance(_draw_sizes(sample.target, sizes, sample.rng)) for _ in range(SIMULATIONS)]
    p = (1 + int((np.array(drawn) >= observed * (1 - 1e-12)).sum())) / (1 + SIMULATIONS)
    return Evidence(
        name, p >= SIGNIFICANT, f"χ² = {observed:.4g}, p = {p:.2g} (bound {SIGNIFICANT}), n = {int(sizes.sum())} texts"
    )


def _draw_sizes(target: Floats, sizes: Floats, rng: np.random.Generator) -> Floats:
    return np.array([draw(g, int(m), rng) for g, m in zip(target, sizes, strict=True)])


CLAIM = Claim(
    name="cross-entropy-update",
    title="Fine-tuning is the cross-entropy update",
    statement="Iterative LLM fine-tuning on elite architectures is equivalent to the cross-entropy update restricted "
    "to the LLM's parametric family.",
    source="arXiv:2605.30103, result 1",
    assumptions=(
        Assumption("corpus sampled from the elites", "The corpus is a sample of p_t given E.", sampled_from_elites),
    ),
    lemma=(
        "argmin over θ of the mean negative log-likelihood of a corpus is argmin of KL(p̂ || p_θ): they differ by H(p̂), "
        "which does not depend on θ. That is the cross-entropy update only if the corpus is a sample of p_t given E "
        "and tuning ends at the minimum."
    ),
)


def lemma(corpus: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    """Returns both sides of the identity: mean negative log-likelihood of a corpus, and KL(p̂ || p_θ) + H(p̂), in nats.

    Args:
        corpus: How often each architecture occurs, shape (..., n).
        p: p_θ, shape (..., n).
    """
    corpus = np.asarray(corpus, dtype=float)
    share = corpus / corpus.sum(axis=-1, keepdims=True)
    return -log_likelihood(share, p), kl_divergence(share, p) + entropy(share)


def predict(before: ArrayLike, weights: ArrayLike, project: Callable[[Floats], Floats]) -> Floats:
    """Returns p_{t+1} of the exact update: the projection of p_t · w on the family.

    Args:
        before: p_t, shape (..., n).
        weights: w, shape (..., n).
        project: Maps targets to generators of the family, both of shape (..., n).
    """
    return project(tilted(before, weights))


@dataclass(frozen=True, kw_only=True)
class CrossEntropyUpdate(Verdict):
    """The verdict; `estimate` is the mean D, or in a table the mean F; `n` updates, or in a table seeds.

    Attributes:
        fall: Mean F in nats.
        fall_interval: Its 95% interval; None for one unit.
        excess: Table only: mean of tuned less least divergence, in nats; None: the least is not known.
    """

    fall: float | None
    fall_interval: tuple[float, float] | None
    excess: float | None = None


def test(
    before: ArrayLike,
    after: ArrayLike,
    weights: ArrayLike,
    rng: np.random.Generator,
    project: Callable[[Floats], Floats],
    samples: int | None = None,
    corpus: ArrayLike | None = None,
    margin: float = MARGIN,
) -> CrossEntropyUpdate:
    """Tests whether tuned generators are what the cross-entropy update gives; the module's docstring states the rule.

    Args:
        before: p_t, shape (updates, n) or (n,).
        after: p_{t+1}, likewise.
        weights: w, 1 for elites, likewise.
        rng: Draws corpora.
        project: Maps targets of shape (..., updates, n) to the family's generators.
        samples: Elites in each corpus; None: infinitely many, so that D is predicted without scatter.
        corpus: How often each architecture occurs in the corpus, shape (updates, n), if recorded.
        margin: Smallest divergence that matters, in nats, > 0.

    Raises:
        ValueError: Shapes that differ, probabilities that are none, no mass on the elites, fewer than 1 sample, or a
            margin that is not positive.
    """
    p, after = _probabilities(before, "before"), _probabilities(after, "after")
    if p.shape != after.shape:
        raise ValueError(f"before and after must have one shape, not {p.shape} and {after.shape}")
    if samples is not None and samples < 1:
        raise ValueError(f"samples must be at least 1, it is {samples}")
    if not margin > 0:
        raise ValueError(f"margin must be positive, it is {margin}")
    target = tilted(p, np.broadcast_to(np.asarray(weights, dtype=float), p.shape))
    counts = None if corpus is None else np.atleast_2d(np.asarray(corpus, dtype=float))
    if counts is not None and (counts.shape != p.shape or (counts < 0).any() or (counts % 1 != 0).any()):
        raise ValueError(f"corpus must hold whole numbers >= 0 of shape {p.shape}; its shape is {counts.shape}")
    sample = Updates(p, after, target, counts, rng)
    evidence = tuple(assumption.check(sample) for assumption in CLAIM.assumptions)
    failed = [e.name for e in evidence if not e.holds]

    n = len(p)
    distance = float(jensen_shannon(target, after).mean())
    falls = log_likelihood(target, after) - log_likelihood(target, p)
    if samples is None:
        predicted = float(jensen_shannon(target, project(target)).mean())
        low, high = predicted - 1e-9, predicted + 1e-9
    else:
        drawn = draw(np.broadcast_to(target, (SIMULATIONS, *target.shape)), samples, rng) / samples
        simulated = np.sort(jensen_shannon(target, project(drawn)).mean(axis=-1))
        predicted = float(simulated.mean())
        # The 25th from below and from above of 999: each tail is exactly 2.5%.
        low, high = float(simulated[24]), float(simulated[-25])
    inside = low <= distance <= high
    half = (high - low) / 2
    level: Level
    needed = None
    if failed:
        level = "vacuous"
    elif not inside:
        level = "direction" if _above(falls) else "refuted"
    elif half > margin:
        level, needed = "undecided", int(np.ceil(n * (half / margin) ** 2))
    else:
        level = "confirmed"
    words = {
        "vacuous": f"Not tested: {', '.join(failed)} does not hold.",
        "direction": "That is not the update, though the divergence from the target fell.",
        "refuted": "That is not the update, and the divergence from the target did not fall.",
        "undecided": f"That is inside, but the range is wide; about {needed} updates are needed.",
        "confirmed": "That is inside.",
    }
    return CrossEntropyUpdate(
        level=level,
        estimate=distance,
        predicted=predicted,
        interval=(low, high),
        n=n,
        assumptions=evidence,
        needed_n=needed,
        explanation=f"The tuned generator is {distance:.4g} nats (Jensen-Shannon) from the exact target, mean of {n} "
        f"updates; the update gives {low:.4g} to {high:.4g}. {words[level]}",
        fall=float(falls.mean()) if np.isfinite(falls).all() else None,
        fall_interval=_interval(falls),
    )


def test_table(
    before: ArrayLike,
    after: ArrayLike,
    least: ArrayLike | None = None,
    margin: float = MARGIN,
    foreign: tuple[int, int] | None = None,
    weighted: int = 0,
    tests: int = 1,
) -> CrossEntropyUpdate:
    """Tests the claim on divergences KL(p̂_elite || p_θ) per cycle, by the rule for tables in the module's docstring.

    Args:
        before: Divergence from the elites of cycle t of the generator before tuning, in nats, shape (seeds, cycles),
            NaN where there is none.
        after: That of the tuned generator; infinite where it has lost an elite.
        least: The least that the family reaches, if known.
        margin: Smallest excess over the least that matters, in nats, > 0.
        foreign: In how many texts, repetitions counted, the corpora differ from the elites that p_t had just produced,
            and how many texts they hold; None: not recorded.
        weighted: In how many texts the corpora have weights that differ.
        tests: Verdicts that are given together; the level of each test is divided by it (Bonferroni).

    Raises:
        ValueError: Shapes that differ, negative divergences, infinite ones before tuning, or a margin that is not
            positive.
    """
    if not margin > 0:
        raise ValueError(f"margin must be positive, it is {margin}")
    tuned = np.atleast_2d(np.asarray(after, dtype=float))
    lost = tuned == np.inf
    finite = np.where(lost, 0.0, tuned)
    series = [read_series(v, name, 0, cycles=1) for v, name in ((before, "before"), (finite, "after"))]
    if least is not None:
        series.append(read_series(least, "least", 0, cycles=1))
    if len({s.shape for s in series}) > 1:
        raise ValueError(f"divergences must have one shape, not {[s.shape for s in series]}")
    falls = _seed_means(np.where(lost & ~np.isnan(series[0]), -np.inf, series[0] - series[1]))
    excess = None if least is None else _seed_means(np.where(lost, np.inf, series[1] - series[2]))
    n, significant = len(falls), LEVEL / tests
    fall, bounded = float(falls.mean()), bool(np.isfinite(falls).all())
    told = "the corpus is not recorded; taken to be a sample"
    if foreign is not None:
        told = f"{foreign[0]} texts of {foreign[1]} are other than p_t's elites, {weighted} have weights (bound 0)"
    holds = foreign is None or foreign[0] == weighted == 0
    level: Level = "undecided"
    needed = 2 if n < 2 else None
    if not holds:
        level, needed = "vacuous", None
    elif n >= 2 and not bounded:
        # Where an elite was lost, KL rose beyond all bounds, and seeds count by the sign of their mean.
        below = int((falls < 0).sum())
        signs = stats.binomtest(below, n, alternative="greater").pvalue
        level = "refuted" if signs <= significant else "undecided"
        needed = None if level == "refuted" else _needed_signs(below / n, significant, n)
    elif n >= 2:
        found = means(falls[:, None])
        rises = found.below()[0] <= significant
        drops = _above(falls, significant)
        exact = excess is not None and equivalence(excess[:, None], margin)[0] <= significant
        off = excess is not None and not exact and _above(np.abs(excess) - margin, significant)
        if rises:
            level = "refuted"
        elif drops and exact:
            level = "confirmed"
        elif drops and (excess is None or off):
            level = "direction"
        else:
            needed = _needed(found, excess, margin, significant)
    evidence = (Evidence("corpus sampled from the elites", holds, f"{told}, n = {n}"),)
    words = {
        "vacuous": "Not tested: the corpus is not sampled from the elites.",
        "refuted": "Tuning moved the generator away from the elites.",
        "direction": "It fell, but not to the least of the family."
        if excess is not None
        else "It fell; how far the exact update would fall is not known.",
        "confirmed": f"It fell to within {margin:g} nats of the least of the family.",
        "undecided": "A single seed does not tell."
        if n < 2
        else f"About {needed} seeds are needed."
        if needed
        else "No number of seeds up to 100,000 would decide.",
    }
    shown = "" if excess is None else f", excess over the family's least {excess.mean():.4g}"
    return CrossEntropyUpdate(
        level=level,
        estimate=fall,
        predicted=None if least is None else float(_seed_means(series[0] - series[2]).mean()),
        interval=None,
        n=n,
        assumptions=evidence,
        needed_n=needed,
        explanation=f"KL(tuned elites || generator) fell by {fall:.4g} nats, mean of {n} seeds{shown}. {words[level]}",
        fall=fall if bounded else None,
        fall_interval=_interval(falls),
        excess=None if excess is None or not bounded else float(excess.mean()),
    )


def _probabilities(values: ArrayLike, name: str) -> Floats:
    p = np.atleast_2d(np.asarray(values, dtype=float))
    if p.ndim != 2 or not np.isfinite(p).all() or (p < 0).any() or (np.abs(p.sum(axis=-1) - 1) > 1e-6).any():
        raise ValueError(
            f"{name} must hold probabilities that sum to 1 in each row, shape (updates, n); shape {p.shape}"
        )
    return p


def _seed_means(values: Floats) -> Floats:
    """Returns each seed's mean over its cycles; seeds without any are left out."""
    return np.array([row[~np.isnan(row)].mean() for row in values if not np.isnan(row).all()])


def _above(values: Floats, level: float = LEVEL) -> bool:
    """Returns whether the mean of independent values is above 0, one-sided; of a single one, its sign."""
    if not np.isfinite(values).all():
        return False
    found = means(values[:, None])
    if len(values) < 2:
        return bool(values[0] > 0)
    return bool(found.above()[0] <= level)


def _interval(values: Floats) -> tuple[float, float] | None:
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    low, high = means(values[:, None]).interval()
    return float(low[0]), float(high[0])


def _needed(found: Means, excess: Floats | None, margin: float, level: float) -> int | None:
    """Returns the seeds with power .8 for the fall as measured, and for the equivalence, if it is tested."""
    n = len(excess) if excess is not None else int(found.n[0])
    if found.sd[0] <= ROUNDING and n < SIGN_TEST:
        return SIGN_TEST
    wanted: list[int | None] = []
    if found.sd[0] > 0 and found.mean[0] != 0:
        fall, sd = abs(float(found.mean[0])), float(found.sd[0])
        wanted.append(needed_seeds(lambda m: power_of_decrease(fall, sd, m, level), at_least=n))
    if excess is not None and (spread := float(excess.std(ddof=1))) > 0:
        wanted.append(needed_seeds(lambda m: power_of_equivalence(margin, spread, m, level), at_least=n))
    known = [w for w in wanted if w is not None]
    return max(known) if known and len(known) == len(wanted) else None


def _needed_signs(share: float, level: float, n: int) -> int | None:
    """Returns the seeds with power .8 for the sign test, if this share is below 0; None for no more than half."""
    if share <= 0.5:
        return None
    # The power is no monotone function of the number of seeds.
    sizes = np.arange(n + 1, SEEDS_AT_MOST)
    enough = stats.binom.sf(stats.binom.isf(level, sizes, 0.5), sizes, share) >= POWER
    return int(sizes[enough.argmax()]) if enough.any() else None


def simulate(
    rng: np.random.Generator, updates: int, samples: int, elite: int = 8, foreign: float = 0.0
) -> tuple[Floats, Floats, Floats, Floats]:
    """Simulates updates of the unrestricted generator on corpora of elites.

    The space has twice as many architectures as elites; p_t is uniform.

    Args:
        rng: Draws the corpora.
        updates: Number of updates.
        samples: Elites in each corpus.
        elite: Number of elites, even.
        foreign: Share of the corpus that is from a prior which knows only the first half of the elites.

    Returns:
        p_t, p_{t+1}, the elites' weights and the corpora, each of shape (updates, 2 · elite).
    """
    n = 2 * elite
    before = np.full((updates, n), 1 / n)
    weights = np.where(np.arange(n) < elite, 1.0, 0.0)
    target = np.tile(weights / elite, (updates, 1))
    prior = np.where(np.arange(n) < elite // 2, 2 / elite, 0.0)
    corpus = draw((1 - foreign) * target + foreign * prior, samples, rng)
    return before, corpus / samples, np.tile(weights, (updates, 1)), corpus


def foreign_share(divergence: float) -> float:
    """Returns the share `foreign` at which the corpora of `simulate` are a given divergence from the target.

    Args:
        divergence: Jensen-Shannon, in nats, in (0, .2]; half of the elites weigh 1 + ε, half 1 - ε.
    """
    low, high = 0.0, 1.0
    target = np.array([0.5, 0.5])
    for _ in range(60):
        middle = (low + high) / 2
        off = np.array([(1 + middle) / 2, (1 - middle) / 2])
        low, high = (middle, high) if jensen_shannon(target, off) < divergence else (low, middle)
    return high


def predicted_power(updates: int, samples: int, foreign: float, elite: int = 8) -> float:
    """Returns the chance that `test` rejects on `simulate`, by the noncentral χ² of 8 · samples · ΣD.

    D is near a quarter of half of Pearson's statistic over the samples, so 8 · samples · D has elite - 1 degrees of
    freedom and noncentrality samples · Σ (p - g)² / g = samples · foreign² for each update.

    Args:
        updates: Number of updates.
        samples: Elites in each corpus.
        foreign: Share of the corpus that is from elsewhere.
        elite: Number of elites.
    """
    df, shift = updates * (elite - 1), updates * samples * foreign**2
    low, high = stats.chi2.ppf([LEVEL / 2, 1 - LEVEL / 2], df)
    return float(stats.ncx2.sf(high, df, shift) + stats.ncx2.cdf(low, df, shift)) if shift > 0 else LEVEL
