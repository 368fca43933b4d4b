import numpy as np
import pytest

from bench.methods.tpe import meaning
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.spaces.nas_bench_graph import OPERATIONS, SKIP, nas_bench_graph
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro


def test_a_combination_of_decisions_means_the_architecture_that_the_space_lists():
    gcn, fc = OPERATIONS.index("gcn"), OPERATIONS.index("fc")
    # Two layers that read the input, in either order, are the same network.
    either = [meaning(nas_bench_graph, (0, 0, 1, 2, gcn, fc, a, b)) for a, b in ((gcn, fc), (fc, gcn))]
    other = meaning(nas_bench_graph, (0, 0, 1, 2, fc, gcn, gcn, fc))
    assert either[1] == other != either[0]
    # An architecture that is listed is itself, even if an equivalent one stands for its class.
    skip = nas_bench_201.parse("|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|")
    assert nas_bench_201.canonical(skip) != skip
    assert meaning(nas_bench_201, skip) == nas_bench_201.index([skip])[0]


@pytest.mark.parametrize(
    ("space", "description"),
    [
        (nas_bench_graph, (0, 0, 0, 0, SKIP, SKIP, SKIP, SKIP)),
        (trans_nas_bench_101_macro, (1, 2, 0, 3, 4, 1)),  # a gap in the chain
        (trans_nas_bench_101_macro, (1, 1, 1, 1, 1, 1)),  # never doubles the channels
    ],
)
def test_some_combinations_mean_no_architecture(space, description):
    assert meaning(space, description) is None


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
