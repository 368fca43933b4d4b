"""Fixtures that several folders share."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.budget import Budget
from bench.driver import Driver
from bench.executors import Executor, Inline
from bench.journal import Journal
from bench.methods import methods
from bench.study import Run
from surrogates.benchmark import Benchmark
from surrogates.benchmarks import benchmarks

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
def require_llm() -> None:
    """Skips where vLLM or the models are not set up, unless NASCENT_REQUIRE_LLM=1 makes that a failure."""
    from bench.llm import environment, models, weights

    if os.environ.get("NASCENT_REQUIRE_LLM") == "1":
        return
    if not (environment.ready() and weights.ready(models.get("smollm2"))):
        pytest.skip("vLLM or the weights are not set up: nascent llm setup")
