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

    - Speed: the evaluations until a top 0.1% architecture is found, a run that found none counting as later than all,
      against regularised evolution in the whole space, and, for LAPT, against the control.
    - Transfer: the model rank of the architecture that a run returns, against the variant without a source task.
    - Adaptation: the distance of that rank from the median of its method and task (Brown and Forsythe 1974), against
      the variant that does not adapt.

    The p-values are corrected by Holm over all that is judged.

    Args:
        outcomes: As `analysis.transfer.outcomes` returns them.
        rng: Source of the bootstrap's randomness.
    """
    last = float(outcomes["made"].max()) + 1
    spread = outcomes.groupby(["label", "benchmark", "task"])["rank"].transform("median")
    measured = outcomes.assign(speed=outcomes["top"].fillna(last), spread=(outcomes["rank"] - spread).abs())
    kinds = {
        str(kind.label): (str(kind.method), str(kind.model), json.loads(str(kind.method_parameters)))
        for kind in outcomes.drop_duplicates("label").itertuples()
    }
    wanted: dict[tuple[str, str], tuple[str, str]] = {}
    for label, (method, model, given) in kinds.items():
        if method not in SEARCHES or not given["source"] or given["archive"] != "best" or given.get("leak"):
            continue
        for other, (rival, its_model, its) in kinds.items():
            if method == rival and model == its_model:
                differs = {name for name in given if given[name] != its[name]}
                if differs == {"source"} and not its["source"]:
                    wanted[label, other] = (TRANSFER, "rank")
                elif differs == {"adaptation"} and given["adaptation"]:
                    wanted[label, other] = (ADAPTATION, "spread")
            elif rival in ("regularized_evolution", "operation_counts") and its.items() <= given.items():
                wanted[label, other] = (SPEED, "speed")
    tables = {
        pair: (_table(measured, pair[0], column), _table(measured, pair[1], column))
        for pair, (_, column) in wanted.items()
    }
    found = statistics.against_control(tables, rng)
    return [Judged(wanted[pair][0], *pair, outcome) for pair, outcome in found.items()]


def _table(measured: pd.DataFrame, label: str, column: str) -> pd.DataFrame:
    """Returns a column of one method, seeds by tasks."""
    rows = measured[measured["label"] == label]
    tasks = rows["benchmark"].astype(str) + "/" + rows["task"].astype(str)
    return rows.assign(place=tasks).pivot(index="seed", columns="place", values=column)
