import numpy as np

from analysis import statistics


def test_interval_of_the_interquartile_mean(benchmark):
    values = np.random.default_rng(0).normal(size=(20, 4))
    rng = np.random.default_rng(1)
    assert benchmark(statistics.iqm_interval, values, rng).n == 80


def test_probability_of_improvement(benchmark):
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(20, 4)), rng.normal(size=(20, 4))
    assert benchmark(statistics.probability_of_improvement, ours, theirs, rng).n == 160


def test_a_curve_with_its_band(benchmark):
    rng = np.random.default_rng(0)
    assert benchmark(statistics.iqm_band, rng.normal(size=(20, 4, 100)), rng).n == 80
