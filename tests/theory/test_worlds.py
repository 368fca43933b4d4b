import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from theory.families import Categorical, Product, sequences
from theory.worlds import (
    Cycles,
    blend,
    deduplicated,
    draw,
    elites,
    entropy,
    expectation,
    jensen_shannon,
    kl_divergence,
    quantile_threshold,
    run,
    tilted,
    total_variation,
)

QUALITY = np.array([0.1, 0.4, 0.9])
START = (np.array([[0.5, 0.3, 0.2]]),)


def test_elites_reach_the_threshold_of_their_own_world():
    assert elites([[0.1, 0.5], [0.1, 0.5]], [0.5, 0.05]).tolist() == [[0, 1], [1, 1]]


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 1))
def test_the_quantile_keeps_the_share_and_no_higher_threshold_does(seed, share):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(6)), rng.random(6)
    tau = quantile_threshold(p, q, share)
    assert p[q >= tau].sum() >= share - 1e-9
    assert p[q > tau].sum() < share + 1e-9


def test_the_target_is_the_generator_given_the_elites():
    np.testing.assert_allclose(tilted([0.5, 0.3, 0.2], [0, 1, 1]), [0, 0.6, 0.4])


@pytest.mark.parametrize("weights", [[0, 0, 0], [-1, 1, 1]])
def test_weights_without_mass_or_below_zero_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        tilted([0.5, 0.3, 0.2], weights)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6))
def test_divergences_agree_with_scipy_and_keep_their_bounds(seed):
    p, q = np.random.default_rng(seed).dirichlet(np.ones(5), size=2)
    assert kl_divergence(p, q) == pytest.approx(stats.entropy(p, q), abs=1e-12)
    assert entropy(p) == pytest.approx(stats.entropy(p), abs=1e-12)
    assert 0 <= jensen_shannon(p, q) <= np.log(2)
    # Pinsker's inequality.
    assert total_variation(p, q) <= np.sqrt(kl_divergence(p, q) / 2) + 1e-12


def test_divergence_from_what_lacks_support_is_infinite_but_jensen_shannon_is_log_2_when_disjoint():
    assert kl_divergence([1, 0], [0, 1]) == np.inf
    assert jensen_shannon([1, 0], [0, 1]) == pytest.approx(np.log(2))


def test_the_unrestricted_exact_update_is_the_target_at_once():
    p = run(Categorical(3), START, QUALITY, 2, Cycles(threshold=0.4))
    np.testing.assert_allclose(p[1, 0], [0, 0.6, 0.4])
    np.testing.assert_allclose(p[2, 0], [0, 0.6, 0.4])


def test_reward_weights_tilt_by_quality():
    p = run(Categorical(3), START, QUALITY, 1, Cycles(reward=True))
    np.testing.assert_allclose(p[1, 0], [0.05 / 0.35, 0.12 / 0.35, 0.18 / 0.35])


def test_smoothing_mixes_the_old_generator_in():
    p = run(Categorical(3), START, QUALITY, 1, Cycles(threshold=0.4, rate=0.25))
    np.testing.assert_allclose(p[1, 0], 0.25 * np.array([0, 0.6, 0.4]) + 0.75 * START[0][0])


def test_corpora_keep_what_their_names_say():
    quality = np.array([0.1, 0.5, 0.9])
    prior = np.array([1.0, 0.0, 0.0])

    def second(corpus):
        # After the first cycle the unrestricted generator knows its corpus only.
        return run(Categorical(3), START, quality, 2, Cycles(threshold=0.5, corpus=corpus), prior=prior)[2, 0]

    np.testing.assert_allclose(second("current_elites"), [0, 0.6, 0.4])
    np.testing.assert_allclose(second("static_prior"), [1, 0, 0])
    np.testing.assert_allclose(second("accumulated"), [0, 0.6, 0.4])
    # Elites of mass .5, then those of (1, .3, .2) / 1.5, of mass 1/3, beside a prior of mass 1.
    np.testing.assert_allclose(second("accumulated+prior"), np.array([1, 0.5, 1 / 3]) / (1 + 0.5 + 1 / 3))


def test_deduplication_forgets_how_often():
    assert deduplicated([3, 0, 1]).tolist() == [1, 0, 1]
    p = run(Categorical(3), START, QUALITY, 1, Cycles(threshold=0.4, deduplicate=True))
    np.testing.assert_allclose(p[1, 0], [0, 0.5, 0.5])


def test_runs_without_any_elite_keep_their_generator():
    p = run(Categorical(3), START, QUALITY, 1, Cycles(threshold=0.95))
    np.testing.assert_array_equal(p[1], p[0])


def test_finite_samples_lose_what_was_not_drawn():
    start = (np.tile([0.99, 0.01], (500, 1)),)
    p = run(Categorical(2), start, [0.5, 1.0], 1, Cycles(threshold=0.0, candidates=20), np.random.default_rng(0))
    lost = (p[1, :, 1] == 0).mean()
    assert stats.binomtest(int(lost * 500), 500, 0.99**20).pvalue > 1e-3


def test_samples_have_the_size_and_the_shares_of_the_generator():
    counts = draw(np.tile([0.2, 0.8, 0.0], (4, 1)), 1000, np.random.default_rng(1))
    assert (counts.sum(axis=-1) == 1000).all()
    assert (counts[:, 2] == 0).all()
    assert stats.binomtest(int(counts[:, 0].sum()), 4000, 0.2).pvalue > 1e-3


def test_the_same_seed_gives_the_same_run():
    family = Product(sequences(3, 2), 2)
    start = family.random(np.random.default_rng(0), 2)
    quality = np.random.default_rng(1).random(8)
    first, second = (run(family, start, quality, 3, Cycles(candidates=20), np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_each_run_has_its_own_rate():
    (mixed,) = blend((np.zeros((2, 3)),), (np.ones((2, 3)),), [0.0, 0.5])
    assert mixed.tolist() == [[0, 0, 0], [0.5, 0.5, 0.5]]


def test_expectations_are_sums_over_the_space():
    assert expectation([0.5, 0.5], [0.2, 0.6]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Cycles(rate=0), "rate"),
        (Cycles(candidates=5), "rng"),
        (Cycles(corpus="static_prior"), "prior"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(plan, words):
    with pytest.raises(ValueError, match=words):
        run(Categorical(3), START, QUALITY, 1, plan)
