"""Where evaluations are computed: in this process, or on a pool of processes."""

import asyncio
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Protocol

import numpy as np

from surrogates.benchmark import Benchmark, Scores
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from surrogates.space import Arch


class Executor(Protocol):
    """Answers the questions to benchmarks."""

    async def query(self, benchmark: Benchmark, archs: Sequence[Arch], task: str, fidelity: int | None) -> Scores:
        """Returns the scores of the architectures, as `Benchmark.query` does."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class Inline:
    """Computes in this process."""

    async def query(self, benchmark: Benchmark, archs: Sequence[Arch], task: str, fidelity: int | None) -> Scores:
        """Returns `benchmark.query(...)`."""
        return benchmark.query(archs, task, fidelity)

    def close(self) -> None:
        """Has nothing to give back."""


class ExecutorError(InputError):
    """Nothing can be computed, whatever the architectures."""


class ProcessPool:
    """Computes on a pool of processes; a question whose process was lost is put again, once, to a pool of its own.

    Args:
        workers: Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        # Ctrl-C in a terminal reaches all processes; the pool's are ended by this one.
        ignoring = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
        return ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"), **ignoring)

    async def query(self, benchmark: Benchmark, archs: Sequence[Arch], task: str, fidelity: int | None) -> Scores:
        """Returns the scores; the architectures are shared out over the processes in order.

        Raises:
            ExecutorError: No process can be started, or each ends at once.
            BrokenProcessPool: The architectures end the process that computes them.
        """
        pool = self._pool
        try:
            return await self._share(pool, benchmark, archs, task, fidelity)
        except (BrokenProcessPool, OSError):
            if self._pool is pool:
                self._pool = self._new()
        alone = self._new()
        try:
            return await self._share(alone, benchmark, archs, task, fidelity)
        except (BrokenProcessPool, OSError):
            await self._try()
            raise
        finally:
            alone.shutdown(wait=False, cancel_futures=True)

    async def _try(self) -> None:
        """Makes sure that a process can compute anything at all."""
        probe = self._new()
        try:
            await asyncio.get_running_loop().run_in_executor(probe, os.getpid)
        except (BrokenProcessPool, OSError) as error:
            raise ExecutorError(
                f"processes for evaluations cannot be started or end at once ({error}); give fewer --workers, or "
                "--executor inline; from a script, start under `if __name__ == '__main__':`"
            ) from error
        finally:
            probe.shutdown(wait=False, cancel_futures=True)

    async def _share(
        self, pool: ProcessPoolExecutor, benchmark: Benchmark, archs: Sequence[Arch], task: str, fidelity: int | None
    ) -> Scores:
        size = -(-len(archs) // self._workers)
        chunks = [archs[i : i + size] for i in range(0, len(archs), size)]
        loop = asyncio.get_running_loop()
        asked = [loop.run_in_executor(pool, _query, benchmark.name, chunk, task, fidelity) for chunk in chunks]
        return Scores(*(np.concatenate(column) for column in zip(*await asyncio.gather(*asked), strict=True)))

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown(cancel_futures=True)


def _query(benchmark: str, archs: Sequence[Arch], task: str, fidelity: int | None) -> Scores:
    return benchmarks.get(benchmark).query(archs, task, fidelity)


def make(kind: str, workers: int | None) -> Executor:
    """Returns the executor of that kind: "inline" or "process" (`workers` processes, by default one a core)."""
    return Inline() if kind == "inline" else ProcessPool(workers or os.cpu_count() or 1)
