"""Anytime performance: what each run would have returned after so much of its budget, and its regret."""

import json
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import LIMITS, defaults
from surrogates.benchmarks import benchmarks

Axis = Literal["evaluations", "tokens", "seconds"]
"""What a trajectory is followed over: evaluations, tokens of a language model, simulated training seconds."""

COLUMN: dict[Axis, str] = {"evaluations": "evaluation", "tokens": "tokens", "seconds": "seconds"}
"""The column of `Results.trajectories` that holds each axis."""


class Scale(NamedTuple):
    """What a task's regret is measured by, on the split that is reported.

    Attributes:
        optimum: Highest score of all architectures.
        median: Median score of all architectures.
        threshold: Lowest score among the best 0.1%.
    """

    optimum: float
    median: float
    threshold: float


class Level(NamedTuple):
    """A number of evaluations at which methods are compared.

    Attributes:
        evaluations: The number.
        labels: The methods all of whose runs reach it.
    """

    evaluations: int
    labels: tuple[str, ...]


def labels(runs: pd.DataFrame) -> pd.Series:
    """Returns what each run's method is called in figures: "genius (smollm2)".

    Two runs have one label when they differ in nothing but benchmark, task and seed. Parameters are named where a
    method occurs with several, and they are not its defaults; budgets where method, parameters and model do.

    Args:
        runs: `Results.runs`.
    """
    budgets = [f"budget_{limit}" for limit in LIMITS]
    kinds = runs[["method", "method_parameters", "model", *budgets]].drop_duplicates()
    names = {}
    for kind in kinds.itertuples(index=False):
        alike = kinds[kinds["method"] == kind.method]
        name = str(kind.method)
        varied = [json.loads(text) for text in alike["method_parameters"].unique()]
        given = json.loads(str(kind.method_parameters))
        usual = defaults(name)
        for parameter, value in given.items():
            named = parameter not in usual or usual[parameter] != value
            if named and any(other.get(parameter) != value for other in varied):
                name += f" {parameter}={value}"
        if isinstance(kind.model, str):
            name += f" ({kind.model})"
        alike = alike[(alike["method_parameters"] == kind.method_parameters)]
        alike = alike[alike["model"].isna() if not isinstance(kind.model, str) else alike["model"] == kind.model]
        if len(alike) > 1:
            limits = {limit: getattr(kind, f"budget_{limit}") for limit in LIMITS}
            name += " at " + ", ".join(f"{v:g} {k.replace('_', ' ')}" for k, v in limits.items() if not np.isnan(v))
        names[tuple(map(str, kind))] = name
    keys = runs[kinds.columns].itertuples(index=False)
    return pd.Series([names[tuple(map(str, key))] for key in keys], index=runs.index, dtype=str)


def scale(benchmark: str, task: str) -> Scale:
    """Returns what the task's regret is measured by."""
    table = benchmarks.get(benchmark)
    split = table.task(task).reported
    median = float(np.nanmedian(table.scores(task, split)))
    return Scale(table.optimum(task, split)[1], median, table.threshold(task, split))


def incumbents(trajectories: pd.DataFrame) -> pd.DataFrame:
    """Adds to each evaluation what its run would return at that moment.

    The incumbent is the architecture with the best validation score so far, the first of those that tie; its score is
    reported on the test split where the task has one, else on the one split there is. Only evaluations at full
    fidelity count.

    Args:
        trajectories: `Results.trajectories`.

    Returns:
        The same rows with the columns `reported` (score of the incumbent), `regret` (optimum of that split minus
        `reported`, in the task's unit) and `normalised` (regret / (optimum - median of the space): 0 is the optimum, 1
        an average architecture). NaN before the first evaluation that has a score.
    """
    found = trajectories.assign(reported=np.nan, regret=np.nan, normalised=np.nan)
    for (benchmark, task), rows in trajectories.groupby(["benchmark", "task"]):
        description = benchmarks.get(str(benchmark)).task(str(task))
        full = rows["fidelity"].isna()
        if description.fidelities:
            full |= (rows["fidelity"] == description.fidelities[-1]).fillna(False)
        seen = rows["validation"].where(full).fillna(-np.inf)
        best = seen.groupby(rows["run"]).cummax()
        before = best.groupby(rows["run"]).shift(fill_value=-np.inf)
        place = pd.Series(np.arange(len(rows), dtype=float), index=rows.index).where(seen > before)
        place = place.groupby(rows["run"]).ffill()
        begun = place.notna().to_numpy()
        reported = np.full(len(rows), np.nan)
        reported[begun] = rows[description.reported].to_numpy()[place[begun].to_numpy().astype(int)]
        measure = scale(str(benchmark), str(task))
        regret = measure.optimum - reported
        spread = measure.optimum - measure.median
        found.loc[rows.index, "reported"] = reported
        found.loc[rows.index, "regret"] = regret
        found.loc[rows.index, "normalised"] = regret / spread if spread > 0 else np.nan
    return found


def known(trajectories: pd.DataFrame, axis: Axis) -> bool:
    """Returns whether anything is known on this axis: simulated seconds given, or tokens spent."""
    return bool((trajectories[COLUMN[axis]] > 0).any())


def steps(
    incumbents: pd.DataFrame, runs: list[str], axis: Axis, grid: NDArray[np.floating], column: str = "regret"
) -> NDArray[np.float64]:
    """Returns what each run had reached at each point of the grid: shape (runs, grid).

    Steps, not interpolation: the value after the last evaluation that the run had made at that point. NaN before the
    first score; a run that ended before keeps its last value.

    Args:
        incumbents: What `incumbents` returns.
        runs: The runs, by the column `run`.
        axis: What the grid counts.
        grid: Points, in any order.
        column: "regret", "normalised" or "reported".
    """
    found = np.full((len(runs), len(grid)), np.nan)
    rows = incumbents.groupby("run").indices
    at, values = incumbents[COLUMN[axis]].to_numpy(dtype=float), incumbents[column].to_numpy(dtype=float)
    for i, run in enumerate(runs):
        if run in rows:
            place = np.searchsorted(at[rows[run]], grid, side="right") - 1
            found[i] = np.where(place >= 0, values[rows[run]][place], np.nan)
    return found


def by_seed_and_task(
    incumbents: pd.DataFrame, runs: pd.DataFrame, evaluations: int, column: str = "normalised"
) -> dict[str, pd.DataFrame]:
    """Returns what each method's runs had reached after so many evaluations, as the functions of `statistics` take it.

    Args:
        incumbents: What `incumbents` returns.
        runs: The runs to use, with their `label`.
        evaluations: Number of evaluations.
        column: "regret" or "normalised".

    Returns:
        For each label a table of seeds by tasks ("benchmark/task"): NaN where there is no run or the score of its
        incumbent is unknown, and infinite where a run has no incumbent, which is worse than any architecture.
    """
    made = incumbents[incumbents["evaluation"] <= evaluations].groupby("run")
    last = made.tail(1).set_index("run")[column]
    scored = made["validation"].count().reindex(runs["run"], fill_value=0).to_numpy() > 0
    cells = runs.assign(value=runs["run"].map(last).where(scored, np.inf), place=runs["benchmark"] + "/" + runs["task"])
    return {
        str(label): rows.pivot(index="seed", columns="place", values="value")
        for label, rows in cells.groupby("label", sort=False)
    }


def reach(runs: pd.DataFrame) -> pd.Series:
    """Returns, by label, the number of evaluations that all runs of the method reach.

    A run whose method ended by itself before its budget did counts as having reached any number, since it would return
    the same for ever.

    Args:
        runs: The runs to use, with their `label`.
    """
    made = runs["evaluations"].where(runs["reason"] != "method ended", np.inf)
    return made.groupby(runs["label"]).min().clip(upper=runs["evaluations"].max()).astype(int)


def levels(runs: pd.DataFrame) -> list[Level]:
    """Returns the numbers of evaluations at which methods can be compared: at most two, the smallest first.

    The first is the largest number that all methods reach, the second the largest that at least two reach, if it is
    more. Methods with a run that made no evaluation are left out.

    Args:
        runs: The runs to use, with their `label`.
    """
    reached = reach(runs)
    numbers = sorted(reached[reached >= 1].tolist())
    chosen = sorted({numbers[0], numbers[-2] if len(numbers) > 1 else numbers[0]}) if numbers else []
    order = runs["label"].unique()
    return [Level(n, tuple(str(label) for label in order if reached[label] >= n)) for n in chosen]
