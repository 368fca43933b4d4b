"""What the base class of the benchmarks works out, on a table small enough to do by hand."""

from collections.abc import Mapping

import numpy as np
import pytest

from surrogates.benchmark import Benchmark, Scores, Task
from surrogates.errors import InputError
from surrogates.space import Space


class Five(Space):
    """Five architectures."""

    name, size, description, grammar = "five", 5, "", ""

    def enumerate(self):
        return np.arange(5)[:, None]

    def neighbours(self, arch):
        return [((arch[0] + 1) % 5,)]

    def encode(self, archs):
        return np.eye(5, dtype=np.float32)[self.index(archs)]

    def format(self, arch):
        return str(arch[0])

    def parse(self, text):
        return (int(text),)

    def canonical(self, arch):
        return arch


class Small(Benchmark):
    """Scores 3, 1, NaN, 5, 5."""

    name, version, kind, space = "small", "1", "table", Five()
    tasks: Mapping[str, Task] = {"only": Task("only", "accuracy", "%", ("validation",))}

    @property
    def checksum(self):
        return "0" * 64

    def query(self, archs, task, fidelity=None, seed=None):
        values = np.array([3, 1, np.nan, 5, 5])[self.space.index(archs)]
        return Scores(values, *[np.full(len(values), np.nan)] * 5)


small = Small()


def test_scores_follow_the_order_of_the_space():
    np.testing.assert_array_equal(small.scores("only", "validation"), [3, 1, np.nan, 5, 5])


def test_optimum_ignores_unknown_scores():
    assert small.optimum("only", "validation") == ((3,), 5.0)


@pytest.mark.parametrize(("top", "expected"), [(0.001, 5), (0.25, 5), (0.5, 5), (0.75, 3), (1, 1)])
def test_threshold_counts_scored_architectures_only(top, expected):
    assert small.threshold("only", "validation", top) == expected


def test_quantile_is_the_share_that_scores_at_most_that():
    asked = np.array([0, 1, 2, 3, 5, 9, np.nan])
    np.testing.assert_array_equal(small.quantile("only", "validation", asked), [0, 0.25, 0.25, 0.5, 1, 1, np.nan])


def test_a_split_it_does_not_have_is_an_error():
    with pytest.raises(InputError, match="small/only has no test scores"):
        small.scores("only", "test")


def test_an_unknown_task_is_an_error_that_says_where_it_stood():
    with pytest.raises(InputError, match=r"study\.toml: unknown task of small 'onyl'; did you mean 'only'"):
        small.task("onyl", where="study.toml")


def test_space_draws_and_mutates_by_default():
    rng = np.random.default_rng(0)
    assert {small.space.sample(rng) for _ in range(100)} == {(i,) for i in range(5)}
    assert small.space.mutate((4,), rng) == (0,)
