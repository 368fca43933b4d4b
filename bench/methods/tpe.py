"""The tree-structured Parzen estimator."""

import numpy as np
from pydantic import PositiveInt

from bench.effects import Search
from bench.evaluated import Evaluated
from bench.method import Problem, method


@method("tpe", requires=("optuna",), enumerates=True)
def tpe(
    problem: Problem, rng: np.random.Generator, *,
    initial: PositiveInt = 10, candidates: PositiveInt = 24, suggestions: PositiveInt = 20,
) -> Search:  # fmt: skip
    """Tree-structured Parzen estimator, by optuna (Bergstra et al. 2011, NeurIPS; Falkner et al. 2018, ICML).

    Each decision of the space is a categorical parameter. After `initial` random architectures, the estimator fits one
    density to the best tenth of what has been evaluated (at most 25 architectures) and one to the rest, both over all
    decisions together, draws from the former and suggests the draw with the highest ratio of the two.

    Departures: a suggestion that is no architecture of the space, or means one that has been evaluated, costs nothing:
    optuna is told that it failed, which it ignores, and is asked again. When that was the lot of too many in a row, an
    architecture is drawn at random. An evaluation that fails is told likewise.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        initial: Scores before the densities are used.
        candidates: Draws of which the best is suggested.
        suggestions: How many may be refused in a row.
    """
    import optuna
    from optuna.trial import TrialState

    space, evaluated = problem.space, Evaluated(problem.space)
    parameters: dict[str, optuna.distributions.BaseDistribution] = {
        decision.name: optuna.distributions.CategoricalDistribution(range(len(decision.options)))
        for decision in space.decisions
    }
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=initial, n_ei_candidates=candidates, multivariate=True, seed=int(rng.integers(2**32))
    )
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    optuna.logging.set_verbosity(verbosity)
    while len(left := evaluated.left):
        for _ in range(suggestions):
            trial = study.ask(parameters)
            arch = space.meaning(tuple(trial.params[name] for name in parameters))
            if arch is not None and (row := int(space.index([arch])[0])) in left:
                break
            study.tell(trial, state=TrialState.FAIL)
        else:
            (row,) = evaluated.draw(rng, 1).tolist()
            study.enqueue_trial(dict(zip(parameters, space.enumerate()[row].tolist(), strict=True)))
            trial = study.ask(parameters)
        (result,) = yield from evaluated.evaluate(np.array([row]))
        scored = result.failure is None and np.isfinite(result.score)
        study.tell(trial, result.score if scored else None, None if scored else TrialState.FAIL)
