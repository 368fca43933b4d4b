import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.variance_components import intraclass_correlation, remove_offsets, variance_components

# Shrout and Fleiss (1979), "Intraclass correlations", table 2: six targets, four judges.
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_published_example_of_the_consistency_icc():
    found = variance_components(SHROUT_FLEISS)
    # Their table 3: BMS = 11.24 with 5 degrees of freedom, EMS = 1.02 with 15; table 4: ICC(3,1) = .71.
    assert found.noise == pytest.approx(1.02, abs=0.005)
    assert 4 * found.arch + found.noise == pytest.approx(11.24, abs=0.01)
    assert found.icc == pytest.approx(0.71, abs=0.005)
    # F_0 = 11.03 over the quantiles F(5, 15): 3.576 (.975) and 1 / 6.428 (.025), from tables of F.
    low, high = ((11.03 / 3.576 - 1) / 4, (11.03 * 6.428 - 1) / 4)
    assert found.snr_interval == pytest.approx((low, high), rel=0.01)
    assert found.icc_interval == pytest.approx((low / (1 + low), high / (1 + high)), rel=0.01)
    assert (found.n, found.observations, found.note) == (6, 24, "")


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(-100, 100), min_size=3, max_size=3),
    st.floats(0.01, 100),
)
def test_offsets_and_units_do_not_change_the_icc(seed, offsets, unit):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(12, 1)) + rng.normal(size=(12, 3))
    y[rng.random((12, 3)) < 0.2] = np.nan
    assert intraclass_correlation(y * unit + np.array(offsets)) == pytest.approx(intraclass_correlation(y), abs=1e-6)


def test_offsets_allow_for_which_architectures_lack_a_replicate():
    arch = np.arange(10.0)
    y = arch[:, None] + [0, 5, 7]
    y[5:, 2] = np.nan
    removed, estimated = remove_offsets(y)
    assert estimated == 2
    assert np.nanstd(removed, axis=1) == pytest.approx(np.zeros(10), abs=1e-9)


def test_a_negative_estimate_is_reported_as_zero_with_a_note():
    found = variance_components([[0, 1], [1, 0], [0, 1], [1, 0]])
    assert (found.arch, found.snr, found.icc) == (0, 0, 0)
    assert "negative" in found.note


def test_no_noise_and_no_variance_are_told_apart():
    assert variance_components([[1, 2], [3, 4], [7, 8]]).snr == np.inf
    assert variance_components([[1, 2], [3, 4], [7, 8]]).icc == 1
    assert np.isnan(variance_components([[1, 1], [1, 1]]).icc)


@pytest.mark.parametrize("y", [[[1, 2]], [[1, np.nan], [np.nan, 2], [3, np.nan]], np.empty((0, 2))])
def test_too_little_data_is_an_error(y):
    with pytest.raises(ValueError, match="need"):
        variance_components(y)


@pytest.mark.parametrize(("n", "k", "missing"), [(20, 2, 0.0), (60, 3, 0.3)])
@pytest.mark.parametrize("snr", [0.5, 5.0])
def test_estimates_are_unbiased_and_intervals_cover(n, k, missing, snr):
    rng = np.random.default_rng([n, round(10 * snr)])
    found = []
    for _ in range(500):
        y = np.sqrt(snr) * rng.normal(size=(n, 1)) + rng.normal(size=(n, k))
        y[rng.random((n, k)) < missing] = np.nan
        found.append(variance_components(y))
    noise = np.array([f.noise for f in found])
    covered = np.mean([f.snr_interval[0] <= snr <= f.snr_interval[1] for f in found])
    assert noise.mean() == pytest.approx(1, abs=4 * noise.std() / np.sqrt(500))
    # Four standard errors of a share of .95 among 500.
    assert covered == pytest.approx(0.95, abs=0.039)
    if snr > 1:
        arch = np.array([f.arch for f in found])
        assert arch.mean() == pytest.approx(snr, abs=4 * arch.std() / np.sqrt(500))
