"""Fixtures that several folders share."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

from analysis.programs import Program, sources
from bench.budget import Budget
from bench.driver import Driver
from bench.executors import Executor, Inline
from bench.journal import Journal
from bench.methods import methods
from bench.novelty_filter import NoveltyFilter
from bench.study import Run
from surrogates.benchmark import Benchmark
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from theory.minhash import estimate_variance, jaccard

settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")

MakeRuns = Callable[..., list[Run]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the file that takes longest first."""
    items.sort(key=lambda item: item.path.name != "test_served.py")


@pytest.fixture(scope="session")
def analog() -> Benchmark:
    return benchmarks.get("analog-nasbench")


@pytest.fixture(scope="session")
def graph() -> Benchmark:
    return benchmarks.get("nas-bench-graph")


@pytest.fixture(scope="session")
def make_runs(graph: Benchmark) -> MakeRuns:
    """Makes runs of a method, one a seed."""

    def make(name: str, seeds: int = 3, benchmark: Benchmark = graph, task: str = "cora", **limits: float) -> list[Run]:
        method, budget = methods.get(name), Budget(**(limits or {"evaluations": 30}))  # pyright: ignore[reportArgumentType]
        return [Run(method, method.complete({}), benchmark, task, seed, budget) for seed in range(seeds)]

    return make


@pytest.fixture
def drive(tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Drives runs in a journal under `tmp_path`."""

    def do(runs: Sequence[Run], executor: Executor | None = None, name: str = "journal.sqlite") -> dict[str, int]:
        journal = Journal(tmp_path / name)
        try:
            return Driver(journal, executor or Inline(), tmp_path / "logs").drive(runs)
        finally:
            journal.close()

    return do


@pytest.fixture(scope="session")
def block() -> str:
    """A class of a network, with local variables, loops and a docstring."""
    return '''class Block(nn.Module):
    """A block; its name is Block."""

    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()
        layers = [nn.Linear(width, width) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        total = sum(p.numel() for p in self.layers.parameters())
        self.total = total  # the total
        label = f"{total} parameters"
        self.label = label

    def forward(self, x):
        y = self.layers(x)
        for step in range(3):
            y = y + step * x
        return {"out": y, "step": step}
'''


@pytest.fixture(scope="session")
def pool() -> list[Program]:
    """Real programs, where there are any."""
    try:
        return sources(np.random.default_rng(0), 300)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def similar() -> Callable[..., tuple[frozenset[str], frozenset[str], float]]:
    """Makes two sets of equal size with (nearly) a Jaccard similarity, and tells the exact one."""

    def make(similarity: float, size: int, rng: np.random.Generator) -> tuple[frozenset[str], frozenset[str], float]:
        common = round(2 * size * similarity / (1 + similarity))
        items = [f"{v:x}" for v in rng.integers(2**62, size=2 * size - common)]
        a, b = frozenset(items[:size]), frozenset(items[:common] + items[size:])
        return a, b, jaccard(a, b)

    return make


@pytest.fixture(scope="session")
def misjudged() -> Callable[[Sequence[frozenset[str]]], list[float]]:
    """Finds what the novelty filter judges wrongly though it is far from the threshold."""

    def find(sets: Sequence[frozenset[str]]) -> list[float]:
        kept, found = [], []
        spread = 5 * np.sqrt(estimate_variance(0.9, 256))
        for i, (program, admitted) in enumerate(zip(sets, NoveltyFilter().admit_shingles(sets), strict=True)):
            nearest = max((jaccard(program, other) for other in kept), default=0.0)
            if (admitted and nearest > 0.9 + spread) or (not admitted and nearest < 0.9 - spread):
                found.append((i, nearest))
            if admitted:
                kept.append(program)
        assert kept
        return found

    return find
