"""What the tests of the methods that tune share."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from bench.effects import Archive, Ask, Completion, Effect, Evaluate, Evaluation, Note, Tune, Tuned
from bench.method import Problem
from bench.methods import methods
from surrogates.benchmark import Benchmark
from surrogates.benchmarks import benchmarks
from surrogates.space import Arch

Script = Callable[[str, int], str]
"""Answers a prompt's template, when it is asked for the n-th time."""
CellAnswer = Callable[[int], str]
Judge = Callable[[str], float]


@dataclass
class Played:
    """What a method did: its effects, and, for each of its `Evaluate`s, the texts and their scores (NaN: failed)."""

    effects: list[Effect] = field(default_factory=list)
    results: list[list[tuple[str, float]]] = field(default_factory=list)

    @property
    def asks(self) -> list[Ask]:
        return [e for e in self.effects if isinstance(e, Ask)]

    @property
    def tunes(self) -> list[Tune]:
        return [e for e in self.effects if isinstance(e, Tune)]

    @property
    def proposed(self) -> list[Arch]:
        """The architectures that were to be evaluated."""
        return [a for e in self.effects if isinstance(e, Evaluate) for a in e.proposals if not isinstance(a, str)]

    @property
    def kinds(self) -> list[str]:
        return [type(e).__name__ for e in self.effects]


@pytest.fixture(scope="session")
def play_tuned(analog: Benchmark) -> Callable[..., Played]:
    """Drives a method that tunes by hand, over a number of effects.

    The n-th candidate is the text `answer(n)`, by default a random one; its score is `judge(text)`, by default that of
    the table. A score of NaN is a failure.
    """

    def play(
        name: str,
        effects: int,
        answer: CellAnswer | None = None,
        judge: Judge | None = None,
        benchmark: Benchmark = analog,
        task: str = "clean",
        **parameters: object,
    ) -> Played:
        method, space, speaker = methods.get(name), benchmark.space, np.random.default_rng(1)
        problem = Problem(space, benchmark.task(task), benchmark.name)
        search = method.start(problem, np.random.default_rng(0), method.complete(parameters))
        played, reply, asked = Played(), None, 0
        for _ in range(effects):
            effect = next(search) if reply is None else search.send(reply)
            played.effects.append(effect)
            match effect:
                case Ask():
                    reply = []
                    for _ in effect.prompts:
                        text = answer(asked) if answer else space.format(space.sample(speaker))
                        reply.append(Completion(text, 0, 6))
                        asked += 1
                case Tune():
                    reply = Tuned((1.0,), ())
                case Evaluate():
                    archs = [space.parse(text) for text in effect.proposals if isinstance(text, str)]
                    scores = benchmark.query(archs, task).validation.tolist()
                    if judge:
                        scores = [judge(space.format(arch)) for arch in archs]
                    reply = [
                        Evaluation(arch, score, np.nan, "diverged" if np.isnan(score) else None)
                        for arch, score in zip(archs, scores, strict=True)
                    ]
                    played.results.append([(space.format(a), s) for a, s in zip(archs, scores, strict=True)])
        search.close()
        return played

    return play


@pytest.fixture(scope="session")
def play_transfer() -> Callable[..., Played]:
    """Drives a method on NAS-Bench-201 by hand until so many evaluations are made.

    The scores of a task can be shifted to other architectures.
    """
    cells = benchmarks.get("nas-bench-201")
    archs = cells.space.enumerate()

    def play(
        name: str,
        evaluations: int,
        say: Script | None = None,
        task: str = "cifar10",
        shift: dict[str, int] | None = None,
        seed: int = 0,
        **given: object,
    ) -> Played:
        method = methods.get(name)
        problem = Problem(cells.space, cells.task(task), cells.name)
        search = method.start(problem, np.random.default_rng([seed, 1]), method.complete(given))
        scores = {t: np.roll(cells.scores(t, "validation"), (shift or {}).get(t, 0)) for t in cells.tasks}
        played = Played()
        asked: Counter[str] = Counter()
        reply = None
        while len(played.proposed) < evaluations:
            effect = next(search) if reply is None else search.send(reply)
            played.effects.append(effect)
            match effect:
                case Ask():
                    assert say
                    (prompt,) = effect.prompts
                    reply = [Completion(say(prompt.template, asked[prompt.template]), 9, 9)]
                    asked[prompt.template] += 1
                case Archive():
                    known = scores[effect.task]
                    order = np.argsort(known if effect.worst else -known, kind="stable")[: effect.size]
                    reply = [Evaluation(tuple(archs[i].tolist()), float(known[i]), np.nan) for i in order]
                case Evaluate():
                    rows = cells.space.index(Played([effect]).proposed)
                    found = zip(archs[rows].tolist(), scores[task][rows].tolist(), strict=True)
                    reply = [Evaluation(tuple(arch), score, np.nan) for arch, score in found]
                case _:
                    assert isinstance(effect, Note)
                    reply = []
        search.close()
        return played

    return play
