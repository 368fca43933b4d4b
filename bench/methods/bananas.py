"""BANANAS."""

import warnings

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from bench.archive import Archive, Rows
from bench.effects import Search
from bench.method import Problem, method
from surrogates.cell_space import CellSpace
from surrogates.space import Space


@method("bananas", requires=("sklearn",))
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

    Departures: scikit-learn's networks minimise the squared error of standardised scores (the paper's: an absolute
    error relative to a known bound), and stop early when it no longer falls; no architecture is evaluated twice.

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
        epochs: Passes over the data at most.
    """
    space, archive, features = problem.space, Archive(problem.space), encode(problem.space)
    hidden = (width,) * layers
    yield from archive.evaluate(archive.draw(rng, initial))
    while len(archive.left):
        pool = mutate(space, archive, rng, candidates, parents)
        if len(pool) < batch:
            pool = np.union1d(pool, archive.draw(rng, batch))
        if len(archive.rows):
            known = features[archive.rows]
            seeds = rng.integers(2**32, size=ensemble).tolist()
            predicted = [predict(hidden, epochs, seed, known, archive.standardised, features[pool]) for seed in seeds]
            sampled = rng.normal(np.mean(predicted, axis=0), np.std(predicted, axis=0))
            pool = pool[np.argsort(-sampled, kind="stable")]
        yield from archive.evaluate(pool[:batch])


def encode(space: Space) -> NDArray[np.float32]:
    """Returns the features of all architectures: paths, or one-hot decisions where there are none."""
    return (space.path_encoding if isinstance(space, CellSpace) else space.encode)(space.enumerate())


def mutate(space: Space, archive: Archive, rng: np.random.Generator, candidates: int, parents: int) -> Rows:
    """Returns mutations of the best architectures, each once, that have not been evaluated."""
    best = [tuple(arch) for arch in space.enumerate()[archive.best(parents)].tolist()]
    mutations = [space.mutate(best[i % len(best)], rng) for i in range(candidates)] if best else []
    return np.intersect1d(space.index(mutations), archive.left)


def predict(
    hidden: tuple[int, ...], epochs: int, seed: int,
    known: NDArray[np.float32], scores: NDArray[np.float64], candidates: NDArray[np.float32],
) -> NDArray[np.float64]:  # fmt: skip
    """Returns what one network, trained on known scores, predicts for the candidates."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    network = MLPRegressor(
        hidden_layer_sizes=hidden,
        batch_size=min(32, len(known)),  # pyright: ignore[reportArgumentType]
        learning_rate_init=0.01,
        max_iter=epochs,
        random_state=seed,
    )
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # the epochs are limited on purpose
        return np.asarray(network.fit(known, scores).predict(candidates), dtype=np.float64)
