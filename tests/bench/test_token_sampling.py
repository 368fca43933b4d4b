import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import log_softmax

from bench.effects import Sampling
from bench.token_sampling import log_probabilities

# Logits on a grid, so that ties are ties whatever they are divided by.
grids = st.lists(st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=1, max_size=12), min_size=1, max_size=6)
floats = st.lists(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), min_size=1, max_size=6)
temperatures = st.floats(0.05, 20)


def drawn(groups, sampling, rng=None):
    """Returns the log-probabilities group by group; with an rng, the groups' tokens are mixed with each other."""
    logits, of = np.concatenate(groups), np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    order = np.argsort(rng.random(len(of)), kind="stable") if rng else np.arange(len(of))
    found = log_probabilities(logits[order], of[order], sampling)
    return [found[of[order] == g][np.argsort(order[of[order] == g])] for g in range(len(groups))]


def one_group(logits, temperature, top_k, top_p):
    """Returns the probabilities in one group, by hand."""
    best = sorted(range(len(logits)), key=lambda i: -logits[i])  # stable: of equals the first
    kept = best[: top_k or None]
    weights = {i: np.exp((logits[i] - logits[best[0]]) / temperature) for i in kept}
    total, reached, p = sum(weights.values()), 0.0, np.zeros(len(logits))
    for i in kept:
        if reached >= top_p:
            break
        reached += weights[i] / total
        # Where the sum reaches p but for rounding, both sets are right.
        assume(top_p == 1 or abs(reached - top_p) > 1e-9)
        p[i] = weights[i]
    return p / p.sum()


@given(floats, temperatures, st.integers(0, 2**32))
def test_temperature_alone_is_the_softmax_of_the_divided_logits(groups, temperature, seed):
    found = drawn(groups, Sampling(temperature), np.random.default_rng(seed))
    for logits, logs in zip(groups, found, strict=True):
        np.testing.assert_allclose(logs, log_softmax(np.array(logits) / temperature), rtol=1e-9, atol=1e-9)


@given(floats, st.floats(0, 20), st.integers(0, 9), st.floats(0.01, 1))
def test_probabilities_sum_to_one_in_each_group(groups, temperature, top_k, top_p):
    for logs in drawn(groups, Sampling(temperature, top_p, top_k)):
        assert np.exp(logs).sum() == pytest.approx(1)


@given(grids, st.integers(1, 15), temperatures)
def test_top_k_keeps_the_k_largest_in_their_proportions(groups, k, temperature):
    for logits, logs in zip(groups, drawn(groups, Sampling(temperature, top_k=k)), strict=True):
        kept = np.isfinite(logs)
        assert kept.sum() == min(k, len(logits))
        assert sorted(np.array(logits)[kept]) == sorted(logits)[-k:]
        np.testing.assert_allclose(logs[kept], log_softmax(np.array(logits)[kept] / temperature), atol=1e-9)


@given(grids, st.floats(0.01, 0.99), temperatures)
def test_top_p_keeps_the_smallest_set_that_reaches_p(groups, top_p, temperature):
    for logits, logs in zip(groups, drawn(groups, Sampling(temperature, top_p)), strict=True):
        full, kept = np.exp(log_softmax(np.array(logits) / temperature)), np.isfinite(logs)
        assert full[kept].sum() > top_p - 1e-9
        # No set that is smaller reaches p: not even its likeliest.
        assert np.sort(full)[::-1][: kept.sum() - 1].sum() < top_p + 1e-9
        assert full[kept].min() >= full[~kept].max(initial=0.0)
        np.testing.assert_allclose(np.exp(logs), np.where(kept, full, 0) / full[kept].sum(), atol=1e-9)


@given(grids, temperatures, st.integers(0, 9), st.floats(0.05, 1), st.integers(0, 2**32))
def test_all_together_act_as_in_one_group_by_hand(groups, temperature, top_k, top_p, seed):
    expected = [one_group(logits, temperature, top_k, top_p) for logits in groups]
    found = drawn(groups, Sampling(temperature, top_p, top_k))
    for p, logs in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.exp(logs), p, atol=1e-9)
        assert (np.isfinite(logs) == (p > 0)).all()
    if all(len(set(logits)) == len(logits) for logits in groups):  # without ties, order does not matter
        found = drawn(groups, Sampling(temperature, top_p, top_k), np.random.default_rng(seed))
        for p, logs in zip(expected, found, strict=True):
            np.testing.assert_allclose(np.exp(logs), p, atol=1e-9)


@given(grids, st.integers(0, 9), st.floats(0.05, 1))
def test_a_temperature_of_zero_is_greedy_whatever_the_rest(groups, top_k, top_p):
    for logits, logs in zip(groups, drawn(groups, Sampling(0.0, top_p, top_k)), strict=True):
        assert np.exp(logs).tolist() == np.eye(len(logits))[logits.index(max(logits))].tolist()


def test_temperature_comes_before_top_p():
    logits = np.log([0.6, 0.2, 0.1, 0.1])
    # Divided by 100, all are nearly a quarter: three of them do not reach .76, while of the original two do.
    ((*logs,),) = drawn([logits], Sampling(100.0, 0.76))
    assert np.isfinite(logs).all()
    ((*logs,),) = drawn([logits], Sampling(1.0, 0.76))
    assert np.exp(logs) == pytest.approx([0.75, 0.25, 0, 0])


def test_top_k_comes_before_top_p():
    # Of the two that are kept the first has 4/7, which reaches .55 alone; of all four it has .4, which does not.
    ((*logs,),) = drawn([np.log([0.4, 0.3, 0.2, 0.1])], Sampling(1.0, 0.55, 2))
    assert np.exp(logs).tolist() == [1, 0, 0, 0]


def test_no_tokens_have_no_probabilities():
    assert log_probabilities([], np.zeros(0, dtype=np.int64), Sampling(0.5, 0.9, 3)).size == 0
