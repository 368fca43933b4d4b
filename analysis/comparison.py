"""The part of a report that compares methods."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import figures, statistics, trajectories
from analysis.figures import Curve, Panel, Row
from analysis.sections import INTERVALS, Drawing, Section, Study, counted, exhibit, listed
from analysis.statistics import Comparison, Estimate
from analysis.tables import Table, number
from analysis.trajectories import Axis
from bench.effects import Tuning
from bench.methods import methods
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError

FEW_SEEDS = 10

POINTS = 60
"""Points at which a curve is computed, beyond the first evaluations."""

TUNING = frozenset(field.name for field in fields(Tuning))
"""Parameters that say how a language model is tuned."""

_AXES: dict[Axis, str] = {
    "evaluations": "evaluations",
    "tokens": "tokens read and written",
    "seconds": "simulated training seconds",
}


class Headline(NamedTuple):
    """A sentence of the summary, with the level of its verdict or ""."""

    level: str
    text: str


class Control(NamedTuple):
    """A method's comparison with its control.

    Attributes:
        method: Label of the method.
        control: Label of the control.
        evaluations: After how many evaluations they are compared: the largest number that both reach.
        tasks: On how many tasks.
        own: Whether it is the control that the method declares; else it is random search.
        outcome: The comparison.
    """

    method: str
    control: str
    evaluations: int
    tasks: int
    own: bool
    outcome: Comparison


def compare(study: Study) -> tuple[list[Section], list[Headline]]:
    """Returns the sections that compare the methods, and their headlines; writes their figures."""
    if study.incumbents.empty:
        nothing = Section("Nothing yet", ["No run has made an evaluation, so there is nothing to compare."])
        return [nothing], [Headline("", "Nothing has been measured yet.")]
    sections, headlines = [_anytime(study)], []
    if fitted := _fitted(study):
        headlines.append(Headline("", f"{fitted} How good that is, the notes below say."))
    for level in trajectories.levels(study.runs):
        section, headline = _at(study, level)
        sections.append(section)
        headlines.append(Headline("", headline))
    if found := controls(study):
        sections.append(_against_controls(study, found))
        with_control = {control.method for control in found if control.own}
        told = sorted(found, key=lambda control: (control.method, not control.own))
        headlines += [_headline_of(control) for control in told if control.method in with_control]
    return sections, headlines


def _fitted(study: Study) -> str:
    names = sorted({b for b, _ in study.places if benchmarks.get(b).kind == "surrogate"})
    return f"The scores of {listed(names)} come from a fitted surrogate, not from trained networks." if names else ""


def reading(study: Study) -> list[str]:
    """Returns what a reader must know to read the comparison."""
    notes = [
        "Each method returns its incumbent: the architecture with the best validation score it has seen. Regret is the "
        "highest score in the whole space minus the incumbent's, on the test split where the benchmark has one. "
        "Normalised regret divides it by the distance from the optimum to the median architecture, so that tasks can "
        "be averaged: 0 is the optimum, 1 an average architecture. Lower is better in every figure."
    ]
    notes += study.notes
    if fitted := _fitted(study):
        notes.append(
            f"{fitted} A surrogate lacks the noise of training, so regret falls lower on it than on the table, and "
            "methods that are close to each other may change places."
        )
    sizes = {label: int(study.of(label).groupby(["benchmark", "task"]).size().min()) for label in study.labels}
    if few := [f"{label} ({n})" for label, n in sizes.items() if n < FEW_SEEDS]:
        notes.append(f"Intervals from fewer than {FEW_SEEDS} seeds a task are too narrow. This concerns {listed(few)}.")
    return notes


def controls(study: Study) -> list[Control]:
    """Compares each method with its control and with random search.

    A control has the same language model or none, and the same values of the parameters that both have; if there is no
    such one, both may have their own defaults instead.
    """
    reach = trajectories.reach(study.runs)
    kinds = {str(kind.label): kind for kind in study.runs.drop_duplicates("label").itertuples()}
    together = {a: {b: kinds[b] for b in kinds if a == b or study.shared([a, b])} for a in kinds}
    owns = {label: _own(label, others) for label, others in together.items()}
    pairs: dict[tuple[str, str], tuple[pd.DataFrame, pd.DataFrame]] = {}
    places: dict[tuple[str, str], tuple[int, int, bool]] = {}
    for label in study.labels:
        method = str(kinds[label].method)
        for other in study.labels:
            own = other in owns[label]
            baseline = kinds[other].method == "random_search" and method != "random_search"
            n = int(min(reach[label], reach[other]))
            if label != other and (own or baseline) and n >= 1 and study.shared([label, other]):
                tables = study.reached(n, "normalised", [label, other])
                pairs[label, other] = (tables[label], tables[other])
                places[label, other] = (n, len(tables[label].columns), own)
    found = statistics.against_control(pairs, study.rng)
    return [Control(label, other, *places[label, other], outcome) for (label, other), outcome in found.items()]


def _asks(study: Study, label: str) -> bool:
    return bool(study.of(label)["model"].notna().any())


def _own(label: str, kinds: Mapping[str, Any]) -> set[str]:
    """Returns the labels of a method's controls; `kinds` are rows with method, model and parameters.

    A method that is shown the worst architectures is itself a control, and has none: to beat counting, which then
    counts what is bad, is no merit.
    """
    kind = kinds[label]
    if json.loads(kind.method_parameters).get("archive") == "worst":
        return set()
    control = _control(kind.method)
    found = {other: its for other, its in kinds.items() if its.method == control}
    equal = {other for other, its in found.items() if _alike(kind, its)}
    return equal or {other for other, its in found.items() if _alike(kind, its, defaults=True)}


def _alike(kind: Any, control: Any, defaults: bool = False) -> bool:
    """Returns whether a method and its control share the model and the parameters that both have.

    How a language model is tuned is nothing that a control without one has, although it may take the same parameters.

    Args:
        kind: A row with method, model and parameters.
        control: Likewise.
        defaults: Whether a parameter may differ in which both have their own default.
    """
    if not (pd.isna(control.model) or control.model == kind.model):
        return False
    given, its = json.loads(kind.method_parameters), json.loads(control.method_parameters)
    usual, its_usual = (methods.get(row.method).complete({}) for row in (kind, control))
    shared = given.keys() & its.keys() & usual.keys() & its_usual.keys()
    if pd.isna(control.model) and not pd.isna(kind.model):
        shared -= TUNING
    return all(given[k] == its[k] or (defaults and given[k] == usual[k] and its[k] == its_usual[k]) for k in shared)


def _control(method: str) -> str:
    """Returns the control that a method declares; "" without one, or if one of them is not installed here."""
    try:
        control = methods.get(method).control
        return methods.get(control).name if control else ""
    except InputError:
        return ""


def _anytime(study: Study) -> Section:
    section = Section("Regret over the budget")
    for axis, words in _AXES.items():
        places = [p for p in study.places if axis != "seconds" or benchmarks.get(p[0]).task(p[1]).seconds]
        if untimed := sorted({benchmark for benchmark, _ in set(study.places) - set(places)}):
            verb = "publishes" if len(untimed) == 1 else "publish"
            section.notes.append(
                f"There is no figure over simulated training time: {listed(untimed)} {verb} no training times."
                if not places
                else f"Not over simulated training time: {listed(untimed)} {verb} no training times."
            )
        if not places or not trajectories.known(study.incumbents, axis):
            continue
        labels = [label for label in study.labels if axis != "tokens" or _asks(study, label)]
        panels = []
        for place in places:
            task = benchmarks.get(place[0]).task(place[1])
            unit = "% points" if task.unit == "%" else task.metric
            curves = _curves(study, labels, axis, [place], "regret")
            panels.append(Panel(" / ".join(place), words, f"{task.reported} regret ({unit})", curves))
        shared = [place for place in study.shared(labels) if place in places]
        if len(shared) > 1:
            curves = _curves(study, labels, axis, shared, "normalised")
            panels.append(Panel(f"all {len(shared)} tasks", words, "normalised regret", curves))
        caption = (
            f"Regret of the incumbent against {words}, on a logarithmic scale: interquartile mean with {INTERVALS}. "
            f"{study.seeds(labels)} A line that reaches the lower edge has found the optimum."
        )
        if axis == "tokens":
            caption += " Tokens are those that the run had spent before the evaluation."
        described = [(panel, _describe(panel)) for panel in panels]

        def draw(panels: Sequence[Panel], legend: bool) -> figures.Figure:
            return figures.anytime(panels, study.look, legend)

        caption = " ".join([caption, *study.notes])
        section.exhibits.append(
            exhibit(Drawing(f"regret_over_{axis}", caption, draw, described, labels), study.folder, study.look)
        )
    return section


def _curves(
    study: Study, labels: Sequence[str], axis: Axis, places: Sequence[tuple[str, str]], column: str
) -> list[Curve]:
    """Returns each method's curve over the tasks; a run without an incumbent counts as worse than any.

    A curve ends where the first of its runs that are still under way is.
    """
    curves = []
    for label in labels:
        names = [study.of(label, place)["run"].tolist() for place in places]
        if not any(names):
            continue
        chosen = study.incumbents[study.incumbents["run"].isin([run for group in names for run in group])]
        ends = chosen.groupby("run")[trajectories.COLUMN[axis]].max()
        under_way = study.runs.loc[study.runs["run"].isin(ends.index) & (study.runs["status"] != "done"), "run"]
        grid = _grid(float(ends[under_way].min() if len(under_way) else ends.max()), whole=axis == "evaluations")
        reached = np.full((max(map(len, names)), len(places), len(grid)), np.nan)
        for i, group in enumerate(names):
            found = trajectories.steps(chosen, group, axis, grid, column)
            reached[: len(group), i] = np.where(np.isnan(found), np.inf, found)
        curves.append(Curve(label, grid, statistics.iqm_band(reached, study.rng)))
    return curves


def _grid(highest: float, whole: bool) -> NDArray[np.float64]:
    """Returns the points at which curves are computed: all evaluations at first, then evenly spaced."""
    if not whole:
        return np.linspace(0, highest, 2 * POINTS)
    return np.unique(np.r_[1 : min(20, int(highest)) + 1, np.linspace(1, highest, POINTS).round()]).astype(float)


def _describe(panel: Panel) -> str:
    """Returns a panel in words."""
    ends = []
    for curve in panel.curves:
        value, low, high = (number(float(part[-1])) for part in curve.y[:3])
        ends.append(f"{curve.label} {value} [{low}, {high}] at {curve.x[-1]:,.0f}")
    return f"{panel.title}: {panel.y} against {panel.x}. At the end: {'; '.join(ends)}."


def _at(study: Study, level: trajectories.Level) -> tuple[Section, str]:
    """Returns the comparison after so many evaluations, and its headline."""
    n = level.evaluations
    labels = [label for label in study.labels if label in level.labels]
    section = Section(f"After {counted(n, 'evaluation')}")
    if left_out := [label for label in study.labels if label not in labels]:
        section.notes.append(
            f"{listed(left_out)} {'has a run' if len(left_out) == 1 else 'have runs'} with fewer evaluations and "
            f"{'is' if len(left_out) == 1 else 'are'} left out."
        )
    if study.runs["evaluations"].max() > n:
        section.notes.append(
            f"Budgets differ. {n} evaluations are the largest number that all runs of these methods reach."
        )
    normalised = study.reached(n, "normalised", labels)
    tasks = len(normalised[labels[0]].columns)
    overall = {label: statistics.iqm_interval(table, study.rng) for label, table in normalised.items()}
    caption = (
        f"Regret after {n} evaluations, in each task's unit, and normalised regret over the {counted(tasks, 'task')} "
        f"that all these methods have: interquartile mean with {INTERVALS}. {study.seeds(labels)}"
    )
    if np.isinf([estimate.value for estimate in overall.values()]).any():
        caption += " ∞: too many runs have found no architecture at all."
    section.tables.append(Table(f"regret_at_{n}", caption, _regrets(study, n, labels, overall)))
    if not tasks:
        text = f"After {n} evaluations there is no task on which all of {listed(labels)} have runs with a known score."
        return section, text
    pairs = statistics.pairwise_tests(normalised, study.rng)
    if len(labels) > 1:
        _rank(study, section, n, normalised)
        caption = (
            f"Every two methods after {n} evaluations: probability that a run of the method beats one of the other on "
            f"the same task, averaged over {counted(tasks, 'task')}, with {INTERVALS}; two-sided p of van Elteren's "
            "stratified rank-sum test (seeds are independent samples, tasks the strata), alone and corrected by Holm "
            "over all pairs. n: runs."
        )
        section.tables.append(Table(f"pairwise_at_{n}", caption, pairs))
    return section, _headline(n, overall, pairs, tasks)


def _regrets(study: Study, n: int, labels: Sequence[str], overall: Mapping[str, Estimate]) -> pd.DataFrame:
    reached = trajectories.by_seed_and_task(study.incumbents, study.runs, n, "regret")
    rows = []
    for label in labels:
        row: dict[str, object] = {"method": label}
        for benchmark, task in study.places:
            values = reached[label].reindex(columns=[f"{benchmark}/{task}"])
            row |= statistics.iqm_interval(values, study.rng).columns(f"{benchmark}/{task}")
        row |= overall[label].columns("normalised")
        rows.append({**row, "runs": int(reached[label].notna().to_numpy().sum())})
    return pd.DataFrame(rows)


def _rank(study: Study, section: Section, n: int, normalised: Mapping[str, pd.DataFrame]) -> None:
    """Adds ranks and, for at least three methods on two tasks, the critical-difference diagram."""
    tasks = len(next(iter(normalised.values())).columns)
    ranks = statistics.average_ranks(normalised, study.rng)
    rows = [{"method": label, **rank.columns("rank"), "runs": rank.n} for label, rank in ranks.items()]
    caption = (
        f"Average rank among {len(ranks)} methods after {n} evaluations (1 is best): methods are ranked on each of "
        f"{counted(tasks, 'task')} by the interquartile mean of their seeds; {INTERVALS}."
    )
    section.tables.append(Table(f"ranks_at_{n}", caption, pd.DataFrame(rows)))
    if len(ranks) < 3 or tasks < 2:
        section.notes.append("A critical-difference diagram needs at least three methods and two tasks.")
        return
    p, pairs = statistics.friedman_nemenyi(normalised)
    values = {label: rank.value for label, rank in ranks.items()}
    told = "; ".join(f"{label} {rank:.2f}" for label, rank in sorted(values.items(), key=lambda item: item[1]))

    def draw(data: Sequence[None], legend: bool) -> figures.Figure:
        return figures.critical_difference(values, pairs, study.look)

    caption = (
        f"Critical-difference diagram after {n} evaluations: average ranks over n = {tasks} tasks; bars join methods "
        f"that Nemenyi's test at 5% cannot tell apart. Friedman's test: p = {p:.2g}. The blocks are the tasks, "
        "because seeds of one task are no further tasks; with so few, only very large differences of ranks show. The "
        "tests over seeds have more to say, but of these tasks only."
    )
    alt = [(None, f"Average ranks: {told}.")]
    section.exhibits.append(
        exhibit(Drawing(f"critical_difference_at_{n}", caption, draw, alt), study.folder, study.look)
    )


def _headline(n: int, overall: Mapping[str, Estimate], pairs: pd.DataFrame, tasks: int) -> str:
    best = min(overall, key=lambda label: overall[label].value)
    value, low, high, runs = overall[best]
    if not np.isfinite(value):
        return f"After {n} evaluations no method has found an architecture with a known score in most of its runs."
    text = (
        f"After {n} evaluations {best} has the lowest normalised regret over {counted(tasks, 'task')}: {number(value)} "
        f"[{number(low)}, {number(high)}], n = {runs} runs"
    )
    beaten, better = [], []
    for row in pairs[(pairs["method"] == best) | (pairs["other"] == best)].to_dict("records"):
        first = row["method"] == best
        if row["p_holm"] < statistics.SIGNIFICANT:
            ahead = beaten if (row["improvement"] > 0.5) == first else better
            ahead.append(row["other"] if first else row["method"])
    equal = [label for label in overall if label not in (*beaten, *better, best)]
    if len(overall) == 1:
        return f"{text}; no other method reaches that number."
    if not equal and not better:
        return f"{text}; it is ahead of every other method (p < .05 each, corrected by Holm)."
    said = [f"it is ahead of {listed(beaten)}"] if beaten else []
    if better:
        # Means and ranks disagree where a method is mostly better, but far behind when it is not.
        said.append(f"more often than not, a run of {listed(better)} is better than one of {best}")
    if equal:
        said.append(f"the tests do not set {best} apart from {listed(equal)}")
    return f"{text}; {', but '.join(said)}."


def _headline_of(control: Control) -> Headline:
    kind = "its control " if control.own else ""
    text = f"{control.method} against {kind}{control.control}, after {control.evaluations} evaluations: "
    return Headline(control.outcome.level, f"{text}{control.outcome.explanation}.")


def _against_controls(study: Study, found: Sequence[Control]) -> Section:
    """Returns the comparisons with controls: what each method's own idea is worth."""
    section = Section("Against the controls")
    section.notes += [
        "A method's control does the same without what the method adds; the gain over it is what that is worth. "
        "Judged is the statement “the method is better than its control”. With the probability of improvement A: "
        "confirmed, p < .05 and A of at least .56 (the smallest effect that matters, fixed in advance; Vargha and "
        "Delaney 2000); direction, p < .05 but A below .56; refuted, p < .05 the other way round, or the interval of "
        "A below .56, also with a best and a worst run added to each side, and at least ten runs a task; otherwise "
        "undecided."
    ]
    section.notes += [f"{method}: {text}" for method, text in _summaries(found, study).items()]
    rows = [
        {
            "method": c.method,
            "control": c.control,
            "verdict": c.outcome.level,
            "evaluations": c.evaluations,
            "tasks": c.tasks,
            "runs": c.outcome.improvement.n,
            **c.outcome.difference.columns("gain"),
            **c.outcome.improvement.columns("improvement"),
            "p_holm": c.outcome.p,
            "needed_runs": c.outcome.needed_n,
        }
        for c in found
    ]
    caption = (
        "Each method against its control and against random search, after the largest number of evaluations that both "
        "reach: gain, the interquartile mean of the control's normalised regret minus the method's; improvement, the "
        f"probability of improvement, with {INTERVALS}; p of van Elteren's stratified rank-sum test, corrected by "
        "Holm over the rows; of undecided rows, the runs a task of each of the two that would decide with a power of "
        "80%."
    )
    section.tables.append(Table("controls", caption, pd.DataFrame(rows).astype({"needed_runs": "Int64"})))
    lines = [
        Row(
            f"{c.method} against {c.control}, {c.evaluations} evaluations",
            [("A", study.look[c.method].colour, c.outcome.improvement)],
        )
        for c in found
    ]
    told = "; ".join(f"{row.title} {row.points[0][2].value:.2f}" for row in lines)

    def draw(rows: Sequence[Sequence[Row]], legend: bool) -> figures.Figure:
        return figures.estimates(rows[0], "probability of improvement", 0.5)

    caption = (
        "Probability that a run of the method beats one of its control on the same task, averaged over tasks, with "
        f"{INTERVALS}. At .5, the line, they are alike. {study.seeds(study.labels)}"
    )
    alt = [(lines, f"Probability of improvement: {told}.")]
    section.exhibits.append(exhibit(Drawing("controls", caption, draw, alt), study.folder, study.look))
    return section


def _summaries(found: Sequence[Control], study: Study) -> dict[str, str]:
    """Returns what each method's own control is, in its docstring's words."""
    names = dict(zip(study.runs["label"], study.runs["method"], strict=True))
    told = {}
    for control in found:
        method, other = names[control.method], names[control.control]
        if _control(method) == other:
            told[f"Control of {method}, {other}"] = methods.get(other).summary.replace("`", "")
    return told
