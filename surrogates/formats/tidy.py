"""Tidy tables: a row a score, from a Parquet or CSV file of the user's own."""

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError, unknown
from surrogates.spaces import spaces
from surrogates.store import Column, Layout, Row, Source, names

_REQUIRED = ("space", "arch", "task", "split", "score")
_OPTIONAL = {"fidelity": 0, "seed": -1, "seconds": np.nan}
_KEY = ["row", "task", "field", "fidelity", "seed"]


class TidyTable(Source):
    """A table with one row a score.

    Columns: `space`, the name of one search space, the same in all rows; `arch`, an architecture as the space writes
    it; `task`; `split`, "validation" or "test"; `score`, higher is better, empty where it is missing; and, if known,
    `fidelity`, training epochs from 1; `seed`, the training seed from 0; `seconds`, the training time up to there.
    """

    format = "tidy table"

    def __init__(self, path: Path, read: Callable[[Path], pd.DataFrame]) -> None:
        self.path, self._read = path, read

    @property
    def layouts(self) -> tuple[Layout, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The one table, whose benchmark has the file's name.

        Raises:
            InputError: Columns are missing or unknown, or one holds something else; the message names it.
        """
        columns = tuple(
            Column(str(key[0]), str(key[1]), int(key[2]), int(key[3])) for key in self._wide.columns.to_list()
        )
        return (Layout(self._name, self._space, columns),)

    @cached_property
    def _name(self) -> str:
        name = re.sub(r"[^a-z0-9]+", "-", self.path.stem.lower()).strip("-")
        if not name or (name in benchmarks.names() and name not in names()):
            raise InputError(
                f"{self.path}: the benchmark takes the file's name, and {name or 'an empty name'!r} is taken; rename it"
            )
        return name

    @cached_property
    def _frame(self) -> pd.DataFrame:
        """The file's columns, all of them, of the types they should have."""
        try:
            frame = self._read(self.path)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} cannot be read: {error}") from error
        known = (*_REQUIRED, *_OPTIONAL)
        if missing := [c for c in _REQUIRED if c not in frame]:
            raise InputError(f"{self.path} lacks the columns {', '.join(missing)}; a tidy table has {', '.join(known)}")
        if others := [str(c) for c in frame if c not in known]:
            raise unknown("column", others[0], known, str(self.path))
        if frame.empty:
            raise InputError(f"{self.path} has no rows")
        for name in ("score", *_OPTIONAL):
            given = frame.get(name, pd.Series(np.nan, frame.index))
            numbers = pd.to_numeric(given, errors="coerce").astype(np.float64)
            self._refuse(given, (numbers.isna() & given.notna()) | np.isinf(numbers), "a finite number, or nothing")
            frame[name] = numbers
        for name, least in (("fidelity", 1), ("seed", 0)):
            self._refuse(frame[name], (frame[name] < least) | (frame[name] % 1 > 0), f"a whole number from {least}")
            frame[name] = frame[name].fillna(_OPTIONAL[name]).astype(np.int64)
        self._refuse(frame["split"], ~frame["split"].isin(("validation", "test")), "validation or test")
        task = frame["task"].astype(str)
        self._refuse(frame["task"], frame["task"].isna() | task.str.contains("@"), "a name without @")
        self._refuse(frame["space"], frame["space"] != frame["space"].iloc[0], "the same space as in the first row")
        return frame.assign(task=task)

    def _refuse(self, column: pd.Series, bad: pd.Series, expected: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            found = column.iloc[row]
            found = found.item() if isinstance(found, np.generic) else found
            raise InputError(f"{self.path}, row {row + 1}: {column.name} is {found!r}; expected {expected}")

    @cached_property
    def _space(self) -> str:
        return spaces.get(str(self._frame["space"].iloc[0]), f"{self.path}, column space").name

    @cached_property
    def _wide(self) -> pd.DataFrame:
        """A row an architecture, a column a task, field, fidelity and seed."""
        space, frame = spaces.get(self._space), self._frame
        codes, texts = pd.factorize(frame["arch"].astype(str))
        try:
            frame["row"] = space.index([space.parse(text) for text in texts])[codes]
        except InputError as error:
            raise InputError(f"{self.path}, column arch: {error}") from error
        scores = frame.rename(columns={"split": "field", "score": "value"})[[*_KEY, "value"]]
        self._refuse(
            frame["arch"], scores.duplicated(_KEY), "one score an architecture, task, split, fidelity and seed"
        )
        timed = frame.assign(field="seconds", value=frame["seconds"])[[*_KEY, "value"]].dropna().drop_duplicates()
        self._refuse(frame["seconds"].loc[timed.index], timed.duplicated(_KEY), "the same in validation and test")
        for task in set(scores["task"]) - set(scores.loc[scores["field"] == "validation", "task"]):
            raise InputError(
                f"{self.path}: the task {task} has no rows of the split validation; a method sees nothing else "
                "(a table without splits calls its one score validation)"
            )
        return pd.concat([scores, timed]).pivot(index="row", columns=_KEY[1:], values="value").sort_index(axis=1)

    def files(self) -> list[Path]:
        """Returns the one file."""
        return [self.path]

    def rows(self, done: Callable[[str, int], bool]) -> Iterator[Row]:
        """Yields the architectures in the order of the space."""
        for row, values in zip(self._wide.index, self._wide.to_numpy(), strict=True):
            yield Row(self._name, int(row), values)


def recognise(path: Path) -> TidyTable | None:
    """Returns the table if the file is Parquet, or text whose first line names one of the columns; else None."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"PAR1"):
        return TidyTable(path, pd.read_parquet)
    header = start.partition(b"\n")[0].decode("utf-8", "replace").strip().split(",")
    if set(_REQUIRED) & {name.strip('" ') for name in header}:
        return TidyTable(path, pd.read_csv)
    return None
