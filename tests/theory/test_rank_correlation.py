import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from theory.rank_correlation import (
    kendall_from_pearson,
    pearson_from_spearman,
    sample_spearman,
    spearman_from_pearson,
    truncated_pearson,
    truncated_spearman,
)

CORRELATIONS = st.floats(-1, 1)


@given(CORRELATIONS)
def test_pearson_comes_back_from_spearman(rho):
    assert pearson_from_spearman(spearman_from_pearson(rho)) == pytest.approx(rho, abs=1e-12)


def test_spearman_is_pearsons_at_the_ends_and_known_values():
    # arcsin(1/2) = π/6; ρ_P = 2 sin(π/12) has arcsin π/12, hence ρ_S = 1/2.
    assert spearman_from_pearson([-1, 0, 1, 2 * np.sin(np.pi / 12)]) == pytest.approx([-1, 0, 1, 0.5])


@given(CORRELATIONS, st.integers(2, 1000))
def test_expected_sample_value_is_morans_formula(rho, n):
    moran = 6 / (np.pi * (n + 1)) * (np.arcsin(rho) + (n - 2) * np.arcsin(rho / 2))
    found = sample_spearman(spearman_from_pearson(rho), kendall_from_pearson(rho), n)
    assert found == pytest.approx(moran, abs=1e-12)


def test_expected_sample_value_agrees_with_simulation():
    rng = np.random.default_rng(0)
    x, y = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=(40_000, 6)).transpose(2, 0, 1)
    ranks = [stats.rankdata(v, axis=1) - 3.5 for v in (x, y)]
    r = (ranks[0] * ranks[1]).sum(axis=1) / 17.5
    expected = sample_spearman(spearman_from_pearson(0.7), kendall_from_pearson(0.7), 6)
    assert r.mean() == pytest.approx(expected, abs=4 * r.std() / 200)


@pytest.mark.parametrize(
    ("xy", "xs", "ys"),
    [(0.9, 0.9, 0.9), (0.5, 0.5, 0.5), (0.9, 1.0, 0.9), (0.9**0.5, 0.9**0.5, 1.0), (0.9, 0.9**0.5, 0.9**0.5)],
)
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_truncated_correlations_agree_with_rejection_sampling(xy, xs, ys, share):
    rng = np.random.default_rng(1)
    covariance = np.array([[1, xy, xs], [xy, 1, ys], [xs, ys, 1]])
    x, y, s = rng.multivariate_normal(np.zeros(3), covariance, size=round(100_000 / share), method="eigh").T
    kept = s > stats.norm.isf(share)
    # The standard error of either correlation is at most about 1 / sqrt(100,000) = .0032.
    assert truncated_pearson(xy, xs, ys, share) == pytest.approx(np.corrcoef(x[kept], y[kept])[0, 1], abs=0.012)
    assert truncated_spearman(xy, xs, ys, share) == pytest.approx(stats.spearmanr(x[kept], y[kept])[0], abs=0.012)


def test_the_arcsine_of_the_truncated_pearson_is_visibly_too_high():
    exact = truncated_spearman(0.9, 0.9, 0.9, 0.1)
    assert spearman_from_pearson(truncated_pearson(0.9, 0.9, 0.9, 0.1)) - exact > 0.015


@given(CORRELATIONS.filter(lambda r: r >= 0))
def test_keeping_all_changes_nothing(rho):
    assert truncated_pearson(rho, rho, rho, 1) == rho
    assert truncated_spearman(rho, rho, rho, 1) == pytest.approx(float(spearman_from_pearson(rho)))


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_without_noise_or_without_signal_selection_does_not_matter(share):
    assert truncated_spearman(1, 1, 1, share) == pytest.approx(1, abs=1e-3)
    assert truncated_spearman(0, 0, 0, share) == pytest.approx(0, abs=1e-9)
