"""What the tests of methods share that choose among what is left of a space."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.effects import Evaluate, Evaluation
from bench.method import Problem
from bench.methods import methods
from surrogates.benchmark import Benchmark
from surrogates.space import Arch, Space
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro

Judge = Callable[[Arch], float]
Scored = tuple[Arch, float]


@pytest.fixture(scope="session")
def play(analog: Benchmark) -> Callable[..., Iterator[Scored]]:
    """Starts a method and gives its evaluations one by one: architectures with their `judge`d scores (NaN: failed)."""

    def start(name: str, judge: Judge, seed: int = 0, space: Space = trans_nas_bench_101_micro, **parameters: object):
        method, problem = methods.get(name), Problem(space, analog.task("clean"), "a test")
        search = method.start(problem, np.random.default_rng(seed), method.complete(parameters))

        def run() -> Iterator[Scored]:
            reply = None
            while True:
                try:
                    effect = next(search) if reply is None else search.send(reply)
                except StopIteration:
                    return
                assert isinstance(effect, Evaluate)
                reply = []
                for arch in effect.proposals:
                    assert isinstance(arch, tuple)
                    score = float(judge(arch))
                    reply.append(Evaluation(arch, score, np.nan, "diverged" if np.isnan(score) else None))
                    yield arch, score

        return run()

    return start


@pytest.fixture(scope="session")
def search(play: Callable[..., Iterator[Scored]]) -> Callable[..., list[Scored]]:
    """Plays a method for a number of evaluations, or to its end."""
    return lambda name, judge, count, seed=0, **given: list(islice(play(name, judge, seed, **given), count))


@pytest.fixture(scope="session")
def separable() -> tuple[Space, Judge, NDArray[np.float64]]:
    """A space, the sum of one random number for each option of each decision, and its values over the space."""
    space = trans_nas_bench_101_macro
    worth = np.random.default_rng(2026).normal(size=(len(space.decisions), len(space.decisions[0].options)))

    def judge(arch: Arch) -> float:
        return float(worth[np.arange(len(arch)), arch].sum())

    return space, judge, worth[np.arange(len(worth)), space.enumerate()].sum(axis=1)
