"""How long the novelty filter takes: `pytest tests/perf --benchmark-only`."""

import numpy as np
import pytest

from bench.novelty_filter import NoveltyFilter, lexemes
from theory.minhash import shingles


def corpus(programs, similarity, rng):
    """Returns shingle sets of 1,000 whose pairs have this Jaccard similarity."""
    common = round(1000 * 2 * similarity / (1 + similarity))
    base = [f"common {i}" for i in range(common)]
    return [base + [f"{v:x}" for v in rng.integers(2**62, size=1000 - common)] for _ in range(programs)]


@pytest.mark.parametrize("programs", [1250, 2500, 5000])
def test_admit_different_programs(benchmark, programs):
    sets = corpus(programs, 0.1, np.random.default_rng(0))
    assert all(benchmark(lambda: NoveltyFilter().admit_shingles(sets)))


def test_admit_copies(benchmark):
    sets = corpus(1, 0.1, np.random.default_rng(0)) * 5000
    assert sum(benchmark(lambda: NoveltyFilter().admit_shingles(sets))) == 1


@pytest.mark.parametrize("programs", [1250, 2500, 5000])
def test_admit_programs_just_below_the_threshold(benchmark, programs):
    """The worst case, quadratic: each is a candidate of a third of the others, and nearly all are admitted."""
    sets = corpus(programs, 0.8, np.random.default_rng(0))
    assert sum(benchmark(lambda: NoveltyFilter().admit_shingles(sets))) > 0.9 * programs


def test_shingle(benchmark):
    text = " ".join(f"name{i} = {i}" for i in range(500))
    assert benchmark(lambda: shingles(lexemes(text), 10))
