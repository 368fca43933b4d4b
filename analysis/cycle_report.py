"""The part of a report that is about cycles: exact distributions, claims 1, 2, 3 and 5, and what each cycle cost."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from analysis import cycle_claims, cycles, figures
from analysis.comparison import Headline
from analysis.cycle_claims import GROUP, Found, over_seeds
from analysis.cycles import Cycles
from analysis.figures import Small, Trace
from analysis.results import JOURNAL, write
from analysis.sections import SHOWN, Drawing, Section, Study, counted, exhibit, listed
from analysis.tables import Table
from theory.elite_mass import EliteMass
from theory.trend import means

FIGURES = {
    "mass": ("elite_mass", "elite mass C_t", "Exact elite mass C_t, the probability that a candidate is an elite"),
    "quality": ("expected_quality", "expected quality E[q]", "Exact expected quality E_t[q]"),
    "entropy": ("entropy", "entropy (nats)", "Exact entropy of the distribution that candidates are drawn from"),
    "target_distance": (
        "target_distance",
        "divergence (nats)",
        "Jensen-Shannon divergence of p_{t+1} from the exact cross-entropy target p_t(.|E); at most .69",
    ),
}
"""Columns of the cycles that are drawn: name of the figure, title of its vertical axis, and what it shows."""

INTERVAL = "95% intervals over seeds (Student's t)"

SHARES = "Shares: means over seeds, with 95% intervals over seeds (Student's t; of equal shares, Clopper and Pearson)"

UNIT = (0.0, 1.0)


def sections(study: Study) -> tuple[list[Section], list[Found]]:
    """Returns the sections and the verdicts of a study with runs that tuned; nothing of one without.

    Writes `cycles.parquet` to its folder, with one row a run and cycle, and the columns of `analysis.cycles.Cycles` and
    `analysis.cycle_claims.estimates`.
    """
    found = cycles.measure(study.folder / JOURNAL, study.every)
    if found.table.empty:
        return [], []
    every = cycle_claims.estimated(found)
    write(study.folder / "cycles.parquet", lambda file: every.to_parquet(file, index=False))
    verdicts = cycle_claims.verdicts(found, _pairs(study.every))
    return [
        _distributions(found, study),
        _claims(found, verdicts),
        _departures(found),
        _certificates(every),
        _costs(found),
    ], verdicts


def _pairs(runs: pd.DataFrame) -> dict[str, str]:
    """Returns the labels with a novelty filter, each with that of the same method without one."""
    kinds = {}
    for run in runs.drop_duplicates("label").itertuples():
        given = json.loads(str(run.method_parameters))
        novelty = given.pop("novelty", None)
        kinds[str(run.label)] = novelty, (run.method, str(run.model), json.dumps(given, sort_keys=True))
    without = {rest: label for label, (novelty, rest) in kinds.items() if novelty == "off"}
    return {
        k: without[rest] for k, (novelty, rest) in kinds.items() if novelty not in (None, "off") and rest in without
    }


def _distributions(found: Cycles, study: Study) -> Section:
    """Returns the figures of the exact distributions, and a table of where they began and ended."""
    section = Section("Cycles: exact distributions over the space")
    section.notes.append(
        "p_t is the distribution that the candidates of cycle t were drawn from, computed over every architecture of "
        "the space: nothing here carries sampling error but what differs between seeds. τ is each run's own. Every "
        "cycle of every seed is in cycles.parquet."
    )
    labels = list(dict.fromkeys(found.table["label"]))
    if len(labels) <= SHOWN:
        for column, (name, axis, words) in FIGURES.items():
            panels = [
                (Small(f"{b} / {t}", "cycle t", axis, traces), _told(traces, column))
                for (b, t), rows in found.table.groupby(["benchmark", "task"], sort=False)
                for traces in (_traces(rows, column),)
            ]
            caption = f"{words}: mean with {INTERVAL}; {_seeds(found.table)}"
            drawing = Drawing(name, caption, lambda p, legend: figures.small_multiples(p, study.look, legend=legend),
                              panels, labels)  # fmt: skip
            section.exhibits.append(exhibit(drawing, study.folder, study.look))
    rows = []
    for key, group in found.table.groupby(GROUP, sort=False):
        first, last = (group[group["cycle"] == c].set_index("seed") for c in (0, int(group["cycle"].max())))
        first = first.loc[first.index.intersection(last.index)]
        row = {**_named(key), "seeds": len(last), "cycles": int(group["cycle"].max()) + 1}
        for column, name, within in (("mass", "C", UNIT), ("quality", "E[q]", UNIT), ("entropy", "H", (0.0, np.inf))):
            row |= over_seeds(f"{name} first", first[column], within)
            row |= over_seeds(f"{name} last", last[column], within)
        row |= {f"effective number last{end}": float(np.exp(row[f"H last{end}"])) for end in ("", "_low", "_high")}
        row |= over_seeds("distance last", last["distance"], UNIT) | over_seeds("distinct last", last["distinct"], UNIT)
        rows.append(row)
    caption = (
        f"The first and the last cycle of the seeds that reached the last, means with {INTERVAL}: elite mass C, "
        "expected quality E[q], entropy H in nats, the effective number exp(H) (geometric mean), the mean share of "
        "decisions in which the canonical graphs of two draws differ, and the share of candidates that differ."
    )
    section.tables.append(Table("cycles", caption, pd.DataFrame(rows)))
    return section


def _traces(rows: pd.DataFrame, column: str) -> list[Trace]:
    traces = []
    for label, group in rows.groupby("label", sort=False):
        values = cycle_claims.series(group, column)
        values[~np.isfinite(values)] = np.nan
        x = np.flatnonzero(~np.isnan(values).all(axis=0))
        if not len(x):
            continue
        average = means(values[:, x])
        low, high = average.interval() if (average.n >= 2).all() else ((), ())
        traces.append(Trace(str(label), x, average.mean, low, high))
    return traces


def _told(traces: Sequence[Trace], column: str) -> str:
    ends = [f"{t.label} from {t.y[0]:.3g} to {t.y[-1]:.3g}" for t in traces]
    return f"{column.replace('_', ' ')}: {'; '.join(ends)}."


def _claims(found: Cycles, verdicts: Sequence[Found]) -> Section:
    """Returns the verdicts, and in words which assumption breaks where."""
    section = Section("Claims 1, 2, 3 and 5 on these cycles")
    section.notes.append(
        "Each claim is tested by the rule of theory/ on every method, model and task; where several verdicts of one "
        "claim are given together, the level of each test is divided by their number (Bonferroni). A verdict is "
        "vacuous where an assumption of the claim does not hold: the claim then says nothing of that run. What was "
        "measured stands beside it all the same."
    )
    if not verdicts:
        section.notes.append("There is no verdict yet: the claims are about what changes from cycle to cycle.")
        return section
    section.notes += _broken(verdicts)
    rows = []
    for claim, label, benchmark, task, verdict in verdicts:
        row: dict[str, object] = {"claim": claim, "method": label, "task": f"{benchmark} / {task}"}
        row |= {"verdict": verdict.level, "seeds": verdict.n, "measured": verdict.estimate}
        row["broken"] = ", ".join(e.name for e in verdict.assumptions if not e.holds) or "none"
        row["explanation"] = verdict.explanation
        rows.append(row)
    caption = (
        "Verdicts. Measured is, for claim 1 the mean fall of KL(tuned elites || generator) in a Tune, in nats, 0 where "
        "it was undone (what the loss fell by; what fresh elites gained is Δ, in the table of certificates); for claim "
        "2 the lowest mean step; for claim 3 the lowest mean gap to the bound; for claim 5 the share of the "
        "collapse that the filter prevents."
    )
    frame = pd.DataFrame(rows)
    frame["measured"] = pd.to_numeric(frame["measured"])
    beside = frame.pivot_table(index=["task", "method"], columns="claim", values="verdict", aggfunc="first", sort=False)
    words = "The verdicts of each method, the claims side by side; all of them in the next table."
    section.tables.append(Table("cycle_verdicts", words, beside.reset_index().rename_axis(columns=None)))
    section.tables.append(Table("cycle_claims", caption, frame))
    section.tables.append(_ceilings(verdicts))
    return section


def _ceilings(verdicts: Sequence[Found]) -> Table:
    """Returns the geometric fits of the elite mass."""
    rows = []
    for _, label, benchmark, task, verdict in verdicts:
        if isinstance(verdict, EliteMass) and verdict.reading == "mass" and verdict.fit:
            fit = verdict.fit
            row: dict[str, object] = {"method": label, "task": f"{benchmark} / {task}", "seeds": fit.n}
            for name, value, ends in (
                ("ceiling", fit.ceiling, fit.ceiling_interval),
                ("decay", fit.decay, fit.decay_interval),
            ):
                low, high = ends or (np.nan, np.nan)
                row |= {name: np.nan if value is None else value, f"{name}_low": low, f"{name}_high": high}
            row |= {"residual": fit.residual, "violations": verdict.violations, "of": verdict.comparisons}
            row["first violation"] = np.nan if verdict.first_violation is None else float(verdict.first_violation)
            rows.append(row)
    caption = (
        "C_t = C_∞ - (C_∞ - C_0) λ^t fitted to the elite mass: the ceiling C_∞, at most 1, and the decay λ with 95% "
        "intervals (jackknife over seeds; none where a fit is at an end of the range, as for a ceiling of 1, where the "
        "jackknife does not hold), the root mean squared residual, and in how many cycles of all seeds, and from which "
        "cycle on, the bound 1 - (1 - ρ_0)^t is violated."
    )
    return Table("ceilings", caption, pd.DataFrame(rows))


def headlines(verdicts: Sequence[Found]) -> list[Headline]:
    """Returns a sentence for each claim and method; its level is the one that most tasks have."""
    found = []
    for (claim, label), group in groupby(sorted(verdicts, key=_claim_and_label), key=_claim_and_label):
        levels = Counter(f.verdict.level for f in group)
        told = listed([f"{level} on {counted(n, 'task')}" for level, n in levels.most_common()])
        found.append(Headline(levels.most_common(1)[0][0], f"{claim[0].upper()}{claim[1:]}, {label}: {told}."))
    return found


def _claim_and_label(found: Found) -> tuple[str, str]:
    return found.claim, found.label


def _broken(verdicts: Sequence[Found]) -> list[str]:
    """Returns sentences on which assumptions fail where, by method and claim, with the evidence of the first task."""
    told = []
    frame = pd.DataFrame(
        [
            {"claim": f.claim, "method": f.label, "task": f"{f.benchmark} / {f.task}", "level": f.verdict.level,
             "broken": [(e.name, e.evidence) for e in f.verdict.assumptions if not e.holds]}
            for f in verdicts
        ]
    )  # fmt: skip
    for method, rows in frame.groupby("method", sort=False):
        words = []
        for claim, group in rows.groupby("claim", sort=False):
            levels = ", ".join(f"{level} on {n}" for level, n in group["level"].value_counts().items())
            broken: dict[str, list[tuple[str, str]]] = {}
            for task, failed in zip(group["task"], group["broken"], strict=True):
                for name, evidence in failed:
                    broken.setdefault(name, []).append((task, evidence))
            why = "; ".join(
                f"“{name}” breaks on {'all' if len(at) == len(group) else listed([task for task, _ in at])}, "
                f"for instance {at[0][0]}: {at[0][1]}"
                for name, at in broken.items()
            )
            words.append(f"{claim}: {levels} of {counted(len(group), 'task')}{f' ({why})' if why else ''}")
        told.append(f"{method} — {'. '.join(words)}.")
    return told


def _departures(found: Cycles) -> Section:
    """Returns how far each method is from the exact update, and whether tuning moved it as it should."""
    section = Section("How far from the exact cross-entropy update")
    section.notes.append(
        "The exact update gives p_{t+1} = p_t(.|E), or its projection on the model's family. Four things part a real "
        "Tune from it: a corpus that is not the cycle's own elites (static prior, accumulation), one without "
        "repetitions (the novelty filter), and tuning that ends before the minimum; sampling with a temperature is a "
        "fifth. Foreign is the share of the corpus that the cycle's elites do not hold, lacking the share of these "
        "that the corpus does not hold, repetitions counted; a Tune is undone that failed, or that made held-out "
        "elites less likely. Methods with one model and sampling begin from the same p_0, so that their first steps "
        "differ in the step alone; later distances are also those of where a method has come to, and near a point mass "
        "every step is exact."
    )
    rows = []
    for key, group in found.table.groupby(GROUP, sort=False):
        tuned = group[group["after"].notna() & (group["corpus"] > 0) & group["tune_failure"].isna()]
        row = {**_named(key), "seeds": group["seed"].nunique()}
        row |= over_seeds("distance first", tuned[tuned["cycle"] == 0]["target_distance"])
        row |= over_seeds("distance to target", tuned.groupby("seed")["target_distance"].mean())
        fall = (tuned["before"] - tuned["after"]).groupby(tuned["seed"]).mean()
        row |= over_seeds("fall of KL in a Tune", fall)
        row["Tunes"] = len(tuned)
        row |= cycle_claims.share("KL fell", (tuned["after"] < tuned["before"]).to_numpy(), tuned["seed"].to_numpy())
        elites = tuned["corpus"] - tuned["foreign"] + tuned["lacking"]
        row["foreign"] = tuned["foreign"].sum() / tuned["corpus"].sum() if len(tuned) else np.nan
        row["lacking"] = tuned["lacking"].sum() / elites.sum() if elites.sum() else np.nan
        row["undone"] = int(group["tune_failure"].notna().sum())
        rows.append(row)
    caption = (
        "Jensen-Shannon divergence of the tuned generator from the exact target in nats: after the first Tune, and "
        "mean over all Tunes that were not undone; the fall of KL(p̂_elite || p_θ) in these (minus infinity where one "
        f"lost an elite), and the share of them in which it fell; how many Tunes were undone. Means with {INTERVAL}. "
        f"{SHARES}."
    )
    section.tables.append(Table("departures", caption, pd.DataFrame(rows)))
    return section


def _certificates(every: pd.DataFrame) -> Section:
    """Returns how the progress certificate fares."""
    section = Section("The progress certificate, C_{t+1} >= C_t exp(Δ)")
    section.notes.append(
        "Δ is the mean gain in log-likelihood of fresh elites of p_t. Exact, the bound holds for any two generators; "
        "what is open is how tight it is, how often Δ > 0, and whether Δ estimated from the elites held out of the "
        "corpus covers the exact one. Where p_{t+1} lacks elites of p_t, Δ is -∞ and certifies nothing. "
        "The held-out elites also decide whether a step is undone, so Δ estimated from them is somewhat too high."
    )
    caption = (
        "Steps of all seeds that were not undone: the share with Δ > 0 and the number with Δ < 0, by more than "
        "rounding, the steps in which the bound holds, the median tightness C_{t+1} / (C_t e^Δ), the shares in which "
        "elite mass and expected quality fell, and in how many of these Δ was not below 0 all the same; the steps in "
        "which E[q] is at least what its own certificate says (quality_holds, from Δ_q); and the 95% intervals of Δ "
        "from at least ten held-out elites that differ, none of them with most of the variance: how many, the share "
        f"that covers the exact Δ, how many certified a rise, and how many of these wrongly. {SHARES}."
    )
    section.tables.append(Table("certificates", caption, cycle_claims.certificates(every)))
    return section


def _costs(found: Cycles) -> Section:
    """Returns what a cycle cost."""
    section = Section("What a cycle cost")
    rows = []
    for key, group in found.table.groupby(["label", "benchmark"], sort=False):
        row = {"method": key[0], "benchmark": key[1], "cycles": len(group), "tokens": float(group["tokens"].mean())}
        tuned = group[group["corpus"] > 0]
        row |= {"Tunes": len(tuned), "tune_seconds": float(tuned["tune_seconds"].median())}
        row |= {"steps": float(tuned["steps"].mean()), "share of the schedule": float(tuned["schedule"].mean())}
        # What a Tune that was undone left as it was is not computed again.
        moved = (group["tune_failure"].isna() & (group["corpus"] > 0)).groupby([group["task"], group["seed"]])
        scored = group["score_seconds"][moved.shift(fill_value=False)]
        rows.append(row | {"computed": len(scored), "score_seconds": float(scored.median())})
    caption = (
        "Of a cycle: mean tokens of prompts and candidates. Of its Tunes: seconds on the clock, median; mean steps of "
        "the optimiser, and which share these are of what the method's epochs ask for (less than 1 where steps were "
        "capped). Of the cycles after a Tune that was not undone: their number, and the seconds of computing p_t, "
        "median."
    )
    section.tables.append(Table("cycle_costs", caption, pd.DataFrame(rows)))
    return section


def _named(key: object) -> dict[str, object]:
    label, benchmark, task = key  # pyright: ignore[reportGeneralTypeIssues]
    return {"method": label, "task": f"{benchmark} / {task}"}


def _seeds(table: pd.DataFrame) -> str:
    sizes = sorted({int(n) for n in table.groupby(GROUP)["seed"].nunique()})
    return f"n = {listed([str(n) for n in sizes])} seeds."
