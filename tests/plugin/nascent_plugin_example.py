"""A method of another package."""

from bench.effects import evaluate
from bench.method import method, score


@method("first_improvement")
def first_improvement(problem, rng):
    """Moves to a random neighbour whenever that is no worse."""
    (best,) = yield from evaluate([problem.space.sample(rng)])
    while True:
        (next_,) = yield from evaluate([problem.space.mutate(best.arch, rng)])
        best = max(next_, best, key=score)
