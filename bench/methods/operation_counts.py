"""LAPT's control: counted operations in place of a language model."""

from collections.abc import Generator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from bench.effects import Answer, Effect, Search
from bench.method import Problem, method
from bench.principle_transfer import Thinking, learned_from, principle_transfer
from surrogates.space import Arch, Space
from surrogates.subspace import Allowed


class Counts:
    """Allows the options that good architectures have most often.

    Of equally frequent ones, those come first that were more frequent when it learned, and then the earlier.

    Args:
        space: The space.
        options: Options of a decision at most.
    """

    text = ""
    _learned: list[NDArray[np.intp]]

    def __init__(self, space: Space, options: int) -> None:
        self._space, self._options = space, options

    def learn(self, archs: Sequence[Arch]) -> Thinking:
        """Counts each option."""
        self._count(archs)
        self._learned = self._counts
        yield from ()

    def update(self, archs: Sequence[Arch]) -> Thinking:
        """Counts each option anew."""
        self._count(archs)
        yield from ()

    def _count(self, archs: Sequence[Arch]) -> None:
        columns = np.array(archs, dtype=int).reshape(-1, len(self._space.decisions)).T
        pairs = list(zip(self._space.decisions, columns, strict=True))
        self._counts = [np.bincount(column, minlength=len(decision.options)) for decision, column in pairs]
        self._more = 0
        self.text = "\n".join(
            f"{d.name}: {', '.join(f'{option} {count}' for option, count in zip(d.options, counts, strict=True))}"
            for d, counts in zip(self._space.decisions, self._counts, strict=True)
        )

    def explore(self) -> Thinking:
        """Allows each decision one option more."""
        self._more += 1
        yield from ()

    def translate(self) -> Generator[Effect, Answer, Allowed]:
        """Returns the most frequent options, and one more for each `explore` since they were counted."""
        yield from ()
        allowed = []
        for counts, learned in zip(self._counts, self._learned, strict=True):
            order = np.lexsort((-learned, -counts))
            seen = min(self._options, np.count_nonzero(counts))
            allowed.append(tuple(sorted(order[: max(seen, 1) + self._more].tolist())))
        return tuple(allowed)


@method("operation_counts", version="3", control="random_subspace")
def operation_counts(
    problem: Problem, rng: np.random.Generator, *, source: str = "", archive: Literal["best", "worst"] = "best",
    samples: PositiveInt = 50, options: PositiveInt = 2, first: PositiveInt = 10, every: PositiveInt = 5,
    selected: PositiveInt = 5, inner: str = "regularized_evolution", population: PositiveInt = 5,
    tournament: PositiveInt = 2, adaptation: bool = True, leak: bool = False,
) -> Search:  # fmt: skip
    """LAPT without a language model: the operations that are most frequent among good architectures are allowed.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        source: As in `bench.methods.lapt.lapt`, as all that follows.
        archive: See there.
        samples: See there.
        options: See there.
        first: See there.
        every: See there.
        selected: See there.
        inner: See there.
        population: See there.
        tournament: See there.
        adaptation: Whether operations are counted again among what was found; after an iteration that found nothing
            better, each decision is allowed one operation more.
        leak: As in `bench.methods.lapt.lapt`.
    """
    counts = Counts(problem.space, options)
    known = learned_from(problem, source, samples, archive, leak)
    return principle_transfer(
        problem, rng, counts, known, inner=inner, population=population, tournament=tournament, first=first,
        every=every, selected=selected, adaptation=adaptation,
    )  # fmt: skip
