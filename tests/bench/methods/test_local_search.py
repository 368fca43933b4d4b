import numpy as np

from bench.effects import Evaluate, Evaluation
from bench.method import Problem
from bench.methods import methods


def follow(benchmark, task, steps, seed=0):
    problem = Problem(benchmark.space, benchmark.tasks[task], benchmark.name)
    search = methods.get("local_search").start(problem, np.random.default_rng(seed), {})
    effect, seen = next(search), []
    for _ in range(steps):
        assert isinstance(effect, Evaluate)
        (arch,) = effect.proposals
        assert isinstance(arch, tuple)
        score = float(benchmark.query([arch], task).validation[0])
        seen.append((arch, score))
        effect = search.send([Evaluation(arch, score, np.nan)])
    return seen


def test_nothing_is_evaluated_twice(analog):
    archs = [arch for arch, _ in follow(analog, "clean", 400)]
    assert len(set(archs)) == 400


def test_it_climbs_to_a_local_optimum_before_it_starts_anew(analog):
    seen = follow(analog, "clean", 400)
    known = dict(seen)
    current = seen[0][0]
    while True:
        near = analog.space.neighbours(current)
        assert all(arch in known for arch in near)
        best = max(near, key=known.__getitem__)
        if known[best] <= known[current]:
            break
        current = best
    every = dict(zip(map(tuple, analog.space.enumerate().tolist()), analog.scores("clean", "validation"), strict=True))
    assert all(every[current] >= every[arch] for arch in analog.space.neighbours(current))
