"""Benchmarks: what an architecture of a space scores on a task."""

from surrogates import store
from surrogates.benchmark import Benchmark
from surrogates.registry import Registry


class _Benchmarks(Registry[Benchmark]):
    """The benchmarks that come with Nascent, those of plugins, and the tables that the user added."""

    def names(self) -> list[str]:
        return sorted({*super().names(), *store.names()})

    def _load(self, name: str, where: str) -> Benchmark:
        if name in store.names() and name not in super().names():
            from surrogates.stored_benchmark import StoredBenchmark

            return StoredBenchmark(store.open_stored(name))
        return super()._load(name, where)


benchmarks = _Benchmarks(Benchmark, "surrogates.benchmarks", "nascent.benchmarks", separator="-")
