"""The claims of LAPT, judged on a study's runs; each is a comparison whose rule is `statistics.against_control`."""

import json
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis import statistics
from analysis.statistics import Comparison
from analysis.transfer import both_scores
from surrogates.benchmarks import benchmarks

SPEED = "it needs fewer evaluations to find a top 0.1% architecture"
TRANSFER = "transfer improves the model rank"
ADAPTATION = "adaptation lowers the spread of the model rank's logarithm"
BETTER = "its model rank is better than with counted operations"
RELATED = "its model rank is better than with principles from a less related task"
READS = "its model rank is better than when it is shown the worst architectures"
STEADIER = "the spread of its model rank's logarithm is lower than with counted operations"
LOWEST_MEDIAN = 10
"""Median rank below which spreads are not compared: ranks are whole numbers, so near 1 they cannot differ by little."""

SEARCHES = ("lapt", "operation_counts")
"""The methods that the claims are about: the paper's, and its control without a language model."""


class Judged(NamedTuple):
    """A verdict.

    Attributes:
        claim: The claim in words.
        label: The method that it is about.
        other: What the method is compared with.
        tasks: On how many tasks they are compared.
        outcome: The comparison and its verdict.
    """

    claim: str
    label: str
    other: str
    tasks: int
    outcome: Comparison


def judge(outcomes: pd.DataFrame, rng: np.random.Generator) -> list[Judged]:
    """Judges the claims of Zhou et al. 2025 for LAPT, and for its control beside it.

    - Speed: the evaluations until a top 0.1% architecture is found, against the inner method in the whole space, and,
      for LAPT, against the control. Both have as many evaluations on a task as the shorter budget allows; one that
      found none counts as later than all. Tasks on which no run found one are left out: they do not tell which is
      sooner.
    - Transfer: the model rank of the architecture that a run returns, against the variant without a source task.
    - Adaptation: the distance of that rank from the median of its method and task, both as logarithms, against the
      variant that does not adapt (Brown and Forsythe 1974; of an odd number of runs, the one at the median is left out,
      Hines and Hines 2000). On the ranks' own scale a method with a better median would have the lower spread, since
      there is no rank below 1; for the same reason tasks with a median below `LOWEST_MEDIAN` are left out.
    - What the last two need to be about the language model: LAPT's rank, and its spread where it adapts, against those
      of the control.
    - What transfer needs to be about the source: that the rank is better than that of the variant with another source
      task, whose validation scores have a lower mean rank correlation with those of the tasks that both searched on.
    - What all of them need: that the archive is looked at, so that the rank is better than that of the variant which is
      shown the worst architectures.

    Ranks are compared on tasks on which both made as many evaluations, spreads in the seeds that both have; a pair
    without any task to compare is not judged. The paper claims speed for NAS-Bench-201, and the others for
    TransNAS-Bench-101; here they are judged on whatever benchmark both sides ran on, but not for the released code's
    departures. Runs under way are left out. The p-values are corrected by Holm over all that is judged.

    Args:
        outcomes: As `analysis.transfer.outcomes` returns them.
        rng: Source of the bootstrap's randomness.
    """
    place = outcomes["benchmark"].astype(str) + "/" + outcomes["task"].astype(str)
    done = outcomes.assign(place=place)[outcomes["status"] == "done"]
    kinds = {
        str(kind.label): (str(kind.method), str(kind.model), json.loads(str(kind.method_parameters)))
        for kind in done.drop_duplicates("label").itertuples()
    }
    wanted: dict[tuple[str, str, str], str] = {}
    for label, (method, model, given) in kinds.items():
        released = given.get("leak") or given.get("strict") or given.get("forget") or not given.get("project", True)
        if method not in SEARCHES or not given["source"] or given["archive"] != "best" or released:
            continue
        for other, (rival, its_model, its) in kinds.items():
            if method == rival and model == its_model:
                differs = {name for name in given if given[name] != its[name]}
                if differs == {"source"} and not its["source"]:
                    wanted[TRANSFER, label, other] = "rank"
                elif differs == {"adaptation"} and given["adaptation"]:
                    wanted[ADAPTATION, label, other] = "spread"
                elif differs == {"source"} and _relatedness(done, label, other) > _relatedness(done, other, label):
                    wanted[RELATED, label, other] = "rank"
                elif differs == {"archive"}:
                    wanted[READS, label, other] = "rank"
            elif rival in (given["inner"], "operation_counts") and its.items() <= given.items():
                wanted[SPEED, label, other] = "top"
                if rival == "operation_counts":
                    wanted[BETTER, label, other] = "rank"
                    if given["adaptation"]:
                        wanted[STEADIER, label, other] = "spread"
    tables = {claim: _tables(done, claim[1], claim[2], column) for claim, column in wanted.items()}
    judgeable = {claim: both for claim, both in tables.items() if len(both[0].columns)}
    found = statistics.against_control(judgeable, rng)
    return [Judged(*claim, len(judgeable[claim][0].columns), outcome) for claim, outcome in found.items()]


def _relatedness(done: pd.DataFrame, label: str, other: str) -> float:
    """Returns Spearman's correlation of a method's source with the tasks that another searched on, too; their mean."""
    both = done[done["label"].isin([label, other])].drop_duplicates(["place", "label"])
    tasks = both[both.duplicated("place")]
    source = json.loads(str(both.loc[both["label"] == label, "method_parameters"].iloc[0]))["source"]
    found = []
    for name, task in zip(tasks["benchmark"].astype(str), tasks["task"].astype(str), strict=True):
        found.append(stats.spearmanr(*both_scores(benchmarks.get(name), source, task))[0])
    return float(np.mean(found)) if found else np.nan


def _tables(done: pd.DataFrame, label: str, other: str, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns what is compared of two methods, seeds by tasks; without columns where nothing can be."""
    rows = done[done["label"].isin([label, other])]
    rows = rows[rows.groupby("place")["label"].transform("nunique") == 2]
    budget = rows.groupby(["place", "label"])["made"].transform("max").groupby(rows["place"])
    if column == "top":
        horizon = budget.transform("min")
        within = rows["top"] <= horizon
        rows = rows.assign(top=rows["top"].where(within, horizon + 1))[within.groupby(rows["place"]).transform("any")]
    else:
        rows = rows[budget.transform("nunique") == 1]
    values = "rank" if column == "spread" else column
    one, two = (
        rows[rows["label"] == name].pivot(index="seed", columns="place", values=values) for name in (label, other)
    )
    if column != "spread":
        return one, two
    seeds = one.index.intersection(two.index)
    one, two = one.loc[seeds], two.loc[seeds]
    tasks = [t for t in one if all(LOWEST_MEDIAN <= side[t].median() < np.inf for side in (one, two))]
    return _spread(one[tasks]), _spread(two[tasks])


def _spread(ranks: pd.DataFrame) -> pd.DataFrame:
    """Returns the distances of the ranks from their median, as logarithms; NaN for the one at the median itself."""
    logs = ranks.apply(np.log)
    distances = (logs - logs.median()).abs()
    for task in distances.columns[ranks.notna().sum() % 2 == 1]:
        distances.loc[distances[task].idxmin(), task] = np.nan
    return distances
