"""The claims of LAPT, judged on a study's runs; each is a comparison whose rule is `statistics.against_control`."""

import json
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.statistics import Comparison

SPEED = "it needs fewer evaluations to find a top 0.1% architecture"
TRANSFER = "transfer improves the model rank"
ADAPTATION = "adaptation lowers the spread of the model rank"
SEARCHES = ("lapt", "operation_counts")
"""The methods that the claims are about: the paper's, and its control without a language model."""


class Judged(NamedTuple):
    """A verdict.

    Attributes:
        claim: The claim in words.
        label: The method that it is about.
        other: What the method is compared with.
        outcome: The comparison and its verdict.
    """

    claim: str
    label: str
    other: str
    outcome: Comparison


def judge(outcomes: pd.DataFrame, rng: np.random.Generator) -> list[Judged]:
    """Judges the claims of Zhou et al. 2025 for LAPT, and for its control beside it.

    - Speed: the evaluations until a top 0.1% architecture is found, against the inner method in the whole space, and,
      for LAPT, against the control. Both have as many evaluations as the shorter runs made; one that found none counts
      as later than all. Tasks on which no run found one are left out, and a pair without other tasks is not judged.
    - Transfer: the model rank of the architecture that a run returns, against the variant without a source task, and,
      for LAPT, against the control.
    - Adaptation: the distance of that rank from the median of its method and task (Brown and Forsythe 1974), against
      the variant that does not adapt, and, for LAPT, against the control that adapts.

    The paper claims speed for NAS-Bench-201, and the others for TransNAS-Bench-101; here they are judged on whatever
    benchmark both sides ran on, but not for the released code's departures. The p-values are corrected by Holm over all
    that is judged.

    Args:
        outcomes: As `analysis.transfer.outcomes` returns them.
        rng: Source of the bootstrap's randomness.
    """
    centre = outcomes.groupby(["label", "benchmark", "task"])["rank"].transform("median")
    measured = outcomes.assign(spread=(outcomes["rank"] - centre).abs())
    kinds = {
        str(kind.label): (str(kind.method), str(kind.model), json.loads(str(kind.method_parameters)))
        for kind in outcomes.drop_duplicates("label").itertuples()
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
            elif rival in (given["inner"], "operation_counts") and its.items() <= given.items():
                wanted[SPEED, label, other] = "top"
                if rival == "operation_counts":
                    wanted[TRANSFER, label, other] = "rank"
                    if given["adaptation"]:
                        wanted[ADAPTATION, label, other] = "spread"
    tables = {claim: _tables(measured, claim[1:], column) for claim, column in wanted.items()}
    judgeable = {claim: both for claim, both in tables.items() if len(both[0].columns)}
    return [Judged(*claim, outcome) for claim, outcome in statistics.against_control(judgeable, rng).items()]


def _tables(measured: pd.DataFrame, pair: tuple[str, str], column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns a column of two methods, seeds by tasks; `top` within the evaluations that all their runs made."""
    rows = measured[measured["label"].isin(pair)]
    if column == "top":
        horizon = float(rows["made"].min())
        rows = rows.assign(top=rows["top"].where(rows["top"] <= horizon, horizon + 1))
        # Where no run found one, nothing is said of which is sooner.
        rows = rows[rows.groupby(["benchmark", "task"])["top"].transform("min") <= horizon]
    one, other = (_table(rows, label, column) for label in pair)
    return one, other


def _table(measured: pd.DataFrame, label: str, column: str) -> pd.DataFrame:
    """Returns a column of one method, seeds by tasks."""
    rows = measured[measured["label"] == label]
    tasks = rows["benchmark"].astype(str) + "/" + rows["task"].astype(str)
    return rows.assign(place=tasks).pivot(index="seed", columns="place", values=column)
