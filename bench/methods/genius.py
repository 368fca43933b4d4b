"""GENIUS: a language model as the optimiser."""

from collections.abc import Generator

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from bench.effects import Answer, Effect, Prompt, Sampling, Search, ask, evaluate
from bench.method import Problem, method


def propose(
    problem: Problem, rng: np.random.Generator, *, scores: bool, history: int, temperature: float
) -> Generator[Effect, Answer, None]:
    """Asks for the next architecture, evaluates it and adds it to the history, for ever.

    An answer that is no architecture is evaluated as it is: it costs its evaluation, and the model is told so.
    """
    del rng  # all randomness is the language model's
    proposals: list[dict[str, object]] = []
    sampling = Sampling(temperature=temperature)
    while True:
        values = {
            "space": problem.space.description,
            "task": problem.task.name,
            "benchmark": problem.benchmark,
            "metric": problem.task.metric,
            "unit": problem.task.unit,
            "history": proposals[-history:],
            "scores": scores,
        }
        (answer,) = yield from ask([Prompt("genius", values)], problem.space.grammar, sampling)
        (result,) = yield from evaluate([answer.text])
        text = answer.text if result.arch is None else problem.space.format(result.arch)
        proposals.append({"text": text, "score": result.score, "failure": result.failure})


@method("genius", prompts=("genius",), control="genius_blind")
def genius(
    problem: Problem, rng: np.random.Generator, *, history: PositiveInt = 20, temperature: NonNegativeFloat = 1.0
) -> Search:
    """The model sees its proposals with their validation scores and proposes the next (Zheng et al. 2023).

    Args:
        problem: Space and task.
        rng: Not used.
        history: Latest proposals shown at most.
        temperature: Of the model's sampling; the paper's 0 makes all seeds alike.
    """
    return propose(problem, rng, scores=True, history=history, temperature=temperature)
