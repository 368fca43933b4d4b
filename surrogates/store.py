"""Tables that a user added: converted once, then memory-mapped from Nascent's folder."""

import hashlib
import json
import os
import shutil
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from surrogates.cache import cache_dir
from surrogates.errors import InputError, unknown
from surrogates.spaces import spaces

_VERSION = 1
_CHUNK = 64


class Column(NamedTuple):
    """What one number of an architecture is.

    Attributes:
        task: Name of the task.
        field: A field of `Scores`.
        fidelity: Training epochs; 0 where the table states none.
        seed: Training seed; -1 for a mean over seeds, or where there is one result only.
    """

    task: str
    field: str
    fidelity: int = 0
    seed: int = -1


class Layout(NamedTuple):
    """What one table holds.

    Attributes:
        benchmark: Name of the benchmark that it answers for.
        space: Name of the search space.
        columns: What is known of an architecture, in the order of a row's values.
    """

    benchmark: str
    space: str
    columns: tuple[Column, ...]


class Row(NamedTuple):
    """What a source knows of one architecture.

    Attributes:
        benchmark: The table it belongs to.
        arch: Row of the architecture in the space's `enumerate()`.
        values: One number a column of the layout, NaN where it is missing: shape (columns,), float64.
    """

    benchmark: str
    arch: int
    values: NDArray[np.float64]


class Source(ABC):
    """A file or folder of a user, from which tables can be converted.

    Attributes:
        path: Where it is.
        format: What it is, for a reader.
        layouts: What it holds.
    """

    path: Path
    format: str
    layouts: tuple[Layout, ...]

    @abstractmethod
    def files(self) -> list[Path]:
        """Returns the files that are read, in an order that does not depend on the machine."""

    @abstractmethod
    def rows(self, done: Callable[[str, int], bool]) -> Iterator[Row]:
        """Yields what is known, one architecture after the other.

        Args:
            done: Whether the row of an architecture (benchmark, row in `enumerate()`) is stored already, so that it
                need not be read again; it may be yielded all the same.

        Raises:
            InputError: The content is not what it should be; the message names the file.
        """


class Table(NamedTuple):
    """A table in Nascent's folder.

    Attributes:
        benchmark: Name of the benchmark that it answers for.
        space: Name of the search space.
        format: What it was converted from, for a reader.
        source: The path it was converted from.
        source_sha256: SHA-256 of the source's file, or of names, sizes and contents of its files.
        added: When, ISO 8601, UTC.
        nascent: The version that converted it.
        architectures: How many architectures have at least one value.
        missing: Number of values that the source lacks, by task and field, over columns with at least one value.
        sha256: SHA-256 of the values' file.
        columns: What the rows of `values` are.
        values: Shape (columns, architectures of the space), float64, read-only, mapped; NaN where missing.
    """

    benchmark: str
    space: str
    format: str
    source: str
    source_sha256: str
    added: str
    nascent: str
    architectures: int
    missing: dict[str, int]
    sha256: str
    columns: tuple[Column, ...]
    values: NDArray[np.float64]


def _folder() -> Path:
    return cache_dir() / "data"


def names() -> list[str]:
    """Returns the names of the benchmarks whose tables were added, sorted."""
    folder = _folder()
    if not folder.is_dir():
        return []
    return sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def open_stored(benchmark: str) -> Table:
    """Opens a table that was added; its values are mapped, not read.

    Raises:
        InputError: No table of this name was added, or it is damaged.
    """
    folder = _folder() / benchmark
    if benchmark not in names():
        raise unknown("table", benchmark, names(), "nascent data")
    try:
        described = json.loads((folder / "table.json").read_bytes())
        if described.pop("version") != _VERSION:
            raise ValueError("another version of Nascent wrote it")
        columns = tuple(Column(*column) for column in described.pop("columns"))
        values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
        if values.shape != (len(columns), spaces.get(described["space"]).size) or values.dtype != np.float64:
            raise ValueError(f"its values have the shape {values.shape}")
        return Table(**described, columns=columns, values=values)
    except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(benchmark, str(error)) from error


def _damaged(benchmark: str, why: str) -> InputError:
    return InputError(
        f"the table {benchmark} in {_folder()} is damaged ({why}); "
        f"remove it (nascent data remove {benchmark}) and add its source again"
    )


def verify(benchmark: str) -> Table:
    """Reads a table's values whole and compares them with their checksum.

    Raises:
        InputError: No such table, or it is damaged.
    """
    table = open_stored(benchmark)
    with (_folder() / benchmark / "values.npy").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != table.sha256:
            raise _damaged(benchmark, "its values changed since they were converted")
    return table


def remove(benchmark: str) -> None:
    """Removes a table that was added, and what is left of an interrupted conversion to it.

    Raises:
        InputError: There is neither.
    """
    folder, partial = _folder() / benchmark, _partial(benchmark)
    if not partial.is_dir() and benchmark not in names():
        raise unknown("table", benchmark, names(), "nascent data")
    with FileLock(_folder() / ".lock"):
        if folder.is_dir():
            # Renamed first: an interrupted removal leaves no table with half its files.
            partial.mkdir(exist_ok=True)
            folder.rename(partial / "removed")
        shutil.rmtree(partial)


def _partial(benchmark: str) -> Path:
    return _folder() / f".{benchmark}.partial"


def add(source: Source, progress: Callable[[str, int, int], None] = lambda step, made, of: None) -> list[Table]:
    """Converts a source into Nascent's folder; what was interrupted goes on where it stopped.

    A table is there whole or not at all. What the same content was converted to before is not converted again.

    Args:
        source: What to convert.
        progress: Told what is being done, how much of it is done, and how much there is.

    Raises:
        InputError: The source is not what it should be, another one was added for a benchmark, or the folder cannot
            be written.
    """
    try:
        digest = _digest(source, progress)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        with FileLock(_folder() / ".lock"):
            stored = {layout.benchmark: _same(layout.benchmark, digest, source) for layout in source.layouts}
            todo = [layout for layout in source.layouts if not stored[layout.benchmark]]
            if todo:
                _convert(source, todo, digest, progress)
    except OSError as error:
        raise InputError(
            f"{_folder()} cannot be written: {error.strerror or error}; "
            "free some space there, or let $NASCENT_HOME name a folder that can be written"
        ) from error
    return [open_stored(layout.benchmark) for layout in source.layouts]


def _digest(source: Source, progress: Callable[[str, int, int], None]) -> str:
    files = source.files()
    size, made, digest = sum(file.stat().st_size for file in files), 0, hashlib.sha256()
    for path in files:
        if len(files) > 1:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
                made += len(block)
                progress("checksum", made, size)
    return digest.hexdigest()


def _same(benchmark: str, digest: str, source: Source) -> bool:
    """Returns whether this content is stored already."""
    if benchmark not in names():
        return False
    table = open_stored(benchmark)
    if table.source_sha256 != digest:
        raise InputError(
            f"{source.path}: a table for {benchmark} was added before, from {table.source}; "
            f"remove it first: nascent data remove {benchmark}"
        )
    return True


class _Staging:
    """The rows of one table while they are being converted: records in a file, appended one by one.

    A record has a checksum of its own, so that one which a crash left damaged is converted again.
    """

    def __init__(self, layout: Layout, digest: str) -> None:
        self.layout, self.folder = layout, _partial(layout.benchmark)
        self.size = spaces.get(layout.space).size
        self.done = np.zeros(self.size, dtype=bool)
        self._record = np.dtype([("crc", "<u4"), ("arch", "<u4"), ("values", "<f8", (len(layout.columns),))])
        self._rows = self.folder / "rows"
        made_of = {"version": _VERSION, "source_sha256": digest, "columns": layout.columns, "space": layout.space}
        note, recorded = self.folder / "source.json", json.dumps(made_of)
        if note.is_file() and note.read_text() == recorded:
            self._resume()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._rows.touch()
            note.write_text(recorded)

    def _records(self) -> NDArray[Any]:
        whole = self._rows.stat().st_size // self._record.itemsize
        # An empty file cannot be mapped.
        return np.memmap(self._rows, self._record, "r", shape=whole) if whole else np.empty(0, self._record)

    def _resume(self) -> None:
        good = 0
        for record in self._records():
            if record["crc"] != self._crc(record) or record["arch"] >= self.size:
                break
            self.done[record["arch"]] = True
            good += 1
        os.truncate(self._rows, good * self._record.itemsize)

    @staticmethod
    def _crc(record: np.void) -> int:
        return zlib.crc32(record.tobytes()[4:])

    def put(self, row: Row) -> None:
        records = np.zeros(1, self._record)
        records["arch"], records["values"] = row.arch, row.values
        records["crc"] = self._crc(records[0])
        with self._rows.open("ab") as file:
            file.write(records.tobytes())
        self.done[row.arch] = True

    def finish(self, source: Source, digest: str) -> None:
        """Turns the rows into a table, column after column, without the columns that have no value."""
        known, architectures = np.zeros(len(self.layout.columns), dtype=np.int64), 0
        for record in self._records():
            there = ~np.isnan(record["values"])
            known += there
            architectures += bool(there.any())
        kept = np.flatnonzero(known)
        if not len(kept):
            raise InputError(f"{source.path} holds no value of an architecture of {self.layout.space}")
        whole = self.folder / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        self._transpose(whole / "values.npy", kept)
        with (whole / "values.npy").open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        missing: Counter[str] = Counter()
        for place in kept:
            column = self.layout.columns[place]
            missing[f"{column.task}/{column.field}"] += int(self.size - known[place])
        described = {
            "version": _VERSION,
            "benchmark": self.layout.benchmark,
            "space": self.layout.space,
            "format": source.format,
            "source": str(source.path.absolute()),
            "source_sha256": digest,
            "added": datetime.now(UTC).isoformat(timespec="seconds"),
            "nascent": version("nascent"),
            "architectures": architectures,
            "missing": dict(missing),
            "sha256": sha256,
            "columns": [self.layout.columns[place] for place in kept],
        }
        with (whole / "table.json").open("w") as file:
            json.dump(described, file)
            _to_disk(file)
        whole.rename(_folder() / self.layout.benchmark)
        shutil.rmtree(self.folder)

    def _transpose(self, path: Path, kept: NDArray[np.intp]) -> None:
        with path.open("wb") as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": (len(kept), self.size)}
            np.lib.format.write_array_header_1_0(file, header)
            for at in range(0, len(kept), _CHUNK):
                # Mapped anew for each chunk: pages that were read are given back.
                records, columns = self._records(), kept[at : at + _CHUNK]
                block = np.full((len(columns), self.size), np.nan)
                block[:, records["arch"]] = records["values"][:, columns].T
                file.write(block.data)
            _to_disk(file)


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _convert(source: Source, layouts: Sequence[Layout], digest: str, progress: Callable[[str, int, int], None]) -> None:
    stagings: dict[str, _Staging] = {}

    def done(benchmark: str, arch: int) -> bool:
        return benchmark not in stagings or bool(stagings[benchmark].done[arch])

    try:
        for layout in layouts:
            stagings[layout.benchmark] = _Staging(layout, digest)
        total = sum(staging.size for staging in stagings.values())
        made = sum(int(staging.done.sum()) for staging in stagings.values())
        for row in source.rows(done):
            if not done(row.benchmark, row.arch):
                stagings[row.benchmark].put(row)
                made += 1
                progress(source.format, made, total)
        for layout in layouts:
            if not stagings[layout.benchmark].done.any():
                raise InputError(f"{source.path} holds no architecture of {layout.space}")
        for staging in stagings.values():
            staging.finish(source, digest)
    except InputError:
        for layout in layouts:
            shutil.rmtree(_partial(layout.benchmark), ignore_errors=True)
        raise
