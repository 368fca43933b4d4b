"""NAS-Bench-Graph: graph neural networks on nine data sets, from the package `nas-bench-graph`."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogates.benchmark import Task
from surrogates.errors import InputError
from surrogates.spaces.nas_bench_graph import nas_bench_graph as space
from surrogates.tables import TableBenchmark, package_file
from surrogates.unpickle import unpickle

_FIELDS = {"validation": "valid_perf", "test": "perf", "latency": "latency", "parameters": "para"}
_TASKS = ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins")


class _Float64Type:
    """Stands in for numpy.dtype: accepts little-endian float64 and nothing else."""

    def __init__(self, code: str, *_: object) -> None:
        if code != "f8":
            raise ValueError(f"data type {code!r}")

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] != "<":
            raise ValueError(f"byte order {state[1]!r}")


def _float64(_: _Float64Type, content: bytes) -> float:
    """Stands in for numpy.core.multiarray.scalar."""
    return struct.unpack("<d", content)[0]


class NasBenchGraph(TableBenchmark):
    """Scores of 26,206 graph neural networks on nine data sets, means of three seeds (Qin et al. 2022).

    Accuracy on all tasks but `proteins`, whose metric is ROC-AUC, and for which only the 2,021 architectures without
    gat, gin, cheb and graph layers are known; the others are NaN. The authors' latency is that of the trained network,
    in seconds; training times are not published. Parameters are a mean over seeds, so not always a whole number.
    """

    name = "nas-bench-graph"
    version = "1"
    space = space
    tasks: Mapping[str, Task] = {
        task: Task(task, "ROC-AUC" if task == "proteins" else "accuracy", unit="1", splits=("validation", "test"))
        for task in _TASKS
    }
    note = (
        "NAS-Bench-Graph publishes means of three training seeds and no training times; on proteins only 2,021 "
        "of the 26,206 architectures have scores."
    )
    source = "NAS-Bench-Graph (Qin et al. 2022, NeurIPS), PyPI package nas-bench-graph 1.4.0, Apache-2.0"
    columns = tuple(f"{task}/{field}" for task in _TASKS for field in ("validation", "test", "latency", "parameters"))

    def sources(self) -> list[Path]:
        """Returns the package's data files, one a task."""
        return [package_file("nas_bench_graph", "nas-bench-graph==1.4.0", f"light/{task}.bench") for task in _TASKS]

    def convert(self) -> NDArray[np.float64]:
        """Reads the data files: shape (36, 26206)."""
        archs = self.space.enumerate()
        # The package's key: the rank of the links, then the operations' digits, base ten.
        links = np.unique(archs[:, :4], axis=0, return_inverse=True)[1].reshape(-1)
        keys = links * 10**4 + archs[:, 4:] @ (1000, 100, 10, 1)
        row_of = {key: row for row, key in enumerate(keys.tolist())}
        table = np.full((len(_TASKS), len(_FIELDS), self.space.size), np.nan)
        allowed = {("numpy.core.multiarray", "scalar"): _float64, ("numpy", "dtype"): _Float64Type}
        for block, path in zip(table, self.sources(), strict=True):
            records = unpickle(path, allowed)
            try:
                for key, record in records.items():  # pyright: ignore[reportAttributeAccessIssue]
                    block[:, row_of[key]] = [record[field] for field in _FIELDS.values()]
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path} does not hold scores by architecture ({error!r}); "
                    "reinstall it: pip install --force-reinstall nas-bench-graph==1.4.0"
                ) from error
        # In millions; rounding takes back what binary fractions of a million add.
        table[:, list(_FIELDS).index("parameters")] = np.round(table[:, list(_FIELDS).index("parameters")] * 1e6, 6)
        return table.reshape(len(self.columns), self.space.size)


nas_bench_graph = NasBenchGraph()
