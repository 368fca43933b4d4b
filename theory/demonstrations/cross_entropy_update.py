"""Claim 1 in exact worlds: identity, gradients, four departures from the update, calibration of the test."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theory.autoregressive import Network
from theory.calibration import rejections
from theory.cross_entropy_update import (
    CLAIM,
    LEVEL,
    MARGIN,
    CrossEntropyUpdate,
    foreign_share,
    lemma,
    predicted_power,
    simulate,
    test,
)
from theory.demonstration import Demonstration, Row, rate, row
from theory.families import Family, Floats, MarkovChain, Mixture, Parameters, Product, sequences
from theory.trend import means
from theory.worlds import deduplicated, draw, elites, jensen_shannon, tilted

Departure = Literal["none", "static prior", "de-duplication", "accumulation", "early stopping"]
"""How a corpus, or the tuning on it, departs from the cross-entropy method."""


def partial_tuning(table: Floats, target: Floats, product: Product, steps: int, rate: float = 0.5) -> Floats:
    """Takes gradient steps on the logits of a product family and returns its table: early stopping when they are few.

    The gradient of KL(target || p_θ) with respect to the logits is θ minus the target's marginals.

    Args:
        table: θ, shape (..., length, k), without zeros.
        target: Shape (..., n).
        product: The family.
        steps: Number of steps.
        rate: Learning rate.
    """
    logits = np.log(table)
    (goal,) = product.project(target, (table,))
    for _ in range(steps):
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        logits = logits - rate * (odds / odds.sum(axis=-1, keepdims=True) - goal)
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def departures(rng: np.random.Generator, worlds: int, steps: int = 5) -> dict[Departure, Floats]:
    """Computes how far one update of product generators is from the exact one with each of the four departures.

    Each world has random parameters and qualities, of which the upper half is elite. The static prior is another random
    generator's sample; accumulation adds as many elites of an earlier generator; de-duplication counts each elite that
    p_t can produce once; early stopping takes 5 gradient steps.

    Args:
        rng: Draws the worlds.
        worlds: Their number.
        steps: Gradient steps before stopping.

    Returns:
        D less that of the exact update, in nats: Jensen-Shannon divergence of the tuned generator from the exact
            update, shape
        (worlds,).
    """
    product = Product(sequences(4, 2), 2)
    (table,) = start = product.random(rng, worlds)
    before = product.probabilities(start)
    quality = rng.random(before.shape)
    weights = elites(quality, np.median(quality, axis=-1))
    target = tilted(before, weights)
    earlier = tilted(product.probabilities(product.random(rng, worlds)), weights)
    prior = product.probabilities(product.random(rng, worlds))
    unique = deduplicated(target)

    def tuned(corpus: Floats) -> Floats:
        return product.probabilities(product.project(corpus, start))

    exact = tuned(target)
    stopped = product.probabilities((partial_tuning(table, target, product, steps),))
    return {
        "none": jensen_shannon(exact, tuned(target)),
        "static prior": jensen_shannon(exact, tuned(prior)),
        "de-duplication": jensen_shannon(exact, tuned(unique / unique.sum(axis=-1, keepdims=True))),
        "accumulation": jensen_shannon(exact, tuned((target + earlier) / 2)),
        "early stopping": jensen_shannon(exact, stopped),
    }


def gradient_gap(rng: np.random.Generator, texts: int = 200) -> float:
    """Returns the largest difference between the gradients of the fine-tuning loss and of KL(p̂ || p_θ), by autograd.

    Args:
        rng: Draws the network's weights and the corpus.
        texts: Size of the corpus.
    """
    network = Network(sequences(4, 3), 3)
    parameters: Parameters = tuple(p[0] for p in network.random(rng, 1))
    corpus = rng.integers(0, len(network.space), texts)
    share = np.bincount(corpus, minlength=len(network.space)) / texts
    gap = network.loss_gradient(parameters, corpus) - network.divergence_gradient(parameters, share)
    return float(np.abs(gap).max())


def _projection(family: Family) -> Callable[[Floats], Floats]:
    return lambda target: family.probabilities(family.project(target, ()))


def demonstrate(rng: np.random.Generator, worlds: int = 10_000, sets: int = 2000) -> Demonstration:
    """Checks the identity, the gradients, the four departures and the verdict's calibration.

    Args:
        rng: Draws all.
        worlds: Random worlds.
        sets: Simulated data sets for each calibration.
    """
    space = sequences(4, 2)
    families: dict[str, Family] = {
        "product": Product(space, 2),
        "Markov chain": MarkovChain(space, 2),
        "mixture": Mixture(space, 2),
    }
    rows: list[Row] = []
    for name, family in families.items():
        p = family.probabilities(family.random(rng, worlds))
        corpus = draw(p, 50, rng)
        other = family.probabilities(family.random(rng, worlds))
        left, right = lemma(corpus, other)
        gap = float(np.abs(left - right).max())
        rows.append(_identity_row(f"largest gap of mean loss and KL + H, {name} (nats)", gap, worlds))
    if find_spec("torch") is None:
        rows.append(
            row("largest gap of the gradients: not computed, PyTorch is not installed", 0.0, None, "undecided", n=0)
        )
    else:
        gap = max(gradient_gap(rng) for _ in range(10))
        rows.append(_identity_row("largest gap of the gradients of loss and KL, small network, autograd", gap, 10))
    series: dict[str, dict[str, list[float]]] = {}
    departure: tuple[Departure, ...] = ("static prior", "de-duplication", "accumulation", "none")
    for name, found in departures(rng, worlds).items():
        mean = means(found[:, None])
        low, high = (float(v[0]) for v in mean.interval())
        rows.append(
            row(
                f"divergence from the exact update, {name} (nats)",
                0.0,
                float(mean.mean[0]),
                "holds" if high <= 1e-9 else "breaks",
                (low, high),
                worlds,
            )
        )
    curves = {steps: departures(rng, 300, steps)["early stopping"] for steps in (1, 2, 5, 10, 20, 50, 100)}
    series["early stopping"] = _curve({float(s): d for s, d in curves.items()})
    others = departures(rng, 300)
    for name in departure:
        series[name] = _curve({float(s): others[name] for s in (1, 100)})
    updates, samples = 5, 100
    project = _unrestricted
    flat = rejections(lambda: _trial(rng, updates, samples, 0.0, project), sets)
    rows.append(rate("true updates of which a 5% test rejects", flat, LEVEL, 0.015))
    foreign = foreign_share(MARGIN)
    power = predicted_power(updates, samples, foreign)
    off = rejections(lambda: _trial(rng, updates, samples, foreign, project), sets)
    rows.append(rate(f"corpora {MARGIN} nats off the elites of which it rejects", off, power, 0.05))
    return Demonstration(
        claim=CLAIM.name,
        rows=rows,
        series=series,
        x_label="gradient steps of the tuning",
        y_label="divergence from the exact update (nats)",
        caption="Jensen-Shannon divergence, mean of 300 worlds with 95% intervals. The tuned generator "
        "is the cross-entropy update only if the corpus is a sample of the elites (the "
        "curve at 0) and tuning runs to the end; a static prior, de-duplication and accumulation stay away however "
        "long it runs.",
    )


def _trial(
    rng: np.random.Generator, updates: int, samples: int, foreign: float, project: Callable[[Floats], Floats]
) -> CrossEntropyUpdate:
    before, after, weights, _ = simulate(rng, updates, samples, foreign=foreign)
    return test(before, after, weights, rng, project, samples)


def _unrestricted(target: NDArray[np.float64]) -> Floats:
    return target


def _identity_row(quantity: str, gap: float, n: int) -> Row:
    return row(quantity, 0.0, gap, "holds" if gap <= 1e-9 else "breaks", n=n)


def _curve(values: dict[float, Floats]) -> dict[str, list[float]]:
    found = [means(v[:, None]) for v in values.values()]
    return {
        "x": list(values),
        "y": [float(m.mean[0]) for m in found],
        "low": [float(m.interval()[0][0]) for m in found],
        "high": [float(m.interval()[1][0]) for m in found],
    }
