"""NAS-Bench-201: cells for image classification, on the official table if the user added it, else on a surrogate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from surrogates import fitted
from surrogates.benchmark import Task
from surrogates.space import Arch
from surrogates.stored_benchmark import StoredBenchmark, table_or

_SHORT = 12


class NasBench201Table(StoredBenchmark):
    """Accuracies of all 15,625 cells, from an official file: every training seed, every epoch that has a score.

    Networks were trained by two schedules: over 200 epochs with seeds 777, 888 and 999, and over 12 epochs with seeds
    111 and 777. Fidelity 12 is the end of the short schedule; any other fidelity is that epoch of the long one. On
    `cifar10` the validation score is of networks trained on half the training data (the authors' `cifar10-valid`), the
    test score of networks trained on all of it (`cifar10`); seconds are what a search pays: training for the validation
    score, and one evaluation of it. The objectives (latencies and energies) are fitted ones.
    """

    @property
    def objective_units(self) -> Mapping[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Unit of each objective: "ms" or "mJ", for one forward pass of one image."""
        return fitted.NAS_BENCH_201.objective_units

    @property
    def objectives_note(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What every reader of the objectives must know."""
        return fitted.NAS_BENCH_201.objectives_note

    def _describe(self, name: str, declared: Task | None) -> Task:
        described = super()._describe(name, declared)
        short = {c for c in self._stored.columns if c.task == f"{name}@{_SHORT}" and c.field == "validation"}
        seeds = {*described.seeds, *(c.seed for c in short)} - {-1}
        fidelities = {*described.fidelities, *(c.fidelity for c in short if c.fidelity == _SHORT)}
        return replace(described, seeds=tuple(sorted(seeds)), fidelities=tuple(sorted(fidelities)))

    def _address(self, task: Task, fidelity: int | None) -> tuple[str, int]:
        return (f"{task.name}@{_SHORT}", _SHORT) if fidelity == _SHORT else super()._address(task, fidelity)

    def objectives(self, archs: Sequence[Arch] | NDArray[np.integer], task: str) -> dict[str, NDArray[np.float64]]:
        """Returns the fitted latencies and energies of HW-NAS-Bench: each of shape (n,), by name.

        Raises:
            InputError: No such task, or an architecture that is not of `space`.
        """
        return fitted.NAS_BENCH_201.objectives(archs, task)


nas_bench_201 = table_or(
    fitted.NAS_BENCH_201,
    fitted.NAS_BENCH_201.tasks,
    "NAS-Bench-201 (Dong and Yang 2020, ICLR) and NATS-Bench (Dong et al. 2021, TPAMI), MIT",
    NasBench201Table,
)
