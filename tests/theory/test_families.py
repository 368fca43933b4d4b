import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from theory.families import Categorical, MarkovChain, Mixture, Product, log_likelihood, sequences
from theory.worlds import kl_divergence

SPACE = sequences(3, 2)
FAMILIES = [
    Categorical(len(SPACE)),
    Product(SPACE, 2),
    MarkovChain(SPACE, 2),
    Mixture(SPACE, 2),
]


def target(seed, worlds=1):
    return np.random.default_rng(seed).dirichlet(np.ones(len(SPACE)), size=worlds)


def test_sequences_are_all_of_them_with_the_last_position_running_fastest():
    assert sequences(2, 3).tolist() == [[a, b] for a in range(3) for b in range(3)]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
def test_probabilities_sum_to_one_and_keep_leading_axes(family):
    p = family.probabilities(family.random(np.random.default_rng(0), 7))
    assert p.shape == (7, len(SPACE))
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_a_projection_never_lowers_the_likelihood_of_its_target(family, seed):
    start = family.random(np.random.default_rng(seed), 3)
    goal = target(seed + 1, 3)
    goal[:, :3] = 0
    goal /= goal.sum(axis=-1, keepdims=True)
    after = family.probabilities(family.project(goal, start))
    assert (log_likelihood(goal, after) >= log_likelihood(goal, family.probabilities(start)) - 1e-12).all()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
def test_a_member_of_the_family_is_its_own_projection(family):
    start = family.random(np.random.default_rng(1), 4)
    p = family.probabilities(start)
    np.testing.assert_allclose(family.probabilities(family.project(p, start)), p, atol=1e-6)


def test_the_product_projection_is_what_a_general_optimiser_finds():
    product, goal = Product(SPACE, 2), target(2)[0]

    def divergence(logits):
        one = 1 / (1 + np.exp(-logits))
        return float(kl_divergence(goal, product.probabilities((np.stack([1 - one, one], axis=-1),))))

    found = optimize.minimize(divergence, np.zeros(3), method="BFGS")
    (table,) = product.project(goal, (np.full((3, 2), 0.5),))
    assert divergence(np.log(table[:, 1] / table[:, 0])) == pytest.approx(found.fun, abs=1e-9)


def test_the_markov_projection_is_the_conditional_frequencies():
    goal = target(3)[0]
    start = MarkovChain(SPACE, 2).random(np.random.default_rng(0), 1)
    initial, transitions = MarkovChain(SPACE, 2).project(goal, tuple(s[0] for s in start))
    cube = goal.reshape(2, 2, 2)
    np.testing.assert_allclose(initial, cube.sum(axis=(1, 2)))
    np.testing.assert_allclose(transitions[0], cube.sum(axis=2) / cube.sum(axis=(1, 2))[:, None])
    np.testing.assert_allclose(transitions[1], cube.sum(axis=0) / cube.sum(axis=(0, 2))[:, None])


def test_a_row_that_the_target_never_visits_keeps_its_probabilities():
    chain = MarkovChain(SPACE, 2)
    start = tuple(s[0] for s in chain.random(np.random.default_rng(4), 1))
    goal = np.where(SPACE[:, 0] == 0, 0.25, 0.0)
    _, transitions = chain.project(goal, start)
    np.testing.assert_array_equal(transitions[0, 1], start[1][0, 1])


def test_two_components_reach_a_mixture_of_two_point_masses():
    goal = np.zeros(8)
    goal[[0, 7]] = 0.5
    mixture = Mixture(SPACE, 2, components=2)
    start = mixture.random(np.random.default_rng(5), 1)
    p = mixture.probabilities(mixture.project(goal, start))[0]
    np.testing.assert_allclose(p, goal, atol=1e-6)


def test_log_likelihood_is_minus_infinity_where_support_is_lacking_and_ignores_what_has_no_weight():
    assert log_likelihood([0.5, 0.5, 0], [1, 0, 0]) == -np.inf
    assert log_likelihood([1.0, 0.0], [0.5, 0.5]) == pytest.approx(-np.log(2))
