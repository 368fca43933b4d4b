import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from theory.geometric_fit import fit_geometric


def curve(ceiling, start, decay, cycles=15):
    return ceiling - (ceiling - start) * decay ** np.arange(cycles)


@settings(deadline=None, max_examples=40)
@given(ceiling=st.floats(0.3, 1), start=st.floats(0, 0.2), decay=st.floats(0.05, 0.9))
def test_an_exact_curve_is_found_again(ceiling, start, decay):
    found = fit_geometric(curve(ceiling, start, decay), np.random.default_rng(0))
    assert found.ceiling == pytest.approx(ceiling, abs=1e-4)
    assert found.start == pytest.approx(start, abs=1e-4)
    assert found.decay == pytest.approx(decay, abs=1e-3)


def test_the_fit_is_the_least_squares_that_scipy_finds():
    rng = np.random.default_rng(1)
    mean = np.clip(curve(0.8, 0.1, 0.7) + 0.02 * rng.standard_normal(15), 0, 1)
    found = fit_geometric(mean, rng)
    expected = optimize.curve_fit(lambda t, c, s, d: c - (c - s) * d**t, np.arange(15), mean, p0=[0.8, 0.1, 0.7])[0]
    assert (found.ceiling, found.start, found.decay) == pytest.approx(tuple(expected), abs=1e-4)


def test_a_curve_that_stands_still_has_no_rate():
    found = fit_geometric(np.full((3, 6), 0.5), np.random.default_rng(0))
    assert found.ceiling is None
    assert found.decay is None


def test_intervals_cover_the_ceiling_and_the_rate():
    rng = np.random.default_rng(2)
    sets, ceilings, decays = 200, 0, 0
    for _ in range(sets):
        mass = rng.binomial(50, curve(0.7, 0.1, 0.8), size=(15, 15)) / 50
        found = fit_geometric(mass, rng)
        assert found.ceiling_interval is not None
        assert found.decay_interval is not None
        ceilings += found.ceiling_interval[0] <= 0.7 <= found.ceiling_interval[1]
        decays += found.decay_interval[0] <= 0.8 <= found.decay_interval[1]
    assert stats.binomtest(ceilings, sets, 0.95).pvalue > 1e-3
    assert stats.binomtest(decays, sets, 0.95).pvalue > 1e-3


def test_a_ceiling_at_the_end_of_its_range_has_no_interval():
    rng = np.random.default_rng(3)
    slow = np.clip(curve(0.7, 0.2, 0.985, 22) + 0.01 * rng.standard_normal((6, 22)), 0, 1)
    found = fit_geometric(slow, rng)
    assert found.ceiling == 1
    assert found.ceiling_interval is None


def test_one_seed_has_no_interval_and_too_few_cycles_are_refused():
    assert fit_geometric(curve(0.7, 0.1, 0.8), np.random.default_rng(0)).decay_interval is None
    with pytest.raises(ValueError, match="at least 3 cycles"):
        fit_geometric([0.1, 0.2], np.random.default_rng(0))
    with pytest.raises(ValueError, match="each cycle"):
        fit_geometric([[0.1, np.nan, 0.2]], np.random.default_rng(0))
