"""LAPT's control: a part of the space that is drawn at random."""

from collections.abc import Generator, Sequence

import numpy as np
from pydantic import PositiveInt

from bench.effects import Answer, Effect, Search
from bench.method import Problem, method
from bench.principle_transfer import Thinking, principle_transfer
from surrogates.space import Arch, Space
from surrogates.subspace import Allowed


class Drawn:
    """Allows options that are drawn uniformly, as many of each decision.

    Args:
        space: The space.
        options: Options of a decision.
        rng: Draws them.
    """

    text = "drawn uniformly"

    def __init__(self, space: Space, options: int, rng: np.random.Generator) -> None:
        self._space, self._options, self._rng = space, options, rng

    def learn(self, archs: Sequence[Arch]) -> Thinking:
        """Learns nothing."""
        del archs
        yield from ()

    update = learn

    def explore(self) -> Thinking:
        """Explores nothing: each translation draws anew."""
        yield from ()

    def translate(self) -> Generator[Effect, Answer, Allowed]:
        """Returns the options drawn."""
        yield from ()
        sizes = (len(decision.options) for decision in self._space.decisions)
        drawn = (self._rng.choice(n, min(n, self._options), replace=False) for n in sizes)
        return tuple(tuple(sorted(options.tolist())) for options in drawn)


@method("random_subspace", control="regularized_evolution")
def random_subspace(
    problem: Problem, rng: np.random.Generator, *, options: PositiveInt = 2, inner: str = "regularized_evolution",
    population: PositiveInt = 5, tournament: PositiveInt = 2,
) -> Search:  # fmt: skip
    """Searches in a part of the space that is drawn once, of the size that LAPT's has at most.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        options: Options that are allowed of each decision.
        inner: As in `bench.methods.lapt.lapt`, as all that follows.
        population: See there.
        tournament: See there.
    """
    return principle_transfer(
        problem, rng, Drawn(problem.space, options, rng), None, inner=inner, population=population,
        tournament=tournament, first=1, every=1, selected=1, adaptation=False,
    )  # fmt: skip
