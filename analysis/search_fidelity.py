"""Whether searches on a surrogate go as on the exact table: regret, ranking of methods, and what is transferred."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from analysis import statistics
from analysis.statistics import RESAMPLES, SIGNIFICANT
from bench.budget import Budget
from bench.driver import Driver
from bench.executors import Inline
from bench.journal import Journal, read
from bench.methods import methods
from bench.study import Run
from surrogates.benchmark import Benchmark

METHODS = ("random_search", "regularized_evolution", "local_search")

SEEDS = 200
"""Runs of a method on a task: the tests find a probability of improvement of .58 with a power of 80%, before Holm."""

CHECKPOINTS = (25, 50, 100, 200)
"""Numbers of evaluations after which runs are compared. The last, the budget, is twice that of the shipped studies, and
6% of the smallest space."""

MEASURES = (*(f"after {n}" for n in CHECKPOINTS), "area")
"""What is compared: normalised regret at the checkpoints, and the area under its curve."""

SOURCES = ("table", "surrogate")

Array = NDArray[np.float64]


class Searches(NamedTuple):
    """What runs of the methods had reached on a task, as the driver has driven them.

    Attributes:
        regret: Normalised regret of the incumbent after each evaluation, on the split that is reported: 0 is the
            optimum, 1 the median architecture; shape (methods, seeds, evaluations).
        incumbents: Rows of the incumbents in the space's `enumerate()` at the checkpoints: shape (methods, seeds,
            checkpoints).
    """

    regret: Array
    incumbents: NDArray[np.int64]


def search(benchmark: Benchmark, task: str, seeds: int, checkpoints: Sequence[int]) -> Searches:
    """Drives the methods on a task, with the last checkpoint as budget; the journal is temporary.

    A run's random numbers depend on the names of method, benchmark and task and on the seed, so on two benchmarks of
    one name the same seed proposes the same until scores tell them apart.

    Args:
        benchmark: The benchmark.
        task: Name of the task; all architectures have scores.
        seeds: Number of seeds, from 0 on.
        checkpoints: Numbers of evaluations, ascending.
    """
    budget = Budget(evaluations=checkpoints[-1])
    runs = [
        Run(method, method.complete({}), benchmark, task, seed, budget)
        for method in map(methods.get, METHODS)
        for seed in range(seeds)
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        with closing(Journal(path)) as journal:
            Driver(journal, Inline(), Path(folder) / "logs").drive(runs)
        with read(path) as db:
            made = pd.read_sql_query("SELECT arch, validation, test FROM evaluations ORDER BY run, step, position", db)
    shape = (len(METHODS), seeds, checkpoints[-1])  # the driver numbers runs in their order
    best = incumbents(made["validation"].to_numpy().reshape(shape))
    reported = made[benchmark.tasks[task].reported].to_numpy().reshape(shape)
    codes, texts = pd.factorize(made["arch"])
    rows = benchmark.space.index([benchmark.space.parse(text) for text in texts])[codes].reshape(shape)
    rows = np.take_along_axis(rows, best[..., np.array(checkpoints) - 1], axis=-1)
    return Searches(normalised_regret(benchmark, task, np.take_along_axis(reported, best, axis=-1)), rows)


def incumbents(validation: Array) -> NDArray[np.intp]:
    """Returns the place of the highest score so far along the last axis, the first of those that tie."""
    best = np.maximum.accumulate(validation, axis=-1)
    better = np.ones(validation.shape, dtype=bool)
    better[..., 1:] = best[..., 1:] > best[..., :-1]
    return np.maximum.accumulate(np.where(better, np.arange(validation.shape[-1]), 0), axis=-1)


def normalised_regret(benchmark: Benchmark, task: str, scores: Array) -> Array:
    """Returns (optimum - score) / (optimum - median), over all architectures of the split that is reported."""
    every = benchmark.scores(task, benchmark.tasks[task].reported)
    optimum = np.nanmax(every)
    return (optimum - scores) / (optimum - np.nanmedian(every))


class Pair(NamedTuple):
    """The searches on one task.

    Attributes:
        table: On the exact table.
        surrogate: On the surrogate, each regret against the surrogate's own optimum.
        transferred: Normalised regret on the table of what the searches on the surrogate recommend at the checkpoints:
            shape (methods, seeds, checkpoints).
    """

    table: Searches
    surrogate: Searches
    transferred: Array


def search_both(table: Benchmark, surrogate: Benchmark, task: str, seeds: int, checkpoints: Sequence[int]) -> Pair:
    """Drives the methods on both benchmarks, with the same seeds; arguments as of `search`."""
    exact, fitted = (search(benchmark, task, seeds, checkpoints) for benchmark in (table, surrogate))
    scores = table.scores(task, table.tasks[task].reported)
    return Pair(exact, fitted, normalised_regret(table, task, scores[fitted.incumbents]))


def measures(regret: Array, checkpoints: Sequence[int]) -> Array:
    """Returns the regret at the checkpoints, and last its mean over all evaluations (the area under the curve)."""
    return np.concatenate([regret[..., np.array(checkpoints) - 1], regret.mean(axis=-1, keepdims=True)], axis=-1)


class Order(NamedTuple):
    """How methods are ordered by their mean regret on the table and on the surrogate.

    Attributes:
        table: Rank of each method on the table, 1 being best; methods of one mean share the lowest rank.
        surrogate: Rank of each on the surrogate.
        table_probability: Share of the resamples that have the order of the table.
        surrogate_probability: Share of the resamples of the runs on the surrogate that have its order.
        same_probability: Share of the resamples in which both have the same order.
    """

    table: tuple[int, ...]
    surrogate: tuple[int, ...]
    table_probability: float
    surrogate_probability: float
    same_probability: float


def orders(table: Array, surrogate: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> Order:
    """Orders methods, with bootstrap probabilities over seeds; table and surrogate share the seeds that are drawn.

    Args:
        table: Regret on the table, shape (methods, seeds).
        surrogate: Regret on the surrogate, of the same methods and seeds.
        rng: Source of all randomness.
        resamples: Number of resamples.
    """
    count, n = table.shape
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=(resamples, count)) / n
    found = []
    for values in (table, surrogate):
        means = np.concatenate([values.mean(axis=1)[None], (drawn * values).sum(axis=2)])
        found.append(rankdata(means.round(12), method="min", axis=1).astype(int))  # sums of equal values may differ
    ours, theirs = found
    same = (ours[1:] == theirs[1:]).all(axis=1).mean()
    own, other = (float((ranks[1:] == ranks[0]).all(axis=1).mean()) for ranks in found)
    return Order(tuple(ours[0].tolist()), tuple(theirs[0].tolist()), own, other, float(same))


def decisions(
    values: Mapping[str, Mapping[str, Array]], rng: np.random.Generator, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Tests which methods differ, on the table and on the surrogate, as a report of the suite would.

    The test is `statistics.van_elteren` of one task (two-sided Mann-Whitney), corrected by Holm over all pairs and
    tasks, alone for each measure and each of table and surrogate.

    Args:
        values: For "table" and "surrogate", by task, regrets of shape (methods, seeds, measures).
        rng: Source of the bootstrap.
        resamples: Number of resamples.

    Returns:
        One row a task, measure and pair: `task`, `measure`, `method`, `other`; for each source `<source>`, the
        probability that a run of `method` has less regret than one of `other`, with `_low` and `_high`, `p_<source>`,
        corrected, and `<source>_says`: 1 if `method` is significantly better, -1 if `other` is, 0 if undecided.
    """
    rows = []
    for task in values["table"]:
        for k, measure in enumerate(MEASURES):
            for a, b in combinations(range(len(METHODS)), 2):
                row = {"task": task, "measure": measure, "method": METHODS[a], "other": METHODS[b]}
                for source in SOURCES:
                    x, y = (values[source][task][i, :, k, None] for i in (a, b))
                    value, low, high, _ = statistics.probability_of_improvement(x, y, rng, resamples)
                    row |= {source: value, f"{source}_low": low, f"{source}_high": high}
                    row |= {f"p_{source}": statistics.van_elteren(x, y)}
                rows.append(row)
    found = pd.DataFrame(rows)
    for source in SOURCES:
        p = found.groupby("measure")[f"p_{source}"].transform(lambda p: statistics.holm(p.tolist()))
        found[f"p_{source}"] = p
        found[f"{source}_says"] = np.where(p < SIGNIFICANT, np.sign(found[source] - 0.5), 0).astype(int)
    return found


VERDICTS = ("different ranking", "same up to undecided pairs", "same decisions")

OUTCOMES = {
    "alike": "decided alike",
    "open": "undecided on both",
    "table": "decided on the table only",
    "surrogate": "decided on the surrogate only",
    "opposite": "opposite",
}


def verdicts(decided: pd.DataFrame) -> pd.DataFrame:
    """Returns a verdict for each task on what the surrogate makes of the ranking of methods.

    Args:
        decided: As `decisions` returns.

    Returns:
        One row a task: `verdict`, and the number of comparisons (pairs x measures) of each outcome. "different
        ranking": at least one comparison is significant on both, in opposite directions. "same decisions": what is
        significant on one is so on the other, in the same direction. "same up to undecided pairs": otherwise; some
        comparisons are significant on one of them only.
    """
    table, surrogate = decided["table_says"], decided["surrogate_says"]
    outcome = np.select(
        [(table == 0) & (surrogate == 0), table == surrogate, table * surrogate < 0, surrogate == 0],
        ["open", "alike", "opposite", "table"],
        "surrogate",
    )
    counts = pd.crosstab(decided["task"], outcome).reindex(columns=list(OUTCOMES), fill_value=0)
    counts = counts.loc[decided["task"].unique()]
    verdict = np.select(
        [counts["opposite"] > 0, counts["alike"] + counts["open"] == counts.sum(axis=1)],
        [VERDICTS[0], VERDICTS[2]],
        VERDICTS[1],
    )
    found = counts.rename(columns=OUTCOMES).rename_axis(columns=None)
    found.insert(0, "verdict", verdict)
    return found.reset_index()
