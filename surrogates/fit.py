"""Fits the surrogates to tables, and measures how good they are on held-out architectures.

A developer's command, as it needs the exact tables, PyTorch and SciPy: python -m surrogates.fit DATA. It writes
`surrogates/parameters/<benchmark>.npz`, and the same files from the same data on the same machine.
"""

import argparse
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import kendalltau, norm, rankdata
from scipy.stats import t as student

from surrogates.cell_space import EDGES
from surrogates.errors import InputError
from surrogates.fitted import (
    FORM,
    NAS_BENCH_201,
    PARAMETERS,
    TRANS_NAS_BENCH_101_MACRO,
    TRANS_NAS_BENCH_101_MICRO,
    FittedBenchmark,
    ensemble,
    noise_features,
    scores_at,
)
from surrogates.graph_features import FEATURES, connected, edge_tpu_supports, execution_features, operation_counts
from surrogates.space import Space

VERSION = "2"

DATA = Path(__file__).parents[1] / ".." / "shared" / "data"

RESAMPLES = 200
FOLDS = 5
SEED = 2026

# A network: width, hidden layers, members of the ensemble, passes over the data, architectures a step, learning rate.
WIDTH, DEPTH, MEMBERS, EPOCHS, BATCH, RATE = 64, 3, 3, 40, 256, 1e-2

DEGREES_OF_FREEDOM = (2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0)
"""What is tried for the noise's lower tail."""

RIDGE = 1.0
"""Penalty on the squared weights of the noise's scale, its constant excepted; the unit is a log-likelihood."""

LEVELS = (0.5, 0.8, 0.95, 0.99)
"""Of the central intervals for the difference of two seeds."""

_SHORT = {"cifar10": "c10", "cifar100": "c100", "ImageNet16-120": "in16"}
_SEEDS = {"cifar10": "c10_val_e200", "cifar100": "c100_valtest_e200", "ImageNet16-120": "in16_valtest_e200"}

RESOLUTION = {"cifar10": 0.004, "cifar100": 0.01, "ImageNet16-120": 100 / 6000}
"""Percent a single image makes: of 25,000, and of 5,000 and 3,000 images in each of two splits."""

_NETWORKS = {"cifar10": (32, 10), "cifar100": (32, 100), "ImageNet16-120": (16, 120)}
"""Width of the images, and number of classes."""

OBJECTIVES = (
    "edgegpu_latency", "edgegpu_energy", "raspi4_latency", "edgetpu_latency", "pixel3_latency", "eyeriss_latency",
    "eyeriss_energy", "fpga_latency", "fpga_energy",
)  # fmt: skip

FOLD_WORDS = {
    "random": "five random folds of architectures",
    "isomorphism": "five folds, each isomorphism class in one of them: no equivalent architecture was seen",
    "region": "all architectures with one operation on the edge from input to output (of skeletons: one length) are "
    "left out in turn; the mean over these regions",
    "rule": "nothing is held out: a rule from the architecture's graph that was found from, and is measured on, the "
    "whole table",
}
MEASURE_WORDS = {
    "Kendall tau": "rank correlation (tau-b) of predictions with the table's scores",
    "R2": "coefficient of determination of predictions, in the task's unit",
    "top-1% recall": "share of the table's best 1% among the predicted best 1%",
    "accuracy": "share of architectures for which the rule is right",
    "coverage": "share of differences of two training seeds, of held-out architectures, inside the model's central "
    "interval of the level that is named",
    "isomorphic/seeds": "scale of the noise that differences of isomorphic cells show, relative to that which training "
    "seeds show",
}

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


class Table(NamedTuple):
    """Mean scores to fit.

    Attributes:
        benchmark: What is fitted.
        columns: Task, split and fidelity (0: the only one) of the columns.
        scores: Shape (architectures, columns), in the order of the space's `enumerate()`.
    """

    benchmark: FittedBenchmark
    columns: list[tuple[str, str, int]]
    scores: Array

    @property
    def space(self) -> Space:
        """The search space."""
        return self.benchmark.space


class Pairs(NamedTuple):
    """Pairs of trainings of which only the seeds differ.

    Attributes:
        rows: The architecture, shape (n,).
        distances: Absolute difference of the two scores, shape (n,).
        weights: Weight in the likelihood, shape (n,): the pairs of k trainings weigh k - 1 together.
        offsets: Logarithm of the factor by which averaging over seeds shrank the difference, shape (n,).
    """

    rows: Rows
    distances: Array
    weights: Array
    offsets: Array

    def take(self, chosen: NDArray[np.bool_]) -> "Pairs":
        """Returns the chosen pairs."""
        return Pairs(self.rows[chosen], self.distances[chosen], self.weights[chosen], self.offsets[chosen])


class Noise(NamedTuple):
    """A model of the training noise: the logarithm of its scale is linear in `noise_features`."""

    weights: Array
    degrees_of_freedom: float


# Reading.


def read(file: Path, space: Space, columns: Sequence[str]) -> pd.DataFrame:
    """Reads columns of a table with one row an architecture (or several), and adds `row`, its place in the space.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    try:
        frame = pd.read_parquet(file, columns=["arch_str", *columns])
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); name the folder of the extracts of the tables") from error
    texts = frame["arch_str"].unique()
    places = dict(zip(texts, space.index([space.parse(text) for text in texts]).tolist(), strict=True))
    return frame.assign(row=frame.pop("arch_str").map(places))


def whole(file: Path, space: Space, columns: Sequence[str]) -> Array:
    """Reads columns of a table with one row an architecture: shape (architectures, columns).

    Raises:
        InputError: The file cannot be read, lacks a column, or does not hold each architecture once.
    """
    frame = read(file, space, columns).sort_values("row")
    if not np.array_equal(frame["row"], np.arange(space.size)):
        raise InputError(f"{file} does not hold each of the {space.size:,} architectures of {space.name} once")
    return frame[list(columns)].to_numpy(dtype=np.float64)


# Networks and least squares.


def fit_ensemble(name: str, features: Array, targets: Array, seed: int = SEED) -> dict[str, NDArray[np.float32]]:
    """Fits an ensemble of multilayer perceptrons by least squares on standardised targets.

    Args:
        name: Name of the ensemble.
        features: Shape (n, features).
        targets: Shape (n, outputs); NaN where one is unknown.
        seed: Of initialisation and order.

    Returns:
        Parameters as `surrogates.fitted.ensemble` takes them.
    """
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    centre, mean, spread = features.mean(0), np.nanmean(targets, 0), np.nanstd(targets, 0)
    inputs = torch.tensor(features - centre, dtype=torch.float32)
    outputs = torch.tensor((targets - mean) / spread, dtype=torch.float32)
    sizes = [features.shape[1], *(WIDTH,) * DEPTH, targets.shape[1]]
    weights = [
        (1.5 if fan_out == WIDTH else 0.5) / fan_in**0.5 * torch.randn(MEMBERS, fan_in, fan_out, generator=generator)
        for fan_in, fan_out in pairwise(sizes)
    ]
    biases = [torch.zeros(MEMBERS, 1, size) for size in sizes[1:]]
    for parameter in (*weights, *biases):
        parameter.requires_grad_()
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.01}, {"params": biases, "weight_decay": 0.0}], lr=RATE, fused=True
    )
    steps = max(1, len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        order = torch.stack([torch.randperm(len(inputs), generator=generator) for _ in range(MEMBERS)])
        for chosen in order[:, : steps * BATCH].split(BATCH, dim=1):
            hidden, wanted = inputs[chosen], outputs[chosen]
            for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                hidden = torch.baddbmm(bias, hidden, weight)
                if layer < DEPTH:
                    hidden = torch.nn.functional.silu(hidden)
            errors = torch.where(wanted.isnan(), 0.0, hidden - wanted.nan_to_num())
            optimizer.zero_grad(set_to_none=True)
            (errors**2).mean((1, 2)).sum().backward()
            optimizer.step()
            schedule.step()
    # The standardisation is folded into the first and the last layer.
    found = [
        (w.detach().double().numpy(), b.detach().double().numpy()[:, 0]) for w, b in zip(weights, biases, strict=True)
    ]
    found[0] = found[0][0], found[0][1] - centre @ found[0][0]
    found[-1] = found[-1][0] * spread, found[-1][1] * spread + mean
    return {
        f"{name}/{kind}{layer}": values.astype(np.float32)
        for layer, pair in enumerate(found)
        for kind, values in zip(("weight", "bias"), pair, strict=True)
    }


def normal_scores(scores: Array) -> Array:
    """Returns the normal quantile of each score's mid-rank in its column."""
    return np.asarray(norm.ppf((rankdata(scores, axis=0) - 0.5) / len(scores)), dtype=np.float64)


def fit_scores(features: Array, scores: Array) -> dict[str, NDArray[Any]]:
    """Fits the normal scores of the columns, and the curves that lead from these back to scores.

    The curves are 65 quantiles a column, evenly spaced in the normal score.
    """
    grid = np.linspace(-1, 1, 65) * norm.ppf(1 - 0.5 / len(scores))
    knots = np.quantile(scores, norm.cdf(grid), axis=0, method="hazen").T
    return {**fit_ensemble("scores", features, normal_scores(scores)), "scores/grid": grid, "scores/knots": knots}


def least_squares(features: Array, targets: Array) -> Array:
    """Returns the weights of a constant and of the features: shape (targets, 1 + features)."""
    design = np.column_stack([np.ones(len(features)), features])
    return np.asarray(np.linalg.lstsq(design, targets, rcond=None)[0].T, dtype=np.float64)


# Folds, and how good predictions are.


def classes(space: Space) -> Rows:
    """Returns the isomorphism class of each architecture, by number: shape (architectures,)."""
    forms = space.index([space.canonical(tuple(arch)) for arch in space.enumerate().tolist()])
    return np.unique(forms, return_inverse=True)[1]


def folds(space: Space) -> dict[str, Rows]:
    """Returns the fold of each architecture, by the name of the way to divide them."""
    rng = np.random.default_rng(SEED)
    kind, archs = classes(space), space.enumerate()
    cells = space.name != "trans_nas_bench_101_macro"
    region = archs[:, EDGES.index((0, 3))] if cells else (archs > 0).sum(1)
    return {
        "random": rng.permutation(space.size) % FOLDS,
        "isomorphism": (rng.permutation(kind.max() + 1) % FOLDS)[kind],
        "region": np.unique(region, return_inverse=True)[1],
    }


def held_out(fold: Rows, fit: Callable[[NDArray[np.bool_]], Array]) -> Array:
    """Returns predictions of each fold's architectures by a fit to the others.

    Args:
        fold: Fold of each architecture.
        fit: Takes which architectures may be seen, and returns predictions for all: shape (architectures, columns).
    """
    predicted = [fit(fold != k) for k in range(fold.max() + 1)]
    return np.choose(fold[:, None], predicted)


def recall(truth: Array, predicted: Array) -> float:
    """Returns the share of the best 1% that is among the predicted best 1%."""
    top = max(1, round(0.01 * len(truth)))
    best, chosen = (np.argsort(-values, kind="stable")[:top] for values in (truth, predicted))
    return len(np.intersect1d(best, chosen)) / top


def tau(truth: Array, predicted: Array) -> float:
    """Returns Kendall's tau-b."""
    return float(kendalltau(truth, predicted).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def r2(truth: Array, predicted: Array) -> float:
    """Returns the coefficient of determination."""
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


MEASURES: Mapping[str, Callable[[Array, Array], float]] = {
    "Kendall tau": tau,
    "R2": r2,
    "top-1% recall": recall,
}


def measure(
    truth: Array,
    predicted: Array,
    clusters: Rows,
    strata: Rows,
    measures: Mapping[str, Callable[[Array, Array], float]] = MEASURES,
) -> dict[str, Array]:
    """Returns each measure of each column, and its 95% interval: percentiles of the bootstrap, shifted by its bias.

    Args:
        truth: Shape (n, columns).
        predicted: Shape (n, columns).
        clusters: What is resampled together (isomorphism classes), shape (n,).
        strata: Within each of which the measure is taken and resampled; they are averaged. Shape (n,).
        measures: What is measured, by name.

    Returns:
        Value, low and high by measure: shape (3, columns).
    """
    rng = np.random.default_rng(SEED)
    parts = [np.flatnonzero(strata == k) for k in np.unique(strata)]
    groups = [
        np.split(p[o], np.flatnonzero(np.diff(clusters[p[o]])) + 1)
        for p in parts
        for o in [np.argsort(clusters[p], kind="stable")]
    ]

    def taken(samples: Iterable[Rows]) -> NDArray[Any]:
        """All measures of all columns, averaged over strata: shape (measures, columns)."""
        return np.mean(
            [
                [[f(truth[s, j], predicted[s, j]) for j in range(truth.shape[1])] for f in measures.values()]
                for s in samples
            ],
            axis=0,
        )

    def resample() -> list[Rows]:
        return [np.concatenate([g[k] for k in rng.integers(len(g), size=len(g))]) for g in groups]

    value = taken(parts)
    low, middle, high = np.quantile([taken(resample()) for _ in range(RESAMPLES)], (0.025, 0.5, 0.975), axis=0)
    # A cluster drawn twice adds pairs of equivalent architectures, which lowers rank correlations: hence the shift.
    floor = np.array([0.0 if name == "top-1% recall" else -np.inf for name in measures])[:, None]
    low, high = np.maximum(low + value - middle, floor), np.minimum(high + value - middle, 1)
    return {name: np.array([value[i], low[i], high[i]], dtype=np.float64) for i, name in enumerate(measures)}


def quality_rows(
    columns: Sequence[tuple[str, str, int]],
    way: str,
    truth: Array,
    predicted: Array,
    clusters: Rows,
    strata: Rows,
    left_out: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Returns the rows of `FittedBenchmark.quality` for the columns of a way to fold."""
    wanted = {name: function for name, function in MEASURES.items() if name not in left_out}
    measured = measure(truth, predicted, clusters, strata, wanted)
    return [
        row(column, way, name, *values[:, j], n=len(truth))
        for j, column in enumerate(columns)
        for name, values in measured.items()
    ]


def row(
    column: tuple[str, str, int], way: str, name: str, value: float, low: float, high: float, n: int
) -> dict[str, Any]:
    """Returns one row of `FittedBenchmark.quality`, its numbers to four digits."""
    numbers = {"value": value, "low": low, "high": high}
    keys = dict(zip(("task", "split", "fidelity"), column, strict=True))
    return keys | {"folds": way, "measure": name} | {k: float(f"{v:.4g}") for k, v in numbers.items()} | {"n": n}


# Noise.

_GRID = np.arange(-12, 12, 0.05)
"""Logarithms of distances in units of the scale, on which densities are tabulated."""


def log_density(degrees_of_freedom: float) -> Array:
    """Returns the logarithm of the density of |a - b| at exp(`_GRID`), for two draws a, b of `standard_noise`."""

    def density(x: Array) -> Array:
        return np.where(x < 0, student.pdf(x, degrees_of_freedom), norm.pdf(x))

    distance = np.exp(_GRID)[:, None]
    nodes, node_weights = leggauss(96)
    total = np.zeros(len(_GRID))
    # The integral over x of f(x) f(x + distance), cut where f has its jumps and, between them, in the middle.
    for start, sign, length in ((0, 1, 1e3), (0, -1, distance / 2), (-distance, 1, distance / 2), (-distance, -1, 1e6)):
        reach = np.arcsinh(length) / 2
        x = start + sign * np.maximum(np.sinh(reach * (nodes + 1)), 1e-300)
        step = node_weights * reach * np.cosh(reach * (nodes + 1))
        total += (step * density(x) * density(x + distance)).sum(1)
    return np.log(2 * total)


def difference_quantiles(degrees_of_freedom: float, levels: Sequence[float]) -> Array:
    """Returns the quantiles of |a - b|, for two draws a, b of `standard_noise`."""
    mass = np.exp(log_density(degrees_of_freedom) + _GRID)
    share = np.cumsum(mass) / mass.sum()
    return np.exp(np.interp(levels, share, _GRID + 0.025))


def fit_noise(pairs: Pairs, features: Array, choices: Sequence[float] = DEGREES_OF_FREEDOM) -> Noise:
    """Fits scale and tail of the noise by maximum (composite, penalised) likelihood of differences.

    Differences do not depend on the unknown mean of an architecture, so that architectures with two seeds count without
    bias beside those with three.

    Args:
        pairs: Pairs of trainings; distances are positive.
        features: `noise_features` of all architectures, shape (architectures, k).
        choices: The degrees of freedom to choose from.
    """
    design = features[pairs.rows]
    logarithms = np.log(pairs.distances) - pairs.offsets
    penalty = RIDGE * (np.arange(features.shape[1]) > 0)
    start = np.zeros(features.shape[1])
    start[0] = np.median(logarithms)
    best: tuple[float, Noise] | None = None
    for nu in choices:
        table = log_density(nu)
        slopes = np.gradient(table, _GRID)

        def loss(weights: Array, nu: float = nu, table: Array = table, slopes: Array = slopes) -> tuple[float, Array]:
            scale = design @ weights
            distance = logarithms - scale
            beyond = np.maximum(distance - _GRID[-1], 0)
            value = np.interp(distance, _GRID, table) - (nu + 1) * beyond - scale
            slope = -np.interp(distance, _GRID, slopes) - 1
            return (
                -float(pairs.weights @ value) + float(penalty @ weights**2) / 2,
                -design.T @ (pairs.weights * slope) + penalty * weights,
            )

        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 150})
        start = found.x
        if best is None or found.fun < best[0]:
            best = found.fun, Noise(found.x, nu)
    assert best is not None
    return best[1]


def seed_pairs(scores: Array, resolution: float) -> Pairs:
    """Returns all pairs of seeds of each architecture.

    Args:
        scores: Shape (architectures, seeds); NaN where a seed is missing.
        resolution: The smallest possible distance, half of which stands for none.
    """
    counts = (~np.isnan(scores)).sum(1)
    found = []
    for i in range(scores.shape[1]):
        for j in range(i):
            distance = np.abs(scores[:, i] - scores[:, j])
            rows = np.flatnonzero(~np.isnan(distance))
            found.append((rows, np.maximum(distance[rows], resolution / 2), 2 / counts[rows], np.zeros(len(rows))))
    return Pairs(*(np.concatenate(values) for values in zip(*found, strict=True)))


def isomorphic_pairs(scores: Array, kind: Rows, seeds: Rows, resolution: float) -> Pairs:
    """Returns pairs of isomorphic architectures: each with the next of its class, in random order, round a ring.

    Args:
        scores: Mean over seeds of each architecture, shape (architectures,).
        kind: Isomorphism class, shape (architectures,).
        seeds: Number of seeds behind each mean, shape (architectures,).
        resolution: The smallest possible distance, half of which stands for none.
    """
    rng = np.random.default_rng(SEED)
    order = np.lexsort((rng.permutation(len(kind)), kind))
    ends = np.flatnonzero(np.diff(kind[order], append=-1))
    starts = np.append(0, ends[:-1] + 1)
    after = np.arange(1, len(kind) + 1)
    after[ends] = starts
    sizes = np.bincount(kind)[kind[order]]
    # Of a class of two the ring has one pair, twice.
    weights = (sizes - 1) / sizes
    one, other = order, order[after]
    distance = np.maximum(np.abs(scores[one] - scores[other]), resolution / 2)
    offsets = np.log((1 / seeds[one] + 1 / seeds[other]) / 2) / 2
    return Pairs(one, distance, weights, offsets).take(weights > 0)


def fit_half_difference(pairs: Pairs, means: Array) -> float:
    """Fits k, where half the difference of two splits has a variance of k p (1 - p) over seeds, p the accuracy (0-1).

    The variance has the form of that of a share of images. Isomorphic cells have the same expected difference.

    Args:
        pairs: Isomorphic pairs of validation less test, in percent.
        means: Accuracy in percent, shape (architectures,).
    """
    share = np.clip(means[pairs.rows] / 100, 0.01, 0.99)
    halves = (pairs.distances / np.exp(pairs.offsets) / 100) ** 2 / 2 / 4
    return float(np.average(halves / (share * (1 - share)), weights=pairs.weights))


# The benchmarks.


def fit_means(table: Table) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]], Array]:
    """Fits the mean scores of a table.

    Returns:
        The parameters; the rows about their quality; and the normal scores that the folds by isomorphism class predict,
        shape (architectures, columns).
    """
    features, kind = FEATURES[table.space.name](table.space.enumerate()), classes(table.space)

    def fit(seen: NDArray[np.bool_]) -> Array:
        parameters = fit_scores(features[seen], table.scores[seen])
        levels = ensemble(parameters, "scores", features)
        return np.hstack([scores_at(parameters, levels.T).T, levels])

    quality, levels = [], np.empty(0)
    for way, fold in folds(table.space).items():
        predicted, found = np.hsplit(held_out(fold, fit), 2)
        strata = fold if way == "region" else np.zeros_like(fold)
        quality += quality_rows(table.columns, way, table.scores, predicted, kind, strata)
        if way == "isomorphism":
            levels = found
    return fit_scores(features, table.scores), quality, levels


def fit_nas_bench_201(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Fits scores, noise, costs and objectives of NAS-Bench-201; returns the parameters, and what describes them."""
    benchmark, space = NAS_BENCH_201, NAS_BENCH_201.space
    files = [folder / f"nb201_{name}.parquet" for name in ("acc", "seeds_e200", "hwnasbench")]
    columns = [(task, split, epochs) for task in _SHORT for epochs in (12, 200) for split in ("validation", "test")]
    scores = whole(
        files[0],
        space,
        [
            f"{_SHORT[task]}_{'val' if split == 'validation' else 'test'}_e{epochs}" + "_lapt" * (epochs == 200)
            for task, split, epochs in columns
        ],
    )
    parameters, quality, levels = fit_means(Table(benchmark, columns, scores))

    noise, more = fit_noises(
        files, columns, scores, ensemble(parameters, "scores", FEATURES[space.name](space.enumerate())), levels
    )
    quality += more
    parameters["noise/weights"] = np.array([found.weights for found, _ in noise])

    costs, more = fit_costs(files)
    parameters |= costs.parameters
    return parameters, {
        "columns": columns,
        "noise": [described for _, described in noise],
        "additive": costs.additive,
        "execution": costs.execution,
        "objectives": list(OBJECTIVES),
        "data": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        "quality": quality + more,
    }


def fit_noises(
    files: Sequence[Path], columns: Sequence[tuple[str, str, int]], scores: Array, levels: Array, held_out_levels: Array
) -> tuple[list[tuple[Noise, dict[str, Any]]], list[dict[str, Any]]]:
    """Fits the noise of NAS-Bench-201's tasks.

    At 200 epochs, results of single seeds are known: on CIFAR-10 on the validation split, on the others as the mean of
    validation and test. The noise on CIFAR-10's test split, whose networks are other ones, is taken to be that on its
    validation split. The rest is fitted to the means of isomorphic cells, which are independent trainings of the same
    function: the noise at 12 epochs, and by how much the two splits of one network differ.

    Args:
        files: The tables of means and of seeds, and others.
        columns: Task, split and fidelity of each column of scores.
        scores: The means, shape (architectures, columns).
        levels: Their predicted normal scores.
        held_out_levels: The same, predicted by folds.
    """
    space = NAS_BENCH_201.space
    cells, kind = space.enumerate(), classes(space)
    features, trained = FEATURES[space.name](cells), connected(cells)
    single = read(files[1], space, ["seed", *_SEEDS.values()])
    counts = whole(files[0], space, ["n_seeds_e200"])[:, 0].astype(np.int64)
    fold = folds(space)["isomorphism"]
    rng = np.random.default_rng(SEED)

    found, quality = [], []
    for task in _SHORT:
        places = {
            (split, epochs): columns.index((task, split, epochs))
            for split in ("validation", "test")
            for epochs in (12, 200)
        }
        wanted = [
            (split, epochs)
            for epochs in (200, 12)
            for split in (("validation", "test") if task == "cifar10" else ("mean",))
        ]
        for split, epochs in wanted:
            chosen = [places[s, epochs] for s in (("validation", "test") if split == "mean" else (split,))]
            design = noise_features(features, levels[:, chosen].mean(1))
            seeds = counts if epochs == 200 else np.ones_like(counts)
            cousins = isomorphic_pairs(scores[:, chosen].mean(1), kind, seeds, RESOLUTION[task])
            cousins = cousins.take(trained[cousins.rows])
            described: dict[str, Any] = {"task": task, "split": split, "fidelity": epochs}
            if epochs == 200 and split == "test":
                # No results of single seeds are known: taken as on the validation split, at the same normal score.
                noise = found[-1][0]
                described |= {"from": "training seeds of validation", "pairs": 0}
            elif epochs == 200:
                pairs = seed_pairs(
                    single.pivot_table(index="row", columns="seed", values=_SEEDS[task]).to_numpy(), RESOLUTION[task]
                )
                pairs = pairs.take(trained[pairs.rows])
                noise = fit_noise(pairs, design)
                unseen = noise_features(features, held_out_levels[:, chosen].mean(1))
                quality += calibration((task, split, epochs), pairs, design, unseen, fold, rng)
                quality.append(agreement((task, split, epochs), noise, cousins, design, kind, rng))
                described |= {"from": "training seeds", "pairs": len(pairs.rows)}
            else:
                noise = fit_noise(cousins, design, DEGREES_OF_FREEDOM)
                described |= {"from": "isomorphic cells", "pairs": len(cousins.rows)}
            described["degrees_of_freedom"] = noise.degrees_of_freedom
            if split == "mean":
                differences = isomorphic_pairs(-np.diff(scores[:, chosen])[:, 0], kind, seeds, resolution=0)
                differences = differences.take(trained[differences.rows])
                described["half_difference"] = fit_half_difference(differences, scores[:, chosen].mean(1))
            found.append((noise, described))
    return found, quality


def calibration(
    column: tuple[str, str, int], pairs: Pairs, design: Array, unseen: Array, fold: Rows, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Returns how many differences of two seeds lie within central intervals, for architectures of held-out folds.

    Args:
        column: Task, split and fidelity.
        pairs: Pairs of seeds.
        design: `noise_features` of all architectures, for the fits.
        unseen: The same, from scores predicted by folds, for the held-out architectures.
        fold: Fold of each architecture.
        rng: For the bootstrap.
    """
    inside, rows = [], []
    for k in range(fold.max() + 1):
        seen = fold[pairs.rows] != k
        noise = fit_noise(pairs.take(seen), design)
        asked = pairs.take(~seen)
        limits = difference_quantiles(noise.degrees_of_freedom, LEVELS)
        distance = asked.distances / np.exp(unseen[asked.rows] @ noise.weights)
        inside.append(distance[:, None] <= limits)
        rows.append(asked.rows)
    covered = pd.DataFrame(np.concatenate(inside)).groupby(np.concatenate(rows)).agg(["sum", "count"]).to_numpy()
    hits, pairs_each = covered[:, ::2], covered[:, 1]

    def share(chosen: Rows) -> Array:
        return hits[chosen].sum(0) / pairs_each[chosen].sum()

    n = len(hits)
    low, high = np.quantile([share(rng.integers(n, size=n)) for _ in range(RESAMPLES)], (0.025, 0.975), axis=0)
    return [
        row(column, "isomorphism", f"coverage of the {level:.0%} interval", *numbers, n=len(pairs.rows))
        for level, *numbers in zip(LEVELS, share(np.arange(n)), low, high, strict=True)
    ]


def agreement(
    column: tuple[str, str, int], noise: Noise, cousins: Pairs, design: Array, kind: Rows, rng: np.random.Generator
) -> dict[str, Any]:
    """Returns the scale that isomorphic cells show, relative to that of a fit to seeds; bootstrap over classes."""
    logarithms = np.log(cousins.distances) - cousins.offsets - design[cousins.rows] @ noise.weights
    table, shifts = log_density(noise.degrees_of_freedom), np.linspace(-1, 1, 201)
    likelihoods = np.array([np.interp(logarithms - shift, _GRID, table) - shift for shift in shifts]) * cousins.weights
    groups = np.unique(kind[cousins.rows], return_inverse=True)[1]
    by_class = np.array([np.bincount(groups, values) for values in likelihoods])
    n = by_class.shape[1]

    def ratio(counts: NDArray[Any]) -> float:
        return float(np.exp(shifts[np.argmax(by_class @ counts)]))

    drawn = [ratio(np.bincount(rng.integers(n, size=n), minlength=n)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return row(column, "isomorphism", "isomorphic/seeds", ratio(np.ones(n)), low, high, n=len(cousins.rows))


class Costs(NamedTuple):
    """Fitted costs and objectives.

    Attributes:
        parameters: Arrays of the parameter file.
        additive: Task and name of those that are sums over the operations of a cell.
        execution: Task and name of those that a network predicts.
    """

    parameters: dict[str, NDArray[Any]]
    additive: list[tuple[str, str]]
    execution: list[tuple[str, str]]


def fit_costs(files: Sequence[Path]) -> tuple[Costs, list[dict[str, Any]]]:
    """Fits training seconds, parameters, FLOPs, latencies and energies of NAS-Bench-201."""
    space = NAS_BENCH_201.space
    cells, kind = space.enumerate(), classes(space)
    counts, features = operation_counts(cells), execution_features(cells)
    seconds = whole(files[0], space, [f"train_time_{short}_s" for short in _SHORT.values()])
    parameters, flops = whole(files[0], space, ["params_c10_M_formula", "flops_c10_M"]).T * 1e6
    additive: dict[tuple[str, str], Array] = {}
    for j, (task, (resolution, outputs)) in enumerate(_NETWORKS.items()):
        additive[task, "seconds"] = seconds[:, j]
        # The last layer has 64 inputs, a bias, and an output a class; other operations scale with the image.
        additive[task, "parameters"] = parameters + 65 * (outputs - 10)
        additive[task, "flops"] = (flops - 640) * (resolution / 32) ** 2 + 64 * outputs
    execution: dict[tuple[str, str], Array] = {}
    measured = whole(files[2], space, [f"{short}_{name}" for short in _SHORT.values() for name in OBJECTIVES])
    for (task, name), values in zip(((task, name) for task in _SHORT for name in OBJECTIVES), measured.T, strict=True):
        is_sum = name.startswith("eyeriss") or (name.startswith("fpga") and task != "ImageNet16-120")
        (additive if is_sum else execution)[task, name] = np.where(values < 0, np.nan, values)

    def fit(seen: NDArray[np.bool_]) -> Array:
        return ensemble(fit_ensemble("objectives", features[seen], targets[seen]), "objectives", features)

    def fit_sums(seen: NDArray[np.bool_]) -> Array:
        weights = least_squares(counts[seen], sums[seen])
        return weights[:, 0] + counts @ weights[:, 1:].T

    sums, targets = (np.column_stack(list(values.values())) for values in (additive, execution))
    quality = []
    for way, fold in folds(space).items():
        strata = fold if way == "region" else np.zeros_like(fold)
        for values, truth, predicted in (
            (additive, sums, held_out(fold, fit_sums)),
            (execution, targets, held_out(fold, fit)),
        ):
            for j, (task, name) in enumerate(values):
                # Sums are exact up to rounding, which breaks ties at random; those of seconds are not exact.
                left_out = {"top-1% recall", *({"Kendall tau"} if values is additive and name != "seconds" else ())}
                there = ~np.isnan(truth[:, j])  # The Edge TPU has values for a part of the cells only.
                quality += quality_rows(
                    [(task, name, 200 if name == "seconds" else 0)], way, truth[there, j : j + 1],
                    predicted[there, j : j + 1], kind[there], strata[there], left_out,
                )  # fmt: skip
    right = edge_tpu_supports(cells) == ~np.isnan(execution["cifar10", "edgetpu_latency"])
    rng = np.random.default_rng(SEED)
    low, high = np.quantile(rng.binomial(len(right), right.mean(), size=RESAMPLES) / len(right), (0.025, 0.975))
    quality += [
        row((task, "edgetpu_latency", 0), "rule", "accuracy", right.mean(), low, high, len(right)) for task in _SHORT
    ]
    weights = least_squares(counts, sums)
    whole_numbers = [name in ("parameters", "flops") for _, name in additive]
    weights[whole_numbers] = np.rint(weights[whole_numbers])
    arrays: dict[str, NDArray[Any]] = {"additive/weights": weights}
    arrays |= fit_ensemble("objectives", features, targets)
    return Costs(arrays, list(additive), list(execution)), quality


def fit_trans_nas_bench_101(benchmark: FittedBenchmark, folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Fits the scores of a space of TransNAS-Bench-101; returns the parameters, and what describes them."""
    file = folder / f"tnb101_{benchmark.name.rpartition('-')[2]}.parquet"
    columns = [(task, "validation", 0) for task in benchmark.tasks]
    scores = whole(file, benchmark.space, [f"{task}_val_final" for task in benchmark.tasks])
    parameters, quality, _ = fit_means(Table(benchmark, columns, scores))
    return {**parameters, "noise/weights": np.empty((0, 0))}, {
        "columns": columns,
        "noise": [],
        "additive": [],
        "execution": [],
        "objectives": [],
        "data": {file.name: hashlib.sha256(file.read_bytes()).hexdigest()},
        "quality": quality,
    }


def write(
    benchmark: FittedBenchmark, parameters: Mapping[str, NDArray[Any]], about: Mapping[str, Any], folder: Path
) -> Path:
    """Writes a parameter file, and returns its path."""
    described = {
        "form": FORM,
        "benchmark": benchmark.name,
        "version": VERSION,
        "architectures": benchmark.space.size,
        "folds": FOLD_WORDS,
        "measures": MEASURE_WORDS,
        **about,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(described)), **parameters)  # pyright: ignore[reportArgumentType]
    path = folder / f"{benchmark.name}.npz"
    path.write_bytes(buffer.getvalue())
    return path


def main() -> None:
    """Fits all surrogates, writes their files, and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="?", default=DATA, help="folder of the extracts of the exact tables")
    folder = parser.parse_args().data
    for benchmark in (TRANS_NAS_BENCH_101_MACRO, TRANS_NAS_BENCH_101_MICRO, NAS_BENCH_201):
        if benchmark is NAS_BENCH_201:
            parameters, about = fit_nas_bench_201(folder)
        else:
            parameters, about = fit_trans_nas_bench_101(benchmark, folder)
        path = write(benchmark, parameters, about, PARAMETERS)
        print(f"{path}, {path.stat().st_size / 1e3:.0f} kB")
        print(pd.DataFrame(about["quality"]).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
