"""What an exact world shows of a claim: one table and one figure."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from theory.proportion import proportion_interval


class Row(TypedDict):
    """One line of a demonstration's table; numbers that do not exist are None.

    Attributes:
        quantity: What was computed, in words, with the world it was computed in.
        predicted: What the claim, or its lemma, predicts.
        measured: What came out.
        interval: 95% interval of what was measured; None when it is exact.
        n: Number of independent units (worlds, data sets, runs) behind it.
        verdict: A verdict's level, or what the comparison shows ("holds", "breaks").
    """

    quantity: str
    predicted: float | None
    measured: float | None
    interval: tuple[float, float] | None
    n: int
    verdict: str


@dataclass(frozen=True)
class Demonstration:
    """What an exact world shows of a claim; `dataclasses.asdict` makes it JSON.

    Attributes:
        claim: The claim's name.
        rows: The table.
        series: The figure's curves by label; each has "x" and "y" of equal length, and "low" and "high" where there is
            an interval.
        x_label: Label of the horizontal axis, with the unit.
        y_label: Label of the vertical axis, with the unit.
        caption: What the figure shows: prediction, measurement, where the claim holds and where it breaks.
    """

    claim: str
    rows: list[Row]
    series: dict[str, dict[str, list[float]]]
    x_label: str
    y_label: str
    caption: str


def row(
    quantity: str,
    predicted: float | None,
    measured: float | None,
    verdict: str,
    interval: tuple[float, float] | None = None,
    n: int = 1,
) -> Row:
    """Returns a line of the table; without an interval the measurement is exact."""
    return Row(quantity=quantity, predicted=predicted, measured=measured, interval=interval, n=n, verdict=verdict)


def share(
    quantity: str, found: ArrayLike, predicted: float | None = None, allowed: tuple[float, float] | None = None
) -> Row:
    """Returns the line for a share of independent units, with its exact 95% interval.

    Args:
        quantity: What the share is of.
        found: For each unit whether it has the property, shape (n,).
        predicted: The share that is predicted, if any.
        allowed: Where the share must be; None: at the prediction. The verdict is "breaks" when the interval lies wholly
            outside, else "holds"; with neither given it is "measured".
    """
    found = np.asarray(found, dtype=bool)
    low, high = proportion_interval(int(found.sum()), len(found))
    if allowed is None and predicted is not None:
        allowed = (predicted, predicted)
    verdict = "measured"
    if allowed is not None:
        verdict = "holds" if low <= allowed[1] and allowed[0] <= high else "breaks"
    return row(quantity, predicted, float(found.mean()), verdict, (low, high), len(found))


def near(value: float, tolerance: float) -> tuple[float, float]:
    """Returns the range within a tolerance of a value."""
    return (value - tolerance, value + tolerance)
