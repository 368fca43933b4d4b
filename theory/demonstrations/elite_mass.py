"""Claim 3 in exact worlds: where the bound holds and where it breaks, both readings, calibration of the test."""

import numpy as np

from theory.calibration import rejections
from theory.demonstration import Demonstration, Row, rate, row, share
from theory.elite_mass import (
    CLAIM,
    LEVEL,
    MARGIN,
    TOLERANCE,
    bits,
    hit_probability,
    lose_optimum,
    predict,
    predicted_power,
    simulate,
    smoothed_mass,
    test,
)
from theory.families import Categorical, Floats, Product, sequences
from theory.worlds import Cycles, expectation, run


def demonstrate(rng: np.random.Generator, worlds: int = 10_000, sets: int = 2000) -> Demonstration:
    """Runs worlds in which the bound holds and in which it breaks, for both readings, and the verdict's calibration.

    Args:
        rng: Draws all.
        worlds: Random worlds and runs.
        sets: Simulated data sets for each calibration.
    """
    cycles = 22
    rows: list[Row] = []
    curves: dict[str, Floats] = {}
    product = Product(sequences(2, 2), 2)
    for label, mean, plan in (
        ("two bits, means .5", 0.5, Cycles(threshold=1.0)),
        ("two bits, means .02, corpus de-duplicated", 0.02, Cycles(threshold=1.0, deduplicate=True)),
    ):
        start, quality = bits(mean)
        mass = expectation(run(product, start, quality, cycles, plan)[:, 0], quality)
        verdict = test(mass, rng)
        rows.append(
            row(
                f"C after one cycle, {label}; start {mass[0]:.3f}",
                float(predict(mass[0], 2)[1]),
                float(mass[1]),
                verdict.level,
            )
        )
        rows.append(
            row(
                f"first cycle below the bound, {label}",
                None,
                None if verdict.first_violation is None else float(verdict.first_violation),
                verdict.level,
            )
        )
        curves[f"{label}: breaks"] = mass
    quality = np.array([1.0, 0.0, 0.0])
    for alpha in (0.05, 0.3):
        mass = expectation(
            run(Categorical(3), (np.array([[0.1, 0.4, 0.5]]),), quality, cycles, Cycles(threshold=1.0, rate=alpha))[
                :, 0
            ],
            quality,
        )
        gap = float(np.abs(mass - smoothed_mass(0.1, alpha, cycles + 1)).max())
        verdict = test(mass, rng)
        rows.append(
            row(
                f"largest gap of C to 1 - (1 - α)^t (1 - ρ_0), smoothed with α = {alpha}",
                0.0,
                gap,
                "holds" if gap <= TOLERANCE else "breaks",
            )
        )
        rows.append(
            row(f"lowest gap to the published bound, α = {alpha}, ρ_0 = 0.1", 0.0, verdict.estimate, verdict.level)
        )
        if verdict.fit is not None:
            rows.append(row(f"fitted λ, α = {alpha}", 1 - alpha, verdict.fit.decay, "measured"))
        curves[f"unrestricted, smoothed, α = {alpha}: {'holds' if verdict.level == 'confirmed' else 'breaks'}"] = mass
    lost = lose_optimum(rng, worlds, cycles=1)
    rows.append(
        share("runs that lose an optimum of mass .01 with 50 candidates; predicted: in the first cycle", lost, 0.99**50)
    )

    family = Product(sequences(4, 2), 2)
    quality = rng.random((worlds, 16))
    elite = quality >= 0.7
    p = run(family, family.random(rng, worlds), np.where(elite, 1.0, 0.0), cycles, Cycles(threshold=1.0))
    mass = np.where(elite, p, 0).sum(axis=-1).T
    mass = mass[(mass[:, 0] > 0) & (mass[:, 0] < 1)]
    below = (mass < predict(mass[:, 0], cycles + 1) - TOLERANCE).any(axis=1)
    rows.append(share("random products with exact updates whose mass is ever below the bound", below, 0.0))
    hits = hit_probability(mass) < predict(mass[:, 0], cycles + 1) - TOLERANCE
    rows.append(share("the same, whose hit probability is ever below it", hits.any(axis=1), 0.0))

    seeds, start, candidates = 20, 0.1, 150
    for reading in ("mass", "hit"):
        flat = rejections(
            lambda r=reading: test(simulate(rng, seeds, cycles, start, candidates, reading=r), rng, candidates, r), sets
        )
        rows.append(
            rate(
                f"data on the edge of the bound of which a 5% test rejects, {reading} reading",
                flat,
                LEVEL,
                0.015,
            )
        )
    power = predicted_power(rng, MARGIN, seeds, cycles, start, candidates, at=3)
    short = rejections(lambda: test(simulate(rng, seeds, cycles, start, candidates, MARGIN), rng, candidates), sets)
    rows.append(
        rate(
            f"data with a mass {MARGIN} short in one cycle of which it rejects",
            short,
            power,
            0.05,
        )
    )
    return Demonstration(
        claim=CLAIM.name,
        rows=rows,
        series={
            label: {"x": [float(t) for t in range(len(c))], "y": (c - predict(c[0], len(c))).tolist()}
            for label, c in curves.items()
        },
        x_label="cycle t",
        y_label="elite mass less the published bound",
        caption="C_t - (1 - (1 - ρ_0)^t): the bound "
        "holds where no curve is below 0. The rate of the unrestricted update is that of its "
        "smoothing, α, not ρ_0; a restricted family has a ceiling, and de-duplication lowers the mass at once.",
    )
