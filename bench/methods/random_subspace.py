"""LAPT's control: a part of the space that is drawn at random."""

from contextlib import suppress

import numpy as np
from pydantic import PositiveInt

from bench.effects import Note, Search
from bench.method import Problem, method
from bench.methods import methods
from surrogates.errors import InputError
from surrogates.subspace import Subspace, everything, format_options

DRAWS = 100
"""Parts that are drawn at most, until one has an architecture."""


@method("random_subspace", control="regularized_evolution")
def random_subspace(
    problem: Problem, rng: np.random.Generator, *, options: PositiveInt = 2, population: PositiveInt = 5,
    tournament: PositiveInt = 2,
) -> Search:  # fmt: skip
    """Aging evolution in a part of the space that is drawn once, with as many options as LAPT allows at most.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        options: Options that are allowed of each decision.
        population: Of `regularized_evolution`.
        tournament: Likewise.

    Raises:
        InputError: No part that was drawn has an architecture.
    """
    part = Subspace(problem.space, everything(problem.space))
    evolution = methods.get("regularized_evolution")
    given: dict[str, object] = {"population": population, "tournament": tournament}

    def search() -> Search:
        draw(part, options, rng)
        yield Note("subspace", format_options(problem.space, part.allowed))
        yield from evolution.start(Problem(part, problem.task, problem.benchmark), rng, given)

    return search()


def draw(part: Subspace, options: int, rng: np.random.Generator) -> None:
    """Allows as many options of each decision, drawn uniformly; draws again where they make no architecture."""
    sizes = [len(decision.options) for decision in part.decisions]
    for _ in range(DRAWS):
        drawn = (rng.choice(size, min(size, options), replace=False).tolist() for size in sizes)
        with suppress(InputError):
            return part.restrict(tuple(tuple(sorted(chosen)) for chosen in drawn))
    raise InputError(f"{DRAWS} parts with {options} options of each decision hold no architecture; raise options")
