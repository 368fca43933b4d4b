"""Benchmarks: what an architecture of a space scores on a task."""

from surrogates.benchmark import Benchmark
from surrogates.registry import Registry

benchmarks = Registry(Benchmark, "surrogates.benchmarks", "nascent.benchmarks", separator="-")
