"""Claims 1, 2, 3 and 5, and the progress certificate, on the measured cycles of runs that tuned."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cycles import Cycles, Floats
from theory import cross_entropy_update, elite_mass, expected_quality, novelty_filter, progress_certificate
from theory.claim import Verdict
from theory.proportion import proportion_interval
from theory.trend import means

GROUP = ["label", "benchmark", "task"]

TOLERANCE = 1e-6
"""Rounding that a number is allowed, relative to at most 1: distributions are kept in single precision."""


class Found(NamedTuple):
    """A verdict on one method with its model, on one task.

    Attributes:
        claim: Name of the claim, and which reading or quantity.
        label: The method; for the filter, both of a pair.
        benchmark: The benchmark.
        task: The task.
        verdict: The verdict.
    """

    claim: str
    label: str
    benchmark: str
    task: str
    verdict: Verdict


def verdicts(cycles: Cycles, pairs: Mapping[str, str], seed: int = 0) -> list[Found]:
    """Tests the claims on each method, model and task; levels are divided by the number of verdicts of a claim.

    Seeds are the unit of replication: one of them can break a claim that something never happens, but confirms none.

    Args:
        cycles: What was measured.
        pairs: Labels with the novelty filter, each with that of the same method without it.
        seed: Of all resampling.

    Returns:
        The verdicts, by claim.
    """
    groups = {key: rows for key, rows in cycles.table.groupby(GROUP, sort=False) if rows["cycle"].nunique() > 1}
    found: list[Found] = []
    for claim, test in (
        ("claim 1, cross-entropy update", _cross_entropy_update),
        ("claim 2, expected quality", _expected_quality),
        ("claim 2, its lemma for C", _lemma),
        ("claim 3, as mass", lambda rows, tests, rng: _elite_mass(rows, tests, rng, "mass")),
        ("claim 3, as hit probability", lambda rows, tests, rng: _elite_mass(rows, tests, rng, "hit")),
    ):
        for key, rows in groups.items():
            verdict = test(rows, len(groups), np.random.default_rng(seed))
            if verdict is not None:
                if rows["seed"].nunique() == 1 and verdict.level == "confirmed":
                    told = f"{verdict.explanation} One seed says nothing of others."
                    verdict = replace(verdict, level="undecided", needed_n=2, explanation=told)
                label, benchmark, task = map(str, key)
                found.append(Found(claim, label, benchmark, task, verdict))
    return found + list(_filters(groups, pairs))


def series(rows: pd.DataFrame, column: str) -> Floats:
    """Returns a column of one method and task, shape (seeds, cycles), NaN where a cycle was not reached."""
    return rows.pivot(index="seed", columns="cycle", values=column).to_numpy(dtype=float, copy=True)


def _cross_entropy_update(rows: pd.DataFrame, tests: int, rng: np.random.Generator) -> Verdict | None:
    """Tests the table of divergences; in a Tune that was undone they stay as they were."""
    del rng
    tuned = rows[(rows["corpus"] > 0) & np.isfinite(rows["before"]) & rows["after"].notna()]
    if tuned.empty:
        return None
    least = series(tuned, "least") if tuned["least"].notna().all() else None
    foreign = int((tuned["foreign"] + tuned["lacking"]).sum()), int(tuned["corpus"].sum())
    return cross_entropy_update.test_table(
        series(tuned, "before"), series(tuned, "after"), least, foreign=foreign,
        weighted=int(tuned["corpus"][tuned["weighted"].astype(bool)].sum()), tests=tests,
    )  # fmt: skip


def _expected_quality(rows: pd.DataFrame, tests: int, rng: np.random.Generator) -> Verdict | None:
    return _never_falls(rows, "quality", "E[q]", tests, rng)


def _lemma(rows: pd.DataFrame, tests: int, rng: np.random.Generator) -> Verdict | None:
    return _never_falls(rows, "mass", "C", tests, rng)


def _never_falls(
    rows: pd.DataFrame, column: str, quantity: Literal["E[q]", "C"], tests: int, rng: np.random.Generator
) -> Verdict | None:
    """Tests a series. The published claim has no condition on Δ; the lemma speaks of steps with Δ >= 0 alone."""
    values = series(rows, column)
    if np.isnan(np.diff(values, axis=1)).all():
        return None
    return expected_quality.test(
        values, rng, exact=True, quantity=quantity, gains=series(rows, "gain")[:, :-1] if quantity == "C" else None,
        thresholds=_thresholds(rows), tests=tests, raw=True, tolerance=TOLERANCE,
    )  # fmt: skip


def _elite_mass(
    rows: pd.DataFrame, tests: int, rng: np.random.Generator, reading: Literal["mass", "hit"]
) -> Verdict | None:
    mass = series(rows, "mass")
    if np.isnan(mass[:, 0]).any() or mass.shape[1] < 3:
        return None
    return elite_mass.test(mass, rng, None, reading, _thresholds(rows), tests=tests, tolerance=TOLERANCE)


def _thresholds(rows: pd.DataFrame) -> Floats | None:
    return series(rows, "threshold") if rows["threshold"].notna().any() else None


def _filters(groups: Mapping[Any, pd.DataFrame], pairs: Mapping[str, str]) -> Iterator[Found]:
    there = {key: rows for key, rows in groups.items() if key[0] in pairs and (pairs[key[0]], *key[1:]) in groups}
    for (label, benchmark, task), rows in there.items():
        off = groups[pairs[label], benchmark, task]
        seeds = sorted({*rows["seed"]} & {*off["seed"]})
        last = min(int(r["cycle"].max()) for r in (rows, off))
        both = [series(r[r["seed"].isin(seeds) & (r["cycle"] <= last)], "entropy") for r in (rows, off)]
        verdict = novelty_filter.test(*both, tests=len(there))
        yield Found("claim 5, novelty filter", f"{label} against {pairs[label]}", benchmark, task, verdict)


def estimates(cycles: Cycles) -> pd.DataFrame:
    """Returns Δ of each step as its held-out elites tell it, where there are enough and the certificate can be trusted.

    Columns: `run`, `cycle`; `estimated_gain` with its 95% interval `estimated_gain_low`, `estimated_gain_high`;
    `held_out_elites`; `certified`: whether they certify that C rises.
    """
    rows = []
    for (run, cycle), ratios in cycles.held_out.groupby(["run", "cycle"], sort=False)["log_ratio"]:
        if len(ratios) >= progress_certificate.SMALLEST and np.isfinite(ratios).all():
            verdict = progress_certificate.test(ratios.to_numpy(), seen=0)
            if verdict.level == "vacuous":
                continue
            low, high = verdict.estimate_interval or (np.nan, np.nan)
            row = {"run": run, "cycle": cycle, "estimated_gain": float(ratios.mean()), "estimated_gain_low": low}
            row |= {"estimated_gain_high": high, "held_out_elites": len(ratios)}
            rows.append(row | {"certified": verdict.level == "confirmed"})
    columns = ["run", "cycle", "estimated_gain", "estimated_gain_low", "estimated_gain_high", "held_out_elites"]
    return pd.DataFrame(rows, columns=pd.Index([*columns, "certified"]))


def estimated(cycles: Cycles) -> pd.DataFrame:
    """Returns the table of the cycles with the columns of `estimates` beside its own, NaN where there are none."""
    return cycles.table.merge(estimates(cycles), on=["run", "cycle"], how="left")


def certificates(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how the progress certificate fares on each method and task, from what `estimated` returns.

    Columns: `method`, `benchmark`, `task`; `seeds`; `steps` with an exact Δ that were not undone; of these `rose`: the
    share with Δ > 0; `fell`: steps with Δ < 0, both by more than rounding; `holds`: steps in which p_{t+1}(E) >= C_t
    e^Δ; `tightness`: median of p_{t+1}(E) / (C_t e^Δ) over the steps with finite Δ; `mass_fell`: share of steps in
    which the mass of the cycle's elites fell; `quality_fell`: the same of E[q]; `mass_fell_though`,
    `quality_fell_though`: in how many of these Δ >= 0; `quality_holds`: steps in which E_{t+1}[q] >= E_t[q] exp(Δ_q);
    `estimated`: steps with an interval of Δ, see `estimates`; `covered`: share of these whose 95% interval
    holds the exact Δ; `certified`: how many were certified to rise; `wrongly`: certified although Δ < 0. Shares as
    `share` returns them.
    """
    rows = []
    for key, group in table.groupby(GROUP, sort=False):
        steps = group[group["gain"].notna() & group["tune_failure"].isna()]
        if steps.empty:
            continue
        indexed = group.set_index(["seed", "cycle"])
        following = indexed.loc[list(zip(steps["seed"], steps["cycle"] + 1, strict=True))]
        after, mass, gain, seeds = (steps[name].to_numpy() for name in ("mass_after", "mass", "gain", "seed"))
        finite = np.isfinite(gain)
        row: dict[str, Any] = dict(zip(("method", "benchmark", "task"), key, strict=True))
        row |= {"seeds": steps["seed"].nunique(), "steps": len(steps), **share("rose", gain > TOLERANCE, seeds)}
        row["fell"] = int((gain < -TOLERANCE).sum())
        row["holds"] = int((after >= mass * np.exp(gain) * (1 - TOLERANCE)).sum())
        row["tightness"] = float(np.median(steps["tightness"][finite])) if finite.any() else np.nan
        quality = following["quality"].to_numpy()
        for name, reached in (("mass", after), ("quality", quality)):
            below = reached < steps[name].to_numpy() * (1 - TOLERANCE)
            row |= share(f"{name}_fell", below, seeds)
            row[f"{name}_fell_though"] = int((below & (gain >= 0)).sum())
        bound = steps["quality"].to_numpy() * np.exp(steps["quality_gain"].to_numpy())
        row["quality_holds"] = int((quality >= bound * (1 - TOLERANCE)).sum())
        known = steps[steps["estimated_gain"].notna()]
        exact, certified = known["gain"], known["certified"].astype(bool)
        row["estimated"] = len(known)
        covered = known["estimated_gain_low"].le(exact) & exact.le(known["estimated_gain_high"])
        row |= share("covered", covered.to_numpy(), known["seed"].to_numpy())
        row |= {"certified": int(certified.sum()), "wrongly": int((certified & (exact < -TOLERANCE)).sum())}
        rows.append(row)
    return pd.DataFrame(rows)


def share(name: str, hits: NDArray[np.bool_], seeds: NDArray[Any]) -> dict[str, float]:
    """Returns the columns of a share: `name`, the mean over seeds of each seed's own, and its 95% interval.

    Args:
        name: Name of the column; `name_low` and `name_high` hold the interval: Student's t within [0, 1], which is too
            narrow where nearly all seeds have the same share. Where all n have, their scatter says nothing: seeds with
            any other share may be as frequent as Clopper and Pearson's limit for 0 of n.
        hits: What is counted, shape (n,).
        seeds: The seed of each.
    """
    own = pd.Series(hits.astype(float)).groupby(seeds).mean()
    if own.nunique() != 1:
        return over_seeds(name, own, within=(0, 1))
    same, other = float(own.iloc[0]), proportion_interval(0, len(own))[1]
    return {name: same, f"{name}_low": same * (1 - other), f"{name}_high": same * (1 - other) + other}


def over_seeds(name: str, values: "pd.Series[float]", within: tuple[float, float] | None = None) -> dict[str, float]:
    """Returns the columns of a mean: `name`, and its 95% interval `name_low` and `name_high` (Student's t).

    Args:
        name: Name of the column.
        values: One a seed. If none is known, nothing is; if one is infinite, there is no interval.
        within: Range of the values, which the interval does not leave.
    """
    numbers = values.to_numpy(dtype=float)
    if np.isnan(numbers).all():
        return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
    if np.isinf(numbers).any():
        return {name: float(numbers.mean()), f"{name}_low": np.nan, f"{name}_high": np.nan}
    average = means(numbers[:, None])
    low, high = np.clip(np.ravel(average.interval()), *(within or (None, None))).tolist()
    return {name: float(average.mean[0]), f"{name}_low": low, f"{name}_high": high}
