import asyncio
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import cast

import numpy as np
import pytest

from bench.executors import ExecutorError, Inline, ProcessPool


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


class Deadly:
    """Ends the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_question_that_ends_its_process_is_told_from_a_machine_that_can_compute_nothing(pool, graph, monkeypatch):
    archs = [tuple(a) for a in graph.space.enumerate()[:4].tolist()]
    deadly = [cast("tuple[int, ...]", Deadly())]
    with pytest.raises(BrokenProcessPool):
        asyncio.run(pool.query(graph, deadly, "cora", None))
    asyncio.run(pool.query(graph, archs, "cora", None))  # others are answered

    monkeypatch.setattr(pool, "_new", lambda: ProcessPoolExecutor(1, initializer=os._exit, initargs=(1,)))
    for worker in list(pool._pool._processes):
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(ExecutorError, match="--executor inline"):
        asyncio.run(pool.query(graph, archs, "cora", None))
