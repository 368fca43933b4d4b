"""Replicated scores of architectures, and which of them are compared."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALLEST = 10
"""Architectures below which two replicates are not compared."""

Selection = Literal["none", "third replicate", "compared replicate", "truth"]
"""What the top share is selected on."""


class Comparison(NamedTuple):
    """Two columns of `Replicates.scores`, and the column whose top share is compared."""

    x: int
    y: int
    by: int


@dataclass(frozen=True)
class Replicates:
    """Replicated scores of one task.

    Attributes:
        replicates: Scores, shape (n, k), k >= 2, NaN where there is none.
        truth: Scores to compare each replicate with, shape (n,); None: replicates are compared with each other.
        share: Top share of architectures that is compared, in (0, 1].
        tasks: The task of each architecture, shape (n,); None: one task.
        left_out: Architectures that `read` left out because they lack scores that the comparison needs.
    """

    replicates: NDArray[np.float64]
    truth: NDArray[np.float64] | None = None
    share: float = 1.0
    tasks: NDArray[np.object_] | None = None
    left_out: int = 0

    @classmethod
    def read(
        cls, replicates: ArrayLike, truth: ArrayLike | None = None, share: float = 1.0, tasks: ArrayLike | None = None
    ) -> "Replicates":
        """Checks scores and keeps the architectures with enough replicates: 3 if one of them selects, else 2.

        Raises:
            ValueError: Wrong shapes, infinite scores, a share outside (0, 1], or no two replicates with 10
                architectures in common.
        """
        y = np.asarray(replicates, dtype=float)
        if y.ndim != 2 or y.shape[1] < 2:
            raise ValueError(f"replicates must have shape (architectures, at least 2), not {y.shape}")
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], it is {share}")
        t = None if truth is None else np.asarray(truth, dtype=float)
        labels = None if tasks is None else np.asarray(tasks, dtype=object)
        for name, column in (("truth", t), ("tasks", labels)):
            if column is not None and column.shape != y.shape[:1]:
                raise ValueError(f"{name} must have shape ({len(y)},), not {column.shape}")
        if np.isinf(y).any() or (t is not None and np.isinf(t).any()):
            raise ValueError("scores must be finite or NaN; there are infinite ones")
        needed = 3 if share < 1 and t is None and y.shape[1] > 2 else 2
        kept = (~np.isnan(y)).sum(axis=1) >= needed
        if t is not None:
            kept &= ~np.isnan(t)
        found = cls(
            y[kept],
            None if t is None else t[kept],
            float(share),
            None if labels is None else labels[kept],
            int((~kept).sum()),
        )
        if not found.comparisons:
            raise ValueError(
                f"at least {SMALLEST} architectures must have the same {needed} replicates"
                f"{'' if t is None else ' and a truth'}; {kept.sum()} have {needed} at all"
            )
        return found

    @property
    def scores(self) -> NDArray[np.float64]:
        """The replicates, and the truth as last column if there is one."""
        return self.replicates if self.truth is None else np.column_stack([self.replicates, self.truth])

    @property
    def selection(self) -> Selection:
        """What the top share is selected on."""
        if self.share == 1:
            return "none"
        if self.truth is not None:
            return "truth"
        return "third replicate" if self.replicates.shape[1] > 2 else "compared replicate"

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons for which at least 10 architectures have the scores."""
        k = self.replicates.shape[1]
        match self.selection:
            case "none" if self.truth is None:
                plan = [Comparison(i, j, i) for i, j in combinations(range(k), 2)]
            case "none" | "truth":
                plan = [Comparison(j, k, k) for j in range(k)]
            case "third replicate":
                plan = [Comparison((j + 1) % k, (j + 2) % k, j) for j in range(k)]
            case _:
                plan = [Comparison(0, 1, 0), Comparison(1, 0, 1)]
        present = ~np.isnan(self.scores)
        return [c for c in plan if present[:, list(c)].all(axis=1).sum() >= SMALLEST]


def top_rows(
    scores: NDArray[np.float64], comparison: Comparison, share: float, kept: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Returns the rows that a comparison is made on: the top share of those that have its scores.

    Args:
        scores: Scores, shape (n, columns), NaN where there is none.
        comparison: The columns.
        share: Share that is kept, in (0, 1].
        kept: The rows to choose from, shape (n,); None: all.
    """
    complete = ~np.isnan(scores[:, list(comparison)]).any(axis=1)
    rows = np.flatnonzero(complete if kept is None else complete & kept)
    top = round(share * len(rows))
    if top in (0, len(rows)):
        return rows[:top]
    return rows[np.argpartition(scores[rows, comparison.by], len(rows) - top)[len(rows) - top :]]


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Returns Pearson's correlation; NaN when one does not vary."""
    x, y = x - x.mean(), y - y.mean()
    # Sums, not `@`: a threaded BLAS is slower by far on vectors of this size.
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale > 0 else np.nan
