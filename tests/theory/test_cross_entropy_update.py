import json
from dataclasses import asdict
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from theory import cross_entropy_update as claim
from theory.calibration import rejections
from theory.demonstrations import cross_entropy_update as demonstration
from theory.families import MarkovChain, Mixture, Product, sequences
from theory.worlds import draw, elites, kl_divergence, tilted

SPACE = sequences(3, 2)
RNG = np.random.default_rng


def unrestricted(target):
    return target


def product(target):
    family = Product(SPACE, 2)
    return family.probabilities(family.project(target, ()))


@settings(deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mean_loss_is_divergence_plus_entropy(seed):
    rng = RNG(seed)
    p = rng.dirichlet(np.ones(8), size=3)
    corpus = rng.integers(1, 20, (3, 8))
    left, right = claim.lemma(corpus, p)
    np.testing.assert_allclose(left, right, atol=1e-12)
    # By hand: the loss of each text in turn.
    texts = np.repeat(np.arange(8), corpus[0])
    assert left[0] == pytest.approx(-np.log(p[0, texts]).mean())


def test_exact_updates_are_confirmed_and_the_divergence_from_the_elites_falls():
    rng = RNG(0)
    family = Product(SPACE, 2)
    before = family.probabilities(family.random(rng, 4))
    weights = elites(rng.random((4, 8)), np.full(4, 0.4))
    after = claim.predict(before, weights, product)
    verdict = claim.test(before, after, weights, rng, product)
    assert verdict.level == "confirmed"
    target = tilted(before, weights)
    assert (kl_divergence(target, after) <= kl_divergence(target, before) + 1e-12).all()
    assert verdict.fall is not None
    assert verdict.fall >= 0


def test_true_updates_on_samples_are_rejected_as_often_as_the_test_says():
    rng = RNG(1)

    def trial():
        before, after, weights, _ = claim.simulate(rng, 3, 100)
        return claim.test(before, after, weights, rng, unrestricted, 100)

    sets = 300
    assert stats.binomtest(sum(rejections(trial, sets)), sets, 0.05).pvalue > 1e-3


def test_the_power_is_the_one_predicted():
    rng = RNG(2)
    foreign = claim.foreign_share(claim.MARGIN)
    power = claim.predicted_power(3, 100, foreign)
    assert 0.5 < power < 0.95

    def trial():
        before, after, weights, _ = claim.simulate(rng, 3, 100, foreign=foreign)
        return claim.test(before, after, weights, rng, unrestricted, 100)

    sets = 300
    share = np.mean(rejections(trial, sets))
    assert abs(share - power) < 0.05 + 3.3 * np.sqrt(power * (1 - power) / sets)


@pytest.mark.parametrize("departure", ["static prior", "de-duplication", "accumulation"])
def test_a_corpus_that_is_no_sample_of_the_elites_is_named(departure):
    rng = RNG(3)
    before = np.array([[0.5, 0.3, 0.1, 0.1]])
    weights = np.array([[0.0, 1, 1, 1]])
    target = tilted(before, weights)
    corpora = {
        "static prior": draw(np.array([[0.25] * 4]), 200, rng),
        "de-duplication": np.array([[0.0, 1, 1, 1]]) * 60,
        "accumulation": draw((target + tilted([[0.1, 0.1, 0.1, 0.7]], weights)) / 2, 200, rng),
    }
    corpus = corpora[departure]
    after = corpus / corpus.sum()
    verdict = claim.test(before, after, weights, rng, unrestricted, int(corpus.sum()), corpus=corpus)
    assert verdict.level == "vacuous"
    assert "corpus sampled from the elites" in verdict.explanation


def test_a_true_sample_is_rarely_called_foreign():
    rng = RNG(4)
    named = 0
    for _ in range(60):
        before, after, weights, corpus = claim.simulate(rng, 2, 80)
        named += claim.test(before, after, weights, rng, unrestricted, 80, corpus=corpus).level == "vacuous"
    assert named <= 4


def test_early_stopping_moves_the_right_way_but_is_not_the_update():
    rng = RNG(5)
    family = Product(SPACE, 2)
    (table,) = start = family.random(rng, 6)
    before = family.probabilities(start)
    weights = elites(rng.random((6, 8)), np.full(6, 0.5))
    after = family.probabilities((demonstration.partial_tuning(table, tilted(before, weights), family, 2),))
    verdict = claim.test(before, after, weights, rng, product)
    assert verdict.level == "direction"
    whole = family.probabilities((demonstration.partial_tuning(table, tilted(before, weights), family, 20_000),))
    np.testing.assert_allclose(whole, claim.predict(before, weights, product), atol=1e-3)


def test_tuning_away_from_the_elites_is_refuted():
    before = np.array([[0.25] * 4])
    weights = np.array([[1.0, 1, 0, 0]])
    after = np.array([[0.1, 0.1, 0.4, 0.4]])
    assert claim.test(before, after, weights, RNG(0), unrestricted, 50).level == "refuted"


def test_departures_move_the_generator_away_and_none_does_not():
    found = demonstration.departures(RNG(6), 200)
    np.testing.assert_allclose(found.pop("none"), 0, atol=1e-12)
    assert set(found) == {"static prior", "de-duplication", "accumulation", "early stopping"}
    assert all(d.mean() > 1e-3 for d in found.values())


@pytest.mark.parametrize("family", [Product(SPACE, 2), MarkovChain(SPACE, 2), Mixture(SPACE, 2)])
def test_the_projection_of_a_sample_tends_to_that_of_the_target(family):
    rng = RNG(7)
    start = family.random(rng, 1)
    target = rng.dirichlet(np.ones(8))[None]
    exact = family.probabilities(family.project(target, start))
    sampled = family.probabilities(family.project(draw(target, 10**6, rng) / 10**6, start))
    np.testing.assert_allclose(sampled, exact, atol=5e-3)


def test_tables_without_the_familys_least_tell_the_direction_only():
    noise = 0.1 * RNG(8).random((6, 4))
    assert claim.test_table(2 + noise, 1 + noise[::-1]).level == "direction"
    assert claim.test_table(1 + noise, 2 + noise[::-1]).level == "refuted"


def test_tables_with_the_least_are_confirmed_where_it_is_reached():
    noise = 0.1 * RNG(9).random((6, 4))
    reached = claim.test_table(2 + noise, 1 + noise + 0.001, 1 + noise)
    assert reached.level == "confirmed"
    assert reached.predicted == pytest.approx(1.0)
    assert claim.test_table(2 + noise, 1.5 + noise + 0.1 * noise, 1 + noise).level == "direction"


def test_tables_of_one_seed_or_of_none_that_moves_are_undecided():
    assert claim.test_table([[2.0, 1.5]], [[1.0, 1.2]]).needed_n == 2
    noise = RNG(10).standard_normal((5, 3))
    verdict = claim.test_table(5 + noise, 5 + noise[::-1])
    assert verdict.level == "undecided"


def test_missing_cycles_of_a_table_are_left_out():
    noise = 0.1 * RNG(11).random((5, 3))
    before = 2 + noise
    before[0] = np.nan
    before[1, 2] = np.nan
    assert claim.test_table(before, 1 + noise).n == 4


@pytest.mark.parametrize(
    ("before", "after", "weights", "words"),
    [
        ([[0.5, 0.6]], [[0.5, 0.5]], [[1, 0]], "before"),
        ([[0.5, 0.5]], [[0.5, 0.5, 0.0]], [[1, 0]], "one shape"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [[0, 0]], "weights"),
    ],
)
def test_bad_generators_are_refused_by_name(before, after, weights, words):
    with pytest.raises(ValueError, match=words):
        claim.test(before, after, weights, RNG(0), unrestricted, 10)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"samples": 0}, "samples"), ({"margin": 0}, "margin"), ({"corpus": [[0.5, 1]]}, "whole numbers")],
)
def test_bad_options_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        claim.test([[0.5, 0.5]], [[0.5, 0.5]], [[1, 0]], RNG(0), unrestricted, **options)


def test_bad_tables_are_refused_by_name():
    with pytest.raises(ValueError, match="one shape"):
        claim.test_table([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match="after"):
        claim.test_table([[1.0]], [[-1.0]])
    with pytest.raises(ValueError, match="margin"):
        claim.test_table([[1.0]], [[1.0]], margin=0)


def test_verdicts_and_claim_are_json():
    before, after, weights, corpus = claim.simulate(RNG(0), 2, 50)
    verdict = claim.test(before, after, weights, RNG(0), unrestricted, 50, corpus=corpus)
    json.dumps(asdict(verdict), allow_nan=False)
    json.dumps(asdict(claim.test_table([[1.0], [1.5]], [[0.5], [0.7]])), allow_nan=False)
    json.dumps(claim.CLAIM.as_dict())


def test_the_demonstration_shows_where_it_holds_and_where_it_breaks():
    shown = demonstration.demonstrate(RNG(0), worlds=100, sets=5)
    verdicts = {row["quantity"]: row["verdict"] for row in shown.rows}
    assert verdicts["divergence from the exact update, none (nats)"] == "holds"
    assert verdicts["divergence from the exact update, static prior (nats)"] == "breaks"
    gradients = next(v for q, v in verdicts.items() if "gradients" in q)
    assert gradients == ("holds" if find_spec("torch") else "undecided")
    json.dumps(asdict(shown), allow_nan=False)


def test_a_corpus_with_foreign_texts_makes_a_table_vacuous():
    before, after = np.full((5, 3), 2.0), np.full((5, 3), 1.0)
    found = claim.test_table(before, after, foreign=(3, 100))
    assert found.level == "vacuous"
    assert "3 texts of 100" in found.assumptions[0].evidence
    assert found.fall == pytest.approx(1.0)
    assert claim.test_table(before, after, foreign=(0, 100)).level == "direction"


@pytest.mark.parametrize(("seeds", "level"), [(4, "undecided"), (5, "refuted")])
def test_tuning_that_loses_an_elite_counts_against_the_claim(seeds: int, level: str):
    """A sign test: 1/16 and 1/32 against 5%."""
    before, after = np.full((seeds, 3), 2.0), np.full((seeds, 3), 1.0)
    after[:, 1] = np.inf
    found = claim.test_table(before, after, least=np.full((seeds, 3), 0.9))
    assert found.level == level
    assert found.estimate == -np.inf
    assert (found.fall, found.excess) == (None, None)
    kept = np.where(np.arange(3) == 1, np.nan, after) + 0.01 * np.arange(seeds)[:, None]
    assert claim.test_table(before, kept).level == "direction"


def test_verdicts_that_are_given_together_share_the_level():
    falls = np.array([1.0, 0.2, -0.1, 0.8, 0.5])
    p = float(np.asarray(stats.ttest_1samp(falls, 0, alternative="greater"))[1])
    assert 0.05 / 3 < p < 0.05
    before, after = 2 + falls[:, None], np.full((5, 1), 2.0)
    assert claim.test_table(before, after).level == "direction"
    assert claim.test_table(before, after, tests=3).level == "undecided"


def test_weights_make_a_corpus_another_than_the_elites():
    found = claim.test_table(np.full((5, 3), 0.4), np.full((5, 3), 0.2), foreign=(0, 60), weighted=20)
    assert found.level == "vacuous"
    assert "0 texts of 60 are other than p_t's elites, 20 have weights" in found.assumptions[0].evidence


def test_the_seeds_that_a_sign_test_needs_are_the_fewest_with_the_power():
    needed = claim._needed_signs(0.9, claim.LEVEL / 12, 5)
    power = [stats.binom.sf(stats.binom.isf(claim.LEVEL / 12, n, 0.5), n, 0.9) for n in range(6, 40)]
    assert needed == 6 + next(i for i, p in enumerate(power) if p >= 0.8)
    assert claim._needed_signs(0.5, claim.LEVEL, 5) is None


@pytest.mark.parametrize("tests", [1, 20])
def test_enough_lost_elites_decide_at_the_level_that_is_left(tests):
    before, lost = np.full((30, 1), 0.4), np.full((30, 1), np.inf)
    few = claim.test_table(before[:3], lost[:3], tests=tests)
    assert few.level == "undecided"
    assert few.needed_n is not None
    assert f"About {few.needed_n} seeds" in few.explanation
    levels = [claim.test_table(before[:n], lost[:n], tests=tests).level for n in (few.needed_n - 1, few.needed_n)]
    assert levels == ["undecided", "refuted"]


def test_more_verdicts_need_more_seeds():
    rng = np.random.default_rng(5)
    before = rng.normal(1, 0.3, (6, 1)).clip(0.1)
    after = (before - rng.normal(0.05, 0.1, (6, 1))).clip(0)
    one, many = (claim.test_table(before, after, tests=tests) for tests in (1, 20))
    assert one.level == many.level == "undecided"
    assert one.needed_n is not None
    assert many.needed_n is not None
    assert one.needed_n < many.needed_n
