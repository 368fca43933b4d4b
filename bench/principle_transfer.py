"""Search in a part of the space that design principles choose, and that what is found adapts: LAPT's framework."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import numpy as np

from bench.effects import Answer, Archive, Effect, Evaluate, Evaluation, Note, Search, recall
from bench.method import Problem, score
from bench.methods import methods
from surrogates.errors import InputError
from surrogates.space import Arch
from surrogates.subspace import Allowed, Subspace, everything, format_options

Thinking = Generator[Effect, Answer, None]
"""Changes principles; asks a language model if it needs one."""


class Principles(Protocol):
    """Design principles P, and what they allow.

    Attributes:
        text: The principles in words; "" before they are learned, and where they have none.
    """

    text: str

    def learn(self, archs: Sequence[Arch]) -> Thinking:
        """Learns the principles from architectures, the best first."""
        ...

    def update(self, archs: Sequence[Arch]) -> Thinking:
        """Updates them from architectures found for the new task, the best first."""
        ...

    def explore(self) -> Thinking:
        """Turns to options that they do not speak for."""
        ...

    def translate(self) -> Generator[Effect, Answer, Allowed]:
        """Returns what they allow."""
        ...


class Inner:
    """A method that searches in parts, and remembers what it found where the next part begins.

    Args:
        start: Starts the method; it is started again where it ends by itself.
    """

    def __init__(self, start: Callable[[], Search]) -> None:
        self._start = start
        self._running: Search | None = None
        self._answer: Any = None

    def search(self, evaluations: int) -> Generator[Effect, Answer, list[Evaluation]]:
        """Searches until so many architectures, or more if the method asks for several at once, are evaluated.

        Returns:
            What was found: less if the method, started anew, ends without an evaluation.
        """
        found: list[Evaluation] = []
        begun = -1
        while len(found) < evaluations:
            if self._running is None:
                if begun == len(found):
                    break
                self._running, self._answer, begun = self._start(), None, len(found)
            try:
                effect = self._running.send(self._answer)
            except StopIteration:
                self._running = None
                continue
            self._answer = yield effect
            if isinstance(effect, Evaluate):
                found += self._answer
        return found


def principle_transfer(
    problem: Problem,
    rng: np.random.Generator,
    principles: Principles,
    archive: Archive | None,
    *,
    inner: str,
    population: int,
    tournament: int,
    first: int,
    every: int,
    selected: int,
    adaptation: bool,
    strict: bool = False,
    project: bool = True,
) -> Search:
    """Runs algorithm 1 and, where principles adapt, algorithm 2 (Zhou et al. 2025, arXiv:2408.11330) for one task.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        principles: Are learned and adapted.
        archive: What they are learned from; None: from the architectures of the first iteration, which has the whole
            space, or not at all if they are known.
        inner: Name of the NAS method.
        population: Its parameter of that name, where it has one.
        tournament: Likewise.
        first: Evaluations of the first iteration.
        every: Of each other.
        selected: Architectures that principles are updated from, r.
        adaptation: Whether algorithm 2 is used; if not, there is one iteration without end.
        strict: Whether an iteration that is as good as the best before counts as a failure (`Best > Base`).
        project: See `Subspace`.

    Raises:
        InputError: There is no such method.
    """
    space = problem.space
    refined = Subspace(space, everything(space), project)  # Ω_r
    method, given = methods.get(inner, "inner"), {"population": population, "tournament": tournament}
    parameters = method.complete({name: value for name, value in given.items() if name in method.parameters})
    nas = Inner(lambda: method.start(Problem(refined, problem.task, problem.benchmark), rng, parameters))
    if archive:
        known = yield from recall(archive)  # line 1
        yield from principles.learn(_archs(known))  # line 2
    elif not principles.text:
        yield Note("subspace", format_options(space, refined.allowed))
        found = yield from nas.search(first)
        yield from principles.learn(_archs(sorted(found, key=score, reverse=True)[:selected]))
    base, evaluations = -np.inf, first  # line 4; scores may be negative
    while True:  # line 5
        yield Note("principles", principles.text)
        allowed = yield from principles.translate()  # line 6
        try:
            refined.restrict(allowed)
        except InputError:  # some combinations of options are no architectures
            refined.restrict(everything(space))
        yield Note("subspace", format_options(space, refined.allowed))
        found = yield from nas.search(evaluations)  # line 7
        while found and not adaptation:
            found = yield from nas.search(evaluations)
        if not found:
            return
        best = max(map(score, found))  # line 8
        if base < best or (base == best and not strict):  # line 9: algorithm 2
            yield from principles.update(_archs(sorted(found, key=score, reverse=True)[:selected]))
            base = best
        else:
            yield from principles.explore()
        evaluations = every


def _archs(evaluations: Sequence[Evaluation]) -> list[Arch]:
    return [evaluation.arch for evaluation in evaluations if evaluation.arch is not None]
