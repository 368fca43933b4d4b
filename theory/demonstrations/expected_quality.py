"""Claim 2 in exact worlds: the lemma in random worlds, how often thresholding lowers E[q], calibration of the test."""

from importlib.util import find_spec

import numpy as np

from theory.autoregressive import Network
from theory.calibration import rejections
from theory.demonstration import Demonstration, Row, rate, row, share
from theory.expected_quality import (
    CLAIM,
    LEVEL,
    MARGIN,
    TOLERANCE,
    counterexample,
    lemma,
    predicted_power,
    random_step,
    simulate,
    test,
)
from theory.families import Categorical, Family, MarkovChain, Mixture, Product, sequences
from theory.trend import (
    descents_distribution,
)
from theory.worlds import Cycles, expectation, run

PAPER_FALLS = {"DeepSeek": 9, "Mistral": 12, "Qwen": 12}
"""Falls among the 21 steps of the published series of raw mean accuracy; arXiv:2605.30103."""


def demonstrate(rng: np.random.Generator, worlds: int = 10_000, sets: int = 2000) -> Demonstration:
    """Checks the lemma in random worlds, counts how often thresholding lowers E[q], and the verdict's calibration.

    Args:
        rng: Draws all.
        worlds: Random worlds for each family; of the network only with PyTorch installed.
        sets: Simulated data sets for each calibration.
    """
    space = sequences(4, 2)
    families: dict[str, Family] = {
        "categorical": Categorical(16),
        "product": Product(space, 2),
        "Markov chain": MarkovChain(space, 2),
        "mixture": Mixture(space, 2),
    }
    if find_spec("torch") is not None:
        families["network"] = Network(sequences(3, 2), 2, hidden=4, steps=100)
    rows: list[Row] = []
    if "network" not in families:
        rows.append(row("with a network: not computed, PyTorch is not installed", None, None, "undecided", n=0))
    for name, family in families.items():
        for weights, top, reward in (("τ fixed", None, False), ("top 20%", 0.2, False), ("w = q", None, True)):
            step = random_step(rng, family, worlds, top, reward)
            found, holds = lemma(step["before"], step["after"], step["weights"])
            lemma_name = "E[q]" if reward else "C"
            rows.append(share(f"worlds in which {lemma_name} falls: {name}, {weights}", ~holds, 0.0))
            rose = found.gain >= -TOLERANCE
            if not rose.all():
                rows.append(share(f"projections that lowered the likelihood: {name}, {weights}", ~rose))
            if not reward:
                falls = (
                    expectation(step["after"], step["quality"])
                    < expectation(step["before"], step["quality"]) - TOLERANCE
                )
                rows.append(share(f"worlds in which E[q] falls: {name}, {weights}", falls, 0.0))
    start, quality = counterexample()
    threshold = run(Product(sequences(2, 2), 2), start, quality, 4, Cycles(threshold=1.0))[:, 0]
    reward = run(Product(sequences(2, 2), 2), start, quality, 4, Cycles(reward=True))[:, 0]
    for name, values in (("E[q]", expectation(threshold, quality)), ("C", expectation(threshold, quality >= 1))):
        verdict = test(values[:2], rng, exact=True, quantity="E[q]" if name == "E[q]" else "C")
        rows.append(row(f"change of {name}, two bits, τ = 1", 0.0, verdict.change, verdict.level))
    for model, falls in PAPER_FALLS.items():
        chance = float(descents_distribution(22)[: falls + 1].sum())
        rows.append(
            row(
                f"published falls of 21 steps, {model}; exchangeable noise has so few with p = {chance:.2g}",
                0.0,
                float(falls),
                "undecided",
            )
        )
    seeds, cycles, candidates = 20, 22, 1500
    flat = rejections(lambda: test(simulate(rng, seeds, cycles, candidates), rng), sets)
    rows.append(rate("flat worlds in which a 5% test rejects", flat, LEVEL, 0.015))
    power = predicted_power(MARGIN, seeds, cycles, candidates)
    falling = rejections(lambda: test(simulate(rng, seeds, cycles, candidates, fall=MARGIN), rng), sets)
    rows.append(rate(f"worlds with a fall of {MARGIN} in which it rejects", falling, power, 0.05))
    t = [float(i) for i in range(5)]
    series = {
        "E[q], thresholding: breaks": expectation(threshold, quality),
        "C, thresholding: holds": expectation(threshold, quality >= 1),
        "E[q], reward weights: holds": expectation(reward, quality),
    }
    return Demonstration(
        claim=CLAIM.name,
        rows=rows,
        series={label: {"x": t, "y": y.tolist()} for label, y in series.items()},
        x_label="cycle",
        y_label="expectation under the generator",
        caption="Two independent bits, τ = 1: fitting the elites raises their mass C and lowers the expected quality; "
        "fitting by quality does not.",
    )
