"""Benchmarks that answer from a model fitted to a table, for users who have no official table."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import exp, lgamma, log, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogates.benchmark import Benchmark, Scores, Split, Task
from surrogates.errors import InputError
from surrogates.graph_features import FEATURES, connected, edge_tpu_supports, execution_features, operation_counts
from surrogates.space import Arch, Space
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro

PARAMETERS = Path(__file__).parent / "parameters"

SEEDS = range(1000)
"""Training seeds for which a surrogate with a model of the noise has a draw."""

DECIMALS = 6
"""Answers are rounded to so many decimals, beyond which processors may differ."""

Array = NDArray[np.float64]

FORM = "fitted surrogate 1"
"""What a parameter file calls itself; of another form it cannot be read."""


def ensemble(parameters: Mapping[str, NDArray[Any]], name: str, features: Array) -> Array:
    """Returns the mean output of an ensemble of multilayer perceptrons with SiLU activations: shape (n, outputs).

    Args:
        parameters: `<name>/weight<layer>`, shape (members, inputs, outputs), and `<name>/bias<layer>`, shape
            (members, outputs), for layers from 0 on.
        name: Name of the ensemble.
        features: Shape (n, inputs).
    """
    layers = [
        (parameters[f"{name}/weight{i}"].astype(np.float64), parameters[f"{name}/bias{i}"].astype(np.float64))
        for i in range(sum(key.startswith(f"{name}/weight") for key in parameters))
    ]
    outputs = np.zeros((len(features), layers[-1][1].shape[1]))
    members = len(layers[0][1])
    # So many rows stay in the processor's cache.
    for start in range(0, len(features), 512):
        part = slice(start, start + 512)
        for member in range(members):
            hidden = features[part]
            for weight, bias in layers[:-1]:
                hidden = hidden @ weight[member] + bias[member]
                hidden /= 1 + np.exp(-hidden)
            outputs[part] += hidden @ layers[-1][0][member] + layers[-1][1][member]
    return outputs / members


def scores_at(parameters: Mapping[str, NDArray[Any]], levels: Array) -> Array:
    """Returns the scores of normal scores, column by column: shape (columns, n), as `levels` has."""
    knots = parameters["scores/knots"]
    return np.array(
        [np.interp(level, parameters["scores/grid"], row) for level, row in zip(levels, knots, strict=True)]
    )


def noise_features(features: Array, level: Array) -> Array:
    """Returns what the logarithm of the noise's scale is linear in: shape (n, 3 + features).

    Args:
        features: Features of architectures, shape (n, features).
        level: Predicted normal scores of the architectures, shape (n,).
    """
    return np.column_stack([np.ones(len(level)), level, level**2, features])


def standard_noise(uniforms: Array, degrees_of_freedom: float) -> Array:
    """Returns draws of noise with mean zero and scale one, whose lower half is heavier than its upper half.

    With probability 1/2 a draw is the negative of |t|, with t of Student's distribution (trainings that fail), else
    |z|, with z standard normal (no training succeeds beyond measure); the mean of that is subtracted.

    Args:
        uniforms: Independent and uniform in [0, 1): shape (3, n).
        degrees_of_freedom: Of Student's distribution, more than 1.
    """
    radius, angle, side = uniforms
    nu = degrees_of_freedom
    logarithm = np.log1p(-radius)
    # Both by the polar method: Box and Muller 1958; Bailey 1994.
    normal = np.sqrt(-2 * logarithm)
    student = np.sqrt(nu * np.expm1(-2 / nu * logarithm))
    wave = np.abs(np.cos(2 * np.pi * angle))
    return np.where(side < 0.5, -student, normal) * wave - noise_mean(nu)


def noise_mean(degrees_of_freedom: float) -> float:
    """Returns the mean of `standard_noise` before it is subtracted: (E|z| - E|t|) / 2."""
    nu = degrees_of_freedom
    student = 2 * exp(lgamma((nu + 1) / 2) - lgamma(nu / 2) + log(nu) / 2) / (sqrt(pi) * (nu - 1))
    return (sqrt(2 / pi) - student) / 2


def splitmix(start: int, places: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Returns the numbers at some places (from 0) of the sequence that SplitMix64 yields from a start (Steele 2014)."""
    z = np.uint64(start) + (np.asarray(places).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _uniforms(rows: NDArray[np.int64], *key: str | int) -> Array:
    """Returns numbers uniform in [0, 1) that depend on row and key alone: shape (3, rows)."""
    start = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little")
    return (splitmix(start, 3 * rows + np.arange(3)[:, None]) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class FittedBenchmark(Benchmark):
    """A benchmark that predicts the scores of a table: approximate, but for all architectures at once and for any seed.

    The mean score over training seeds is predicted by a small ensemble of neural networks from features of the
    architecture's graph. A score with a seed is that mean plus a draw of the training noise, whose scale depends on
    the architecture; the draw of a seed is always the same, and draws of different architectures, tasks, fidelities
    and seeds are independent. Seconds are those of training alone. Where the table shows results of the same
    trained network on two splits, its validation and test score share a part of the draw; where the splits belong
    to different trainings (CIFAR-10), they share none.

    Args:
        name: Name of the benchmark.
        space: The search space.
        tasks: The tasks.
        source: Publication and licence of the table.
        file: The fitted parameters, as `surrogates.fit` writes them; by default those that come with Nascent.

    Attributes:
        objective_units: Unit of each of the `objectives`.
    """

    kind = "surrogate"

    def __init__(self, name: str, space: Space, tasks: Sequence[Task], source: str, file: Path | None = None) -> None:
        self.name, self.space, self.source = name, space, source
        self.tasks = {task.name: task for task in tasks}
        self._file = file or PARAMETERS / f"{name}.npz"

    @cached_property
    def _content(self) -> bytes:
        try:
            return self._file.read_bytes()
        except OSError as error:
            raise InputError(f"{self._file} cannot be read ({error.strerror}); reinstall Nascent") from error

    @cached_property
    def _parameters(self) -> dict[str, NDArray[Any]]:
        try:
            with np.load(io.BytesIO(self._content), allow_pickle=False) as file:
                parameters = dict(file)
            about = json.loads(str(parameters["about"]))
            if (about["form"], about["benchmark"]) != (FORM, self.name):
                raise ValueError(f"it is {about['form']!r} of {about['benchmark']!r}")
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            NotImplementedError,
            zlib.error,
            zipfile.BadZipFile,
        ) as error:
            raise InputError(
                f"{self._file} does not hold the parameters of {self.name} ({error or type(error).__name__}); "
                "reinstall Nascent"
            ) from error
        return parameters

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the parameter file says about itself: its version, its training data, what its columns mean."""
        return json.loads(str(self._parameters["about"]))

    @cached_property
    def version(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Version of the fit."""
        return self.about["version"]

    @cached_property
    def checksum(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Hexadecimal SHA-256 of the parameter file."""
        return hashlib.sha256(self._content).hexdigest()

    @cached_property
    def quality(self) -> list[dict[str, Any]]:
        """How good the surrogate is, as measured on held-out architectures when it was fitted.

        Each row has `task`, `split`, `fidelity` (0: the only one), `folds`, `measure`, `value`, `low` and `high` (a 95%
        bootstrap interval) and `n` (architectures, or pairs of trainings). What the folds and measures are, `about`
        says under "folds" and "measures".
        """
        return self.about["quality"]

    @cached_property
    def note(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What every reader must know: that this is no table, and how good it is."""
        figures = {}
        for task in self.tasks.values():
            fidelity = task.fidelities[-1] if task.fidelities else 0
            key = {"task": task.name, "split": task.reported, "fidelity": fidelity, "measure": "Kendall tau"}
            row = next(row for row in self.quality if (key | {"folds": "isomorphism"}).items() <= row.items())
            figures[row["value"]] = (
                f"{_number(row['value'])} [{_number(row['low'])}, {_number(row['high'])}] ({task.name})"
            )
        ends = [figures[value] for value in sorted({min(figures), max(figures)})]
        split = "test" if any(task.reported == "test" for task in self.tasks.values()) else "validation"
        note = (
            f"{self.name} is a fitted surrogate, not the table: on held-out architectures the rank correlation "
            f"(Kendall τ with its 95% interval) of its predictions with the table's {split} scores is "
            f"{' to '.join(ends)}; `nascent data add` takes the official file."
        )
        if split == "validation":
            note += " The table has one training seed and no split: methods search on the very score that is reported."
        return note

    @cached_property
    def objectives_note(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What every reader of the objectives must know: that they are fitted, and how good they are."""
        names = {*self.about["objectives"]}
        ranks = [q["value"] for q in self.quality if q["split"] in names and q["measure"] == "Kendall tau"]
        if not ranks:
            return ""
        return (
            "Latencies and energies are predictions of models fitted to HW-NAS-Bench: on held-out architectures, "
            f"Kendall τ {_number(min(ranks))} to {_number(max(ranks))} over devices and tasks."
        )

    @cached_property
    def _features(self) -> Array:
        return FEATURES[self.space.name](self.space.enumerate())

    @cached_property
    def _levels(self) -> Array:
        """Predicted normal scores: shape (columns, architectures)."""
        return ensemble(self._parameters, "scores", self._features).T

    @cached_property
    def _columns(self) -> dict[tuple[str, Split, int], int]:
        return {(task, split, fidelity): i for i, (task, split, fidelity) in enumerate(self.about["columns"])}

    @cached_property
    def _means(self) -> Array:
        """Predicted scores: shape (columns, architectures)."""
        return scores_at(self._parameters, self._levels)

    def _level(self, task: str, split: str, fidelity: int) -> Array:
        splits: tuple[Split, ...] = ("validation", "test") if split == "mean" else (split,)  # pyright: ignore[reportAssignmentType]
        return np.mean([self._levels[self._columns[task, s, fidelity]] for s in splits], axis=0)

    @cached_property
    def _scales(self) -> dict[tuple[str, int, str], tuple[Array, float]]:
        """Scale and degrees of freedom of the noise by task, fidelity and split ("mean": mean of the two splits)."""
        # A cell whose output is zero is not trained at all: its networks all give the same answer.
        trained = connected(self.space.enumerate()) if self.about["noise"] else np.ones(self.space.size, dtype=bool)
        scales = {}
        for row, weights in zip(self.about["noise"], self._parameters["noise/weights"], strict=True):
            key = row["task"], row["fidelity"], row["split"]
            level = self._level(row["task"], row["split"], row["fidelity"])
            scale = np.exp(noise_features(self._features, level) @ weights) * trained
            scales[key] = scale, row["degrees_of_freedom"]
        return scales

    @cached_property
    def _half_differences(self) -> dict[tuple[str, int], Array]:
        """Standard deviation of half the difference of two splits' noise, by task and fidelity, if they share noise."""
        found = {}
        for row in self.about["noise"]:
            if row["split"] == "mean":
                task, fidelity = key = row["task"], row["fidelity"]
                places = [self._columns[task, split, fidelity] for split in ("validation", "test")]
                share = self._means[places].mean(0) / 100
                variance = row["half_difference"] * share * (1 - share)
                found[key] = 100 * np.sqrt(variance) * (self._scales[task, fidelity, "mean"][0] > 0)
        return found

    def noise_scale(self, archs: Sequence[Arch] | NDArray[np.integer], task: str, fidelity: int | None = None) -> Array:
        """Returns the standard deviation of a validation score over training seeds, in the task's unit: shape (n,).

        Raises:
            InputError: No such task or fidelity, an architecture that is not of `space`, or a task without seeds.
        """
        described = self.task(task)
        if not described.seeds:
            raise InputError(f"{self.name}/{task} has one training seed: nothing is known of the noise")
        key = task, self._epochs(described, fidelity)
        rows = self.space.index(archs)
        scale, nu = self._scales.get((*key, "mean")) or self._scales[(*key, "validation")]
        variance = scale[rows] ** 2 * ((nu / (nu - 2) + 1) / 2 - noise_mean(nu) ** 2)
        if key in self._half_differences:
            variance = variance + self._half_differences[key][rows] ** 2
        return np.sqrt(variance)

    def _noise(self, rows: NDArray[np.int64], task: str, fidelity: int, seed: int) -> dict[str, Array]:
        """Returns the draws of one seed by split, each of shape (rows,)."""
        draws = {}
        for split in ("validation", "test", "mean"):
            if (task, fidelity, split) in self._scales:
                scale, nu = self._scales[task, fidelity, split]
                uniforms = _uniforms(rows, self.name, task, fidelity, split, seed)
                draws[split] = scale[rows] * standard_noise(uniforms, nu)
        if "mean" not in draws:
            return draws
        radius, angle, _ = _uniforms(rows, self.name, task, fidelity, "half difference", seed)
        normal = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
        half = self._half_differences[task, fidelity][rows] * normal
        return {"validation": draws["mean"] + half, "test": draws["mean"] - half}

    def _epochs(self, task: Task, fidelity: int | None) -> int:
        self._refuse_unknown(task, fidelity, None)
        return int(fidelity or (task.fidelities[-1] if task.fidelities else 0))

    def query(
        self,
        archs: Sequence[Arch] | NDArray[np.integer],
        task: str,
        fidelity: int | None = None,
        seed: int | None = None,
    ) -> Scores:
        """Returns the predicted scores of the architectures, in their order.

        Args:
            archs: Architectures of `space`.
            task: Name of a task.
            fidelity: Training epochs, one of the task's `fidelities`; None: the last.
            seed: One of the task's `seeds`, for which the noise is drawn; None: the predicted mean over seeds.

        Raises:
            InputError: No such task, fidelity or seed, or an architecture that is not of `space`.
        """
        described = self.task(task)
        epochs = self._epochs(described, fidelity)
        if seed is not None and not described.seeds:
            raise InputError(
                f"{self.name}/{task} has no seed {seed}; its table has one training seed, so that the noise is "
                "unknown: leave seed out"
            )
        self._refuse_unknown(described, None, seed)
        rows = self.space.index(archs)
        # A draw depends on the number, whatever its type.
        noise = {} if seed is None else self._noise(rows, task, epochs, int(seed))
        scores = {}
        for split in described.splits:
            score = self._means[self._columns[task, split, epochs]][rows]
            if split in noise:
                score = score + noise[split]
            if described.unit in ("%", "1"):
                score = np.clip(score, 0, 100 if described.unit == "%" else 1)
            scores[split] = np.round(score, DECIMALS)
        share = epochs / described.fidelities[-1] if described.fidelities else 1
        unknown = np.full(self.space.size, np.nan)
        costs = {field: self._costs.get((task, field), unknown)[rows] for field in ("seconds", "parameters", "flops")}
        return Scores(
            validation=scores["validation"],
            test=scores.get("test", unknown[rows]),
            seconds=costs["seconds"] * share,
            latency=unknown[rows],
            parameters=costs["parameters"],
            flops=costs["flops"],
        )

    @cached_property
    def _costs(self) -> dict[tuple[str, str], Array]:
        """Costs that are sums over a cell's operations, by task and name: each of shape (architectures,)."""
        if not self.about["additive"]:
            return {}
        counts, weights = operation_counts(self.space.enumerate()), self._parameters["additive/weights"]
        values = np.round(weights[:, :1] + weights[:, 1:] @ counts.T, DECIMALS)
        return {(task, name): row for (task, name), row in zip(self.about["additive"], values, strict=True)}

    @cached_property
    def objective_units(self) -> dict[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Unit of each objective: "ms" or "mJ", for one forward pass of one image."""
        return {name: "mJ" if name.endswith("energy") else "ms" for name in self.about["objectives"]}

    @cached_property
    def _execution(self) -> Array:
        """Predicted objectives that are no sums over the cell's operations: shape (columns, architectures)."""
        outputs = ensemble(self._parameters, "objectives", execution_features(self.space.enumerate()))
        return np.maximum(np.round(outputs, DECIMALS), 0).T

    @cached_property
    def _on_edge_tpu(self) -> NDArray[np.bool_]:
        return edge_tpu_supports(self.space.enumerate())

    def objectives(self, archs: Sequence[Arch] | NDArray[np.integer], task: str) -> dict[str, Array]:
        """Returns predicted latencies (ms) and energies (mJ) on devices, each of shape (n,); none if none is known.

        Those of HW-NAS-Bench (Li et al. 2021, ICLR), on the devices edgegpu, raspi4, edgetpu, pixel3, eyeriss and fpga.
        The latency on the Edge TPU is NaN for cells that it does not support.

        Raises:
            InputError: No such task, or an architecture that is not of `space`.
        """
        self.task(task)
        rows = self.space.index(archs)
        found = {}
        for name in self.about["objectives"]:
            if [task, name] in self.about["execution"]:
                found[name] = self._execution[self.about["execution"].index([task, name])][rows]
            else:
                found[name] = self._costs[task, name][rows]
            if name == "edgetpu_latency":
                found[name] = np.where(self._on_edge_tpu[rows], found[name], np.nan)
        return found


def _number(value: float) -> str:
    """Returns a share or correlation with two decimals and without the leading zero."""
    return f"{value:.2f}".replace("0.", ".", 1)


NAS_BENCH_201 = FittedBenchmark(
    "nas-bench-201",
    nas_bench_201,
    [
        Task(task, "accuracy", "%", ("validation", "test"), seconds=True, fidelities=(12, 200), seeds=SEEDS)
        for task in ("cifar10", "cifar100", "ImageNet16-120")
    ],
    "fitted to NAS-Bench-201 (Dong and Yang 2020, ICLR; MIT) and HW-NAS-Bench (Li et al. 2021, ICLR; MIT)",
)

_TRANS_NAS_BENCH_101_TASKS = [
    Task(name, metric, unit, ("validation",), negated=name == "room_layout")
    for name, metric, unit in (
        ("class_scene", "accuracy", "%"),
        ("class_object", "accuracy", "%"),
        ("room_layout", "loss", ""),
        ("jigsaw", "accuracy", "%"),
        ("segmentsemantic", "pixel accuracy", "%"),
        ("normal", "SSIM", "1"),
        ("autoencoder", "SSIM", "1"),
    )
]

TRANS_NAS_BENCH_101_MICRO, TRANS_NAS_BENCH_101_MACRO = (
    FittedBenchmark(
        space.name.replace("_", "-"),
        space,
        _TRANS_NAS_BENCH_101_TASKS,
        "fitted to TransNAS-Bench-101 (Duan et al. 2021, CVPR; MIT), validation scores of the last epoch",
    )
    for space in (trans_nas_bench_101_micro, trans_nas_bench_101_macro)
)
