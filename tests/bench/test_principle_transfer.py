"""The framework of LAPT: what principles are updated from, and parts that hold nothing."""

import numpy as np
import pytest

from bench.effects import Archive, Evaluate, Evaluation, Note
from bench.method import Problem
from bench.principle_transfer import principle_transfer
from surrogates.benchmarks import benchmarks
from surrogates.space import Arch
from surrogates.subspace import Allowed, everything, format_options

GRAPH = benchmarks.get("nas-bench-graph")
SPACE = GRAPH.space
WHOLE = everything(SPACE)


class Recorded:
    """Principles that remember what they were told, and always allow the same."""

    text = "some"

    def __init__(self, allowed: Allowed) -> None:
        self.allowed, self.told = allowed, []

    def learn(self, archs):
        self.told.append(("learn", list(archs)))
        yield from ()

    def update(self, archs):
        self.told.append(("update", list(archs)))
        yield from ()

    def explore(self):
        self.told.append(("explore", []))
        yield from ()

    def translate(self):
        yield from ()
        return self.allowed


@pytest.fixture
def drive():
    """Runs one iteration; `judge` gives each architecture's score, NaN for a failure."""

    def run(judge, allowed=WHOLE, archive=Archive("arxiv", 2), evaluations=9):
        principles = Recorded(allowed)
        problem = Problem(SPACE, GRAPH.task("cora"), GRAPH.name)
        search = principle_transfer(
            problem, np.random.default_rng(0), principles, archive, inner="random_search", population=2,
            tournament=2, first=8, every=8, selected=3, adaptation=True,
        )  # fmt: skip
        reply, notes, made = None, [], []
        while len(made) < evaluations:
            effect = next(search) if reply is None else search.send(reply)
            match effect:
                case Archive():
                    reply = [Evaluation(SPACE.enumerate()[0].tolist(), 1.0, np.nan)]
                case Note():
                    notes.append(effect)
                    reply = []
                case Evaluate():
                    archs = [arch for arch in effect.proposals if not isinstance(arch, str)]
                    scores = [judge(len(made) + i, arch) for i, arch in enumerate(archs)]
                    pairs = list(zip(archs, scores, strict=True))
                    made += pairs
                    reply = [Evaluation(a, s, np.nan, "failed" if np.isnan(s) else None) for a, s in pairs]
        return principles.told, notes, made

    return run


def test_principles_are_updated_from_the_best_different_architectures_that_have_a_score(drive):
    told, _, made = drive(lambda n, arch: np.nan if n % 2 else float(sum(arch)))
    scores: dict[Arch, float] = {arch: score for arch, score in made[:8] if not np.isnan(score)}
    best = sorted(scores, key=lambda arch: -scores[arch])
    assert told[1][0] == "update"
    assert list(map(sum, told[1][1])) == [sum(arch) for arch in best[:3]]
    assert set(told[1][1]) <= set(scores)


def test_an_architecture_that_was_evaluated_twice_is_shown_once(drive):
    one = SPACE.enumerate()[100].tolist()
    told, _, made = drive(lambda n, arch: 1.0, allowed=tuple((value,) for value in one))
    assert len({arch for arch, _ in made}) == 1
    assert told[1] == ("update", [made[0][0]])


def test_without_a_source_nothing_is_learned_until_something_has_a_score(drive):
    told, _, made = drive(lambda n, arch: np.nan if n < 8 else float(n), archive=None, evaluations=17)
    assert told == [("learn", [arch for arch, _ in made[15:12:-1]])]


def test_an_iteration_without_any_score_explores(drive):
    told, _, _ = drive(lambda n, arch: np.nan)
    assert [name for name, _ in told] == ["learn", "explore"]


def test_a_part_that_holds_nothing_is_told_and_the_whole_space_is_searched(drive):
    empty = tuple(
        (decision.options.index("skip"),) if "skip" in decision.options else options
        for decision, options in zip(SPACE.decisions, WHOLE, strict=True)
    )
    _, notes, _ = drive(lambda n, arch: float(n), allowed=empty)
    assert [(note.name, note.text) for note in notes[1:3]] == [
        ("empty_subspace", format_options(SPACE, empty)),
        ("subspace", format_options(SPACE, WHOLE)),
    ]
