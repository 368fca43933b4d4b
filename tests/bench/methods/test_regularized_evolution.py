import numpy as np

from bench.effects import Evaluate, Evaluation
from bench.method import Problem
from bench.methods import methods


def proposed(effect):
    assert isinstance(effect, Evaluate)
    return [arch for arch in effect.proposals if isinstance(arch, tuple)]


def test_each_child_is_a_neighbour_of_the_best_in_a_sample_of_the_living(graph):
    problem, method = Problem(graph.space, graph.tasks["cora"], graph.name), methods.get("regularized_evolution")
    search = method.start(problem, np.random.default_rng(0), {"population": 5, "tournament": 200})
    archs = proposed(next(search))
    assert len(archs) == 5
    new = archs
    for _ in range(40):
        scores = graph.query(archs, "cora").validation
        answers = [Evaluation(a, s, np.nan) for a, s in zip(new, scores[-len(new) :].tolist(), strict=True)]
        new = proposed(search.send(answers))
        best = archs[-5:][int(np.argmax(scores[-5:]))]
        (child,) = new
        assert child in graph.space.neighbours(best)
        archs = [*archs, child]


def test_a_failed_architecture_is_never_the_parent_of_choice(analog):
    problem, method = Problem(analog.space, analog.tasks["clean"], analog.name), methods.get("regularized_evolution")
    search = method.start(problem, np.random.default_rng(0), {"population": 2, "tournament": 100})
    first, second = proposed(next(search))
    effect = search.send([Evaluation(first, np.nan, np.nan, "failed"), Evaluation(second, 1.0, np.nan)])
    assert proposed(effect)[0] in analog.space.neighbours(second)
