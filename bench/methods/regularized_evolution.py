"""Aging evolution."""

from collections import deque

import numpy as np
from pydantic import PositiveInt

from bench.effects import Search, evaluate
from bench.method import Problem, method, score


@method("regularized_evolution")
def regularized_evolution(
    problem: Problem, rng: np.random.Generator, *, population: PositiveInt = 10, tournament: PositiveInt = 5
) -> Search:
    """Aging evolution (Real et al. 2019, algorithm 1): the best of a tournament is mutated, the oldest dies.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        population: Architectures alive (P).
        tournament: Architectures drawn from them, with replacement (S).
    """
    history = yield from evaluate(problem.space.sample(rng) for _ in range(population))
    alive = deque(history, maxlen=population)
    while True:
        sample = [alive[int(u * len(alive))] for u in rng.random(tournament).tolist()]
        parent = max(sample, key=score)
        alive += yield from evaluate([problem.space.mutate(parent.arch, rng)])
