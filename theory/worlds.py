"""Exact worlds: finite spaces with a quality, where a generator is its probabilities and sampling is an option.

Symbols: p_t is the generator at cycle t, a vector of probabilities over the n architectures of a space; q is their
quality in [0, 1]; E = {a : q(a) >= τ} are the elites, w the weights of a fit (1[a in E], or q itself); C_t = p_t(E) is
the elite mass. Arrays of probabilities have shape (..., n): leading axes are worlds or runs, computed at once.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from theory.families import Family, Parameters

Floats = NDArray[np.float64]

Corpus = Literal["current_elites", "accumulated", "accumulated+prior", "static_prior"]
"""What the generator is tuned on: elites of this cycle; of all cycles; those and a prior corpus; the prior only."""


def elites(quality: ArrayLike, threshold: ArrayLike) -> Floats:
    """Returns 1 for elites, q >= τ, else 0.

    Args:
        quality: Shape (..., n).
        threshold: τ, shape (...).
    """
    return (np.asarray(quality) >= np.asarray(threshold)[..., None]).astype(float)


def quantile_threshold(p: ArrayLike, quality: ArrayLike, share: float) -> Floats:
    """Returns the largest τ with p(q >= τ) >= share: the (1 - share)-quantile of quality under p.

    Source: Rubinstein and Kroese (2004), The Cross-Entropy Method, section 3.3, with ρ = share.

    Args:
        p: Probabilities, shape (..., n).
        quality: Shape (..., n).
        share: In (0, 1].
    """
    p, quality = np.broadcast_arrays(np.asarray(p, dtype=float), np.asarray(quality, dtype=float))
    order = np.argsort(-quality, axis=-1)
    above = np.cumsum(np.take_along_axis(p, order, axis=-1), axis=-1)
    # The last place has all the mass, whatever rounding says.
    reached = above >= share - 1e-12
    reached[..., -1] = True
    place = reached.argmax(axis=-1)[..., None]
    return np.take_along_axis(np.take_along_axis(quality, order, axis=-1), place, axis=-1)[..., 0]


def expectation(p: ArrayLike, values: ArrayLike) -> Floats:
    """Returns E_p[values], shape (...): E[q] for qualities, C for 0/1 elites."""
    return np.asarray((np.asarray(p) * np.asarray(values)).sum(axis=-1))


def tilted(p: ArrayLike, weights: ArrayLike) -> Floats:
    """Returns p · w / Σ p · w, which is p(.|E) for w = 1[a in E]: the exact cross-entropy target.

    Raises:
        ValueError: Negative weights, or no mass under them.
    """
    w = np.asarray(weights, dtype=float)
    found = np.asarray(p, dtype=float) * w
    total = found.sum(axis=-1, keepdims=True)
    if (w < 0).any() or not (total > 0).all():
        raise ValueError("weights must not be negative, and some architecture must have both weight and probability")
    return found / total


def entropy(p: ArrayLike) -> Floats:
    """Returns Shannon's entropy -Σ p log p in nats, shape (...)."""
    p = np.asarray(p, dtype=float)
    return -np.asarray(rel_entr(p, 1.0).sum(axis=-1))


def kl_divergence(p: ArrayLike, q: ArrayLike) -> Floats:
    """Returns KL(p || q) = Σ p log(p / q) in nats, shape (...); infinite where q lacks p's support."""
    return np.asarray(rel_entr(p, q).sum(axis=-1))


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Floats:
    """Returns KL(p || m)/2 + KL(q || m)/2 with m = (p + q)/2, in nats: 0 to log 2, never infinite; Lin (1991)."""
    middle = (np.asarray(p) + np.asarray(q)) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2


def total_variation(p: ArrayLike, q: ArrayLike) -> Floats:
    """Returns Σ |p - q| / 2, in [0, 1]: the largest difference of any event's probability."""
    return np.asarray(np.abs(np.asarray(p) - np.asarray(q)).sum(axis=-1) / 2)


def deduplicated(corpus: ArrayLike) -> Floats:
    """Returns 1 for each architecture of a corpus, however often it occurs."""
    return (np.asarray(corpus) > 0).astype(float)


@dataclass(frozen=True)
class Cycles:
    """How one cycle follows another.

    Attributes:
        threshold: Fixed τ; None: τ is the quantile that keeps `share`.
        share: Top share that is elite when τ is not fixed.
        reward: Whether samples weigh by q (reward-weighted likelihood) instead of 1[q >= τ].
        corpus: What the generator is tuned on.
        deduplicate: Whether each architecture counts once in the corpus.
        rate: α, the weight of the new fit in θ_{t+1} = α θ̂ + (1 - α) θ_t; 1: no smoothing.
        candidates: Samples per cycle; None: infinitely many, p_t itself.
    """

    threshold: float | None = None
    share: float = 0.2
    reward: bool = False
    corpus: Corpus = "current_elites"
    deduplicate: bool = False
    rate: float = 1.0
    candidates: int | None = None


def run(
    family: Family,
    start: Parameters,
    quality: ArrayLike,
    cycles: int,
    plan: Cycles,
    rng: np.random.Generator | None = None,
    prior: ArrayLike | None = None,
) -> Floats:
    """Runs the cross-entropy method and returns p_0 ... p_cycles, shape (cycles + 1, ..., n).

    Each cycle weighs p_t, or a sample of it, adds what the corpus keeps, and projects on the family. A run in which no
    sample was elite keeps its generator for that cycle.

    Args:
        family: The generator's family.
        start: θ_0.
        quality: Shape (..., n).
        cycles: Number of cycles, at least 1.
        plan: How each goes.
        rng: Draws the samples, if any.
        prior: A prior corpus as a share or count for each architecture, shape (..., n), for the corpora that have one.

    Raises:
        ValueError: A rate outside (0, 1]; samples without rng; a corpus without its prior.
    """
    if not 0 < plan.rate <= 1:
        raise ValueError(f"rate must be in (0, 1], it is {plan.rate}")
    if plan.candidates is not None and rng is None:
        raise ValueError("samples need an rng")
    if plan.corpus in ("accumulated+prior", "static_prior") and prior is None:
        raise ValueError(f"the corpus {plan.corpus} needs a prior")
    quality = np.asarray(quality, dtype=float)
    parameters = start
    p = family.probabilities(parameters)
    found = [p]
    kept = np.zeros_like(p)
    for _ in range(cycles):
        seen = p if rng is None or plan.candidates is None else draw(p, plan.candidates, rng)
        kept, corpus = _corpus(seen, p, quality, kept, plan, prior)
        some = corpus.sum(axis=-1, keepdims=True) > 0
        target = np.where(some, corpus, p) / np.where(some, corpus, p).sum(axis=-1, keepdims=True)
        fitted = family.project(target, parameters)
        rate = np.where(some[..., 0], plan.rate, 0.0)
        parameters = blend(parameters, fitted, rate)
        p = family.probabilities(parameters)
        found.append(p)
    return np.array(found)


def blend(old: Parameters, new: Parameters, rate: ArrayLike) -> Parameters:
    """Returns α θ_new + (1 - α) θ_old, α having one value for each run."""
    rate = np.asarray(rate, dtype=float)
    return tuple(
        (a := rate.reshape(rate.shape + (1,) * (n.ndim - rate.ndim))) * n + (1 - a) * o
        for o, n in zip(old, new, strict=True)
    )


def _corpus(
    seen: Floats, p: Floats, quality: Floats, kept: Floats, plan: Cycles, prior: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Returns the elites of all cycles so far, and the corpus to tune on."""
    if plan.reward:
        weights = quality
    else:
        whole = seen / seen.sum(axis=-1, keepdims=True)
        tau = quantile_threshold(whole, quality, plan.share) if plan.threshold is None else np.asarray(plan.threshold)
        weights = elites(quality, tau)
    current = seen * weights
    kept = kept + current
    match plan.corpus:
        case "current_elites":
            corpus = current
        case "accumulated":
            corpus = kept
        case "accumulated+prior":
            corpus = kept + np.asarray(prior)
        case "static_prior":
            corpus = np.broadcast_to(np.asarray(prior, dtype=float), p.shape)
    return kept, deduplicated(corpus) if plan.deduplicate else corpus


def draw(p: ArrayLike, size: int, rng: np.random.Generator) -> Floats:
    """Returns how often each architecture occurs among `size` samples, shape (..., n)."""
    p = np.asarray(p, dtype=float)
    # Rounding may carry the sum past 1, which multinomial refuses.
    safe = p / (p.sum(axis=-1, keepdims=True) * (1 + 1e-12))
    return rng.multinomial(size, safe).astype(float)
