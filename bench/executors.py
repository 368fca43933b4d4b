"""Where evaluations are computed: in this process, or on a pool of processes."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

from surrogates.benchmark import Benchmark, Scores
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from surrogates.space import Arch

P = ParamSpec("P")
T = TypeVar("T")


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
    """Computes on a pool of processes; a question whose process was lost is put again, once, to processes of its own.

    Args:
        workers: Number of processes; of those that questions are put to again, one question at a time, as many more.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._new()
        self._again = threading.Lock()

    def _new(self) -> ProcessPoolExecutor:
        # Ctrl-C in a terminal reaches all processes; the pool's are ended by this one.
        ignoring = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
        try:
            return ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"), **ignoring)
        except OSError as error:
            raise _nowhere(error) from error

    async def query(self, benchmark: Benchmark, archs: Sequence[Arch], task: str, fidelity: int | None) -> Scores:
        """Returns the scores; the architectures are shared out over the processes in order.

        Raises:
            ExecutorError: No process can be started, or each ends at once.
            BrokenProcessPool: The architectures end the process that computes them.
        """
        pool, question = self._pool, (benchmark.name, archs, task, fidelity)
        try:
            return _joined(await asyncio.gather(*map(asyncio.wrap_future, self._ask(pool, *question))))
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = self._new()
        return await asyncio.to_thread(self._ask_alone, *question)

    def _ask(
        self, pool: ProcessPoolExecutor, benchmark: str, archs: Sequence[Arch], task: str, fidelity: int | None
    ) -> list[Future[Scores]]:
        size = -(-len(archs) // self._workers)
        chunks = [archs[i : i + size] for i in range(0, len(archs), size)]
        return [_submit(pool, _query, benchmark, chunk, task, fidelity) for chunk in chunks]

    def _ask_alone(self, benchmark: str, archs: Sequence[Arch], task: str, fidelity: int | None) -> Scores:
        """Answers a question by processes that no other question can end."""
        with self._again:
            try:
                with self._new() as pool:
                    return _joined([found.result() for found in self._ask(pool, benchmark, archs, task, fidelity)])
            except BrokenProcessPool:
                self._try()
                raise

    def _try(self) -> None:
        """Makes sure that a process can compute anything at all."""
        try:
            with self._new() as pool:
                _submit(pool, os.getpid).result()
        except BrokenProcessPool as error:
            raise _nowhere(error) from error

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> Future[T]:
    try:
        return pool.submit(function, *arguments, **named)
    except OSError as error:
        raise _nowhere(error) from error


def _nowhere(error: Exception) -> ExecutorError:
    return ExecutorError(
        f"processes for evaluations cannot be started or end at once ({error}); give fewer --workers, or "
        "--executor inline; from a script, start under `if __name__ == '__main__':`"
    )


def _joined(parts: Iterable[Scores]) -> Scores:
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _query(benchmark: str, archs: Sequence[Arch], task: str, fidelity: int | None) -> Scores:
    return benchmarks.get(benchmark).query(archs, task, fidelity)


def make(kind: str, workers: int | None) -> Executor:
    """Returns the executor of that kind: "inline" or "process" (`workers` processes, by default one a core)."""
    return Inline() if kind == "inline" else ProcessPool(workers or os.cpu_count() or 1)
