"""What an exact world shows of a claim: one table and one figure."""

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.proportion import proportion_interval

CONFIDENCE = 0.999
"""Of the interval that decides whether a prediction holds: among 100 that do, 10% of reports blame one."""


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


def share(quantity: str, found: ArrayLike, predicted: float | None = None, tolerance: float = 0.0) -> Row:
    """Returns the line for a share of independent units, with its exact 95% interval.

    Args:
        quantity: What the share is of.
        found: For each unit whether it has the property, shape (n,).
        predicted: The share that is predicted, if any. The verdict is "holds" when the 99.9% interval meets it, else
            "breaks"; without a prediction it is "measured".
        tolerance: How far the prediction itself may be off.
    """
    found = np.asarray(found, dtype=bool)
    count, n = int(found.sum()), len(found)
    verdict = "measured"
    if predicted is not None:
        low, high = proportion_interval(count, n, CONFIDENCE)
        verdict = _verdict(low <= predicted + tolerance and predicted - tolerance <= high)
    return row(quantity, predicted, count / n, verdict, proportion_interval(count, n), n)


def mean(quantity: str, values: ArrayLike, predicted: float | None = None) -> Row:
    """Returns the line for a mean over independent units, with Student's 95% interval.

    Args:
        quantity: What the mean is of.
        values: Shape (n,), n >= 2.
        predicted: As for `share`.
    """
    values = np.asarray(values, dtype=float)
    n, centre = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    verdict = "measured"
    if predicted is not None:
        verdict = _verdict(abs(centre - predicted) <= float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error)
    return row(quantity, predicted, centre, verdict, (centre - half, centre + half), n)


def resampled(quantity: str, predicted: float, measured: float, drawn: ArrayLike, n: int) -> Row:
    """Returns the line for a number with a percentile bootstrap interval of 95%.

    Args:
        quantity: What was computed.
        predicted: As for `share`.
        measured: What came out; infinite where it is beyond what was measured.
        drawn: The same from each resample.
        n: Number of independent units.
    """
    values, tails = np.asarray(drawn, dtype=float), [(1 - level) / 2 for level in (0.95, CONFIDENCE)]
    (low, high), (least, most) = (np.quantile(values, [t, 1 - t], method="inverted_cdf").tolist() for t in tails)
    return row(quantity, predicted, measured, _verdict(least <= predicted <= most), (low, high), n)


def rate(quantity: str, found: ArrayLike, nominal: float, tolerance: float) -> Row:
    """Returns the line for how often a procedure does what it should: a test rejects, an interval covers.

    Args:
        quantity: What is counted.
        found: For each data set whether it did, shape (n,).
        nominal: How often it should: a level, a power, a coverage. The verdict is "holds" when the share that was found
            is that within the tolerance.
        tolerance: E.g. .015 of a level of 5%, .05 of a power.
    """
    found = np.asarray(found, dtype=bool)
    return {
        **share(quantity, found),
        "predicted": nominal,
        "verdict": _verdict(abs(found.mean() - nominal) <= tolerance),
    }


def _verdict(holds: bool | np.bool) -> str:
    return "holds" if holds else "breaks"
