"""Claim 4 in simulated worlds: its numbers, its boundary, and the calibration of the test."""

import math

import numpy as np
from numpy.typing import NDArray

from theory.delta_validity import (
    CLAIM,
    LEVEL,
    calibration,
    implied_error,
    losing_context_failure,
    losing_error,
    predict,
    simulate,
    test,
)
from theory.demonstration import Demonstration, Row, rate, row
from theory.generated_programs import Process, Programs


def demonstrate(rng: np.random.Generator, sets: int = 2000) -> Demonstration:
    """Computes the claim's numbers, its boundary, and the calibration of its test.

    Args:
        rng: Source of all randomness.
        sets: Simulated data sets for each rate of rejection.
    """
    full, n_f, n_d = Process(0.995, 0.995), 200, 40
    rows: list[Row] = []
    boundary = losing_error(0.005, n_f, n_d)
    failing = losing_context_failure(0.005, n_f, n_d)
    for text, delta, context in (
        ("p = .005, 200 and 40 lines", full, 1.0),
        (f"p_f = .005, p_d at the boundary {boundary:.4f}", Process(1 - boundary, 1 - boundary), 1.0),
        (f"p = .005, context failure at the boundary {failing:.3f}", full, 1 - failing),
    ):
        low, measured, high = _ratio(*simulate(rng, 40_000, n_f, n_d, full, delta, context))
        predicted = predict(0.005, n_f, n_d, 1 - delta.right_after_right, context)
        verdict = "holds" if low <= predicted <= high else "breaks"
        rows.append(row(f"R, {text}", predicted, measured, verdict, (low, high), 80_000))
    published, explained = 0.713 / 0.506, implied_error(0.713, n_d) / implied_error(0.506, n_f)
    rows.append(row("R measured in arXiv:2605.04903, .713 / .506", predict(0.005, n_f, n_d), published, "breaks"))
    rows.append(row("p_d / p_f per line that explains it", 1.0, explained, "breaks"))
    worlds = {
        "the claim's world": (full, 1.0),
        "errors 2.5 times as likely in deltas": (Process(0.9875, 0.9875), 1.0),
        "p_d = .03, beyond the boundary": (Process(0.97, 0.97), 1.0),
        "context fails with probability .6": (full, 0.4),
    }
    for name, (delta, context) in worlds.items():
        for model in ("markov", "context-match"):
            found = test(*simulate(rng, 4000, n_f, n_d, full, delta, context), rng, model)
            broken = [e.name for e in found.assumptions if not e.holds]
            verdict = found.level + (f" ({', '.join(broken)})" if broken else "")
            text = f"R, {model} model, {name}"
            rows.append(row(text, found.predicted, found.estimate, verdict, found.estimate_interval, found.n))
    for label, expected, rejected in calibration(sets, rng):
        rows.append(rate(label, rejected, expected, 0.015 if expected == LEVEL else 0.05))

    errors = np.linspace(0.001, 0.04, 14)
    series = {
        "predicted": {"x": errors.tolist(), "y": [predict(0.005, n_f, n_d, p) for p in errors.tolist()]},
        "published: deltas err like full programs": {"x": [0.005], "y": [predict(0.005, n_f, n_d)]},
        "deltas lose below 1": {"x": [0.001, 0.04], "y": [1.0, 1.0]},
        "measured": _measured_ratios(errors, rng),
    }
    caption = (
        "Ratio of the valid rates of deltas (40 tokens) and full programs (200 tokens, p_f = .005) against the error "
        "probability of deltas: prediction, and 4,000 simulated programs of each kind with 95% intervals. The claim "
        "holds left of p_d = .0248 and breaks right of it."
    )
    return Demonstration(CLAIM.name, rows, series, "error probability per token in deltas", "V_d / V_f", caption)


def _measured_ratios(errors: NDArray[np.float64], rng: np.random.Generator) -> dict[str, list[float]]:
    found = [_ratio(*simulate(rng, 4000, delta=Process(1 - p, 1 - p))) for p in errors.tolist()]
    low, ratio, high = (list(column) for column in zip(*found, strict=True))
    return {"x": errors.tolist(), "y": ratio, "low": low, "high": high}


def _ratio(full: Programs, deltas: Programs) -> tuple[float, float, float]:
    """Returns V_d / V_f of independent programs between the ends of its 95% interval (delta method, on its log)."""
    a, b = float(full.valid.mean()), float(deltas.valid.mean())
    spread = math.exp(1.96 * math.sqrt((1 - a) / (a * len(full.valid)) + (1 - b) / (b * len(deltas.valid))))
    return b / a / spread, b / a, b / a * spread
