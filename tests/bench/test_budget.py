import math

from hypothesis import given
from hypothesis import strategies as st

from bench.budget import Budget, Meter


def test_only_limits_that_are_set_are_listed():
    assert Budget(evaluations=3, tokens=5).limits() == {"evaluations": 3, "tokens": 5}


def test_without_a_limit_there_is_endless_room():
    assert Meter(Budget()).room() == math.inf
    assert Meter(Budget()).reached() is None


@given(st.integers(1, 50), st.integers(0, 60))
def test_evaluations_end_a_run_exactly_at_the_limit(limit, made):
    meter = Meter(Budget(evaluations=limit))
    meter.charge([math.nan] * made)
    assert (meter.reached() == "evaluations") == (made >= limit)
    assert meter.room() == limit - made


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.floats(0.1, 500))
def test_simulated_seconds_stop_within_a_batch_at_the_evaluation_that_reaches_the_limit(seconds, limit):
    meter = Meter(Budget(simulated_seconds=limit))
    counted = meter.charge(seconds)
    assert meter.evaluations == counted
    assert sum(seconds[: counted - 1]) < limit or counted == 1
    assert (meter.reached() == "simulated_seconds") == (counted < len(seconds) or sum(seconds) >= limit)


def test_unknown_seconds_cost_nothing():
    meter = Meter(Budget(simulated_seconds=10))
    assert meter.charge([math.nan, 4.0, math.nan]) == 3
    assert meter.simulated_seconds == 4.0


def test_the_limit_reached_is_named():
    meter = Meter(Budget(evaluations=10, tokens=100))
    meter.tokens = 120
    assert meter.reached() == "tokens"
