"""Claim 6 in simulated worlds: the closed form and its limits, the ceiling of selection, calibration of the test."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from theory.calibration import rejections, rejects
from theory.demonstration import Demonstration, Row, mean, rate, row
from theory.families import Floats
from theory.proxy_reliability import (
    CLAIM,
    LEVEL,
    ProxyReliability,
    Selection,
    predict,
    predicted_power,
    simulate,
    simulate_uneven_noise,
    test,
)
from theory.rank_correlation import spearman_from_pearson
from theory.replicates import correlation

PAPER = {"Mistral": (16, 0.926, None), "Qwen": (15, 0.635, 0.10), "DeepSeek": (12, 0.495, None)}
"""Pairs, measured and, where it is given, predicted Spearman correlation; arXiv:2605.30103."""

SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


def demonstrate(rng: np.random.Generator, samples: int = 2000, sets: int = 2000) -> Demonstration:
    """Checks the closed form, its finite-sample and top-share forms, its counterexamples and the test's calibration.

    Args:
        rng: Draws all.
        samples: Samples behind each mean correlation.
        sets: Simulated data sets for each calibration.
    """
    rows: list[Row] = []
    for snr in (0.5, 2.0, 10.0):
        for n in (5, 12, 100):
            found = [_spearman(simulate(rng, n, 2, snr)) for _ in range(samples)]
            rows.append(mean(f"ρ_S of two replicates, SNR {snr:g}, n = {n}", found, predict(snr, "replicates", n)))
        truths = [_spearman(_with_truth(rng, 100, snr)) for _ in range(samples)]
        rows.append(mean(f"ρ_S with the truth, SNR {snr:g}, n = 100", truths, predict(snr, "truth", 100)))

    snr, n_large = 10.0, 20_000
    plain = predict(snr, "replicates")
    series: dict[str, dict[str, list[float]]] = {
        "closed form, no selection": {"x": list(SHARES), "y": [plain] * len(SHARES)}
    }
    selections: dict[Selection, Callable[[Floats], Floats]] = {
        "third replicate": lambda y: y[:, 2],
        "compared replicate": lambda y: y[:, 0],
    }
    for selection, by in selections.items():
        predicted = [predict(snr, "replicates", share=s, selection=selection) for s in SHARES]
        measured: dict[str, list[float]] = {"x": list(SHARES), "y": [], "low": [], "high": []}
        for top, expected in zip(SHARES, predicted, strict=True):
            found = []
            for _ in range(max(samples // 20, 2)):
                y = simulate(rng, n_large, 3, snr)
                found.append(_spearman(y[np.argsort(by(y))[n_large - round(top * n_large) :], :2]))
            line = mean(f"ρ_S among the top {top:.0%} by the {selection}, SNR {snr:g}", found, expected)
            rows.append(line)
            if top < 1:
                rows.append(mean(f"the same; closed form without selection, top {top:.0%}", found, plain))
            assert line["interval"] is not None
            for key, value in zip(("y", "low", "high"), (float(np.mean(found)), *line["interval"]), strict=True):
                measured[key].append(value)
        series[f"truncated normal, by {selection}"] = {"x": list(SHARES), "y": predicted}
        series[f"measured, by {selection}"] = measured

    rows += _verdicts("outliers with ρ_P = .99", test(_outliers(rng), rng))
    tasks = np.repeat(["a", "b", "c"], 500)
    pooled = np.repeat([0.0, 50.0, 100.0], 500)[:, None] + rng.standard_normal((1500, 2))
    rows += _verdicts("three tasks pooled, no signal within any", test(pooled, rng, tasks=tasks))
    for model, (pairs, observed, predicted) in PAPER.items():
        half = 1.03 * stats.norm.ppf(0.975) / math.sqrt(pairs - 3)
        z = math.atanh(observed)
        interval = (math.tanh(z - half), math.tanh(z + half))
        inside = predicted is not None and interval[0] <= predicted <= interval[1]
        verdict = "measured" if predicted is None else "holds" if inside else "breaks"
        rows.append(row(f"published ρ_S, {model}", predicted, observed, verdict, interval, pairs))

    n, snr = 30, 2.0
    true = rejections(lambda: test(simulate(rng, n, 2, snr), rng), sets)
    rows.append(rate(f"normal data of which a 5% test rejects, n = {n}, SNR {snr:g}", true, LEVEL, 0.015))
    n = 400
    off, power = predicted_power(rng, n)
    verdicts = [test(simulate_uneven_noise(rng, n), rng) for _ in range(max(sets // 4, 2))]
    false = [rejects(found) for found in verdicts if found.level != "vacuous"]
    text = f"data with ρ_S {off:.3f} above the closed form, no assumption blamed, of which it rejects; n = {n}"
    rows.append(rate(text, false, power, 0.05))
    return Demonstration(
        claim=CLAIM.name,
        rows=rows,
        series=series,
        x_label="top share of the architectures",
        y_label="Spearman correlation of two replicates",
        caption="SNR 10: selection shrinks the spread of the architectures and leaves the noise, so the closed form "
        "holds for all architectures and breaks among the best; the truncated normal distribution predicts the fall. "
        "Means of samples of 20,000 with 95% intervals.",
    )


def _spearman(y: Floats) -> float:
    return correlation(stats.rankdata(y[:, 0]), stats.rankdata(y[:, 1]))


def _with_truth(rng: np.random.Generator, n: int, snr: float) -> Floats:
    truth = math.sqrt(snr) * rng.standard_normal(n)
    return np.column_stack([truth + rng.standard_normal(n), truth])


def _outliers(rng: np.random.Generator, n: int = 4000, share: float = 0.068) -> Floats:
    """Returns scores of which a share f are outliers, the others do not correlate: ρ_P = .99, ρ_S = 3f(1-f) = .19."""
    distance = math.sqrt(99 / (share * (1 - share)))
    return ((np.arange(n) < share * n) * distance)[:, None] + rng.standard_normal((n, 2))


def _verdicts(name: str, found: ProxyReliability) -> list[Row]:
    broken = ", ".join(e.name for e in found.assumptions if not e.holds)
    verdict = f"{found.level} ({broken})" if broken else found.level
    closed = float(spearman_from_pearson(found.pearson)) if found.pearson is not None else None
    return [
        row(f"ρ_S, {name}; predicted from its SNR", found.predicted, found.estimate, verdict, found.estimate_interval),
        row(f"ρ_S, {name}; predicted from its ρ_P", closed, found.estimate, verdict, found.estimate_interval),
    ]
