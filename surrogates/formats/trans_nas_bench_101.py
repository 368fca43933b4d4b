"""TransNAS-Bench-101's own file, `transnas-bench_v10141024.pth`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogates.errors import InputError
from surrogates.formats import torch_file
from surrogates.formats.reading import reading
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro
from surrogates.store import Column, Layout, Row, Source

_METRICS = {
    "class_scene": ("top1", 25),
    "class_object": ("top1", 25),
    "room_layout": ("neg_loss", 25),
    "jigsaw": ("top1", 10),
    "segmentsemantic": ("mIoU", 30),
    "normal": ("ssim", 30),
    "autoencoder": ("ssim", 30),
}
"""The published metric of each task, and the epochs of training."""

_INFO = {"latency": "inference_time", "parameters": "model_params", "flops": "model_FLOPs"}
_COLUMNS = tuple(
    column
    for task, (_, epochs) in _METRICS.items()
    for column in (
        *(Column(task, field, epoch + 1) for field in ("validation", "test", "seconds") for epoch in range(epochs)),
        *(Column(task, field) for field in _INFO),
    )
)
_SPACES = {
    "trans-nas-bench-101-micro": trans_nas_bench_101_micro,
    "trans-nas-bench-101-macro": trans_nas_bench_101_macro,
}
LAYOUTS = tuple(Layout(benchmark, space.name, _COLUMNS) for benchmark, space in _SPACES.items())
"""What the rows of both spaces hold: after each epoch the published metric (top-1 accuracy and mean intersection over
union in %, SSIM and the negative loss as numbers) and the time since training began, evaluations included; once a task
the costs of the whole network, backbone and head: the time of a forward pass of one image of 720x1080 on a GPU, the
number of parameters, and multiply-adds as thop counts them."""


def _seconds(times: Sequence[str | float]) -> NDArray[np.float64]:
    """Returns times since the start, which the benchmark's training code writes as hours:minutes:seconds.

    That code states the time since training began, which grows from epoch to epoch. Times that do not are of an
    unknown kind: NaN.
    """
    seconds = np.array(
        [np.dot((3600, 60, 1), [int(p) for p in t.split(":")]) if isinstance(t, str) else t for t in times],
        dtype=np.float64,
    )
    return seconds if (np.diff(seconds) > 0).all() else np.full(len(seconds), np.nan)


def _row_values(record: dict[str, dict[str, Any]]) -> NDArray[np.float64]:
    """Returns an architecture's values; NaN for tasks, metrics or costs that it lacks."""
    values = []
    for task, (metric, epochs) in _METRICS.items():
        trained = record.get(task, {})
        if trained and trained["total_epochs"] != epochs:
            raise InputError(f"{task} was trained for {trained['total_epochs']!r} epochs; expected {epochs}")
        series = trained.get("metrics", {})
        for name in (f"valid_{metric}", f"test_{metric}", "time_elapsed"):
            found = series.get(name, [np.nan] * epochs)
            if len(found) != epochs:
                raise InputError(f"{task}/{name} has {len(found)} values; expected {epochs}")
            values.append(_seconds(found) if name == "time_elapsed" else np.array(found, dtype=np.float64))
        info = [trained.get("model_info", {}).get(name) for name in _INFO.values()]
        values.append(np.array([value if value != "" else None for value in info], dtype=np.float64))
    return np.concatenate(values)


def _place(text: str) -> tuple[str, int]:
    """Returns the benchmark of an architecture and its row."""
    benchmark = f"trans-nas-bench-101-{'macro' if text.endswith('-basic') else 'micro'}"
    space = _SPACES[benchmark]
    return benchmark, int(space.index([space.parse(text)])[0])


def _complete(candidate: dict[Any, Any]) -> bool:
    return candidate.keys() <= _METRICS.keys() and all(
        isinstance(task, dict) and "metrics" in task for task in candidate.values()
    )


class TransNasBench101File(Source):
    """The file of TransNAS-Bench-101 (Duan et al. 2021), which holds both of its spaces."""

    format = "TransNAS-Bench-101 (.pth)"
    layouts = LAYOUTS

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> list[Path]:
        """Returns the one file."""
        return [self.path]

    def rows(self, done: Callable[[str, int], bool]) -> Iterator[Row]:
        """Yields the architectures in the file's order; the file is read whole, one architecture at a time."""
        read = set()
        with reading(self.path, self.format):
            for text, record in torch_file.parts(self.path, _complete):
                if text is None:
                    total = sum(map(len, record["data"].values()))
                    if not read or len(read) != total:
                        raise InputError(f"{len(read)} of {total} records in it are as expected")
                    return
                benchmark, arch = _place(text)
                read.add((benchmark, arch))
                if not done(benchmark, arch):
                    yield Row(benchmark, arch, _row_values(record))


def recognise(path: Path) -> TransNasBench101File | None:
    """Returns the source if `torch.save` wrote the file and it begins as TransNAS-Bench-101's; else None.

    Raises:
        InputError: The file is damaged.
    """
    if not path.is_file() or not torch_file.is_torch_file(path):
        return None
    with reading(path, TransNasBench101File.format):
        start = torch_file.first_bytes(path)
    words = (b"metrics_dict", b"info_names", b"task_list", b"class_scene")
    return TransNasBench101File(path) if any(word in start for word in words) else None
