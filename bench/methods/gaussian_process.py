"""Bayesian optimisation with a Gaussian process."""

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt

from bench.effects import Search
from bench.evaluated import Evaluated
from bench.method import Problem, method
from theory.one_thread import one_thread

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP
    from torch import Tensor

CHUNK = 2048
"""Architectures whose expected improvement is computed at once."""


@method("gaussian_process", requires=("botorch",), enumerates=True)
def gaussian_process(
    problem: Problem, rng: np.random.Generator, *, initial: PositiveInt = 10, refit: PositiveInt = 5
) -> Search:
    """Bayesian optimisation by botorch: a Gaussian process and expected improvement (Jones et al. 1998).

    The covariance of two architectures is exp(-mean_i δ_i / l_i), where δ_i tells whether they differ in decision i:
    of all kernels that know no more than which options are equal it is the usual one, and the same as a squared
    exponential on one-hot features. The length scales l_i maximise the posterior under the prior of Hvarfner et al.
    2024 ("Vanilla Bayesian optimization performs great in high dimensions"), whose growth with the number of decisions
    the mean already has. After a random sample, each step evaluates, of all architectures that are left, the one of
    highest expected improvement (its logarithm, Ament et al. 2023): a space that can be enumerated needs no search
    for that maximum, and what is measured is the model alone. Equal ones are drawn from at random. An evaluation that
    fails adds nothing to the model.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        initial: Architectures of the random sample.
        refit: Scores after which the length scales are fitted anew; the process itself always has all scores.
    """
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of what the library itself imports
        import torch
        from botorch.acquisition import LogExpectedImprovement

    evaluated = Evaluated(problem.space)
    inputs = torch.tensor(problem.space.enumerate(), dtype=torch.double)
    fitted, scales = 0, {}
    yield from evaluated.evaluate(evaluated.draw(rng, initial))
    while len(left := rng.permutation(evaluated.left)):
        known = evaluated.rows
        if len(known) < 2:
            yield from evaluated.evaluate(left[:1])
            continue
        with one_thread(), warnings.catch_warnings(action="ignore"):  # of ill-conditioned covariances, then mended
            scores = torch.tensor(evaluated.standardised)
            model = process(inputs[known], scores)
            if not fitted or len(known) - fitted >= refit:
                fit(model, int(rng.integers(2**32)))
                fitted, scales = len(known), model.state_dict()
            model.load_state_dict(scales)
            with torch.no_grad():
                improvement = LogExpectedImprovement(model, scores.max())
                gains = torch.cat([improvement(chunk) for chunk in inputs[left].unsqueeze(1).split(CHUNK)])
        yield from evaluated.evaluate(left[[int(gains.argmax())]])


def process(inputs: "Tensor", scores: "Tensor") -> "SingleTaskGP":
    """Returns the process given the scores, its length scales at the mode of their prior."""
    from botorch.models import SingleTaskGP
    from botorch.models.kernels import CategoricalKernel
    from gpytorch.constraints import GreaterThan
    from gpytorch.priors import LogNormalPrior

    prior = LogNormalPrior(2**0.5, 3**0.5)
    positive = GreaterThan(0.025, transform=None, initial_value=prior.mode)  # pyright: ignore[reportArgumentType]
    kernel = CategoricalKernel(ard_num_dims=inputs.shape[1], lengthscale_prior=prior, lengthscale_constraint=positive)
    return SingleTaskGP(inputs, scores.unsqueeze(1), covar_module=kernel, outcome_transform=None)


def fit(model: "SingleTaskGP", seed: int) -> None:
    """Fits length scales, mean and noise; where no attempt succeeds they stay what they are."""
    import torch
    from botorch.exceptions import ModelFittingError
    from botorch.fit import fit_gpytorch_mll
    from gpytorch.mlls import ExactMarginalLogLikelihood

    # A first attempt that fails is repeated from random points.
    with torch.random.fork_rng(devices=[]), suppress(ModelFittingError):
        torch.manual_seed(seed)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
