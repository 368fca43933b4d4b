"""NATS-Bench's topology space: the folder `NATS-tss-v1_0-?????-simple`, or the one file `NATS-tss-v1_0-?????`."""

import bz2
import io
import os
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from surrogates.errors import InputError
from surrogates.formats.nas_bench_201 import LAYOUT, Records, results_class
from surrogates.formats.reading import reading
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.store import Row, Source
from surrogates.streamed_pickle import StreamedPickle

_META = "meta.pickle.pbz2"
_NAME = re.compile(r"(\d+)\.pickle\.pbz2")
_SCHEDULES = {"200": 200, "12": 12}
# Floating-point numbers, of which the one file consists, compress to a tenth or more.
_MOST_RATIO = 100
_MOST_AT_FIRST = 16 << 20
# An architecture's file holds less than one megabyte.
_MOST_BYTES = 64 << 20


def _content(path: Path) -> Any:
    """Returns what a small compressed pickle holds."""
    with bz2.open(path) as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise InputError(f"it decompresses to more than {_MOST_BYTES >> 20} MB")
    return StreamedPickle(io.BytesIO(data)).load()


class _Decompressed:
    """Decompresses a file piece by piece, unless it grows as no real one does."""

    def __init__(self, file: IO[bytes]) -> None:
        self._compressed, self._content = file, bz2.BZ2File(file)

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        if self._content.tell() > _MOST_AT_FIRST + _MOST_RATIO * self._compressed.tell():
            raise InputError(f"it decompresses to more than {_MOST_RATIO} times its size")
        return data


class NatsBenchFolder(Source):
    """A folder with one file an architecture, which need not be there for all."""

    format = "NATS-Bench topology (folder)"
    layouts = (LAYOUT,)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._results = results_class("nats_bench", "nats-bench")

    @cached_property
    def listed(self) -> list[int]:
        """Rows in `enumerate()` of the architectures that the folder's list names, in its order.

        Raises:
            InputError: The list is damaged, or names something else.
        """
        meta = self.path / _META
        with reading(meta, self.format):
            archs = [nas_bench_201.parse(text) for text in _content(meta)["meta_archs"]]
            if len(set(archs)) < len(archs):
                raise InputError("meta_archs names an architecture twice")
            return nas_bench_201.index(archs).tolist()

    def _numbered(self) -> dict[int, Path]:
        """Returns the files of architectures; of `000012` and `12`, the former, as the package does."""
        found: dict[int, Path] = {}
        for name in sorted(os.listdir(self.path), key=lambda name: (len(name), name)):
            if match := _NAME.fullmatch(name):
                index = int(match[1])
                if index >= len(self.listed) or match[1] not in (f"{index:06d}", f"{index:d}"):
                    raise InputError(f"{self.path / name}: {_META} names no architecture of this number")
                found[index] = self.path / name
        return dict(sorted(found.items()))

    def files(self) -> list[Path]:
        """Returns the list of architectures and the files of those that are there."""
        return [self.path / _META, *self._numbered().values()]

    def rows(self, done: Callable[[str, int], bool]) -> Iterator[Row]:
        """Yields the architectures that are there, one file after the other; done ones are not read."""
        for index, file in self._numbered().items():
            if done(LAYOUT.benchmark, self.listed[index]):
                continue
            with reading(file, self.format):
                record = _content(file)
                if not record or not record.keys() <= _SCHEDULES.keys():
                    raise InputError(f"it holds {list(record)[:5]}; expected results by epochs, {list(_SCHEDULES)}")
                row = Records(self._results, _SCHEDULES).row(index, record)
                if row.arch != self.listed[index]:
                    raise InputError(f"it holds another architecture than {_META} has there")
            yield row


class NatsBenchFile(Source):
    """The one file with all architectures."""

    format = "NATS-Bench topology (.pickle.pbz2)"
    layouts = (LAYOUT,)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._results = results_class("nats_bench", "nats-bench")

    def files(self) -> list[Path]:
        """Returns the one file."""
        return [self.path]

    def rows(self, done: Callable[[str, int], bool]) -> Iterator[Row]:
        """Yields the architectures in the file's order; the file is read whole, one architecture at a time."""
        records = Records(self._results, _SCHEDULES)
        with reading(self.path, self.format), self.path.open("rb") as compressed:
            file = _Decompressed(compressed)
            yield from records.rows(StreamedPickle(file).parts(records.complete))
            if file.read(1 << 20):
                raise InputError("something follows its pickle")


def recognise(path: Path) -> NatsBenchFolder | NatsBenchFile | None:
    """Returns the source if it is a folder with a list of architectures, or a compressed pickle that begins so.

    Raises:
        InputError: The list is damaged, or is of another space, or the package nats-bench is not installed.
    """
    if path.is_dir():
        if not (path / _META).is_file():
            return None
        folder = NatsBenchFolder(path)
        return folder if folder.listed else None
    if not path.is_file():
        return None
    with path.open("rb") as file:
        compressed = file.read(3) == b"BZh"
    if not compressed:
        return None
    with reading(path, NatsBenchFile.format), bz2.open(path) as file:
        start = file.read(1 << 16)
    return NatsBenchFile(path) if b"meta_archs" in start or b"arch2infos" in start else None
