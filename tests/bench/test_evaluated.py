import logging
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from bench.effects import Evaluation
from bench.evaluated import Evaluated
from bench.methods import methods
from surrogates.errors import InputError
from surrogates.spaces.trans_nas_bench_101_micro import OPERATIONS, TransNasBench101Micro

NAMES = ["bananas", "gaussian_process", "tpe", "weaknas"]
"""The methods that keep an evaluated."""


class SmallSpace(TransNasBench101Micro):
    """The 64 cells of two operations."""

    name = "small"
    operations = OPERATIONS[:2]
    size = 64


@pytest.fixture
def small():
    return SmallSpace()


def tell(generator, scores):
    """Answers the one question of `Evaluated.evaluate`; returns what it asked and returned."""
    asked, returned = next(generator).proposals, []
    failures = [None if np.isfinite(s) else "diverged" for s in scores]
    try:
        generator.send([Evaluation(a, s, np.nan, f) for a, s, f in zip(asked, scores, failures, strict=True)])
    except StopIteration as end:
        returned = end.value
    return asked, returned


def test_an_archive_keeps_scores_and_knows_what_is_left(small):
    evaluated = Evaluated(small)
    asked, results = tell(evaluated.evaluate(np.array([5, 3, 60])), [1.0, np.nan, 2.0])
    assert asked == [tuple(small.enumerate()[row].tolist()) for row in (5, 3, 60)]
    assert [r.failure for r in results] == [None, "diverged", None]
    assert evaluated.rows.tolist() == [5, 60]
    assert evaluated.scores.tolist() == [1, 2]
    assert evaluated.standardised.tolist() == [-1, 1]
    assert evaluated.best(1).tolist() == [60]
    assert set(evaluated.left.tolist()) == set(range(64)) - {3, 5, 60}
    rng = np.random.default_rng(0)
    assert len(set(evaluated.draw(rng, 10).tolist()) - {3, 5, 60}) == 10
    assert sorted(evaluated.draw(rng, 1000).tolist()) == evaluated.left.tolist()


def test_scores_that_are_all_alike_are_standardised_to_0(small):
    evaluated = Evaluated(small)
    tell(evaluated.evaluate(np.array([1, 2])), [3.0, 3.0])
    assert evaluated.standardised.tolist() == [0, 0]


def expected_best(scores, n):
    """The mean of the best of n draws with replacement: the sum of s_(i) (F(i)^n - F(i-1)^n)."""
    return np.sort(scores) @ np.diff((np.arange(len(scores) + 1) / len(scores)) ** n)


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_nearer_to_the_optimum_of_a_separable_problem_than_random_search(name, search, separable):
    space, judge, scores = separable
    found = [max(score for _, score in search(name, judge, 50, seed, space=space)) for seed in range(3)]
    regret, by_chance = scores.max() - np.mean(found), scores.max() - expected_best(scores, 50)
    assert regret < 0.75 * by_chance


@pytest.mark.parametrize("name", NAMES)
def test_it_evaluates_no_architecture_twice_and_ends_when_none_is_left(name, search, small):
    archs = [arch for arch, _ in search(name, sum, 1000, space=small)]
    assert len(archs) == len(set(archs)) == 64


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_where_scores_are_all_alike_or_unknown(name, search, small):
    assert len(search(name, lambda _: 1.0, 1000, space=small)) == 64
    assert len(search(name, lambda _: np.nan, 1000, space=small)) == 64
    # One score alone, and only after the random sample.
    assert len(search(name, lambda arch: 1.0 if arch == (1,) * 6 else np.nan, 1000, space=small)) == 64


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_advance_in_turn_do_what_they_do_alone(name, play, small):
    def judge(arch):
        return float(np.sin(np.dot(arch, [1, 2, 4, 8, 16, 32])))

    alone = [[arch for arch, _ in list_of(play(name, judge, seed=seed, space=small), 25)] for seed in (1, 2)]
    assert alone[0] != alone[1]
    both = [play(name, judge, seed=seed, space=small) for seed in (1, 2)]
    together = [[], []]
    for _ in range(25):
        for run, archs in zip(both, together, strict=True):
            archs.append(next(run)[0])
            np.random.seed(7)  # noqa: NPY002
            if "torch" in sys.modules:
                sys.modules["torch"].manual_seed(7)
    assert together == alone


def list_of(run, count):
    return [next(run) for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_it_leaves_everything_global_as_it_was(name, play, small):
    import optuna
    import torch

    def state():
        return (
            repr(np.random.get_state()),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            list(warnings.filters),
            optuna.logging.get_verbosity(),
            logging.root.level,
        )

    before = state()
    run = play(name, sum, space=small)
    for _ in range(22):
        next(run)
        assert state() == before


@pytest.mark.parametrize("name", NAMES)
def test_its_libraries_are_named_when_they_are_missing(name, play, monkeypatch):
    method = methods.get(name)
    assert method.requires
    monkeypatch.setitem(sys.modules, method.requires[0], None)
    with pytest.raises(InputError, match=rf"{name} needs {method.requires[0]}.*pip install 'nascent\[baselines\]'"):
        play(name, sum)


def test_a_method_names_all_that_is_missing():
    method = replace(methods.get("random_search"), requires=("numpy", "no_such_one", "no_such_two"))
    with pytest.raises(InputError, match="random_search needs no_such_one and no_such_two;"):
        method.start(None, None, {})  # pyright: ignore[reportArgumentType]


def test_finding_the_methods_imports_none_of_their_libraries():
    code = (
        "import sys; from bench.methods import methods; [methods.get(name) for name in methods.names()];"
        "print([m for m in ('torch', 'botorch', 'optuna', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
