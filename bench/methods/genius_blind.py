"""The control of GENIUS: the same prompt without the scores."""

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from bench.effects import Search
from bench.method import Problem, method
from bench.methods.genius import propose


@method("genius_blind", prompts=("genius",))
def genius_blind(
    problem: Problem, rng: np.random.Generator, *, history: PositiveInt = 20, temperature: NonNegativeFloat = 1.0
) -> Search:
    """GENIUS with the scores withheld: shows what the feedback is worth; parameters as for `genius`."""
    return propose(problem, rng, scores=False, history=history, temperature=temperature)
