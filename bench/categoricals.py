"""The generator of an estimation-of-distribution algorithm: an independent categorical for each decision."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.effects import Sampling, Tune, Tuned
from bench.generator import Distribution, corpus_weights, less_likely
from bench.token_sampling import log_probabilities
from surrogates.errors import InputError
from surrogates.space import Space


class Categoricals:
    """p(a) is proportional to the product over decisions i of θ_i[a_i], over the architectures of a space.

    The untuned θ are uniform. Tuning sets θ_i to the weighted frequencies of the corpus, which is the maximum of the
    likelihood where every combination of decisions is an architecture (Mühlenbein and Paaß 1996). A state is a file
    with θ, shape (decisions, values), 0 beyond the values of a decision.

    Args:
        space: The space.
    """

    def __init__(self, space: Space) -> None:
        self._space, self._archs = space, space.enumerate()
        self._values = self._archs.max(axis=0) + 1

    def _theta(self, state: Path | None) -> NDArray[np.float64]:
        if state is not None:
            with state.open("rb") as file:
                return np.load(file)
        uniform = np.arange(self._values.max()) < self._values[:, None]
        return uniform / uniform.sum(axis=1, keepdims=True)

    def tune(self, state: Path | None, effect: Tune, prompt: str, seed: int, out: Path) -> Tuned:
        """Sets θ to the frequencies of the corpus; see `bench.generator.Generator`."""
        del prompt, seed
        weights = corpus_weights(effect)
        if isinstance(weights, str):
            return Tuned((), (), weights)
        corpus = np.array([self._space.parse(text) for text in effect.texts])
        old = self._theta(None if effect.anew else state)
        found = np.array([np.bincount(c, weights, minlength=old.shape[1]) for c in corpus.T]) / weights.sum()
        theta = effect.keep * old + (1 - effect.keep) * found
        places = self._space.index(corpus)
        before, after = (self._log_p(each, Sampling()) for each in (self._theta(state), theta))
        held = self._space.index([self._space.parse(text) for text in effect.held_out])
        share = weights / weights.sum()
        losses = tuple(float(-(share[share > 0] @ logs[places[share > 0]])) for logs in (before, after))
        pairs = tuple(zip(before[held].tolist(), after[held].tolist(), strict=True))
        if worse := less_likely(pairs):
            return Tuned(losses, pairs, worse)
        with out.open("wb") as file:
            np.save(file, theta)
        return Tuned(losses, pairs)

    def distribution(self, state: Path | None, prompt: str, sampling: Sampling) -> Distribution:
        """Returns p; see `bench.generator.Generator`. A decision counts as a token.

        Raises:
            InputError: No architecture is left of what temperature, top-k and top-p keep of each decision.
        """
        del prompt
        theta = self._theta(state)
        tokens = np.full(len(self._archs), self._archs.shape[1])
        return Distribution(self._log_p(theta, Sampling()), self._log_p(theta, sampling), 0, tokens)

    def _log_p(self, theta: NDArray[np.float64], sampling: Sampling) -> NDArray[np.float64]:
        decisions, values = np.nonzero(theta)
        logs = np.full(theta.shape, -np.inf)
        logs[decisions, values] = log_probabilities(np.log(theta[decisions, values]), decisions, sampling)
        total = logs[np.arange(len(theta)), self._archs].sum(axis=1)
        if np.isneginf(total).all():
            raise InputError(f"temperature, top-k and top-p leave no architecture of {self._space.name}; relax them")
        return total - np.logaddexp.reduce(total)

    def close(self) -> None:
        """Has nothing to give back."""
