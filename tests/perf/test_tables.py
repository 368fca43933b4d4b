"""How long table queries and loading take: `pytest tests/perf --benchmark-only`."""

import numpy as np
import pytest

from surrogates.benchmarks import benchmarks
from surrogates.spaces import spaces

NAMES = ["analog-nasbench", "nas-bench-graph"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 500, 10_000])
def test_query(benchmark, name, batch):
    table, rng = benchmarks.get(name), np.random.default_rng(0)
    archs = [table.space.sample(rng) for _ in range(batch)]
    answer = benchmark(table.query, archs, next(iter(table.tasks)))
    assert len(answer.validation) == batch


@pytest.mark.parametrize("name", NAMES)
def test_load_from_cache(benchmark, name):
    kind = type(benchmarks.get(name))
    task = next(iter(kind.tasks))
    kind().scores(task, "validation")
    scores = benchmark(lambda: kind().scores(task, "validation"))
    assert len(scores) == kind.space.size


@pytest.mark.parametrize("name", ["nas_bench_201", "nas_bench_graph"])
def test_sample_and_mutate(benchmark, name):
    space, rng = spaces.get(name), np.random.default_rng(0)
    assert benchmark(lambda: space.mutate(space.sample(rng), rng))
