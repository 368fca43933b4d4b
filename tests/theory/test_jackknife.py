import numpy as np
import pytest

from theory.jackknife import jackknife


def test_delete_one_gives_the_classical_standard_error_of_the_mean():
    x = np.random.default_rng(0).normal(size=(30, 2))
    value, covariance = jackknife(lambda kept: x[kept].mean(axis=0), 30, np.random.default_rng(1))
    assert value == pytest.approx(x.mean(axis=0))
    assert covariance == pytest.approx(np.cov(x.T) / 30)


@pytest.mark.parametrize("n", [101, 1000])
def test_groups_of_unequal_size_estimate_the_same_error(n):
    x = np.random.default_rng(2).exponential(size=(n, 1))
    errors = [
        jackknife(lambda kept: x[kept].mean(axis=0), n, np.random.default_rng(seed))[1][0, 0] for seed in range(50)
    ]
    # One estimate from 100 groups has a relative error of about sqrt(2/99) or more; the mean of 50 a seventh of it.
    assert np.mean(errors) == pytest.approx(x.var(ddof=1) / n, rel=0.1)
