"""Families of generators over a finite space, each with its projection: argmin over θ of KL(target || p_θ).

A space is an array of shape (n, length): its architectures as sequences of tokens 0 ... k-1. Parameters are tuples of
arrays with leading axes for worlds or runs; a convex combination of parameters is a member of the family too, so all
can be smoothed. Maximising Σ target · log p_θ is the projection, since KL(target || p_θ) differs from it by the
target's entropy.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Parameters = tuple[Floats, ...]


class Family(Protocol):
    """A parametric family of generators p_θ."""

    def random(self, rng: np.random.Generator, worlds: int) -> Parameters:
        """Draws parameters for a number of worlds."""
        ...

    def probabilities(self, parameters: Parameters) -> Floats:
        """Returns p_θ, shape (..., n)."""
        ...

    def project(self, target: Floats, start: Parameters) -> Parameters:
        """Returns θ of the projection of a target, shape (..., n); what it does not determine stays as in `start`."""
        ...


def sequences(length: int, tokens: int) -> NDArray[np.intp]:
    """Returns all sequences, shape (tokens ** length, length), the last position running fastest."""
    return np.indices((tokens,) * length).reshape(length, -1).T


@dataclass(frozen=True)
class Categorical:
    """The unrestricted family: any probabilities. Parameters: (p: (..., n),); its projection is the target itself."""

    n: int

    def random(self, rng: np.random.Generator, worlds: int) -> Parameters:
        """Draws p uniformly from the simplex."""
        return (rng.dirichlet(np.ones(self.n), size=worlds),)

    def probabilities(self, parameters: Parameters) -> Floats:
        """Returns p itself."""
        return parameters[0]

    def project(self, target: Floats, start: Parameters) -> Parameters:
        """Returns the target."""
        return (np.broadcast_to(target, start[0].shape),)


@dataclass(frozen=True)
class Product:
    """Independent categoricals, p(a) = Π_l θ_l(a_l). Parameters: (θ of shape (..., length, k),).

    Its projection has the target's marginals: De Boer, Kroese, Mannor and Rubinstein (2005), "A tutorial on the
    cross-entropy method", equation 30.

    Attributes:
        space: Shape (n, length).
        tokens: k.
    """

    space: NDArray[np.intp]
    tokens: int

    @cached_property
    def _one_hot(self) -> Floats:
        return np.eye(self.tokens)[self.space]

    def random(self, rng: np.random.Generator, worlds: int) -> Parameters:
        """Draws each position's probabilities uniformly from the simplex."""
        return (rng.dirichlet(np.ones(self.tokens), size=(worlds, self.space.shape[1])),)

    def probabilities(self, parameters: Parameters) -> Floats:
        """Returns Π_l θ_l(a_l)."""
        return parameters[0][..., np.arange(self.space.shape[1]), self.space].prod(axis=-1)

    def project(self, target: Floats, start: Parameters) -> Parameters:
        """Returns the target's marginals."""
        return (np.tensordot(target, self._one_hot, axes=1),)


@dataclass(frozen=True)
class MarkovChain:
    """An autoregressive chain, p(a) = π(a_1) Π_l P_l(a_{l+1} | a_l).

    Parameters: (π: (..., k), P: (..., length-1, k, k)). Its projection has the target's conditional frequencies, the
    maximum-likelihood estimate of Anderson and Goodman (1957), "Statistical inference about Markov chains", Annals of
    Mathematical Statistics 28; a row that the target never visits is kept.

    Attributes:
        space: Shape (n, length), length >= 2.
        tokens: k.
    """

    space: NDArray[np.intp]
    tokens: int

    @cached_property
    def _pairs(self) -> Floats:
        one_hot = np.eye(self.tokens)[self.space]
        return one_hot[:, :-1, :, None] * one_hot[:, 1:, None, :]

    def random(self, rng: np.random.Generator, worlds: int) -> Parameters:
        """Draws π and each row of P uniformly from the simplex."""
        k = self.tokens
        one = np.ones(k)
        return rng.dirichlet(one, size=worlds), rng.dirichlet(one, size=(worlds, self.space.shape[1] - 1, k))

    def probabilities(self, parameters: Parameters) -> Floats:
        """Returns π(a_1) Π_l P_l(a_{l+1} | a_l)."""
        initial, transitions = parameters
        steps = transitions[..., np.arange(self.space.shape[1] - 1), self.space[:, :-1], self.space[:, 1:]]
        return initial[..., self.space[:, 0]] * steps.prod(axis=-1)

    def project(self, target: Floats, start: Parameters) -> Parameters:
        """Returns the target's first marginal and conditional frequencies."""
        initial = np.tensordot(target, np.eye(self.tokens)[self.space[:, 0]], axes=1)
        joint = np.tensordot(target, self._pairs, axes=1)
        visits = joint.sum(axis=-1, keepdims=True)
        return initial, np.where(visits > 0, joint / np.where(visits > 0, visits, 1), start[1])


@dataclass(frozen=True)
class Mixture:
    """A mixture of products, p(a) = Σ_j π_j Π_l θ_jl(a_l). Parameters: (π: (..., m), θ: (..., m, length, k)).

    Its projection is found by expectation-maximisation, which never lowers the likelihood but may stop at a local
    optimum: Dempster, Laird and Rubin (1977), "Maximum likelihood from incomplete data via the EM algorithm", theorem
    1.

    Attributes:
        space: Shape (n, length).
        tokens: k.
        components: m.
        tolerance: EM stops when no world's mean log-likelihood rises by more, in nats.
        steps: EM steps at most.
    """

    space: NDArray[np.intp]
    tokens: int
    components: int = 2
    tolerance: float = 1e-10
    steps: int = 200

    @cached_property
    def _product(self) -> Product:
        return Product(self.space, self.tokens)

    def random(self, rng: np.random.Generator, worlds: int) -> Parameters:
        """Draws π and each component's positions uniformly from the simplex."""
        shape = (worlds, self.components, self.space.shape[1])
        return rng.dirichlet(np.ones(self.components), size=worlds), rng.dirichlet(np.ones(self.tokens), size=shape)

    def probabilities(self, parameters: Parameters) -> Floats:
        """Returns Σ_j π_j Π_l θ_jl(a_l)."""
        return self._joint(parameters).sum(axis=-2)

    def _joint(self, parameters: Parameters) -> Floats:
        weights, tables = parameters
        return weights[..., None] * self._product.probabilities((tables,))

    def project(self, target: Floats, start: Parameters) -> Parameters:
        """Returns the parameters that EM reaches from `start`."""
        parameters, likelihood = start, log_likelihood(target, self.probabilities(start))
        for _ in range(self.steps):
            joint = self._joint(parameters)
            total = joint.sum(axis=-2, keepdims=True)
            # Each component's share of the target's mass.
            mass = target[..., None, :] * joint / np.where(total > 0, total, 1)
            weights = mass.sum(axis=-1)
            some = weights > 0
            (tables,) = self._product.project(mass / np.where(some, weights, 1)[..., None], ())
            parameters = (weights, np.where(some[..., None, None], tables, parameters[1]))
            reached = log_likelihood(target, self.probabilities(parameters))
            if not (reached > likelihood + self.tolerance).any():
                break
            likelihood = reached
        return parameters


def log_likelihood(target: ArrayLike, p: ArrayLike) -> Floats:
    """Returns Σ target · log p, shape (...); -inf where p lacks the target's support."""
    target, p = np.broadcast_arrays(np.asarray(target, dtype=float), np.asarray(p, dtype=float))
    with np.errstate(divide="ignore"):
        logs = np.log(p, where=target > 0, out=np.zeros(p.shape))
    return np.asarray(np.where(target > 0, target * logs, 0.0).sum(axis=-1))
