"""What a run has evaluated, each architecture once: for methods that choose among those that are left."""

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from bench.effects import Answer, Effect, Evaluation, evaluate
from surrogates.space import Space

Rows = NDArray[np.int64]
"""Architectures, as rows of `Space.enumerate()`."""


class Evaluated:
    """The evaluated architectures of a run, none of them twice.

    Args:
        space: The space they are from.
    """

    def __init__(self, space: Space) -> None:
        self._archs = space.enumerate()
        self._left = np.ones(space.size, dtype=bool)
        self._rows: list[int] = []
        self._scores: list[float] = []

    @property
    def rows(self) -> Rows:
        """Those that have a score, in the order of their evaluation."""
        return np.array(self._rows, dtype=np.int64)

    @property
    def scores(self) -> NDArray[np.float64]:
        """The scores of `rows`."""
        return np.array(self._scores)

    @property
    def standardised(self) -> NDArray[np.float64]:
        """The scores of `rows` with mean 0 and standard deviation 1; all 0 where they are all alike."""
        centred = self.scores - self.scores.mean()
        return centred / (centred.std() or 1.0)

    @property
    def left(self) -> Rows:
        """Those that have not been evaluated, ascending; one whose evaluation failed has been."""
        return np.flatnonzero(self._left)

    def draw(self, rng: np.random.Generator, count: int) -> Rows:
        """Draws some of those that are left, uniformly and without replacement; all of them if there are no more."""
        return rng.choice(self.left, min(count, int(self._left.sum())), replace=False)

    def best(self, count: int) -> Rows:
        """Returns the rows with the highest scores, the best first; of equal ones, the earlier."""
        return self.rows[np.argsort(-self.scores, kind="stable")[:count]]

    def evaluate(self, rows: Rows) -> Generator[Effect, Answer, list[Evaluation]]:
        """Asks for scores, and keeps them: `yield from evaluated.evaluate(evaluated.draw(rng, 10))`."""
        self._left[rows] = False
        results = yield from evaluate(map(tuple, self._archs[rows].tolist()))
        for row, result in zip(rows.tolist(), results, strict=False):
            if result.failure is None and np.isfinite(result.score):
                self._rows.append(row)
                self._scores.append(result.score)
        return results
