import numpy as np

from bench.methods import methods
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro as space


def judge(arch):
    """All that matters is one edge: every predictor knows the ranking as soon as it has seen all its operations."""
    return [0.0, 1.0, 3.0, 2.0][arch[3]]


def test_it_draws_from_the_predicted_best_alone(search):
    found = search("weaknas", judge, 100, space=space, initial=30, top=500)
    assert {score for _, score in found[:30]} == {0, 1, 2, 3}
    assert {score for _, score in found[30:]} == {3}  # 1,024 cells have the best operation


def test_it_draws_from_them_uniformly(search):
    found = search("weaknas", judge, 2030, space=space, initial=30, batch=1000, top=2000, shrink=1)
    # The 2,000 best are all with the best operation, of which the sample took some, and some with the second best.
    taken = sum(score == 3 for _, score in found[:30])
    share = np.mean([score == 3 for _, score in found[30:1030]])
    expected = (1024 - taken) / 2000
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 1000)


def test_with_as_many_as_the_space_has_it_is_random_search(search):
    found = search("weaknas", judge, 1030, space=space, initial=30, batch=1000, top=space.size)
    share = np.mean([score == 3 for _, score in found[30:]])
    assert abs(share - 1 / 4) < 4 * np.sqrt(3 / 16 / 1000)


def test_they_become_fewer_down_to_a_batch(search):
    found = search("weaknas", judge, 70, space=space, initial=30, batch=20, top=space.size, shrink=0.001)
    assert {score for _, score in found[30:50]} > {3}
    assert {score for _, score in found[50:]} == {3}


def test_the_first_are_as_many_as_in_the_paper():
    assert methods.get("weaknas").parameters["top"] == 1000
