"""Tidy tables: a row a score, from a Parquet or CSV file of the user's own."""

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow.parquet import ParquetFile

from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError, unknown
from surrogates.formats.reading import reading
from surrogates.spaces import spaces
from surrogates.store import Column, Layout, Row, Source, names

_REQUIRED = ("space", "arch", "task", "split", "score")
_OPTIONAL = ("fidelity", "seed", "seconds")
_TEXTS = ["space", "arch", "task", "split"]
_UNSTATED = {"fidelity": 0, "seed": -1}
_MOST = 2**31 - 1
_NUMBERS = {
    "score": (-np.inf, np.inf, "a finite number, or nothing"),
    "fidelity": (1, _MOST, f"a whole number from 1 to {_MOST}"),
    "seed": (0, _MOST, f"a whole number from 0 to {_MOST}"),
    "seconds": (0, np.inf, "a finite number from 0, or nothing"),
}
# The peak is 220 to 340 bytes a row: this many stay below 2 GB.
_MOST_ROWS = 5_000_000
_KEY = ["row", "task", "field", "fidelity", "seed"]


class TidyTable(Source):
    """A table with one row a score.

    Columns: `space`, the name of one search space, the same in all rows; `arch`, an architecture as the space writes
    it; `task`; `split`, "validation" or "test"; `score`, higher is better, empty where it is missing; and, if known,
    `fidelity`, training epochs from 1; `seed`, the training seed from 0; `seconds`, the training time up to there.
    Within a task, fidelities are stated in all rows or in none; so are seeds, within a task and split. A file has at
    most 5 million rows.
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
        name = self._name
        space, columns, _ = self._cells
        return (Layout(name, space, columns),)

    @cached_property
    def _name(self) -> str:
        name = re.sub(r"[^a-z0-9]+", "-", self.path.stem.lower()).strip("-")
        if not name or (name in benchmarks.names() and name not in names()):
            raise InputError(
                f"{self.path}: the benchmark takes the file's name, and {name or 'an empty name'!r} is taken; rename it"
            )
        return name

    def _frame(self) -> pd.DataFrame:
        """The file's columns, all of them, of the types they should have; texts are categories in sorted order."""
        frame = self._read(self.path).reset_index(drop=True)
        if len(frame) > _MOST_ROWS:
            raise _too_long(self.path)
        known = (*_REQUIRED, *_OPTIONAL)
        if missing := [c for c in _REQUIRED if c not in frame]:
            raise InputError(f"{self.path} lacks the columns {', '.join(missing)}; a tidy table has {', '.join(known)}")
        if others := [str(c) for c in frame if c not in known]:
            raise unknown("column", others[0], known, str(self.path))
        if frame.empty:
            raise InputError(f"{self.path} has no rows")
        for name, (least, most, expected) in _NUMBERS.items():
            given = frame.get(name, pd.Series(np.nan, frame.index, name=name))
            with reading(self.path, self.format):
                numbers = pd.to_numeric(given, errors="coerce").astype(np.float64)
            bad = (numbers.isna() & given.notna()) | (numbers < least) | (numbers > most) | np.isinf(numbers)
            if name in _UNSTATED:
                self._refuse(given, bad | (numbers % 1 > 0), expected)
                numbers = numbers.fillna(_UNSTATED[name]).astype(np.int32)
            else:
                self._refuse(given, bad, expected)
            frame[name] = numbers
        for name in _TEXTS:
            with reading(self.path, self.format):
                texts = frame[name].astype("category").cat.remove_unused_categories()
                texts = texts.cat.rename_categories([str(text) for text in texts.cat.categories])
                frame[name] = texts.cat.reorder_categories(sorted(texts.cat.categories))
        self._refuse(frame["split"], ~frame["split"].isin(("validation", "test")), "validation or test")
        named = [task for task in frame["task"].cat.categories if task.isprintable() and "@" not in task]
        self._refuse(frame["task"], ~frame["task"].isin(named), "a name without @ and control characters")
        spaces_ = frame["space"].cat.codes
        self._refuse(frame["space"], (spaces_ != spaces_.iloc[0]) | (spaces_ < 0), "the same space as in the first row")
        self._refuse(frame["arch"], frame["arch"].isna(), "an architecture")
        self._refuse_mixed(frame, "fidelity", ["task"])
        self._refuse_mixed(frame, "seed", ["task", "split"])
        self._refuse_mixed(frame[frame["seconds"].notna()], "seed", ["task"])
        return frame

    def _refuse(self, column: pd.Series, bad: pd.Series, expected: str) -> None:
        """Refuses the first row that is bad; the index of both counts the file's rows from 0."""
        if bad.any():
            row = bad.index[np.flatnonzero(bad)[0]]
            found = column.loc[row]
            found = found.item() if isinstance(found, np.generic) else found
            raise InputError(f"{self.path}, row {row + 1}: {column.name} is {found!r}; expected {expected}")

    def _refuse_mixed(self, frame: pd.DataFrame, name: str, within: list[str]) -> None:
        """Refuses a number that only some rows of a group state: the others would be averaged with them."""
        stated = (frame[name] != _UNSTATED[name]).groupby([frame[key] for key in within], observed=True)
        mixed = stated.any() & ~stated.all()
        if mixed.any():
            group = mixed.index[np.flatnonzero(mixed)[0]]
            where = ", ".join(map(str, group)) if isinstance(group, tuple) else group
            raise InputError(
                f"{self.path}, task {where}: some rows state a {name} and others do not; state it in all or in none"
            )

    @cached_property
    def _cells(self) -> tuple[str, tuple[Column, ...], pd.DataFrame]:
        """The space, the columns, and a row a number: row of the architecture, place of the column, value."""
        frame = self._frame()
        space = spaces.get(str(frame["space"].iloc[0]), f"{self.path}, column space")
        try:
            parsed = space.index([space.parse(text) for text in frame["arch"].cat.categories])
        except InputError as error:
            raise InputError(f"{self.path}, column arch: {error}") from error
        frame["row"] = parsed[frame["arch"].cat.codes].astype(np.int32)
        frame["field"] = frame.pop("split").cat.set_categories(["seconds", "test", "validation"])
        validated = frame.loc[frame["field"] == "validation", "task"].unique()
        for task in frame["task"].cat.categories.difference(validated):
            raise InputError(
                f"{self.path}: the task {task} has no rows of the split validation; a method sees nothing else "
                "(a table without splits calls its one score validation)"
            )
        scores = frame[[*_KEY, "score"]].rename(columns={"score": "value"})
        timed = frame.loc[frame["seconds"].notna(), [*_KEY, "seconds"]].rename(columns={"seconds": "value"})
        timed["field"] = pd.Series("seconds", timed.index).astype(scores["field"].dtype)
        cells = pd.concat([scores, timed])
        rows, archs = len(scores), frame["arch"]
        del frame, scores, timed
        cells["column"] = cells.groupby(_KEY[1:], observed=True).ngroup().astype(np.int32)
        keys = cells.drop_duplicates("column").sort_values("column")[_KEY[1:]]
        columns = tuple(Column(*key) for key in keys.itertuples(index=False))
        cells = cells[["row", "column", "value"]]
        scores, timed = cells[:rows], cells[rows:].drop_duplicates()
        again = scores.duplicated(["row", "column"])
        self._refuse(archs, again, "one score an architecture, task, split, fidelity and seed")
        again = timed.duplicated(["row", "column"])
        self._refuse(timed["value"].rename("seconds"), again, "the same in validation and test")
        return space.name, columns, pd.concat([scores, timed]).sort_values("row", ignore_index=True)

    def files(self) -> list[Path]:
        """Returns the one file."""
        return [self.path]

    def rows(self, done: Callable[[str, int], bool]) -> Iterator[Row]:
        """Yields the architectures in the order of the space."""
        _, columns, cells = self._cells
        archs, starts = np.unique(cells["row"], return_index=True)
        places, numbers = cells["column"].to_numpy(), cells["value"].to_numpy()
        for arch, start, stop in zip(archs, starts, [*starts[1:], len(cells)], strict=True):
            values = np.full(len(columns), np.nan)
            values[places[start:stop]] = numbers[start:stop]
            yield Row(self._name, int(arch), values)


def _too_long(path: Path) -> InputError:
    return InputError(
        f"{path} has more than {_MOST_ROWS} rows, which may not fit into memory; "
        "split it into a file a task, each of which becomes a benchmark"
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    with reading(path, TidyTable.format):
        file = ParquetFile(path, read_dictionary=_TEXTS)
    with file:
        if file.metadata.num_rows > _MOST_ROWS:
            raise _too_long(path)
        with reading(path, TidyTable.format):
            return file.read().to_pandas(split_blocks=True, self_destruct=True)


def _read_csv(path: Path) -> pd.DataFrame:
    with reading(path, TidyTable.format):
        # Without compression=None, a name such as t.zip would decide how the text is read.
        return pd.read_csv(path, compression=None, dtype=dict.fromkeys(_TEXTS, "category"), nrows=_MOST_ROWS + 1)


def recognise(path: Path) -> TidyTable | None:
    """Returns the table if the file is Parquet, or text whose first line names one of the columns; else None."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"PAR1"):
        return TidyTable(path, _read_parquet)
    header = start.partition(b"\n")[0].decode("utf-8", "replace").strip().split(",")
    if set(_REQUIRED) & {name.strip('" ') for name in header}:
        return TidyTable(path, _read_csv)
    return None
