"""BANANAS."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from bench.effects import Search
from bench.evaluated import Evaluated, Rows
from bench.method import Problem, method
from surrogates.cell_space import CellSpace
from surrogates.space import Space
from theory.one_thread import one_thread


@method("bananas", requires=("torch",), enumerates=True)
def bananas(
    problem: Problem, rng: np.random.Generator, *,
    initial: PositiveInt = 10, batch: PositiveInt = 10, ensemble: PositiveInt = 5, candidates: PositiveInt = 100,
    parents: PositiveInt = 10, layers: PositiveInt = 10, width: PositiveInt = 20, epochs: PositiveInt = 150,
) -> Search:  # fmt: skip
    """Bayesian optimisation with an ensemble of neural predictors (White et al. 2021, AAAI, arXiv:1910.11858).

    Algorithm 1: after a random sample, each iteration trains an ensemble of feedforward networks on the path encoding
    of all that has been evaluated, mutates the best architectures into candidates, and evaluates those with the
    highest values of independent Thompson sampling, that is, of one draw for each candidate from the normal
    distribution with the ensemble's mean and standard deviation. Spaces that are no cells have no paths: there the
    networks see the space's one-hot features.

    As in the authors' program, the networks minimise the absolute error of the scores by Adam at a rate of 0.01.
    Departures: a step sees all scores, of which there are few, not 32 of them; the scores are standardised in place of
    an error relative to a known bound; no architecture is evaluated twice.

    Args:
        problem: Space and task.
        rng: Source of all randomness.
        initial: Architectures of the random sample.
        batch: Architectures evaluated in an iteration.
        ensemble: Networks.
        candidates: Mutations drawn in an iteration; those that repeat, or have been evaluated, fall away.
        parents: Best architectures that are mutated, by turns.
        layers: Hidden layers of a network.
        width: Units of a hidden layer.
        epochs: Steps of Adam, each on all scores.
    """
    space, evaluated, features = problem.space, Evaluated(problem.space), encode(problem.space)
    yield from evaluated.evaluate(evaluated.draw(rng, initial))
    while len(evaluated.left):
        pool = mutate(space, evaluated, rng, candidates, parents)
        if len(pool) < batch:
            pool = np.union1d(pool, evaluated.draw(rng, batch))
        if len(evaluated.rows):
            known = features[evaluated.rows]
            sizes, seed = (known.shape[1], *(width,) * layers, 1), int(rng.integers(2**32))
            predicted = predict(ensemble, sizes, epochs, seed, known, evaluated.standardised, features[pool])
            sampled = rng.normal(predicted.mean(axis=0), predicted.std(axis=0))
            pool = pool[np.argsort(-sampled, kind="stable")]
        yield from evaluated.evaluate(pool[:batch])


@lru_cache(maxsize=2)
def encode(space: Space) -> NDArray[np.float32]:
    """Returns the features of all architectures, read-only: paths, or one-hot decisions where there are none."""
    found = (space.path_encoding if isinstance(space, CellSpace) else space.encode)(space.enumerate())
    found.flags.writeable = False
    return found


def mutate(space: Space, evaluated: Evaluated, rng: np.random.Generator, candidates: int, parents: int) -> Rows:
    """Returns mutations of the best architectures, each once, that have not been evaluated."""
    best = [tuple(arch) for arch in space.enumerate()[evaluated.best(parents)].tolist()]
    mutations = [space.mutate(best[i % len(best)], rng) for i in range(candidates)] if best else []
    return np.intersect1d(space.index(mutations), evaluated.left)


@one_thread()
def predict(
    networks: int, sizes: Sequence[int], epochs: int, seed: int,
    known: NDArray[np.float32], scores: NDArray[np.float64], candidates: NDArray[np.float32],
) -> NDArray[np.float64]:  # fmt: skip
    """Trains networks on known scores, all at once; returns what each predicts: shape (networks, candidates)."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            # Uniform with the variance of Glorot and Bengio 2010.
            ((torch.rand(networks, m, n) * 2 - 1) * (6 / (m + n)) ** 0.5, torch.zeros(networks, 1, n))
            for m, n in pairwise(sizes)
        ]
    parameters = [tensor.requires_grad_() for layer in layers for tensor in layer]
    optimiser = torch.optim.Adam(parameters, lr=0.01)

    def forward(features: NDArray[np.float32]) -> torch.Tensor:
        x = torch.from_numpy(features).expand(networks, -1, -1)
        for weights, biases in layers[:-1]:
            x = torch.relu(torch.baddbmm(biases, x, weights))
        weights, biases = layers[-1]
        return torch.baddbmm(biases, x, weights).squeeze(2)

    target = torch.from_numpy(scores).float()
    for _ in range(epochs):
        optimiser.zero_grad()
        (forward(known) - target).abs().mean().backward()
        optimiser.step()
    with torch.no_grad():
        return forward(candidates).double().numpy()
