"""AnalogNAS-Bench: NAS-Bench-201 cells on analog in-memory hardware, from the package `analog-nasbench`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogates.benchmark import Task
from surrogates.cell_space import EDGES
from surrogates.errors import InputError
from surrogates.space import Arch
from surrogates.spaces.nas_bench_201 import OPERATIONS, nas_bench_201
from surrogates.tables import TableBenchmark, package_file
from surrogates.unpickle import unpickle

_ACCURACIES = {"clean": "baseline", "ptq": "ptq", "qat": "qat", "noisy": "noisy", "analog": "analog"}
_DRIFTS = [f"{network}_drift_{seconds}" for network in ("baseline", "analog") for seconds in (60, 3600, 86400, 2592000)]

# The package's order of edges and codes of operations, which are those of NASLib.
_THEIR_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
_THEIR_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")


class _Record:
    """Stands in for the package's classes, of which only the attributes are read."""


class AnalogNasBench(TableBenchmark):
    """CIFAR-10 accuracies of all NAS-Bench-201 cells on analog in-memory hardware.

    ("AnalogNAS-Bench: A NAS Benchmark for Analog In-Memory Computing", 2025, arXiv:2506.18495.)

    Tasks: `clean` (digital, full precision); `ptq` and `qat` (quantised after and during training); `noisy` (the
    digitally trained network on simulated analog hardware); `analog` (trained hardware-aware); and the accuracies of
    the digitally trained (`baseline_drift_*`) and the hardware-aware network (`analog_drift_*`) after 60, 3600, 86400
    and 2592000 seconds of conductance drift.
    """

    name = "analog-nasbench"
    version = "1"
    space = nas_bench_201
    tasks: Mapping[str, Task] = {
        task: Task(task, metric="accuracy", unit="%", splits=("validation",)) for task in (*_ACCURACIES, *_DRIFTS)
    }
    note = (
        "AnalogNAS-Bench publishes one CIFAR-10 score a task and no split: methods search on the very score "
        "that is reported."
    )
    source = "AnalogNAS-Bench (arXiv:2506.18495), PyPI package analog-nasbench 0.1.3, which states no licence"
    columns = (*(f"{task}/validation" for task in tasks), *(f"{task}/uncertainty" for task in _DRIFTS))

    def sources(self) -> list[Path]:
        """Returns the package's one data file."""
        return [package_file("analognasbench", "analog-nasbench==0.1.3", "data.anb")]

    def convert(self) -> NDArray[np.float64]:
        """Reads the data file: shape (21, 15625)."""
        (path,) = self.sources()
        classes = {("analognasbench.data", name): _Record for name in ("Architecture", "DriftMeasurement")}
        records = unpickle(path, classes)
        order = [EDGES.index(edge) for edge in _THEIR_EDGES]
        codes = np.array([_THEIR_OPERATIONS.index(op) for op in OPERATIONS])
        keys = codes[self.space.enumerate()[:, order]].tolist()
        try:
            rows = []
            for key in keys:
                record = vars(records[tuple(key)])  # pyright: ignore[reportIndexIssue]
                drifts = [vars(record[drift]) for drift in _DRIFTS]
                rows.append(
                    [record[f"{name}_accuracy"] for name in _ACCURACIES.values()]
                    + [drift["value"] for drift in drifts]
                    + [drift["uncertainty"] for drift in drifts]
                )
            return np.array(rows, dtype=np.float64).T
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} does not hold the scores of all {self.space.size} cells ({error!r}); "
                "reinstall it: pip install --force-reinstall analog-nasbench==0.1.3"
            ) from error

    def uncertainty(self, archs: Sequence[Arch] | NDArray[np.integer], task: str) -> NDArray[np.float64]:
        """Returns the published uncertainties of drift accuracies in percentage points, shape (n,).

        The package says "value ± uncertainty" and does not say of what kind. NaN for the tasks without drift.

        Raises:
            InputError: No such task, or an architecture that is not of `space`.
        """
        self.task(task)
        return self._take(f"{task}/uncertainty", self.space.index(archs))


analog_nasbench = AnalogNasBench()
