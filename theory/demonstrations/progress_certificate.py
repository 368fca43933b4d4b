"""The progress certificate in exact worlds: the bound for random pairs of generators, coverage of its interval."""

import numpy as np

from theory.demonstration import Demonstration, Row, rate, row
from theory.families import Family, MarkovChain, Mixture, Product, sequences
from theory.progress_certificate import CLAIM, needed_elites, random_pairs, simulate
from theory.trend import means, power_of_decrease


def demonstrate(rng: np.random.Generator, pairs: int = 100_000, worlds: int = 2000) -> Demonstration:
    """Checks the bound for random pairs of generators, and the interval of Δ from held-out elites.

    Args:
        rng: Draws all.
        pairs: Number of pairs for each kind of generator.
        worlds: Number of worlds in which the interval's coverage is counted.
    """
    space = sequences(4, 2)
    kinds: dict[str, Family | None] = {
        "any probabilities": None,
        "products": Product(space, 2),
        "Markov chains": MarkovChain(space, 2),
        "mixtures": Mixture(space, 2),
    }
    rows: list[Row] = []
    series: dict[str, dict[str, list[float]]] = {}
    for name, family in kinds.items():
        found = random_pairs(rng, pairs, family)
        broken = int((found.after < found.bound * (1 - 1e-12)).sum())
        rows.append(
            row(f"pairs below the bound, {name}", 0.0, float(broken), "holds" if broken == 0 else "breaks", n=pairs)
        )
        if name == "products":
            shown = slice(0, 300)
            rise = np.log(found.after[shown] / found.before[shown])
            series["random pairs of products"] = {"x": found.gain[shown].tolist(), "y": rise.tolist()}
    ends = [-3.0, 1.0]
    series["bound"] = {"x": ends, "y": ends}
    larger = sequences(8, 2)
    settings = [(kind(larger, 2), held_out) for kind in (Product, MarkovChain) for held_out in (20, 50, 200)]
    # In a space this small a rare elite with an extreme log-ratio is often not among the held-out ones.
    settings += [(Product(space, 2), held_out) for held_out in (20, 200)]
    for family, held_out in settings:
        gain, ratios = simulate(rng, family, worlds, held_out)
        low, high = means(ratios.T).interval()
        where = f"{type(family).__name__} on {len(family.space)} architectures"
        quantity = f"coverage of the 95% interval of Δ, {held_out} held-out elites, {where}"
        rows.append(rate(quantity, (low <= gain) & (gain <= high), 0.95, 0.02))
    gain, ratios = simulate(rng, Product(larger, 2), 1, 100_000)
    delta, sd = float(gain[0]), float(ratios[0].std())
    n = needed_elites(delta, sd)
    if n is not None:
        certified = means(rng.choice(ratios[0], size=(n, worlds))).lower() > 0
        power = power_of_decrease(delta, sd, n)
        quantity = f"share of steps with Δ = {delta:.3f} that {n} elites certify, as many as power .8 needs"
        rows.append(rate(quantity, certified, power, 0.05))
    return Demonstration(
        claim=CLAIM.name,
        rows=rows,
        series=series,
        x_label="Δ, mean log-likelihood gain of fresh elites (nats)",
        y_label="log(C_{t+1} / C_t) (nats)",
        caption="The rise of the elite mass is never below the certificate Δ, for any pair of generators.",
    )
