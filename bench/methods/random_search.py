"""Random search."""

import numpy as np

from bench.effects import Search, evaluate
from bench.method import Problem, method


@method("random_search")
def random_search(problem: Problem, rng: np.random.Generator) -> Search:
    """Draws architectures uniformly, with replacement."""
    while True:
        yield from evaluate([problem.space.sample(rng)])
