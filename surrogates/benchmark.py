"""What every benchmark offers: tasks, and one vectorised question."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from surrogates.errors import InputError, unknown
from surrogates.space import Arch, Space

Split = Literal["validation", "test"]


class Scores(NamedTuple):
    """Scores of n architectures, each an array of shape (n,); NaN where the benchmark does not know.

    Attributes:
        validation: The score a method may see, in the task's unit; higher is better.
        test: The score only analysis sees, in the task's unit.
        seconds: Simulated training time.
        latency: Seconds, as the benchmark's authors define it.
        parameters: Number of trainable parameters.
        flops: Floating-point operations of one forward pass.
    """

    validation: NDArray[np.float64]
    test: NDArray[np.float64]
    seconds: NDArray[np.float64]
    latency: NDArray[np.float64]
    parameters: NDArray[np.float64]
    flops: NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """A data set with a metric, in a benchmark.

    Attributes:
        name: Name of the task.
        metric: What is measured, e.g. "accuracy".
        unit: Unit of the scores: "%", "1" (a share) or "" (not stated).
        splits: The splits that have scores. `("validation",)` alone means that the benchmark publishes a single score
            with no split: methods search on the very score that is reported.
        seconds: Whether a simulated training time is known.
        fidelities: The training epochs that can be asked for, the last being full training; empty: only one exists.
        seeds: Training seeds that can be asked for; empty: one (averaged) result.
        negated: Whether the score is the negative of the metric, of which less is better.
    """

    name: str
    metric: str
    unit: str
    splits: tuple[Split, ...]
    seconds: bool = False
    fidelities: tuple[int, ...] = ()
    seeds: Sequence[int] = ()
    negated: bool = False

    @property
    def scale(self) -> float:
        """What scores are multiplied by, so that percent become shares."""
        return 0.01 if self.unit == "%" else 1.0

    @property
    def reported(self) -> Split:
        """The split on which results are reported."""
        return self.splits[-1]


class Benchmark(ABC):
    """A space, its tasks, and what each architecture scores.

    Attributes:
        name: Name of the benchmark.
        version: Declared version of this adapter; raise it when scores change.
        kind: "table" (exact), "surrogate" (fitted, approximate), "training" (networks are really trained) or "proxy"
            (what is computed from untrained networks, which is no accuracy).
        space: The search space.
        tasks: The tasks by name.
        note: What every reader of a figure made from it must know; "" for nothing.
        source: Publication and licence.
        objective_units: Units of the further `objectives`, by their names.
        objectives_note: What every reader of these must know; "" for nothing.
    """

    name: str
    version: str
    kind: Literal["table", "surrogate", "training", "proxy"]
    space: Space
    tasks: Mapping[str, Task]
    note: str = ""
    source: str = ""
    objective_units: Mapping[str, str] = {}
    objectives_note: str = ""

    @abstractmethod
    def query(
        self,
        archs: Sequence[Arch] | NDArray[np.integer],
        task: str,
        fidelity: int | None = None,
        seed: int | None = None,
    ) -> Scores:
        """Returns the scores of the architectures, in their order.

        Args:
            archs: Architectures of `space`.
            task: Name of a task.
            fidelity: Epochs, one of the task's `fidelities`; None: full training.
            seed: One of the task's `seeds`; None: the mean over seeds.

        Raises:
            InputError: No such task, fidelity or seed.
        """

    @property
    @abstractmethod
    def checksum(self) -> str:
        """Hexadecimal SHA-256 of the data behind the scores."""

    def objectives(self, archs: Sequence[Arch] | NDArray[np.integer], task: str) -> dict[str, NDArray[np.float64]]:
        """Returns what else is known of the architectures, e.g. latency on a device: each of shape (n,), by name.

        Raises:
            InputError: No such task, or an architecture that is not of `space`.
        """
        self.task(task)
        self.space.as_array(archs)
        return {}

    def task(self, name: str, where: str = "") -> Task:
        """Returns the task called `name`, or raises an `InputError` with the nearest name."""
        if name not in self.tasks:
            raise unknown(f"task of {self.name}", name, self.tasks, where)
        return self.tasks[name]

    def _refuse_unknown(self, task: Task, fidelity: int | None, seed: int | None) -> None:
        """Raises an `InputError` that lists what can be asked for, unless the task has this fidelity and this seed."""
        for what, value, known in (("fidelity", fidelity, task.fidelities), ("seed", seed, task.seeds)):
            if value is not None and value not in known:
                listed = f"{known[0]} to {known[-1]}" if len(known) > 9 else ", ".join(map(str, known))
                raise InputError(
                    f"{self.name}/{task.name} has no {what} {value}; "
                    + (f"known: {listed}" if known else f"it has one result only: leave {what} out")
                )

    def scores(self, task: str, split: Split) -> NDArray[np.float64]:
        """Returns the scores of all architectures at full fidelity, in the order of `space.enumerate()`; read-only.

        Raises:
            InputError: The task has no such split.
        """
        if split not in self.task(task).splits:
            raise InputError(f"{self.name}/{task} has no {split} scores; it has {', '.join(self.tasks[task].splits)}")
        if (task, split) not in self._whole:
            found = getattr(self.query(self.space.enumerate(), task), split)
            found.flags.writeable = False
            self._whole[task, split] = found
        return self._whole[task, split]

    @cached_property
    def _whole(self) -> dict[tuple[str, Split], NDArray[np.float64]]:
        return {}

    def optimum(self, task: str, split: Split) -> tuple[Arch, float]:
        """Returns an architecture with the highest score of all, and that score."""
        scores = self.scores(task, split)
        best = int(np.nanargmax(scores))
        return tuple(self.space.enumerate()[best].tolist()), float(scores[best])

    def threshold(self, task: str, split: Split, top: float = 0.001) -> float:
        """Returns the lowest score among the best share `top` of all scored architectures (at least one)."""
        scores = np.sort(self.scores(task, split))
        scores = scores[~np.isnan(scores)]
        return float(scores[-max(1, round(top * len(scores)))])

    def quantile(self, task: str, split: Split, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns, for each score, the share of all scored architectures that score at most that; NaN stays NaN."""
        every = np.sort(self.scores(task, split))
        every = every[~np.isnan(every)]
        share = np.searchsorted(every, scores, side="right") / len(every)
        return np.where(np.isnan(scores), np.nan, share)
