"""Benchmarks that answer from a table that the user added."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from surrogates.benchmark import Benchmark, Scores, Split, Task
from surrogates.errors import InputError
from surrogates.space import Arch
from surrogates.spaces import spaces
from surrogates.store import Column, Table, names, open_stored


class StoredBenchmark(Benchmark):
    """A benchmark that knows the exact scores, from a table in Nascent's folder.

    Where several training seeds are known, a score without seed is the mean over those that are known of the
    architecture: a missing trial is left out, never replaced.

    Args:
        table: The table.
        declared: Metric and unit of the tasks; tasks that are not among them have a "score" without unit.
        source: Publication and licence; by default where the table came from.
    """

    kind = "table"
    version = "1"

    def __init__(self, table: Table, declared: Mapping[str, Task] | None = None, source: str = "") -> None:
        self.name = table.benchmark
        self.space = spaces.get(table.space)
        self.source = source or f"{table.format}, added from {table.source}"
        self._stored = table
        self._places: dict[tuple[str, str, int], list[int]] = {}
        for place, column in enumerate(table.columns):
            self._places.setdefault(column[:3], []).append(place)
        names = dict.fromkeys(c.task for c in table.columns if "@" not in c.task)
        self.tasks = {name: self._describe(name, (declared or {}).get(name)) for name in names}
        self.note = self._missing_note()

    def _describe(self, name: str, declared: Task | None) -> Task:
        columns = [c for c in self._stored.columns if c.task == name]
        scored = [c for c in columns if c.field == "validation"]
        fields = {c.field for c in columns}
        splits: tuple[Split, ...] = ("validation", "test") if "test" in fields else ("validation",)
        return replace(
            declared or Task(name, metric="score", unit="", splits=splits),
            splits=splits,
            seconds="seconds" in fields,
            fidelities=tuple(sorted({c.fidelity for c in scored} - {0})),
            seeds=tuple(sorted({c.seed for c in scored} - {-1})),
        )

    def _missing_note(self) -> str:
        one_split = [name for name, task in self.tasks.items() if task.splits == ("validation",)]
        notes = []
        if one_split:
            notes.append(
                f"The table publishes no split on {', '.join(one_split)}: methods search on the very score that is "
                "reported."
            )
        every = np.arange(self.space.size)
        unknown = {
            name: int(np.isnan(self._take(*self._address(task, None), "validation", None, every)).sum())
            for name, task in self.tasks.items()
        }
        if any(unknown.values()):
            listed = ", ".join(f"{name} {count:,}" for name, count in unknown.items() if count)
            notes.append(f"Architectures of {self.space.size:,} without a score: {listed}.")
        return " ".join(notes)

    def _address(self, task: Task, fidelity: int | None) -> tuple[str, int]:
        """Returns the task and fidelity of the columns that hold the scores."""
        return task.name, (fidelity or task.fidelities[-1]) if task.fidelities else 0

    def _take(
        self, task: str, fidelity: int, field: str, seed: int | None, rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        places = self._places.get((task, field, fidelity)) or self._places.get((task, field, 0)) or []
        columns = self._stored.columns
        if seed is not None and any(columns[p].seed != -1 for p in places):
            places = [p for p in places if columns[p].seed == seed]
        values = self._stored.values
        if len(places) == 1:
            return np.asarray(values[places[0]])[rows]
        total, known = np.zeros(len(rows)), np.zeros(len(rows))
        for place in places:
            value = np.asarray(values[place])[rows]
            there = ~np.isnan(value)
            total[there] += value[there]
            known += there
        return np.divide(total, known, out=np.full(len(rows), np.nan), where=known > 0)

    def query(
        self,
        archs: Sequence[Arch] | NDArray[np.integer],
        task: str,
        fidelity: int | None = None,
        seed: int | None = None,
    ) -> Scores:
        """Returns the scores of the architectures, in their order; NaN where the table has none.

        Args:
            archs: Architectures of `space`.
            task: Name of a task.
            fidelity: Training epochs, one of the task's `fidelities`; None: the last.
            seed: One of the task's `seeds`; None: the mean over the seeds that are known of the architecture.

        Raises:
            InputError: No such task, fidelity or seed, or an architecture that is not of `space`.
        """
        described = self.task(task)
        self._refuse_unknown(described, fidelity, seed)
        rows = self.space.index(archs)
        name, epochs = self._address(described, fidelity)
        return Scores(*(self._take(name, epochs, field, seed, rows) for field in Scores._fields))

    def values(self, column: Column) -> NDArray[np.float64]:
        """Returns a column of the table as it is stored: shape (architectures,), read-only, mapped.

        Raises:
            InputError: There is no such column.
        """
        if column not in self._stored.columns:
            raise InputError(f"the table {self.name} has no values of {column}")
        return self._stored.values[self._stored.columns.index(column)]

    @property
    def checksum(self) -> str:
        """Hexadecimal SHA-256 of the values' file, taken when the table was converted."""
        return self._stored.sha256


def table_or(
    surrogate: Benchmark, tasks: Mapping[str, Task], source: str, kind: type[StoredBenchmark] = StoredBenchmark
) -> Benchmark:
    """Returns the benchmark on its exact table if the user added one, else the surrogate.

    Args:
        surrogate: What answers without a table.
        tasks: Metric and unit of the table's tasks.
        source: Publication and licence of the table.
        kind: What answers from the table.

    Raises:
        InputError: The table is damaged.
    """
    return kind(open_stored(surrogate.name), tasks, source) if surrogate.name in names() else surrogate
