import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.minhash import (
    admission_probability,
    edits_to_evade,
    estimate_variance,
    jaccard,
    jaccard_after_edits,
    lsh_miss,
    minhash_estimates,
    shingles,
)

sets = st.frozensets(st.integers(0, 20), max_size=12)


@given(sets, sets)
def test_jaccard_is_intersection_over_union(a, b):
    assert jaccard(a, b) == jaccard(b, a)
    assert jaccard(a, b) == (len(a & b) / len(a | b) if a | b else 1)


def test_shingles_are_the_runs_of_tokens():
    assert shingles(["a", "b", "c", "d"], 3) == {"a b c", "b c d"}
    assert shingles(["a"], 3) == {"a"}
    assert shingles([], 3) == {""}
    with pytest.raises(ValueError, match="at least 1 token"):
        shingles(["a"], 0)


def test_published_rates_of_admission_are_reproduced():
    assert round(admission_probability(0.92, 128), 2) == 0.22
    assert round(admission_probability(0.92, 256), 3) == 0.125


def test_published_effects_of_edits_are_reproduced():
    assert round(jaccard_after_edits(1500, 7, 1), 3) == 0.991
    assert edits_to_evade(1500, 7) == 12


@given(st.integers(1, 12))
def test_scattered_edits_change_the_sets_as_predicted(edits):
    tokens = [f"t{i}" for i in range(1506)]
    edited = [f"e{i}" if i % 100 == 50 and i < 100 * edits else token for i, token in enumerate(tokens)]
    whole = shingles(tokens, 7)
    assert len(whole) == 1500
    assert jaccard(whole, shingles(edited, 7)) == pytest.approx(jaccard_after_edits(1500, 7, edits))


def test_minima_of_permutations_have_the_binomial_errors():
    found = minhash_estimates(92, 100, 128, 3000, np.random.default_rng(0))
    assert found.mean() == pytest.approx(0.92, abs=4 * np.sqrt(estimate_variance(0.92, 128) / 3000))
    assert found.var() == pytest.approx(estimate_variance(0.92, 128), rel=4 * np.sqrt(2 / 3000))
    p = admission_probability(0.92, 128)
    assert (found < 0.9).mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 3000))


def test_lsh_misses_a_pair_when_no_band_agrees_whole():
    rng = np.random.default_rng(0)
    agree = rng.random((20_000, 20, 5)) < 0.6
    missed = float((~agree.all(axis=-1)).all(axis=-1).mean())
    # Mining of Massive Datasets, figure 3.8: 5 rows and 20 bands find a pair of similarity .6 with .802.
    assert 1 - lsh_miss(0.6, 5, 20) == pytest.approx(0.802, abs=0.0005)
    assert missed == pytest.approx(lsh_miss(0.6, 5, 20), abs=4 * np.sqrt(0.16 / 20_000))


def test_a_similarity_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="must be in"):
        admission_probability(1.1, 128)
