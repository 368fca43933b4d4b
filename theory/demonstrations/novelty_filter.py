"""Claim 5 in simulated worlds: errors of MinHash and LSH, entropies with and without a filter, calibration."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from theory.demonstration import Demonstration, Row, mean, rate, row, share
from theory.minhash import (
    admission_probability,
    estimate_variance,
    jaccard,
    jaccard_after_edits,
    lsh_miss,
    minhash_estimates,
    shingles,
)
from theory.novelty_filter import CLAIM, calibration, simulate, single_admission, test

WORLDS: dict[str, dict[str, Any]] = {
    "50 samples of 200 programs, 40 elites": {},
    "10 samples of 200 programs, 40 elites": {"samples": 10},
    "50 samples of 200 programs, 1 elite": {"elite": 0.005},
    "50 samples of 20 programs, all elites, 200 cycles": {"space": 20, "elite": 1.0, "cycles": 200},
}
"""Worlds of `simulate` that `demonstrate` measures."""

SHOWN = ("10 samples of 200 programs, 40 elites", "50 samples of 20 programs, all elites, 200 cycles")
"""Those in the figure: one in which the claim breaks, and one in which it holds."""


def demonstrate(rng: np.random.Generator, sets: int = 2000, pairs: int = 1000) -> Demonstration:
    """Computes the claim's numbers, the errors of MinHash and LSH, entropies with and without a filter; calibrates.

    Args:
        rng: Source of all randomness.
        sets: Simulated data sets for each rate of rejection.
        pairs: Pairs of sets for each rate of admission.
    """
    tokens = [f"t{i}" for i in range(1506)]
    whole = shingles(tokens, 7)
    rows: list[Row] = []
    for edits in (1, 11, 12):
        edited = list(tokens)
        for place in range(edits):
            edited[100 + 100 * place] = "edit"
        measured = jaccard(whole, shingles(edited, 7))
        predicted = jaccard_after_edits(len(whole), 7, edits)
        rows.append(
            row(
                f"J of 1,500 7-shingles after {edits} scattered edits", predicted, measured, _match(predicted, measured)
            )
        )
    for k in (128, 256):
        estimates = minhash_estimates(92, 100, k, pairs, rng)
        rows.append(
            share(f"admitted at J = .92, k = {k}, threshold .9", estimates < 0.9, admission_probability(0.92, k))
        )
        rows.append(mean(f"Var(Ĵ) at J = .92, k = {k}", (estimates - 0.92) ** 2, estimate_variance(0.92, k)))
    agree = rng.random((pairs, 16, 16)) < 0.9
    missed = ~agree.all(axis=-1).any(axis=-1)
    rows.append(share("pairs of J = .9 that LSH misses, 16 bands of 16 rows", missed, lsh_miss(0.9, 16, 16)))
    programs = [shingles(f"def f{i} ( x ) : return x + {i}".split(), 3) for i in range(10)]
    _, nats = single_admission(programs)
    rows.append(
        row("H(p_θ) when one of 10 different programs is admitted and fitted", math.log(len(programs)), nats, "breaks")
    )

    series: dict[str, dict[str, list[float]]] = {}
    state = int(rng.integers(2**32))
    filters = {"filter within the cycle": False, "filter that remembers all admitted": True}
    for text, world in WORLDS.items():
        off = simulate(np.random.default_rng(state), filtered=False, **world)[0]
        if text in SHOWN:
            series[f"no filter: {text}"] = _band(off)
        for name, memory in filters.items():
            on = simulate(np.random.default_rng(state), memory=memory, **world)[0]
            if text in SHOWN:
                series[f"{name}: {text}"] = _band(on)
            found = test(on, off)
            broken = [e.name for e in found.assumptions if not e.holds]
            level = found.level + (f" ({', '.join(broken)})" if broken else "")
            quantity = f"share of the collapse prevented, {name}: {text}"
            rows.append(row(quantity, 1.0, found.estimate, level, found.estimate_interval, found.n))
    for label, expected, rejected in calibration(sets, rng):
        rows.append(rate(label, rejected, expected, 0.015 if expected < 0.051 else 0.05))
    caption = (
        "Entropy of the generator in exact worlds: mean and 95% interval of 20 seeds. The claim holds where the "
        "programs drawn in a cycle outnumber those worth keeping; it breaks where few are drawn, and where one program "
        "is left."
    )
    return Demonstration(CLAIM.name, rows, series, "cycle", "entropy of p_t (nats)", caption)


def _band(nats: NDArray[np.float64]) -> dict[str, list[float]]:
    mean = nats.mean(axis=0)
    half = stats.t.ppf(0.975, len(nats) - 1) * nats.std(axis=0, ddof=1) / math.sqrt(len(nats))
    return {
        "x": [float(t) for t in range(nats.shape[1])],
        "y": mean.tolist(),
        "low": (mean - half).tolist(),
        "high": (mean + half).tolist(),
    }


def _match(predicted: float, measured: float) -> str:
    return "holds" if abs(predicted - measured) <= 1e-12 else "breaks"
