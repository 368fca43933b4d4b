"""Claim 5, novelty filter: what MinHash and Jaccard similarity can keep from happening.

Symbols: J is the Jaccard similarity of two sets of shingles, Ĵ its MinHash estimate from k permutations; r and b are
rows and bands of the index for locality-sensitive hashing (LSH); M is the number of admitted programs; H is an entropy
in nats, and exp(H) the effective number of programs. H_t,on and H_t,off are the entropies of the generator p_t with and
without the filter, from the same seed; H_0 is the entropy at the start, which both share, and T the last cycle. The
share of the collapse that the filter prevents is g = E[H_T,on - H_T,off] / E[H_0 - H_T,off]: 1 means that all entropy
is kept, 0 that the filter changes nothing.

How the verdict is found. Seeds are the units, and each seed's two runs are a pair. "Prevents" is read as g >= 1/2: at
least half of the entropy that is lost without the filter is kept with it. As c = H_T,on - (H_0 + H_T,off) / 2 has the
expectation (g - 1/2) E[H_0 - H_T,off], one-sided t tests of c and of d = H_T,on - H_T,off over seeds decide, each at
5%, in this order:

- `vacuous`: an assumption does not hold. The numbers are given all the same.
- `direction` or `refuted`: E[c] < 0 is shown. It is `direction` when E[d] > 0 is shown too, else `refuted`.
- `confirmed`: E[c] > 0 is shown.
- `undecided`: otherwise.
"""

import math
from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from theory import worlds
from theory.claim import Assumption, Claim, Evidence, Level, Verdict
from theory.minhash import (
    jaccard,
)
from theory.trend import power_of_decrease

Interval = tuple[float, float]

KEPT = 0.5
"""Share of the collapse that a filter must prevent to be said to prevent it."""

MARGIN = 0.25
"""Smallest difference of g that matters."""

COLLAPSE = math.log(2)
"""Loss of entropy, in nats, that counts as a collapse: the effective number of programs halves."""

SAME = 0.01
"""Nats by which the two runs of a seed may differ at the start."""

SIGNIFICANT = 0.05
POWER = 0.8

SMALLEST = 3
"""Seeds below which nothing is judged."""


def entropy(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Returns the entropy in nats of distributions along the last axis; they need not be normalised.

    Raises:
        ValueError: A negative entry, or a distribution without any mass.
    """
    p = np.asarray(probabilities, dtype=float)
    total = p.sum(axis=-1, keepdims=True)
    if (p < 0).any() or not (total > 0).all():
        raise ValueError("probabilities must not be negative, and not all 0")
    return worlds.entropy(p / total) + 0.0


def effective_number(nats: ArrayLike) -> NDArray[np.float64]:
    """Returns exp(H), the number of equally likely programs with that entropy."""
    return np.exp(np.asarray(nats, dtype=float))


def lemma(admitted: int) -> tuple[float, float]:
    """Returns what the filter guarantees: the entropy log M of a corpus of M programs, and the floor 0 of H(p_θ).

    The corpus is uniform on M programs that differ pairwise, so its entropy is log M. The entropy of p_θ has no floor:
    `single_admission` gives a generator fitted on admitted programs only that has entropy 0.

    Args:
        admitted: M, at least 1.
    """
    if admitted < 1:
        raise ValueError(f"at least one program must be admitted, not {admitted}")
    return math.log(admitted), 0.0


def single_admission(programs: Sequence[Set[Hashable]], threshold: float = 0.9) -> tuple[list[int], float]:
    """Fits the unrestricted generator on one admitted program; returns (all that is admitted, entropy of the fit).

    All samples of the fitted generator are that program, so the filter, which works as it should, admits none of them
    and the generator stays a point mass.

    Args:
        programs: Shingles of different programs.
        threshold: Similarity from which on a program is rejected.
    """
    corpus = [programs[0]]
    fitted = np.array([float(program in corpus) for program in programs])
    drawn = [program for program, mass in zip(programs, fitted, strict=True) if mass > 0] * len(programs)
    return admit(corpus + drawn, threshold), float(entropy(fitted))


def admit(programs: Iterable[Set[Hashable]], threshold: float = 0.9) -> list[int]:
    """Returns which programs an exact filter admits: J with every program admitted before is below the threshold."""
    kept: list[Set[Hashable]] = []
    found = []
    for i, program in enumerate(programs):
        if all(jaccard(program, other) < threshold for other in kept):
            kept.append(program)
            found.append(i)
    return found


@dataclass(frozen=True)
class PairedEntropies:
    """Entropies of p_t in nats, with and without the filter, shape (seeds, cycles) each."""

    on: NDArray[np.float64]
    off: NDArray[np.float64]
    left_out: int = 0

    @classmethod
    def read(cls, on: ArrayLike, off: ArrayLike) -> "PairedEntropies":
        """Checks entropies; leaves out the seeds that lack the first or the last cycle in one of their two runs.

        Raises:
            ValueError: Shapes other than (seeds, at least 2 cycles), infinite or negative entropies.
        """
        a, b = np.asarray(on, dtype=float), np.asarray(off, dtype=float)
        if a.ndim != 2 or a.shape[1] < 2 or a.shape != b.shape:
            raise ValueError(
                f"entropies must have one shape (seeds, at least 2 cycles), they have {a.shape} and {b.shape}"
            )
        # Rounding leaves the entropy of a point mass a little below 0.
        if np.isinf([a, b]).any() or (np.stack([a, b]) < -1e-9).any():
            raise ValueError("entropies must be finite and not negative, or NaN where there is none")
        known = ~np.isnan(np.stack([a, b])[:, :, [0, -1]]).any(axis=(0, 2))
        return cls(a[known], b[known], int((~known).sum()))

    @property
    def start(self) -> NDArray[np.float64]:
        """H_0 of each seed."""
        return (self.on[:, 0] + self.off[:, 0]) / 2

    @property
    def gain(self) -> NDArray[np.float64]:
        """H_T,on - H_T,off of each seed."""
        return self.on[:, -1] - self.off[:, -1]

    @property
    def loss(self) -> NDArray[np.float64]:
        """H_0 - H_T,off of each seed."""
        return self.start - self.off[:, -1]


def paired_start(sample: PairedEntropies) -> Evidence:
    """Returns evidence on whether both runs of a seed start from one generator."""
    worst = float(np.abs(sample.on[:, 0] - sample.off[:, 0]).max(initial=0.0))
    text = f"entropies at the start differ by at most {worst:.3g} nats (bound {SAME}), n = {len(sample.on)} seeds"
    return Evidence("paired start", worst <= SAME, text)


def filter_acts(sample: PairedEntropies) -> Evidence:
    """Returns evidence on whether the filter changed anything at all."""
    with_effect = int((np.nan_to_num(np.abs(sample.on - sample.off)).max(axis=1, initial=0.0) > 1e-9).sum())
    text = f"entropies with and without the filter differ in {with_effect} of {len(sample.on)} seeds (at least 1)"
    return Evidence("filter acts", with_effect > 0, text)


def collapse_without_filter(sample: PairedEntropies) -> Evidence:
    """Returns evidence on whether there is a collapse to prevent: the mean loss of entropy without the filter.

    It fails when the mean loss is below the bound, or is not shown to be above 0.
    """
    n, mean = len(sample.on), float(sample.loss.mean())
    low = mean - _half(sample.loss)
    text = f"mean loss without it {mean:.3g} nats (at least {COLLAPSE:.3g}), one-sided limit {low:.3g}, n = {n} seeds"
    return Evidence("collapse without the filter", mean >= COLLAPSE and low > 0, text)


CLAIM = Claim(
    name="novelty-filter",
    title="The novelty filter prevents mode collapse",
    statement="The MinHash-Jaccard novelty filter prevents mode collapse.",
    source="arXiv:2605.30103, result 5",
    assumptions=(
        Assumption("paired start", "The runs with and without the filter start from one generator.", paired_start),
        Assumption("filter acts", "The filter rejects something.", filter_acts),
        Assumption(
            "collapse without the filter", "Without the filter the generator collapses.", collapse_without_filter
        ),
    ),
    lemma=(
        "The filter constrains admission only: M admitted programs that differ pairwise give the corpus the entropy "
        "log M. The entropy of p_θ has no floor: admit one program, fit it, and p_θ is a point mass that passes the "
        "filter."
    ),
)


@dataclass(frozen=True, kw_only=True)
class NoveltyFilter(Verdict):
    """The verdict, and what it rests on; `estimate` is g, `predicted` 1, numbers that do not exist are None.

    Attributes:
        left_out: Seeds without the first or the last cycle in one of their runs.
        estimate_interval: 95% interval of g (delta method, Student's t).
        start: Mean H_0, nats.
        final: Mean H_T, nats, "on" and "off".
        gain: Mean of d, nats.
        gain_interval: Its 95% interval.
        equivalent: Whether it is shown at 5%, by two one-sided tests, that |g| is below the margin: the filter makes no
            difference that matters.
        p: One-sided p-value of the hypothesis g >= 1/2.
    """

    left_out: int
    estimate_interval: Interval | None = None
    start: float | None = None
    final: dict[str, float] | None = None
    gain: float | None = None
    gain_interval: Interval | None = None
    equivalent: bool = False
    p: float | None = None


def predict(admitted: int) -> float:
    """Returns the entropy below which the published claim expects p_θ not to fall: log M nats for M admitted."""
    return lemma(admitted)[0]


def _half(values: NDArray[np.float64], level: float = 1 - SIGNIFICANT) -> float:
    """Returns how far the one-sided limit at this level lies from the mean."""
    n = len(values)
    if n < 2:
        return math.inf
    return float(stats.t.ppf(level, n - 1) * values.std(ddof=1) / math.sqrt(n))


def test(on: ArrayLike, off: ArrayLike, tests: int = 1) -> NoveltyFilter:
    """Tests the claim on entropies of the generator, by the rule that the module's docstring states.

    Args:
        on: Entropy of p_t in nats with the filter, shape (seeds, cycles); the first column is the start, before the
            filter had any effect; NaN where there is none.
        off: The same without the filter, row by row from the same seeds.
        tests: Verdicts that are given together; the level of each test is divided by it (Bonferroni).

    Raises:
        ValueError: Shapes other than these, or entropies that are infinite or negative.
    """
    sample = PairedEntropies.read(on, off)
    n = len(sample.on)
    if n < SMALLEST:
        return NoveltyFilter(
            level="undecided",
            estimate=None,
            predicted=1.0,
            interval=None,
            n=n,
            assumptions=(),
            needed_n=SMALLEST,
            explanation=f"There are {n} pairs of runs; at least {SMALLEST} are needed.",
            left_out=sample.left_out,
        )
    evidence = tuple(assumption.check(sample) for assumption in CLAIM.assumptions)
    failed = [e.name for e in evidence if not e.holds]
    gain, loss = sample.gain, sample.loss
    contrast = gain - KEPT * loss
    level_of_limits = 1 - SIGNIFICANT / tests
    half = _half(contrast, level_of_limits)
    raised = gain.mean() - _half(gain, level_of_limits) > 0

    level: Level
    if failed:
        level = "vacuous"
    elif contrast.mean() + half < 0:
        level = "direction" if raised else "refuted"
    else:
        level = "confirmed" if contrast.mean() - half > 0 else "undecided"
    found = NoveltyFilter(
        level=level,
        estimate=None,
        predicted=1.0,
        interval=None,
        n=n,
        assumptions=evidence,
        needed_n=None,
        explanation="",
        left_out=sample.left_out,
        start=float(sample.start.mean()),
        final={"on": float(sample.on[:, -1].mean()), "off": float(sample.off[:, -1].mean())},
        gain=float(gain.mean()),
        gain_interval=_around(float(gain.mean()), _half(gain, 1 - SIGNIFICANT / 2)),
        p=_lower_p(contrast),
    )
    if loss.mean() > 0:
        g, scale = float(gain.mean() / loss.mean()), float(loss.mean())
        low, high = gain + MARGIN * loss, gain - MARGIN * loss
        found = replace(
            found,
            estimate=g,
            interval=(KEPT - half / scale, 1 + half / scale),
            estimate_interval=_around(g, _half(gain - g * loss, 1 - SIGNIFICANT / 2) / scale),
            equivalent=bool(
                low.mean() - _half(low, level_of_limits) > 0 and high.mean() + _half(high, level_of_limits) < 0
            ),
        )
        if level == "undecided":
            spread = float(contrast.std(ddof=1)) / scale
            found = replace(found, needed_n=max(n + 1, needed_seeds(spread, SIGNIFICANT / tests)))
    return replace(found, explanation=_explanation(found, failed))


def _around(centre: float, half: float) -> Interval:
    return (centre - half, centre + half)


def _lower_p(values: NDArray[np.float64]) -> float:
    n, error = len(values), values.std(ddof=1) / math.sqrt(len(values))
    if error == 0:
        return 1.0 if values.mean() >= 0 else 0.0
    return float(stats.t.cdf(values.mean() / error, n - 1))


def power(kept: float, spread: float, seeds: int, level: float = SIGNIFICANT) -> float:
    """Returns the probability that E[c] < 0 is shown, by the noncentral t distribution.

    Args:
        kept: True g.
        spread: Standard deviation of c over seeds, divided by the mean loss.
        seeds: Number of seeds, at least 2.
        level: Level of the test.
    """
    return power_of_decrease(KEPT - kept, spread, seeds, level)


def needed_seeds(spread: float, level: float = SIGNIFICANT) -> int:
    """Returns the number of seeds that shows a g which falls short of 1/2 by the margin with a power of 80%."""
    if spread == 0:
        return SMALLEST
    low = SMALLEST
    while power(KEPT - MARGIN, spread, low, level) < POWER:
        low = max(low + 1, math.floor(low * 1.02))
    return low


def _explanation(found: NoveltyFilter, failed: list[str]) -> str:
    assert found.final is not None
    assert found.gain_interval is not None
    text = (
        f"Entropy starts at {found.start:.2f} nats and ends at {found.final['on']:.2f} with the filter and "
        f"{found.final['off']:.2f} without it, a difference of {found.gain:+.2f} "
        f"[{found.gain_interval[0]:+.2f}, {found.gain_interval[1]:+.2f}]"
    )
    if found.estimate is not None and found.estimate_interval is not None:
        low, high = found.estimate_interval
        text += f"; the filter prevents {found.estimate:.2f} [{low:.2f}, {high:.2f}] of the collapse"
    text += f" (n = {found.n} seeds)."
    if found.equivalent:
        text += f" It makes no difference that matters: less than {MARGIN} of the collapse either way."
    if failed:
        text = f"Not tested, since it does not hold: {', '.join(failed)}. {text}"
    if found.level == "undecided":
        text += f" Too few seeds: about {found.needed_n} would decide."
    return text


def simulate(
    rng: np.random.Generator,
    seeds: int = 20,
    cycles: int = 22,
    filtered: bool = True,
    memory: bool = False,
    space: int = 200,
    family: int = 1,
    samples: int = 50,
    elite: float = 0.2,
    variation: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Runs the cross-entropy loop in a finite space; the unrestricted generator is fitted on the elites of one cycle.

    Programs of one family are near-duplicates (J >= threshold), programs of different families are not, so the filter
    admits one program a family. When nothing is admitted the generator stays as it is.

    Args:
        rng: Source of all randomness; equal states give equal runs up to the filter's first rejection.
        seeds: Number of independent runs.
        cycles: Number of cycles T.
        filtered: Whether the filter is on.
        memory: Whether the filter compares with all programs admitted so far, or with those of this cycle only.
        space: Number of programs.
        family: Number of programs in a family.
        samples: Programs drawn a cycle.
        elite: Share of programs that are elites.
        variation: Share of draws that are uniform over the space instead of from p_t.

    Returns:
        Entropy of p_t in nats, shape (seeds, cycles + 1), and the number of programs admitted a cycle, (seeds, cycles).
    """
    nats = np.empty((seeds, cycles + 1))
    admissions = np.zeros((seeds, cycles), dtype=np.int64)
    for seed, own in enumerate(rng.spawn(seeds)):
        is_elite = np.zeros(space, dtype=bool)
        is_elite[own.choice(space, round(elite * space), replace=False)] = True
        p = np.full(space, 1 / space)
        nats[seed, 0] = entropy(p)
        known: set[int] = set()
        for t in range(cycles):
            drawn = own.choice(space, samples, p=(1 - variation) * p + variation / space)
            corpus = drawn[is_elite[drawn]]
            if filtered:
                known = known if memory else set()
                kept = []
                for program in corpus.tolist():
                    if program // family not in known:
                        known.add(program // family)
                        kept.append(program)
                corpus = np.array(kept, dtype=np.int64)
            admissions[seed, t] = len(corpus)
            if len(corpus):
                p = np.bincount(corpus, minlength=space) / len(corpus)
            nats[seed, t + 1] = entropy(p)
    return nats, admissions


def simulate_entropies(
    rng: np.random.Generator, seeds: int, kept: float, spread: float = 0.3, cycles: int = 22
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws entropies with and without a filter that prevents a share of the collapse, from 5 nats to 2.5 on average.

    Args:
        rng: Source of all randomness.
        seeds: Number of pairs.
        kept: g.
        spread: Standard deviation in nats of the loss, and of each run beside that.
        cycles: Number of cycles after the start.

    Returns:
        Entropies on and off, shape (seeds, cycles + 1).
    """
    time = 1 - np.exp(-np.arange(cycles + 1) / 5)
    time /= time[-1]
    loss = 2.5 + spread * rng.standard_normal((seeds, 1))
    noise = spread * rng.standard_normal((2, seeds, 1))
    return 5 - ((1 - kept) * loss + noise[0]) * time, 5 - (loss + noise[1]) * time


def simulated_spread(kept: float, spread: float = 0.3) -> float:
    """Returns the standard deviation of c over the mean loss in the world of `simulate_entropies`."""
    return math.sqrt((kept - KEPT) ** 2 + 1 + KEPT**2) * spread / 2.5


def rejections(sets: int, rng: np.random.Generator, seeds: int, kept: float) -> list[bool]:
    """Returns for each of a number of data sets drawn by `simulate_entropies` whether g >= 1/2 is rejected at 5%."""
    found = (test(*simulate_entropies(rng, seeds, kept)).p for _ in range(sets))
    return [p is not None and p < SIGNIFICANT for p in found]


def calibration(sets: int, rng: np.random.Generator, seeds: int = 5) -> list[tuple[str, float, list[bool]]]:
    """Counts rejections of a 5% test where the claim is just true, g = 1/2, and where g is smaller by 1/12 and 1/4.

    Args:
        sets: Simulated data sets of each.
        rng: Source of all randomness.
        seeds: Pairs in a data set.

    Returns:
        For each its name, the predicted share of rejections, and for each data set whether it was rejected.
    """
    return [
        (
            f"rejections at 5%, g = {kept:.3f}, {seeds} seeds",
            power(kept, simulated_spread(kept), seeds),
            rejections(sets, rng, seeds, kept),
        )
        for kept in (KEPT, KEPT - 1 / 12, KEPT - MARGIN)
    ]
