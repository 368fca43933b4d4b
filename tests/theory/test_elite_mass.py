import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from theory import elite_mass as claim
from theory.calibration import rejections
from theory.demonstrations import elite_mass as demonstration
from theory.families import Categorical, Product, sequences
from theory.worlds import Cycles, expectation, run

RNG = np.random.default_rng


def smallest(verdict):
    return min(p for p in verdict.p_values if p is not None)


def masses(mean, deduplicate=False, cycles=6):
    start, quality = claim.bits(mean)
    plan = Cycles(threshold=1.0, deduplicate=deduplicate)
    return expectation(run(Product(sequences(2, 2), 2), start, quality, cycles, plan)[:, 0], quality)


def test_the_bound_is_the_published_one():
    np.testing.assert_allclose(claim.predict(0.5, 4), [0, 0.5, 0.75, 0.875])


def test_a_restricted_family_stays_at_half_and_breaks_the_bound_at_cycle_2():
    mass = masses(0.5)
    np.testing.assert_allclose(mass, 0.5)
    verdict = claim.test(mass, RNG(0))
    assert verdict.level == "refuted"
    assert verdict.first_violation == 2


def test_a_deduplicated_corpus_drops_the_mass_from_961_to_500():
    mass = masses(0.02, deduplicate=True, cycles=1)
    assert [f"{c:.3f}" for c in mass] == ["0.961", "0.500"]
    verdict = claim.test(mass, RNG(0))
    assert verdict.level == "refuted"
    assert verdict.first_violation == 1


def test_few_samples_without_memory_lose_the_optimum_at_once_in_605_of_1000_runs():
    assert f"{0.99**50:.3f}" == "0.605"
    lost = claim.lose_optimum(RNG(0), 4000, cycles=1)
    assert stats.binomtest(int(lost.sum()), 4000, 0.99**50).pvalue > 1e-3
    # What is lost is lost for good.
    assert claim.lose_optimum(RNG(0), 500, cycles=10).mean() >= 0.55


def test_runs_that_lost_the_elites_refute_the_mass_reading():
    quality = np.append(np.zeros(4), 1.0)
    start = (np.tile([0.2475] * 4 + [0.01], (40, 1)),)
    plan = Cycles(share=1.0, candidates=50)
    p = run(Categorical(5), start, quality, 8, plan, RNG(1))
    verdict = claim.test(p[:, :, -1].T, RNG(0))
    assert verdict.level == "refuted"
    assert verdict.seeds_violating > 0.5
    assert verdict.seeds_interval[0] < verdict.seeds_violating < verdict.seeds_interval[1]


@pytest.mark.parametrize("rate", [0.05, 0.3, 1.0])
def test_the_smoothed_unrestricted_update_follows_the_lemma_and_its_rate_is_alpha(rate):
    p = run(Categorical(3), (np.array([[0.1, 0.4, 0.5]]),), [1.0, 0, 0], 12, Cycles(threshold=1.0, rate=rate))
    mass = p[:, 0, 0]
    np.testing.assert_allclose(mass, claim.smoothed_mass(0.1, rate, 13), atol=1e-12)
    verdict = claim.test(mass, RNG(0))
    # 1 - (1 - α)^t (1 - ρ) >= 1 - (1 - ρ)^t for all t iff α >= ρ, or nearly.
    assert verdict.level == ("confirmed" if rate > 0.1 else "direction")
    assert verdict.fit is not None
    assert verdict.fit.decay == pytest.approx(1 - rate, abs=1e-6)
    assert verdict.fit.ceiling == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_hit_lemma_has_no_exception(mass):
    hit, bound = claim.lemma(mass)
    assert (hit >= bound - 1e-12).all()
    assert hit[0] == 0
    assert hit[1] == pytest.approx(mass[0])


def test_a_mass_that_never_falls_meets_the_hit_reading_though_it_breaks_the_mass_reading():
    mass = np.full(8, 0.5)
    assert claim.test(mass, RNG(0)).level == "refuted"
    assert claim.test(mass, RNG(0), reading="hit").level == "confirmed"


def test_a_mass_that_falls_breaks_the_hit_reading_too():
    assert claim.test([0.5, 0.1, 0.1, 0.1], RNG(0), reading="hit").level == "refuted"


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_start_without_elites_or_with_nothing_else_is_vacuous(start):
    verdict = claim.test(np.full(4, start), RNG(0))
    assert verdict.level == "vacuous"
    assert [e.name for e in verdict.assumptions if not e.holds] == ["positive start"]


def test_seeds_that_start_from_different_generators_are_named():
    counts = np.tile([[5.0], [45.0]], (5, 6))
    verdict = claim.test(counts, RNG(0), candidates=50)
    assert verdict.level == "vacuous"
    assert [e.name for e in verdict.assumptions if not e.holds] == ["same start"]


def test_a_threshold_that_moves_is_named():
    verdict = claim.test([0.1, 0.5, 0.9], RNG(0), thresholds=[0.4, 0.5, 0.6])
    assert [e.name for e in verdict.assumptions if not e.holds] == ["fixed threshold"]


@pytest.mark.parametrize("reading", ["mass", "hit"])
def test_counts_on_the_edge_of_the_bound_reject_as_often_as_they_say(reading):
    rng = RNG(2)
    sets = 150

    def trial():
        return claim.test(claim.simulate(rng, 20, 8, reading=reading), rng, candidates=50, reading=reading)

    assert stats.binomtest(sum(rejections(trial, sets)), sets, 0.05).pvalue > 1e-3


def test_the_power_is_the_one_predicted():
    rng = RNG(3)
    sets = 150
    power = claim.predicted_power(rng, 0.05, 20, 8, 0.1, 150, at=3)
    assert 0.5 < power < 0.95

    def trial():
        return claim.test(claim.simulate(rng, 20, 8, 0.1, 150, shortfall=0.05), rng, candidates=150)

    assert stats.binomtest(sum(rejections(trial, sets)), sets, power).pvalue > 1e-3


def test_counts_far_above_the_bound_are_confirmed_and_few_are_undecided():
    rng = RNG(4)
    mass = claim.smoothed_mass(0.1, 0.4, 8)
    many = rng.binomial(500, mass, size=(12, 8))
    assert claim.test(many, rng, candidates=500).level == "confirmed"
    edge = claim.simulate(rng, 6, 8, candidates=20)
    few = claim.test(edge, rng, candidates=20)
    assert few.level == "undecided"
    assert few.needed_n is not None
    assert few.needed_n > 6


def test_counts_of_one_seed_can_refute_but_never_confirm():
    stuck = claim.test([25] * 8, RNG(0), candidates=50)
    assert stuck.level == "refuted"
    assert stuck.first_violation is not None
    rising = claim.test([5, 20, 40, 48, 50, 50], RNG(0), candidates=50)
    assert rising.level == "undecided"
    assert rising.needed_n == 5


def test_a_seed_that_rises_below_the_bound_has_the_right_direction():
    mass = claim.smoothed_mass(0.3, 0.05, 10)
    counts = RNG(5).binomial(400, mass, size=(15, 10))
    verdict = claim.test(counts, RNG(0), candidates=400)
    assert verdict.level == "direction"
    last = verdict.p_values[-1]
    assert last is not None
    assert last <= 0.05


def test_the_correction_counts_other_models_and_tasks():
    rng = RNG(6)
    counts = claim.simulate(rng, 20, 6, 0.1, 150, shortfall=0.05)
    others = [(claim.simulate(rng, 20, 6, 0.1, 150), 150)] * 20
    alone = claim.test(counts, rng, candidates=150)
    beside = claim.test(counts, rng, candidates=150, others=others)
    assert smallest(beside) > 5 * smallest(alone)


def test_missing_cycles_are_left_out():
    mass = np.tile(claim.smoothed_mass(0.1, 0.3, 6), (3, 1))
    mass[:, 3] = np.nan
    mass[1, 4] = np.nan
    verdict = claim.test(mass, RNG(0))
    assert verdict.comparisons == 3 * 4 - 1
    assert verdict.cycles == (1, 2, 4, 5)
    counts = np.full((4, 5), 10.0)
    counts[:, 2] = np.nan
    assert claim.test(counts, RNG(0), candidates=50).cycles == (1, 3, 4)


@pytest.mark.parametrize(
    ("elites", "options", "words"),
    [
        ([0.1, 1.4], {}, "elites"),
        ([np.nan, 0.4], {}, "first cycle"),
        ([3, 60], {"candidates": 50}, "60 of 50"),
        ([3, 2.5], {"candidates": 50}, "whole numbers"),
        ([0.1, 0.2], {"margin": -1}, "margin"),
        ([0.1, 0.2], {"thresholds": [1, 2, 3]}, "thresholds"),
        ([0.1, 0.2], {"reading": "hit"}, "compares cycles"),
    ],
)
def test_bad_input_is_refused_by_name(elites, options, words):
    with pytest.raises(ValueError, match=words):
        claim.test(elites, RNG(0), **options)


def test_verdicts_and_claim_are_json():
    json.dumps(asdict(claim.test(claim.simulate(RNG(0), 5, 6), RNG(0), candidates=50)), allow_nan=False)
    json.dumps(asdict(claim.test([0.5, 0.5, 0.5], RNG(0))), allow_nan=False)
    json.dumps(asdict(claim.test([5, 6, 7], RNG(0), candidates=50, reading="hit")), allow_nan=False)
    json.dumps(claim.CLAIM.as_dict())


def test_the_demonstration_shows_where_it_holds_and_where_it_breaks():
    shown = demonstration.demonstrate(RNG(0), worlds=200, sets=5)
    verdicts = {row["quantity"]: row["verdict"] for row in shown.rows}
    assert verdicts["random products with exact updates whose mass is ever below the bound"] == "breaks"
    assert verdicts["the same, whose hit probability is ever below it"] == "holds"
    assert all(len(s["x"]) == len(s["y"]) for s in shown.series.values())
    json.dumps(asdict(shown), allow_nan=False)


def test_verdicts_on_exact_masses_that_are_given_together_share_the_level():
    rises = np.array([0.1, 0.02, -0.01, 0.08, 0.05])
    p = float(np.asarray(stats.ttest_1samp(rises, 0, alternative="greater"))[1])
    assert 0.05 / 3 < p < 0.05
    mass = 0.3 + np.stack([np.zeros(5), np.full(5, 0.01), rises], axis=1)
    levels = [claim.test(mass, np.random.default_rng(0), tests=n).level for n in (1, 3)]
    assert levels == ["direction", "refuted"]
