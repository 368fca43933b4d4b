"""Search in a part of the space that design principles choose, and that what is found adapts: LAPT's framework."""

from collections.abc import Generator, Sequence
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
        text: The principles in words; "" before they are learned.
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
        name: Name of the method.
        problem: The task.
        part: The part; its options may change between searches.
        rng: Source of all randomness.
        given: Parameters; those that the method does not have are left out.

    Raises:
        InputError: There is no such method, or it does more than evaluate, lists a space that will change, or chooses a
            part itself.
    """

    def __init__(
        self, name: str, problem: Problem, part: Subspace, rng: np.random.Generator, given: dict[str, object]
    ) -> None:
        method = methods.get(name, "inner")
        if method.prompts or method.enumerates:
            raise InputError(
                f"inner: {name} asks a language model or lists the whole space, so it cannot search in its parts;"
                " take for instance regularized_evolution, local_search or random_search"
            )
        parameters = method.complete({key: value for key, value in given.items() if key in method.parameters})
        inside = Problem(part, problem.task, problem.benchmark)
        self._start = lambda: method.start(inside, rng, parameters)
        self._part = part
        try:
            self._running: Search | None = self._start()
        except InputError as error:
            raise InputError(f"inner: {name} cannot search in a part: {error}") from error
        self._answer: Any = None

    def search(self, evaluations: int) -> Generator[Effect, Answer, list[Evaluation]]:
        """Searches until so many architectures, or more if the method asks for several at once, are evaluated.

        A method that goes on in an earlier part, outside of the one that there is now, is started anew.

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
            if isinstance(effect, Evaluate):
                archs = [arch for arch in effect.proposals if not isinstance(arch, str)]
                if self._part.projects and any(arch not in self._part for arch in archs):
                    self._running = None
                    continue
                self._answer = yield effect
                found += self._answer
            else:
                self._answer = yield effect
        return found


def learned_from(problem: Problem, source: str, samples: int, archive: str, leak: bool) -> Archive | None:
    """Returns what principles are learned from, by the parameters of `bench.methods.lapt.lapt`; None: no source."""
    if not (source or leak):
        return None
    return Archive(problem.task.name if leak else source, samples, archive == "worst")


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
        archive: What they are learned from; None: from what the first iteration finds in the whole space.
        inner: Name of the NAS method.
        population: Its parameter of that name, where it has one.
        tournament: Likewise.
        first: Evaluations of the first iteration.
        every: Of each other.
        selected: Architectures that principles are updated from, r: the best different ones that the iteration found
            (B_n); an iteration of fewer evaluations gives them all.
        adaptation: Whether algorithm 2 is used; if not, there is one iteration without end.
        strict: Whether an iteration that is as good as the best before counts as a failure (`Best > Base`).
        project: See `Subspace`.

    Raises:
        InputError: The NAS method does not exist or cannot search in parts.
    """
    refined = Subspace(problem.space, everything(problem.space), project)  # Ω_r
    nas = Inner(inner, problem, refined, rng, {"population": population, "tournament": tournament})
    return _search(refined, nas, principles, archive, first, every, selected, adaptation, strict)


def _search(
    refined: Subspace, nas: Inner, principles: Principles, archive: Archive | None, first: int, every: int,
    selected: int, adaptation: bool, strict: bool,
) -> Search:  # fmt: skip
    space = refined.whole
    base, evaluations = -np.inf, first  # line 4; scores may be negative
    if archive:
        known = yield from recall(archive)  # line 1
        yield from principles.learn([e.arch for e in known if e.arch is not None])  # line 2
    else:
        yield Note("subspace", format_options(space, refined.allowed))
        found, good = [], []
        while not good:
            found = yield from nas.search(first)
            if not found:
                return
            good = _best(found, selected)
        base, evaluations = max(map(score, found)), every
        yield from principles.learn(good)
    while True:  # line 5
        yield Note("principles", principles.text)
        allowed = yield from principles.translate()  # line 6
        try:
            refined.restrict(allowed)
        except InputError:  # some combinations of options are no architectures
            yield Note("empty_subspace", format_options(space, allowed))
            refined.restrict(everything(space))
        yield Note("subspace", format_options(space, refined.allowed))
        found = yield from nas.search(evaluations)  # line 7
        while found and not adaptation:
            found = yield from nas.search(evaluations)
        if not found:
            return
        best = max(map(score, found))  # line 8
        good = _best(found, selected)
        if good and (base < best or (base == best and not strict)):  # line 9: algorithm 2
            yield from principles.update(good)
            base = best
        else:
            yield from principles.explore()
        evaluations = every


def _best(evaluations: Sequence[Evaluation], count: int) -> list[Arch]:
    """Returns the different architectures with the highest scores, the best first; failures are not among them."""
    scored = sorted((e for e in evaluations if score(e) > -np.inf), key=score, reverse=True)
    return list(dict.fromkeys(e.arch for e in scored if e.arch is not None))[:count]
