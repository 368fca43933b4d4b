import numpy as np
import pytest

from theory.autoregressive import Network
from theory.demonstrations.cross_entropy_update import gradient_gap
from theory.expected_quality import lemma, random_step
from theory.families import log_likelihood, sequences

pytest.importorskip("torch", reason="the network family needs PyTorch (the extra `train`)")

SPACE = sequences(3, 2)


def test_probabilities_sum_to_one():
    network = Network(SPACE, 2)
    p = network.probabilities(network.random(np.random.default_rng(0), 3))
    assert p.shape == (3, 8)
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-12)


def test_a_token_depends_on_those_before_it_only():
    network = Network(SPACE, 2)
    p = network.probabilities(network.random(np.random.default_rng(1), 1))[0].reshape(2, 2, 2)
    first = p.sum(axis=(1, 2))
    # The inputs are the position (3), then the earlier tokens' codes; those of the second token move p(a_3) only.
    weights = list(network.random(np.random.default_rng(1), 1))
    weights[0] = weights[0].copy()
    weights[0][..., 3 + 2 : 3 + 4] += 1.0
    moved = network.probabilities(tuple(weights))[0].reshape(2, 2, 2)
    np.testing.assert_allclose(moved.sum(axis=(1, 2)), first, atol=1e-12)
    np.testing.assert_allclose(moved.sum(axis=2), p.sum(axis=2), atol=1e-12)
    assert np.abs(moved - p).max() > 1e-3


def test_loss_and_divergence_have_one_gradient():
    for seed in range(5):
        assert gradient_gap(np.random.default_rng(seed)) < 1e-12


def test_the_projection_reaches_any_target_when_the_network_is_wide():
    network = Network(SPACE, 2, hidden=16)
    rng = np.random.default_rng(2)
    target = rng.dirichlet(np.full(8, 3.0))
    p = network.probabilities(network.project(target, network.random(rng, 2)))
    np.testing.assert_allclose(p, np.tile(target, (2, 1)), atol=1e-5)


def test_the_lemma_holds_where_the_likelihood_rose():
    network = Network(SPACE, 2, hidden=4, steps=30)
    for reward in (False, True):
        step = random_step(np.random.default_rng(3), network, 8, None, reward)
        found, holds = lemma(step["before"], step["after"], step["weights"])
        assert (found.gain >= -1e-9).all()
        assert holds.all()
        assert np.isfinite(
            log_likelihood(step["weights"] / step["weights"].sum(-1, keepdims=True), step["after"])
        ).all()
