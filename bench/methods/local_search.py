"""Local search."""

import numpy as np

from bench.effects import Evaluation, Search, evaluate
from bench.method import Problem, method, score
from surrogates.space import Arch


@method("local_search")
def local_search(problem: Problem, rng: np.random.Generator) -> Search:
    """Moves to the best neighbour until none is better, then starts anew (White et al. 2021, algorithm 1).

    All neighbours are evaluated, in random order; none is evaluated twice.
    """
    known: dict[Arch, Evaluation] = {}
    while len(known) < problem.space.size:
        current = problem.space.sample(rng)
        if current in known:
            continue
        (known[current],) = yield from evaluate([current])
        while True:
            near = problem.space.neighbours(current)
            for i in rng.permutation(len(near)).tolist():
                if near[i] not in known:
                    (known[near[i]],) = yield from evaluate([near[i]])
            best = max([current, *near], key=lambda arch: score(known[arch]))
            if score(known[best]) <= score(known[current]):
                break
            current = best
