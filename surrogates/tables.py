"""Exact benchmark tables: converted once, then memory-mapped from a verified cache."""

import hashlib
import io
import json
import mmap
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from surrogates.benchmark import Benchmark, Scores, Split
from surrogates.cache import cache_dir
from surrogates.errors import InputError
from surrogates.space import Arch


def package_file(package: str, requirement: str, path: str) -> Path:
    """Returns the path of a data file inside an installed package, without importing the package.

    Args:
        package: Import name of a top-level package.
        requirement: What to give pip, e.g. "nas-bench-graph==1.4.0".
        path: The file, relative to the package's folder.

    Raises:
        InputError: The package is not installed, or lacks the file.
    """
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (found := Path(folder, path)).is_file():
            return found
    raise InputError(
        f"no file {path} of the package {package}; install it: pip install --force-reinstall {requirement}"
    )


def _read(data: Path, sidecar: Path, expected: dict[str, object]) -> NDArray[np.float64] | None:
    """Returns the table if both files are there, unharmed and as expected."""
    try:
        recorded = json.loads(sidecar.read_bytes())
        with data.open("rb") as file:
            # Hash and array share one mapping, so a file replaced meanwhile cannot slip in between.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if recorded != expected | {"sha256": hashlib.sha256(mapped).hexdigest()}:
                return None
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            return np.frombuffer(mapped, dtype, offset=file.tell()).reshape(shape)
    except (OSError, ValueError, RecursionError):
        return None


def _write(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def open_table(
    name: str, version: str, sources: Sequence[Path], columns: Sequence[str], convert: Callable[[], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Opens a converted table from the cache, or converts it into the cache.

    The cache is `tables/<name>.npy` in Nascent's folder, with its description in `<name>.json` beside it. It is made
    again if one of the two is missing or damaged, or if version, columns or the content of a source differ. Any number
    of processes may open one table at the same time.

    Args:
        name: Name of the table.
        version: Version of the conversion.
        sources: The files the table is converted from.
        columns: Names of the columns.
        convert: Returns the table, shape (columns, rows); called only if it must be made.

    Returns:
        The table, float64, shape (columns, rows), read-only.

    Raises:
        InputError: A source cannot be read or converted, or the cache cannot be written.
    """
    digest = hashlib.sha256()
    for source in sources:
        try:
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"{source} cannot be read: {error.strerror}") from error
    expected: dict[str, object] = {"version": version, "source": digest.hexdigest(), "columns": list(columns)}
    folder = cache_dir() / "tables"
    data, sidecar = folder / f"{name}.npy", folder / f"{name}.json"
    table = _read(data, sidecar, expected)
    if table is not None:
        return table

    table = np.ascontiguousarray(convert(), dtype="<f8")
    table.flags.writeable = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, table, version=(1, 0))
        content = buffer.getvalue()
        _write(data, content)
        _write(sidecar, json.dumps(expected | {"sha256": hashlib.sha256(content).hexdigest()}).encode())
    except OSError as error:
        raise InputError(
            f"the table {name} cannot be written to {folder}: {error.strerror or error}; "
            "free some space there, or let $NASCENT_HOME name a folder that can be written"
        ) from error
    return table


class TableBenchmark(Benchmark):
    """A benchmark that knows the exact published scores; its data is opened at the first question.

    Attributes:
        columns: Names of the table's columns, `<task>/<field of Scores>`; more are allowed.
    """

    kind = "table"
    columns: tuple[str, ...]

    @abstractmethod
    def sources(self) -> list[Path]:
        """Returns the files that hold the published data."""

    @abstractmethod
    def convert(self) -> NDArray[np.float64]:
        """Reads the sources: shape (columns, architectures), in the order of `space.enumerate()`.

        Raises:
            InputError: A source does not hold the data expected; the message names it.
        """

    @cached_property
    def _table(self) -> NDArray[np.float64]:
        return open_table(self.name, self.version, self.sources(), self.columns, self.convert)

    @cached_property
    def _column_rows(self) -> dict[str, int]:
        return {column: row for row, column in enumerate(self.columns)}

    def _take(self, column: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns a column at the architectures' rows, all NaN if there is no such column."""
        if (place := self._column_rows.get(column)) is None:
            return np.full(len(rows), np.nan)
        return self._table[place][rows]

    def query(
        self,
        archs: Sequence[Arch] | NDArray[np.integer],
        task: str,
        fidelity: int | None = None,
        seed: int | None = None,
    ) -> Scores:
        """Returns the published scores of the architectures, in their order.

        Args:
            archs: Architectures of `space`.
            task: Name of a task.
            fidelity: None; the tables hold fully trained networks only.
            seed: None; the tables hold means over seeds only.

        Raises:
            InputError: No such task, fidelity or seed, or an architecture that is not of `space`.
        """
        self._refuse_unknown(self.task(task), fidelity, seed)
        rows = self.space.index(archs)
        return Scores(*(self._take(f"{task}/{field}", rows) for field in Scores._fields))

    def scores(self, task: str, split: Split) -> NDArray[np.float64]:
        """Returns the scores of all architectures, in the order of `space.enumerate()`; read-only.

        Raises:
            InputError: The task has no such split.
        """
        if split not in self.task(task).splits:
            return super().scores(task, split)
        return self._table[self._column_rows[f"{task}/{split}"]]

    @cached_property
    def checksum(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Hexadecimal SHA-256 of the table's values (little-endian float64, column after column)."""
        return hashlib.sha256(self._table.data).hexdigest()
