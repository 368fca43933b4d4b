import numpy as np
import pytest

from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro


@pytest.mark.parametrize("suggestions", [1, 20])
def test_suggestions_that_are_no_architecture_cost_nothing(search, separable, suggestions):
    space, judge, _ = separable
    archs = [arch for arch, _ in search("tpe", judge, 40, space=space, suggestions=suggestions)]
    assert len(set(archs)) == len(space.index(archs)) == 40


def test_it_learns_which_options_are_good(search):
    space = trans_nas_bench_101_micro
    worth = np.random.default_rng(1).normal(size=(6, 4))
    scores = worth[np.arange(6), space.enumerate()].sum(axis=1)
    found = search("tpe", lambda arch: worth[np.arange(6), arch].sum(), 80, space=space)
    # The mean of twenty draws at random exceeds that of the space by four standard errors once in 30,000 times.
    assert np.mean([score for _, score in found[60:]]) > scores.mean() + 4 * scores.std() / 20**0.5


def test_optuna_says_nothing(search, separable, capfd):
    space, judge, _ = separable
    search("tpe", judge, 15, space=space)
    assert capfd.readouterr() == ("", "")
