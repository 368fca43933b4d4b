"""Similarity of programs: shingles, Jaccard similarity, and the errors of its MinHash estimate and of LSH."""

import math
from collections.abc import Hashable, Sequence, Set

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def shingles(tokens: Sequence[str], size: int) -> frozenset[str]:
    """Returns the set of runs of `size` successive tokens, joined by blanks; shorter programs are one shingle.

    Broder (1997), "On the resemblance and containment of documents", section 2. Tokens hold no blanks, else different
    runs may join to one shingle.

    Args:
        tokens: Tokens of a program.
        size: Tokens a shingle, at least 1.

    Raises:
        ValueError: A size below 1.
    """
    if size < 1:
        raise ValueError(f"a shingle must have at least 1 token, not {size}")
    return frozenset(" ".join(tokens[i : i + size]) for i in range(max(len(tokens) - size, 0) + 1))


def jaccard(a: Set[Hashable], b: Set[Hashable]) -> float:
    """Returns the exact similarity |A ∩ B| / |A ∪ B|; that of two empty sets is 1."""
    common = len(a & b)
    total = len(a) + len(b) - common
    return common / total if total else 1.0


def estimate_variance(similarity: float, permutations: int) -> float:
    """Returns Var(Ĵ) = J (1 - J) / k, for k independent permutations (Broder 1997, section 3)."""
    return similarity * (1 - similarity) / permutations


def admission_probability(similarity: float, permutations: int, threshold: float = 0.9) -> float:
    """Returns P(Ĵ < threshold) with k Ĵ ~ Binomial(k, J): how often a filter takes a pair for different.

    Args:
        similarity: J, in [0, 1].
        permutations: k, independent.
        threshold: Similarity from which on a program is rejected.

    Raises:
        ValueError: A similarity outside [0, 1].
    """
    if not 0 <= similarity <= 1:
        raise ValueError(f"a similarity must be in [0, 1], it is {similarity}")
    # The tolerance keeps a threshold that is a multiple of 1/k from being moved by rounding.
    agreeing = math.ceil(threshold * permutations - 1e-9)
    return float(stats.binom.cdf(agreeing - 1, permutations, similarity))


def lsh_miss(similarity: float, rows: int, bands: int) -> float:
    """Returns the probability (1 - s^r)^b that LSH never compares a pair; it finds the pair with 1 - (1 - s^r)^b.

    Leskovec, Rajaraman and Ullman (2020), "Mining of Massive Datasets", section 3.4.2.

    Args:
        similarity: s, the pair's similarity.
        rows: r, entries of the signature in a band.
        bands: b, number of bands.
    """
    return (1 - similarity**rows) ** bands


def jaccard_after_edits(count: int, size: int, edits: int) -> float:
    """Returns J of a program and its copy with scattered one-token edits: (S - k m) / (S + k m).

    Each edit replaces `size` shingles by new ones; edits are at least `size` tokens apart, from each other and from the
    ends.

    Args:
        count: S, distinct shingles of the program.
        size: k, tokens a shingle.
        edits: m, number of edits.
    """
    changed = min(size * edits, count)
    return (count - changed) / (count + changed)


def edits_to_evade(count: int, size: int, threshold: float = 0.9) -> int:
    """Returns the smallest number of scattered edits after which J is below the threshold; arguments as above."""
    return next(m for m in range(count + 1) if jaccard_after_edits(count, size, m) < threshold)


def minhash_estimates(
    common: int, union: int, permutations: int, pairs: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws Ĵ for pairs of sets, computing the minima of k random permutations of each pair's union.

    Args:
        common: |A ∩ B|; the rest of the union is shared out evenly.
        union: |A ∪ B|.
        permutations: k.
        pairs: Number of pairs.
        rng: Source of all randomness.
    """
    a = np.zeros(union, dtype=bool)
    a[: common + (union - common) // 2] = True
    b = ~a
    b[:common] = True
    found = np.empty(pairs)
    for i in range(pairs):
        ranks = rng.random((permutations, union), dtype=np.float32)
        found[i] = (ranks[:, a].min(axis=1) == ranks[:, b].min(axis=1)).mean()
    return found
