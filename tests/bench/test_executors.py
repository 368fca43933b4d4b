import asyncio
import os
import signal

import numpy as np
import pytest

from bench.executors import Inline, ProcessPool


@pytest.fixture(scope="module")
def pool():
    made = ProcessPool(2)
    yield made
    made.close()


def test_a_pool_answers_as_this_process_does(pool, graph):
    archs = [tuple(a) for a in graph.space.enumerate()[::501].tolist()]
    here = asyncio.run(Inline().query(graph, archs, "cora", None))
    there = asyncio.run(pool.query(graph, archs, "cora", None))
    for mine, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_pool_that_loses_a_process_still_answers(pool, graph):
    archs = [tuple(a) for a in graph.space.enumerate()[:4].tolist()]
    asyncio.run(pool.query(graph, archs, "cora", None))
    for worker in list(pool._pool._processes):
        os.kill(worker, signal.SIGKILL)
    scores = asyncio.run(pool.query(graph, archs, "cora", None))
    np.testing.assert_array_equal(scores.validation, graph.query(archs, "cora").validation)
