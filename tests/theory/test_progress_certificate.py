import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from theory import progress_certificate as certificate
from theory.demonstrations import progress_certificate as demonstration
from theory.families import MarkovChain, Mixture, Product, sequences
from theory.trend import means

SPACE = sequences(4, 2)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 20))
def test_no_pair_of_generators_is_below_its_bound(seed, n):
    found = certificate.random_pairs(np.random.default_rng(seed), 50, n=n)
    assert (found.after >= found.bound * (1 - 1e-12)).all()
    assert (found.tightness >= 1 - 1e-12).all()


@pytest.mark.parametrize("family", [None, Product(SPACE, 2), MarkovChain(SPACE, 2), Mixture(SPACE, 2)])
def test_no_pair_of_a_family_is_below_its_bound(family):
    found = certificate.random_pairs(np.random.default_rng(0), 5000, family)
    assert (found.after >= found.bound * (1 - 1e-12)).all()


def test_the_bound_is_met_with_equality_when_the_ratio_is_constant_on_the_elites():
    # Doubling each elite's probability: Δ = log 2, and C doubles.
    found = certificate.predict([0.1, 0.2, 0.7], [0.2, 0.4, 0.4], [1, 1, 0])
    assert found.gain == pytest.approx(np.log(2))
    assert found.tightness == pytest.approx(1)


def test_a_generator_that_drops_an_elite_is_not_certified():
    found = certificate.predict([0.5, 0.5], [1.0, 0.0], [1, 1])
    assert found.gain == -np.inf
    assert found.bound == 0


def test_weights_may_be_qualities():
    found = certificate.predict([0.5, 0.5], [0.2, 0.8], [0.25, 0.75])
    assert found.before == pytest.approx(0.5)
    assert found.after == pytest.approx(0.65)
    assert found.gain == pytest.approx(0.25 * np.log(0.4) + 0.75 * np.log(1.6))


@pytest.mark.parametrize("held_out", [20, 100])
def test_the_interval_of_held_out_elites_covers_the_exact_gain(held_out):
    gain, ratios = certificate.simulate(np.random.default_rng(1), Product(sequences(8, 2), 2), 1500, held_out)
    low, high = means(ratios.T).interval()
    assert 0.93 <= ((low <= gain) & (gain <= high)).mean() <= 0.97


def test_a_rise_is_confirmed_a_fall_refuted_and_little_data_undecided():
    noise = np.random.default_rng(2).standard_normal(100)
    assert certificate.test(noise * 0.5 + 0.5).level == "confirmed"
    assert certificate.test(noise * 0.5 - 0.5).level == "refuted"
    undecided = certificate.test(noise[:20] * 0.5 - noise[:20].mean() * 0.5 + 0.05)
    assert undecided.level == "undecided"
    assert undecided.needed_n is not None
    assert undecided.needed_n > 20


def test_the_certified_factor_is_the_lower_bound_of_students_interval():
    d = np.random.default_rng(3).standard_normal(50) * 0.2 + 0.3
    verdict = certificate.test(d)
    lower = stats.ttest_1samp(d, 0, alternative="greater").confidence_interval().low
    assert verdict.lower == pytest.approx(lower)
    assert verdict.factor == pytest.approx(np.exp(lower))


def test_the_needed_number_of_elites_certifies_with_the_power_promised():
    n = certificate.needed_elites(0.1, 0.5)
    assert n is not None
    rng = np.random.default_rng(4)
    certified = sum(certificate.test(0.1 + 0.5 * rng.standard_normal(n)).level == "confirmed" for _ in range(1000))
    assert stats.binomtest(certified, 1000, 0.8).pvalue > 1e-3


@pytest.mark.parametrize(
    ("ratios", "seen", "broken"),
    [
        (np.linspace(0.9, 1.1, 20), 3, "fresh elites"),
        ([*np.linspace(0.9, 1.1, 20), -np.inf], None, "common support"),
        (np.full(15, 5e-6), 0, "elites differ"),
        ([*np.linspace(0, 0.01, 30), 50.0], None, "no dominant elite"),
    ],
)
def test_a_broken_assumption_makes_it_vacuous_and_is_named(ratios, seen, broken):
    verdict = certificate.test(ratios, seen)
    assert verdict.level == "vacuous"
    assert [e.name for e in verdict.assumptions if not e.holds] == [broken]
    assert broken in verdict.explanation


def test_fewer_than_ten_elites_say_nothing():
    verdict = certificate.test(np.ones(5))
    assert verdict.level == "undecided"
    assert verdict.needed_n == 10


@pytest.mark.parametrize("ratios", [[], [np.nan] * 20, [np.inf] * 20, np.ones((3, 3))])
def test_log_ratios_that_are_none_are_refused(ratios):
    with pytest.raises(ValueError, match="log_ratios"):
        certificate.test(ratios)


def test_gains_add_up_over_cycles_and_their_bound_covers():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(600):
        total, lower = certificate.certify(
            [0.1 + rng.standard_normal(n) * s for n, s in ((15, 1.0), (40, 0.3), (30, 0.5))]
        )
        covered += lower <= 0.3
        assert lower < total
    assert stats.binomtest(covered, 600, 0.95).pvalue > 1e-3
    with pytest.raises(ValueError, match="at least 10"):
        certificate.certify([np.ones(3)])


def test_verdicts_are_json():
    assert json.loads(json.dumps(asdict(certificate.test(np.linspace(0, 1, 30)))))["level"] == "confirmed"


def test_the_demonstration_has_what_the_report_draws():
    shown = demonstration.demonstrate(np.random.default_rng(0), pairs=500, worlds=100)
    assert all(row["verdict"] == "holds" for row in shown.rows if row["quantity"].startswith("pairs below"))
    assert all(len(s["x"]) == len(s["y"]) > 0 for s in shown.series.values())
    json.dumps(asdict(shown), allow_nan=False)
