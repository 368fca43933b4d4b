import numpy as np
import pytest

from bench.methods.bananas import encode, predict
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.spaces.nas_bench_graph import nas_bench_graph
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro


def test_it_sees_the_paths_of_a_cell_and_the_decisions_of_others():
    np.testing.assert_array_equal(encode(nas_bench_201), nas_bench_201.path_encoding(nas_bench_201.enumerate()))
    np.testing.assert_array_equal(encode(nas_bench_graph), nas_bench_graph.encode(nas_bench_graph.enumerate()))


def test_candidates_are_mutations_of_the_best(search, separable):
    space, judge, _ = separable
    found = search("bananas", judge, 40, space=space, initial=20, batch=4, parents=2, ensemble=2, epochs=20)
    for start in range(20, 40, 4):
        best = sorted(found[:start], key=lambda pair: -pair[1])[:2]
        near = {other for arch, _ in best for other in space.neighbours(arch)}
        assert {arch for arch, _ in found[start : start + 4]} <= near


def test_where_mutations_are_used_up_random_architectures_fill_the_batch(search, separable):
    space, judge, _ = separable
    found = search("bananas", judge, 40, space=space, candidates=1, ensemble=1, epochs=5)
    assert len({arch for arch, _ in found}) == 40


@pytest.mark.parametrize("seed", [0, 1])
def test_it_climbs_where_scores_are_sums_over_paths(search, seed):
    space = trans_nas_bench_101_micro
    encoded = space.path_encoding(space.enumerate())
    scores = dict(
        zip(map(tuple, space.enumerate().tolist()), encoded @ np.linspace(0, 1, encoded.shape[1]), strict=True)
    )
    found = [score for _, score in search("bananas", scores.__getitem__, 60, seed, space=space)]
    # Were the last ten drawn at random, all of them would have to be as good as the best of the first ten.
    assert np.mean(found[50:]) > max(found[:10])


def test_networks_learn_what_they_are_shown_and_differ_in_their_start():
    space = nas_bench_graph
    features = encode(space)[np.random.default_rng(0).choice(space.size, 40, replace=False)]
    scores = features @ np.random.default_rng(1).normal(size=features.shape[1])
    scores = (scores - scores.mean()) / scores.std()
    first, second = predict(2, (features.shape[1], 20, 20, 1), 300, 5, features, scores, features)
    for predicted in (first, second):
        assert np.abs(predicted - scores).mean() < 0.1
    assert not np.allclose(first, second)
