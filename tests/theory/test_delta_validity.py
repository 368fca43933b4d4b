import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from theory import delta_validity as claim
from theory.delta_validity import (
    CLAIM,
    calibration,
    implied_error,
    lemma,
    losing_context_failure,
    losing_error,
    predict,
    simulate,
    valid_rate,
)
from theory.demonstrations import delta_validity as demonstration
from theory.generated_programs import Process, Programs, simulate_errors

FULL = Process(0.995, 0.995)


def broken(verdict):
    return [evidence.name for evidence in verdict.assumptions if not evidence.holds]


def test_published_ratio_is_reproduced():
    assert predict(0.005, 200, 40) == pytest.approx(0.995**-160)
    assert round(predict(0.005, 200, 40), 2) == 2.23
    assert round(0.713 / 0.506, 2) == 1.41


def test_error_rate_that_explains_the_measured_ratio_is_reproduced():
    assert round(implied_error(0.713, 40) / implied_error(0.506, 200), 1) == 2.5


def test_boundaries_are_reproduced():
    assert round(losing_error(0.005, 200, 40), 4) == 0.0248
    assert round(losing_context_failure(0.005, 200, 40), 3) == 0.552


probabilities = st.floats(0.0005, 0.05)
lengths = st.integers(2, 300)


@given(probabilities, lengths, lengths)
def test_at_either_boundary_both_are_equally_valid(p, n_f, n_d):
    n_d, n_f = sorted((n_d, n_f))
    assert predict(p, n_f, n_d, losing_error(p, n_f, n_d)) == pytest.approx(1)
    assert predict(p, n_f, n_d, context=1 - losing_context_failure(p, n_f, n_d)) == pytest.approx(1)


@given(probabilities, lengths, lengths)
def test_with_one_process_the_shorter_program_is_valid_strictly_more_often(p, n_f, n_d):
    assert lemma(n_f, n_d, (1 - p, 1 - p)) == (n_d < n_f)


def test_without_errors_deltas_are_not_strictly_better():
    assert not lemma(200, 40, (1.0, 1.0))


@pytest.mark.parametrize("breaking", [0.0, 0.3, 1.0])
def test_valid_rate_is_the_sum_over_all_error_patterns(breaking):
    pi, lam, mu, n = 0.9, 0.8, 0.4, 6
    total = 0.0
    for pattern in itertools.product((0, 1), repeat=n):
        chance = 1 - pi if pattern[0] else pi
        for last, this in itertools.pairwise(pattern):
            chance *= (mu if this else 1 - mu) if last else (1 - lam if this else lam)
        total += chance * (1 - breaking) ** sum(pattern)
    assert valid_rate(n, lam, pi, mu, breaking) == pytest.approx(total)


def test_valid_rate_refuses_what_is_no_probability_or_length():
    with pytest.raises(ValueError, match="λ must be a probability"):
        valid_rate(10, 1.2)
    with pytest.raises(ValueError, match="length must be at least 1"):
        valid_rate(0, 0.9)


def test_claim_is_confirmed_in_its_own_world():
    found = claim.test(*simulate(np.random.default_rng(1), 6000), np.random.default_rng(2))
    assert found.level == "confirmed", found.explanation
    assert found.predicted == pytest.approx(0.995**-160, rel=0.1)


def test_direction_when_deltas_win_by_less_than_predicted():
    worse = Process(1 - 0.0125, 1 - 0.0125)
    full, deltas = simulate(np.random.default_rng(1), 4000, delta=worse)
    found = claim.test(full, deltas, np.random.default_rng(2))
    assert found.level == "direction"
    # The model that knows the deltas' own errors predicts the size.
    assert claim.test(full, deltas, np.random.default_rng(2), "context-match").level == "confirmed"


def test_refuted_beyond_the_error_boundary():
    found = claim.test(*simulate(np.random.default_rng(1), 4000, delta=Process(0.97, 0.97)), np.random.default_rng(2))
    assert found.level == "refuted"
    assert found.gain_interval is not None
    assert found.gain_interval[1] < 0


def test_vacuous_or_refuted_beyond_the_context_boundary():
    full, deltas = simulate(np.random.default_rng(1), 4000, context=0.4)
    found = claim.test(full, deltas, np.random.default_rng(2))
    assert found.level == "vacuous"
    assert broken(found) == ["context matches"]
    extended = claim.test(full, deltas, np.random.default_rng(2), "context-match")
    assert extended.level == "refuted"
    # P(context matches) = .4 is part of what this model predicts.
    assert extended.predicted == pytest.approx(0.4 * 0.995**-160, rel=0.15)


def test_no_deltas_valid_at_all_is_refuted():
    full, deltas = simulate(np.random.default_rng(1), 400, delta=Process(0.5, 0.5))
    found = claim.test(full, deltas, np.random.default_rng(2))
    assert found.rates["delta"] == 0
    assert found.level == "refuted"
    assert found.estimate is None


def test_too_few_programs_are_undecided_and_more_decide():
    rng = np.random.default_rng(1)
    few = claim.test(*simulate(rng, 8), rng)
    assert few.level == "undecided"
    assert few.needed_n is not None
    some = claim.test(*simulate(rng, 400), rng)
    assert some.level == "undecided"
    assert some.needed_n is not None
    assert some.interval is not None
    enough = claim.test(*simulate(rng, some.needed_n), rng)
    assert enough.difference_interval is not None
    assert (enough.difference_interval[1] - enough.difference_interval[0]) / 2 <= claim.MARGIN


def test_longer_deltas_make_the_claim_vacuous():
    found = claim.test(*simulate(np.random.default_rng(1), 400, 40, 60), np.random.default_rng(2))
    assert broken(found) == ["shorter deltas"]


def test_errors_that_pile_up_late_in_a_program_make_it_vacuous():
    rng = np.random.default_rng(1)
    wrong = rng.random((1000, 200)) < np.linspace(0, 0.01, 200)
    found = claim.test(Programs.from_errors(wrong), simulate(rng, 1000)[1], rng)
    assert "constant error rate" in broken(found)
    assert found.level == "vacuous"


def test_programs_of_different_quality_are_not_one_first_order_process():
    rng = np.random.default_rng(1)
    wrong = rng.random((1000, 200)) < np.where(np.arange(1000) % 2, 0.0005, 0.02)[:, None]
    assert "first-order errors" in broken(claim.test(Programs.from_errors(wrong), simulate(rng, 1000)[1], rng))


def test_errors_that_do_not_break_programs_make_it_vacuous():
    rng = np.random.default_rng(1)
    wrong = simulate_errors(FULL, 1000, 200, rng)
    valid = ~(wrong & (rng.random(wrong.shape) < 0.5)).any(axis=1)
    assert "errors break programs" in broken(
        claim.test(Programs.from_errors(wrong, valid), simulate(rng, 1000)[1], rng)
    )


@pytest.mark.parametrize("model", ["independent", "markov", "context-match"])
def test_a_table_of_validity_and_length_is_enough(model):
    rng = np.random.default_rng(3)
    n_f, n_d = rng.integers(50, 351, 6000), rng.integers(10, 71, 6000)
    full = Programs.from_table(rng.random(6000) < 0.995**n_f, n_f)
    deltas = Programs.from_table(rng.random(6000) < 0.995**n_d, n_d)
    found = claim.test(full, deltas, rng, model)
    assert found.error_rates["full"] == pytest.approx(0.005, rel=0.1)
    assert found.interval is not None
    assert found.interval[0] < np.mean(0.995**n_d) / np.mean(0.995**n_f) < found.interval[1]


def test_a_table_of_one_length_cannot_fit_the_markov_model():
    programs = Programs.from_table([0, 1] * 50, [100] * 100)
    with pytest.raises(ValueError, match="programs of different lengths"):
        claim.test(programs, programs, np.random.default_rng(0))


def test_lengths_that_hardly_differ_leave_the_markov_model_undecided():
    """One program of 201 tokens among those of 200 is in the judged half with a chance of a half."""
    rng, levels = np.random.default_rng(2), set()
    full = Programs.from_table(rng.random(60) < 0.4, np.r_[201, np.full(59, 200)])
    deltas = Programs.from_table(rng.random(60) < 0.8, rng.integers(30, 50, 60))
    for seed in range(8):
        verdict = claim.test(full, deltas, np.random.default_rng(seed))
        levels.add(verdict.explanation.startswith("The programs of the half that estimates have one length"))
    assert levels == {True, False}


def test_units_that_repeat_widen_the_interval():
    rng = np.random.default_rng(1)
    full, deltas = simulate(rng, 500)
    repeated = [
        Programs.from_table(
            np.repeat(kind.valid, 4), np.repeat(kind.length, 4), unit=np.repeat([f"{name}{i}" for i in range(500)], 4)
        )
        for name, kind in (("f", full), ("d", deltas))
    ]
    free = [
        dataclasses.replace(p, unit=np.array([str((i, id(p))) for i in range(2000)], dtype=object)) for p in repeated
    ]

    def width(pair):
        interval = claim.test(pair[0], pair[1], np.random.default_rng(5), "independent").gain_interval
        assert interval is not None
        return interval[1] - interval[0]

    # Four copies of a program hold no more than one: the standard error is twice that of independent programs.
    assert width(repeated) / width(free) == pytest.approx(2, rel=0.1)


def table(rng, n, rate):
    """Returns full programs, valid at about this rate, and deltas; their tokens err independently."""
    length = np.r_[rng.integers(150, 250, n), rng.integers(30, 50, n)]
    valid = rng.random(2 * n) < rate ** (length / 200)
    return Programs.from_table(valid[:n], length[:n]), Programs.from_table(valid[n:], length[n:])


@pytest.mark.parametrize("rate", [0.37, 0.1])
def test_a_true_claim_is_not_rejected_where_the_fit_ends_at_its_bound(rate):
    """Independent errors are those of the published model; a hundred programs often fit best without any at first."""
    levels = []
    for seed in range(60):
        full, deltas = table(np.random.default_rng(seed), 100, rate)
        levels.append(claim.test(full, deltas, np.random.default_rng(0)).level)
    wrong = sum(level in ("direction", "refuted") for level in levels)
    assert wrong <= stats.binom.ppf(0.999, 60, 0.05)


def test_no_valid_full_program_where_hardly_any_was_predicted_says_nothing_of_the_size():
    """At .98^200 = .018 a judged half of 50 has none valid in 40% of cases."""
    levels = []
    for seed in range(60):
        full, deltas = simulate(np.random.default_rng(seed), programs=100, full=Process(0.98, 0.98))
        verdict = claim.test(full, deltas, np.random.default_rng(0))
        levels += [verdict.level] if verdict.rates["full"] == 0 else []
    assert len(levels) > 10
    assert set(levels) == {"undecided"}


def test_verdict_and_claim_are_json():
    rng = np.random.default_rng(1)
    json.dumps(dataclasses.asdict(claim.test(*simulate(rng, 200), rng)), allow_nan=False)
    json.dumps(CLAIM.as_dict())


def test_a_kind_without_programs_is_refused():
    full, deltas = simulate(np.random.default_rng(0), 50)
    with pytest.raises(ValueError, match="no program of the kind 'delta'"):
        claim.test(full, deltas.of(np.zeros(50, dtype=bool)), np.random.default_rng(0))


def test_five_per_cent_test_is_calibrated_and_has_its_power():
    sets = 300
    for _, expected, rejected in calibration(sets, np.random.default_rng(0), 600):
        # A test that was off by more than calibration allows would leave this interval only by rare chance.
        low, high = stats.binom.ppf([0.001, 0.999], sets, [max(expected - 0.015, 0.0), expected + 0.015])
        assert low <= sum(rejected) <= high


def test_demonstration_is_complete():
    found = demonstration.demonstrate(np.random.default_rng(0), sets=5)
    assert found.claim == CLAIM.name
    by_quantity = {row["quantity"]: row for row in found.rows}
    assert all(row["measured"] is not None for row in found.rows)
    assert by_quantity["R, p = .005, 200 and 40 lines"]["predicted"] == pytest.approx(2.23, abs=0.005)
    for curve in found.series.values():
        assert len(curve["x"]) == len(curve["y"])
