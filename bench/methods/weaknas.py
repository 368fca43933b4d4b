"""WeakNAS."""

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from bench.effects import Search
from bench.evaluated import Evaluated
from bench.method import Problem, method

Factor = Annotated[float, Field(gt=0, le=1)]


@method("weaknas", requires=("sklearn",), enumerates=True)
def weaknas(
    problem: Problem, rng: np.random.Generator, *,
    initial: PositiveInt = 10, batch: PositiveInt = 10, top: PositiveInt = 1000, shrink: Factor = 0.8,
    trees: PositiveInt = 100,
) -> Search:  # fmt: skip
    """Samples among the predicted best with ever better predictors (Wu et al. 2021, NeurIPS, arXiv:2102.10490).

    After a random sample, each iteration fits a weak predictor to all that has been evaluated, ranks the whole space
    by it and evaluates a few architectures, drawn uniformly from the N that rank highest. The paper's N of 1,000 suits
    the hundreds of samples that it spends; here N shrinks with the iterations, as the authors' program allows, so that
    later samples exploit what was learned. Of the paper's predictors (multilayer perceptron, gradient-boosted trees,
    random forest) it is gradient-boosted trees, scikit-learn's, on one-hot features. No architecture is evaluated
    twice: the N are counted among those that are left.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        initial: Architectures of the random sample.
        batch: Architectures evaluated in an iteration.
        top: N of the first iteration.
        shrink: What N is multiplied by after each iteration, in (0, 1]; 1: the paper's constant N.
        trees: Boosting stages of a predictor.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    evaluated, features, n = Evaluated(problem.space), problem.space.encode(problem.space.enumerate()), float(top)
    yield from evaluated.evaluate(evaluated.draw(rng, initial))
    while len(left := evaluated.left):
        if not len(evaluated.rows):
            yield from evaluated.evaluate(evaluated.draw(rng, batch))
            continue
        weak = GradientBoostingRegressor(n_estimators=trees, random_state=int(rng.integers(2**32)))
        weak.fit(features[evaluated.rows], evaluated.standardised)
        left = rng.permutation(left)  # trees predict many ties, which are broken at random
        ranked = left[np.argsort(-weak.predict(features[left]), kind="stable")]
        among = ranked[: max(batch, round(n))]
        yield from evaluated.evaluate(rng.choice(among, min(batch, len(among)), replace=False))
        n *= shrink
