"""A user's table of measurements: read from a file, its columns checked, arranged by seed and cycle."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from surrogates.errors import InputError, unknown

Floats = NDArray[np.float64]

CYCLES_AT_MOST = 100_000

ROUNDING = 1e-9
"""How far rounding may carry a number out of its range."""

BY = ("model", "task")
"""Columns by which a table is split, where it has them."""


def read(table: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str]:
    """Returns a table that may be changed, and its name for errors.

    Args:
        table: The table, or a Parquet or CSV file that holds it.

    Raises:
        InputError: A file that cannot be read.
    """
    if isinstance(table, pd.DataFrame):
        return table.copy(), "table"
    path = Path(table)
    readers = {".parquet": pd.read_parquet, ".pq": pd.read_parquet, ".csv": pd.read_csv}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: expected a file that ends in .parquet or .csv")
    try:
        return readers[path.suffix.lower()](path), str(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from error


def told(column: pd.Series, row: int) -> str:
    """Returns what a row of a table holds, for errors; the index has the rows' places in the table, from 0."""
    value = column.iloc[row]
    return f"row {column.index[row] + 1} holds {value.item() if isinstance(value, np.generic) else value!r}"


def check_labels(frame: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    """Makes sure that columns can tell rows apart.

    Raises:
        InputError: An empty cell, or one that holds several values; the message names column and row.
    """
    for column in columns:
        empty = frame[column].isna().to_numpy()
        wrong = empty | ~np.array([isinstance(value, Hashable) for value in frame[column]], dtype=bool)
        if wrong.any():
            row = int(wrong.argmax())
            what = "is empty" if empty[row] else "holds several values"
            raise InputError(f"{where}: column {column!r} {what} in row {row + 1}; each row must have its {column}")


def numbers(
    column: pd.Series, where: str, infinite: float = np.nan, low: float = -np.inf, high: float = np.inf
) -> pd.Series:
    """Returns a column as floats, NaN where it is empty.

    Args:
        column: The column.
        where: Its table, for errors.
        infinite: Which infinity it may hold, if any.
        low: The smallest finite number that it may hold.
        high: The largest.

    Raises:
        InputError: It holds something else, or other infinite numbers; the message names the row.
    """
    numeric = pd.to_numeric(column, errors="coerce")
    wrong = numeric.isna() & column.notna()
    if wrong.any() or pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        row = int(wrong.to_numpy().argmax())
        raise InputError(
            f"{where}: column {column.name!r} must hold numbers, {told(column, row)}; leave unknown ones empty"
        )
    values = numeric.astype(float)
    beyond = values.isin([np.inf, -np.inf]) & (values != infinite)
    if beyond.any():
        row = int(beyond.to_numpy().argmax())
        raise InputError(
            f"{where}: column {column.name!r} must hold finite numbers, {told(column, row)}; leave unknown ones empty"
        )
    outside = values.notna() & (values != infinite) & ~values.between(low - ROUNDING, high + ROUNDING)
    if outside.any():
        row = int(outside.to_numpy().argmax())
        limits = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f"at least {low:g}"
        raise InputError(f"{where}: column {column.name!r} must be {limits}; {told(column, row)}")
    return values


@dataclass(frozen=True)
class Measurements:
    """The rows of one model and task.

    Attributes:
        rows: The rows, with the columns called as the documentation calls them.
        labels: The values of the columns that the table is split by.
        place: The file, and the labels, for errors.
    """

    rows: pd.DataFrame
    labels: dict[str, str]
    place: str

    @classmethod
    def split(
        cls,
        table: pd.DataFrame | str | Path,
        required: Sequence[str],
        optional: Sequence[str],
        columns: Mapping[str, str] | None = None,
        by: Sequence[str] | None = None,
    ) -> "list[Measurements]":
        """Reads a table and splits it.

        Args:
            table: The table, or a Parquet or CSV file that holds it.
            required: Columns that it must have.
            optional: Columns that it may have.
            columns: What the table calls those that it does not call by these names.
            by: Columns whose values are tested apart; None: those of `BY` that it has.

        Raises:
            InputError: A file that cannot be read, a column that is not there, or a table without rows.
        """
        frame, where = read(table)
        given = dict(columns or {})
        for name in given:
            if name not in (*required, *optional):
                raise unknown("column", name, [*required, *optional], f"{where}: what column is to be renamed")
        for column in (*given.values(), *(by or ())):
            if column not in frame.columns:
                raise unknown("column", column, map(str, frame.columns), where)
        frame = frame.rename(columns={column: name for name, column in given.items()})
        if frame.columns.duplicated().any():
            twice = frame.columns[frame.columns.duplicated()][0]
            raise InputError(f"{where}: there are two columns {twice!r} once columns are renamed; drop one of them")
        for name in required:
            if name not in frame.columns:
                raise InputError(
                    f"{where}: there is no column {name!r}; it has {', '.join(map(str, frame.columns))}. If one of "
                    f"these is meant, say so: --column {name}=COL"
                )
        frame = frame.reset_index(drop=True)
        yes_no = frame.select_dtypes(bool).columns.intersection([*required, *optional])
        frame = frame.astype(dict.fromkeys(yes_no, float))
        if frame.empty:
            raise InputError(f"{where}: the table has no rows")
        chosen = [given_by for given_by in (BY if by is None else by) if given_by in frame.columns]
        whose = [name for name in ("seed", "cycle") if name in (*required, *optional) and name in frame.columns]
        check_labels(frame, (*chosen, *whose), where)
        if not chosen:
            return [cls(frame, {}, where)]
        found = []
        for values, rows in frame.groupby(chosen, sort=False, observed=True):
            labels = {name: str(value) for name, value in zip(chosen, values, strict=True)}
            found.append(cls(rows, labels, ", ".join([where, *(f"{k} {v!r}" for k, v in labels.items())])))
        return found

    def has(self, column: str) -> bool:
        """Returns whether there is such a column."""
        return column in self.rows.columns

    def numbers(self, column: str, infinite: float = np.nan, low: float = -np.inf, high: float = np.inf) -> Floats:
        """Returns a column as floats, NaN where it is empty; `numbers` tells the arguments and errors."""
        return numbers(self.rows[column], self.place, infinite, low, high).to_numpy()

    def flags(self, column: str) -> NDArray[np.bool_]:
        """Returns a column of yes and no.

        Raises:
            InputError: It holds something other than 0 and 1, or true and false.
        """
        values = numbers(self.rows[column], self.place)
        wrong = ~values.isin([0.0, 1.0])
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise InputError(
                f"{self.place}: column {column!r} must hold 0 and 1, or true and false; {told(self.rows[column], row)}"
            )
        return values.to_numpy() == 1

    def series(
        self, column: str, how: str = "mean", rows: "pd.Series | None" = None, infinite: float = np.nan,
        low: float = -np.inf, high: float = np.inf,
    ) -> Floats:  # fmt: skip
        """Returns a column by seed and cycle, shape (seeds, cycles), NaN where there is none.

        Seeds are in the order of their first row; without a column "seed" all rows are of one. Several rows of a seed
        and cycle, e.g. its candidates, are averaged.

        Args:
            column: The column.
            how: "mean", "sum" or "count" of several rows.
            rows: Which rows; None: all.
            infinite: Which infinity the column may hold, if any.
            low: The smallest finite number that the column may hold.
            high: The largest.

        Raises:
            InputError: Cycles that are not whole numbers, or a column that holds something else.
        """
        cycles = numbers(self.rows["cycle"], self.place)
        bad = cycles.isna() | (cycles % 1 != 0)
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise InputError(f"{self.place}: column 'cycle' must hold whole numbers; {told(self.rows['cycle'], row)}")
        if (cycles.max() - cycles.min()) >= CYCLES_AT_MOST:
            raise InputError(
                f"{self.place}: column 'cycle' goes from {cycles.min():g} to {cycles.max():g}; expected fewer than "
                f"{CYCLES_AT_MOST:,} cycles"
            )
        values = self.numbers(column, infinite, low, high)
        seeds = self.rows["seed"] if self.has("seed") else pd.Series(0, index=self.rows.index)
        frame = pd.DataFrame({"seed": seeds, "cycle": cycles.astype(int), "value": values})
        span = range(int(frame["cycle"].min()), int(frame["cycle"].max()) + 1)
        order = frame["seed"].drop_duplicates()
        if rows is not None:
            frame = frame[rows]
        grouped = frame.dropna(subset="value").groupby(["seed", "cycle"], sort=False, observed=True)["value"].agg(how)
        return grouped.unstack().reindex(index=order, columns=span).to_numpy(dtype=float)
