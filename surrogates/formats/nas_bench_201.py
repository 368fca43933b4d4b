"""NAS-Bench-201's own file, `NAS-Bench-201-v1_?-??????.pth`."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogates.errors import InputError
from surrogates.formats import torch_file
from surrogates.formats.reading import reading
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.store import Column, Layout, Row, Source

SEEDS = (111, 777, 888, 999)
SCHEDULES = {200: "", 12: "@12"}
"""The training schedules by their epochs, and what the tasks' names end with."""

_TASKS = {
    "cifar10": (("cifar10-valid", "x-valid"), ("cifar10", "ori-test")),
    "cifar100": (("cifar100", "x-valid"), ("cifar100", "x-test")),
    "ImageNet16-120": (("ImageNet16-120", "x-valid"), ("ImageNet16-120", "x-test")),
}
"""Data set and evaluation set of the validation and of the test accuracies."""

_FIELDS = ("validation", "test", "seconds")
_COSTS = ("parameters", "flops", "latency")
_KEYS = {
    (name, epochs): [f"{name}@{epoch}" for epoch in range(epochs)]
    for name in ("x-valid", "x-test", "ori-test")
    for epochs in SCHEDULES
}

LAYOUT = Layout(
    "nas-bench-201",
    nas_bench_201.name,
    (
        *(
            Column(task + suffix, field, epoch + 1, seed)
            for epochs, suffix in SCHEDULES.items()
            for task in _TASKS
            for field in _FIELDS
            for seed in SEEDS
            for epoch in range(epochs)
        ),
        *(Column(task + suffix, cost) for suffix in SCHEDULES.values() for task in _TASKS for cost in _COSTS),
    ),
)
"""What an architecture's row holds: for both schedules, accuracies (%) and the time of a search after each epoch, by
training seed; once a task the costs.

A task `cifar10@12` is `cifar10` trained with the schedule of 12 epochs, whose learning rate falls to zero within them.
Seconds are those of training so far and of one evaluation of the validation set, the mean over the epochs so far.
"""


def results_class(package: str, requirement: str) -> Any:
    """Returns the class `ArchResults` of a benchmark's own package.

    Raises:
        InputError: The package is not installed.
    """
    try:
        return import_module(package).ArchResults
    except ImportError as error:
        raise InputError(
            f"reading this needs the package {requirement} ({error}); install it: pip install 'nascent[data]'"
        ) from error


def _series(values: Mapping[Any, float] | None, keys: list[Any] | range) -> NDArray[np.float64]:
    return np.array([(values or {}).get(key) for key in keys], dtype=np.float64)


def _trials(results: Any, data_set: str, epochs: int) -> Iterator[tuple[int, Any]]:
    """Yields each training of the architecture on a data set, and the place of its seed."""
    if data_set not in results.dataset_seed:
        return
    for seed, trial in results.query(data_set).items():
        if seed not in SEEDS:
            raise InputError(f"{results.arch_str} was trained with the seed {seed!r}; known are {SEEDS}")
        if trial.epochs != epochs:
            raise InputError(f"{results.arch_str} was trained for {trial.epochs!r} epochs; expected {epochs}")
        yield SEEDS.index(seed), trial


def _costs(results: Any, data_set: str) -> tuple[float, float, float]:
    """Returns parameters, FLOPs and latency as the package states them; NaN where it fails to."""
    try:
        costs = results.get_compute_costs(data_set)
    # The package fails on a data set without trials, and on trials of which some lack a time or agree on no size.
    except (KeyError, TypeError, ValueError):
        return np.nan, np.nan, np.nan
    latency = costs["latency"]
    return costs["params"] * 1e6, costs["flops"] * 1e6, np.nan if latency is None else latency


def row_values(schedules: Mapping[int, Any]) -> NDArray[np.float64]:
    """Returns an architecture's values, in the order of `LAYOUT`; NaN where a trial, or a value of it, is missing.

    Args:
        schedules: Its `ArchResults`, of either package, by the epochs of the schedule.

    Raises:
        InputError: A trial has a seed, or a number of epochs, that the benchmark does not have.
    """
    scores = {epochs: np.full((len(_TASKS), len(_FIELDS), len(SEEDS), epochs), np.nan) for epochs in SCHEDULES}
    costs = np.full((len(SCHEDULES), len(_TASKS), len(_COSTS)), np.nan)
    for epochs, results in schedules.items():
        for task, ((searched, validated_on), (trained, tested_on)) in enumerate(_TASKS.values()):
            values, keys = scores[epochs][task], _KEYS[validated_on, epochs]
            for place, trial in _trials(results, searched, epochs):
                training = np.cumsum(_series(trial.train_times, range(epochs)))
                evaluation = np.cumsum(_series(trial.eval_times, keys)) / np.arange(1, epochs + 1)
                values[0, place] = _series(trial.eval_acc1es, keys)
                values[2, place] = training + evaluation
            for place, trial in _trials(results, trained, epochs):
                values[1, place] = _series(trial.eval_acc1es, _KEYS[tested_on, epochs])
            costs[list(SCHEDULES).index(epochs), task] = _costs(results, searched)
    return np.concatenate([*(scores[epochs].ravel() for epochs in SCHEDULES), costs.ravel()])


class Records:
    """Turns the records of architectures into rows, and checks that they agree with the list of architectures.

    Args:
        results: The package's class `ArchResults`.
        schedules: The epochs of the schedule by what it is called in a record.
    """

    def __init__(self, results: Any, schedules: Mapping[str, int]) -> None:
        self._results, self._schedules = results, schedules
        self._read: dict[int, str] = {}

    def complete(self, candidate: dict[Any, Any]) -> bool:
        """Returns whether a dictionary is a whole record."""
        return candidate.keys() <= self._schedules.keys() and all(isinstance(v, dict) for v in candidate.values())

    def row(self, index: int, record: dict[str, dict[str, Any]]) -> Row:
        """Returns the row of the record that is stored under an index.

        Raises:
            InputError: The record disagrees with itself, or `row_values` refuses it.
        """
        schedules = {}
        for name, state in record.items():
            # The packages take a text for the path of a pickle, which they would load without restriction.
            if not isinstance(state, dict):
                raise InputError(f"the record {index!r} holds a {type(state).__name__} instead of results")
            results = self._results.create_from_state_dict(state)
            if results.arch_index != index or results.arch_str != self._read.setdefault(index, results.arch_str):
                raise InputError(
                    f"the record {index!r} holds the architecture {results.arch_index!r}, {results.arch_str!r}"
                )
            schedules[self._schedules[name]] = results
        (place,) = nas_bench_201.index([nas_bench_201.parse(self._read[index])]).tolist()
        return Row(LAYOUT.benchmark, place, row_values(schedules))

    def rows(self, parts: Iterator[tuple[Any, Any]]) -> Iterator[Row]:
        """Yields the rows of the records in a file; its last part is its content.

        Raises:
            InputError: The file lacks a list of architectures, or a record disagrees with it.
        """
        for index, part in parts:
            if index is not None:
                yield self.row(index, part)
                continue
            archs = part["meta_archs"]
            if len(set(archs)) < len(archs):
                raise InputError("meta_archs names an architecture twice")
            if not self._read or self._read.keys() != part["arch2infos"].keys():
                raise InputError(f"{len(self._read)} of {len(part['arch2infos'])} records in it are as expected")
            for read, text in self._read.items():
                if not 0 <= read < len(archs) or archs[read] != text:
                    raise InputError(f"the record {read} is of {text}, which meta_archs does not have there")


class NasBench201File(Source):
    """The file of NAS-Bench-201 (Dong and Yang 2020), version 1.0 or 1.1."""

    format = "NAS-Bench-201 (.pth)"
    layouts = (LAYOUT,)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._results = results_class("nas_201_api", "nas-bench-201")

    def files(self) -> list[Path]:
        """Returns the one file."""
        return [self.path]

    def rows(self, done: Callable[[str, int], bool]) -> Iterator[Row]:
        """Yields the architectures in the file's order; the file is read whole, one architecture at a time."""
        records = Records(self._results, {"full": 200, "less": 12})
        with reading(self.path, self.format):
            yield from records.rows(torch_file.parts(self.path, records.complete))


def recognise(path: Path) -> NasBench201File | None:
    """Returns the source if `torch.save` wrote the file and it begins as NAS-Bench-201's; else None.

    Raises:
        InputError: The file is damaged, or the package nas-bench-201 is not installed.
    """
    if not path.is_file() or not torch_file.is_torch_file(path):
        return None
    with reading(path, NasBench201File.format):
        start = torch_file.first_bytes(path)
    return NasBench201File(path) if b"meta_archs" in start or b"arch2infos" in start else None
