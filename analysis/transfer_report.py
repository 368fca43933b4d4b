"""The part of a report that is about design principles and the parts of a space that they choose."""

import difflib
import json
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import figures, statistics, transfer, transfer_claims
from analysis.comparison import Headline
from analysis.figures import Small, Trace
from analysis.fitness_landscape import rank_correlation
from analysis.results import JOURNAL
from analysis.sections import INTERVALS, SHOWN, Drawing, Exhibit, Section, Study, exhibit, listed, runs_a_line
from analysis.tables import Table
from analysis.transfer import Transfers
from analysis.transfer_claims import LOWEST_MEDIAN, Judged
from bench.methods import methods
from surrogates.benchmarks import benchmarks
from theory.proportion import proportion_interval
from theory.trend import means

PUBLISHED_ARCHS = {
    ("nas-bench-201", "cifar10"): (
        ("REA", np.nan, 93.92), ("HEBO", 100, 94.34), ("MetaD2A", 100, 94.37), ("TNAS-BO", 29, 94.37),
        ("LAPT-REA, GPT-4", 4.9, 94.36),
    ),
    ("nas-bench-201", "cifar100"): (
        ("REA", np.nan, 71.84), ("HEBO", 100, 72.62), ("MetaD2A", 100, 73.34), ("TNAS-BO", 59, 73.51),
        ("LAPT-REA, GPT-4", 8.6, 73.45),
    ),
}  # fmt: skip
"""Table 2 of Zhou et al. 2025: method, "Archs.", test accuracy. REA's number is stated as more than 500."""

PUBLISHED_RANKS = (
    ("REA", 38.50), ("BONAS", 34.31), ("WeakNAS-T", 35.73), ("Arch-zero", 14.7), ("Arch-Graph", 12.2),
    ("LAPT-REA, GPT-4", 12.3),
)  # fmt: skip
"""Table 3 of Zhou et al. 2025: method, average model rank over the six tasks of TransNAS-Bench-101."""

PUBLISHED_SCORES = {
    "class_object": (45.39, 45.50, 45.29, 45.64, 45.81, 45.96, 46.32),
    "class_scene": (54.62, 54.46, 54.78, 54.80, 54.90, 54.89, 54.94),
    "room_layout": (-0.6175, -0.6110, -0.6070, -0.6021, -0.6008, -0.6018, -0.5938),
    "autoencoder": (0.5696, 0.5673, 0.5690, 0.5661, 0.5658, 0.5652, 0.5772),
    "normal": (0.5722, 0.5746, 0.5719, 0.5790, 0.5827, 0.5769, 0.5962),
}
"""The same table's scores, in our units, of `PUBLISHED_RANKS` in order and of the best of the space; segmentation, of
which it has the mean IoU and not the pixel accuracy, is left out."""

RANKED = "trans-nas-bench-101-micro"
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the whole space's best architectures at which parts are compared with it."""


class Diff(NamedTuple):
    """How principles, and what they allow, changed in one run.

    Attributes:
        title: Which run.
        steps: For each part: its heading, and the lines of a diff against the one before.
    """

    title: str
    steps: list[tuple[str, list[str]]]


class Transferred(NamedTuple):
    """What a report shows of principles: its sections, the diffs of one run a method, and the verdicts."""

    sections: list[Section]
    diffs: list[Diff]
    verdicts: list[Judged]


def sections(study: Study) -> Transferred:
    """Returns what there is to show; nothing of a study whose methods do not choose parts of a space."""
    found = transfer.measure(study.folder / JOURNAL, study)
    if found.parts.empty:
        return Transferred([], [], [])
    reached = transfer.outcomes(study)
    searches = not reached.empty and bool((reached["made"] > 1).any())
    verdicts = transfer_claims.judge(reached, study.rng) if searches else []
    searched = [_soon(reached, study), _ranks(reached, study)] if searches else []
    asked = [_archives(found, study), _sources(found, study), _answers(found), _words(study)]
    parts = [*searched, _parts(found, study), *asked, _claims(verdicts)]
    shown = [part for part in parts if part.tables]
    if models := sorted(found.parts["model"].dropna().astype(str).unique()):
        shown[0].notes.append(
            f"The language model of Zhou et al. 2025 is GPT-4; here it is {listed(models)}. What one of them does says "
            "nothing of another."
        )
    return Transferred(shown, _diffs(found), verdicts)


def _soon(reached: pd.DataFrame, study: Study) -> Section:
    """Returns how many evaluations it takes, beside the paper's table 2."""
    section = Section("How soon a top architecture is found")
    rows = []
    for (benchmark, task), group in reached.groupby(["benchmark", "task"], sort=False):
        for label, runs in group.groupby("label", sort=False):
            row: dict[str, object] = {"task": f"{benchmark} / {task}", "method": label, "origin": "measured"}
            row |= {"runs": len(runs), "evaluations": int(runs["made"].max())}
            row |= _interval("archs", runs["archs"], study.rng)
            row |= _interval("top", runs["top"].fillna(runs["made"]), study.rng)
            reaching = int(runs["top"].notna().sum())
            low, high = proportion_interval(reaching, len(runs))
            row |= {"found": reaching / len(runs), "found_low": low, "found_high": high}
            rows.append(row | _interval("score", runs["accuracy"], study.rng))
        for name, archs, accuracy in PUBLISHED_ARCHS.get((str(benchmark), str(task)), ()):
            row = {"task": f"{benchmark} / {task}", "method": name, "origin": "published"}
            rows.append(row | {"archs": archs, "score": accuracy})
    caption = (
        "Archs., the measure of table 2 of Zhou et al. 2025: the first evaluation with the optimum of the space, else "
        "the first among its top 0.1% by validation score, else the budget; top: the latter alone, runs that found "
        "none counting with their budget; found: the share of runs that did; score: the reported score of what is "
        f"returned at Archs. Means with {INTERVALS}; of found, the exact interval (Clopper and Pearson)."
    )
    frame = pd.DataFrame(rows)
    if "published" in set(frame["origin"]):
        caption += (
            " Published rows are the paper's, on the official table: LAPT's is the mean of 20 runs with GPT-4; REA's "
            "Archs. is stated as more than 500."
        )
    frame[["runs", "evaluations"]] = frame[["runs", "evaluations"]].astype("Int64")
    section.tables.append(Table("archs", caption, frame))
    return section


def _ranks(reached: pd.DataFrame, study: Study) -> Section:
    """Returns the model ranks and their spread, beside the paper's table 3 and figure 4."""
    section = Section("Model rank of what is returned")
    rows = []
    for label, runs in reached.groupby("label", sort=False):
        for benchmark, group in runs.groupby("benchmark", sort=False):
            table = group.pivot(index="seed", columns="task", values="rank")
            row: dict[str, object] = {"benchmark": benchmark, "method": label, "origin": "measured", "runs": len(group)}
            row |= {"evaluations": int(group["made"].max())}
            row |= {"tasks": table.shape[1], **statistics.mean_interval(table, study.rng).columns("rank")}
            row |= statistics.bootstrap(_median, table, study.rng).columns("median")
            row |= statistics.bootstrap(_spread, table, study.rng).columns("spread")
            rows.append(row)
    if RANKED in set(reached["benchmark"]):
        rows += [{"benchmark": RANKED, "method": m, "origin": "published", "rank": r} for m, r in PUBLISHED_RANKS]
    frame = pd.DataFrame(rows)
    counts = ["runs", "tasks", "evaluations"]
    frame[counts] = frame[counts].astype("Int64")
    caption = (
        "Rank, among the reported scores of the whole space, of the architecture that a run returns (1 is the best): "
        "mean and median over tasks and seeds, and spread (standard deviation over seeds, mean over tasks), with "
        f"{INTERVALS}; evaluations: those that a run had."
    )
    if RANKED in set(reached["benchmark"]):
        caption += (
            " Published rows: average rank of table 3 of Zhou et al. 2025, over six tasks and, for LAPT, 25 runs with "
            "GPT-4, on the official table, which for segmentation has another metric."
        )
    section.tables += [Table("model_ranks", caption, frame), _returned(reached, study)]
    for name, labels in _shown(reached).items():
        panels, sizes = [], []
        for (benchmark, task), group in reached.groupby(["benchmark", "task"], sort=False):
            lines = {label: np.sort(group.loc[group["label"] == label, "rank"].to_numpy()) for label in labels}
            lines = {label: r for label, r in lines.items() if len(r)}
            sizes += map(len, lines.values())
            traces = [Trace(label, r, np.arange(1, len(r) + 1) / len(r), (), ()) for label, r in lines.items()]
            told = "; ".join(f"{label}: median {np.median(r):.0f}" for label, r in lines.items())
            panels.append((Small(f"{benchmark} / {task}", "model rank", "share of runs", traces), f"{told}."))
        caption = (
            "Share of runs that return an architecture of this model rank or a better one, logarithmic axes. "
            f"{runs_a_line(sizes)}"
        )
        section.exhibits.append(_drawn(f"model_ranks{name}", caption, panels, labels, study))
    return section


def _returned(reached: pd.DataFrame, study: Study) -> Table:
    """Returns the scores of what runs return, beside the paper's table 3."""
    rows = []
    names = [name for name, _ in PUBLISHED_RANKS] + ["best of the space"]
    for (benchmark, task), group in reached.groupby(["benchmark", "task"], sort=False):
        asked = benchmarks.get(str(benchmark)).task(str(task))
        told: dict[str, object] = {
            "task": f"{benchmark} / {task}",
            "metric": f"{asked.metric} ({asked.unit})" if asked.unit else asked.metric,
        }
        for label, runs in group.groupby("label", sort=False):
            row: dict[str, object] = told | {"method": label, "origin": "measured", "runs": len(runs)}
            rows.append(row | _interval("score", runs["score"], study.rng))
        scores = PUBLISHED_SCORES.get(str(task), ()) if benchmark == RANKED else ()
        rows += [told | {"method": m, "origin": "published", "score": s} for m, s in zip(names, scores, strict=False)]
    caption = (
        "Score of the architecture that a run returns, by the split that is reported, higher being better, so that a "
        f"loss is negative: mean over seeds with {INTERVALS}."
    )
    if RANKED in set(reached["benchmark"]):
        caption += (
            " Published rows: table 3 of Zhou et al. 2025, on the official table, in the same units; of segmentation "
            "it has another metric."
        )
    frame = pd.DataFrame(rows)
    frame["runs"] = frame["runs"].astype("Int64")
    return Table("returned", caption, frame)


def _parts(found: Transfers, study: Study) -> Section:
    """Returns how good the parts are, compared with the whole space."""
    section = Section("Parts of the space")
    words = found.principles if len(found.principles) else pd.DataFrame(columns=pd.Index(["run", "part", "text"]))
    rows = []
    for (label, benchmark, task, part), group in found.parts.groupby(
        ["label", "benchmark", "task", "part"], sort=False
    ):
        row: dict[str, object] = {"method": label, "task": f"{benchmark} / {task}", "part": part, "runs": len(group)}
        for column in ("size", "share", "mean", "density", "best"):
            row |= _interval(column, group[column].astype(float), study.rng)
        row |= {"open": float(group["open"].mean()), "listed": int(group["listed"].sum())}
        without = int((group["run"].map(words[words["part"] == part].set_index("run")["text"]) == "").sum())
        asks = bool(group["model"].notna().any())
        rows.append(row | {"without": without if asks else None, "empty": int(group["empty"].sum())})
    caption = (
        "The parts that the runs searched in, in their order: architectures, share of the whole space, mean validation "
        "score, density (share of the part's architectures with a score that are of the space's top 0.1%; the whole "
        "space's is .001), and the rank of the part's best architecture in the space; open: mean share of decisions "
        "that keep all options. In how many runs: listed, every decision allows just the first options of its "
        "list, whatever they are; without, the language model gave no principles, so that all is allowed; empty, the "
        "chosen options make no architecture, so that the whole space was searched. Means with "
        f"{INTERVALS}. A method without chance, such as counted operations before they adapt, has the same part in all "
        "runs: that is one observation."
    )
    frame = pd.DataFrame(rows)
    frame["without"] = frame["without"].astype("Int64")
    section.tables.append(Table("parts", caption, frame))
    for name, labels in _shown(found.parts).items():
        panels, sizes = [], []
        first = found.parts[(found.parts["part"] == 0) & found.parts["label"].isin(labels)]
        for (benchmark, task), group in first.groupby(["benchmark", "task"], sort=False):
            table = benchmarks.get(str(benchmark))
            traces, told = [], []
            for label, runs in group.groupby("label", sort=False):
                known = {t: transfer.concentration(table, str(task), t, SHARES) for t in set(runs["allowed"])}
                curves = np.array([known[text] for text in runs["allowed"]])
                sizes.append(len(curves))
                average = means(curves)
                low, high = average.interval() if len(curves) > 1 else ((), ())
                traces.append(Trace(str(label), SHARES, average.mean, low, high))
                told.append(f"{label}: {average.mean[3]:.2g} of the part is of the best 1%")
            small = Small(f"{benchmark} / {task}", "best share of the space", "share of the part", traces)
            panels.append((small, f"{'; '.join(told)}."))
        caption = (
            "Share of the first part of each run that is among the best x of the whole space, by validation score: "
            "mean with 95% intervals over seeds (Student's t). The whole space itself would be the diagonal. "
            f"{runs_a_line(sizes)}"
        )
        section.exhibits.append(_drawn(f"concentration{name}", caption, panels, labels, study))
    return section


def _shown(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Returns which methods are drawn in one figure, by the end of its name: all, or those of one model if too many."""
    labels = list(dict.fromkeys(runs["label"]))
    if len(labels) <= SHOWN:
        return {"": labels}
    models = runs.drop_duplicates("label").set_index("label")["model"]
    found = {f"_{model}": models.index[models == model].tolist() for model in models.dropna().unique()}
    found["_without_model"] = models.index[models.isna()].tolist()
    return {name: few for name, few in found.items() if 0 < len(few) <= SHOWN}


def _archives(found: Transfers, study: Study) -> Section:
    """Returns how often the first part is the same whichever end of the archive, or whichever source, was shown."""
    section = Section("Is the archive looked at?")
    first = found.parts[found.parts["part"] == 0]
    kinds = {label: _kind(group.iloc[0]) for label, group in first.groupby("label", sort=False)}
    rows = []
    for (label, kind), (other, its) in combinations(kinds.items(), 2):
        differs = {name for name in kind.keys() | its.keys() if kind.get(name) != its.get(name)}
        if kind.get("source") and its.get("source") and differs in ({"archive"}, {"source"}):
            one, two = (
                first[first["label"] == name].set_index(["benchmark", "task", "seed"])["allowed"]
                for name in (label, other)
            )
            both = one.index.intersection(two.index)
            same = (one[both] == two[both]).astype(float)
            row: dict[str, object] = {"method": label, "compared with": other, "pairs": len(same)}
            rows.append(row | _interval("same", same.groupby("seed").mean(), study.rng))
    caption = (
        "Pairs of runs with one seed and task that were shown different architectures: the best and the worst of one "
        "source task's archive, or those of two source tasks; same: the share in which both choose the same first "
        f"part, mean over seeds with {INTERVALS}. What chooses the same part whatever it is shown has not learned it "
        "from the archive."
    )
    if rows:
        section.tables.append(Table("archives", caption, pd.DataFrame(rows)))
    return section


def _sources(found: Transfers, study: Study) -> Section:
    """Returns how alike the tasks are that principles were learned from and those that they were used on."""
    section = Section("How alike are source and target?")
    rows = []
    runs = found.parts.drop_duplicates(["benchmark", "task", "method_parameters"])
    given = [json.loads(str(parameters)).get("source", "") for parameters in runs["method_parameters"]]
    pairs = runs.assign(source=given)[["benchmark", "source", "task"]].drop_duplicates()
    for name, source, task in pairs[pairs["source"] != ""].astype(str).itertuples(index=False):
        scores = transfer.both_scores(benchmarks.get(name), source, task)
        ends = zip(("", "_low", "_high"), rank_correlation(scores, study.rng), strict=True)
        row: dict[str, object] = {"source": source, "task": f"{name} / {task}", "n": scores.shape[1]}
        rows.append(row | {f"spearman{end}": float(values[0, 1]) for end, values in ends})
    caption = (
        "Spearman correlation of the validation scores on the task that principles were learned from and on the one "
        "that they were used on, over the n architectures that have both; 95% bootstrap intervals over architectures."
    )
    if rows:
        section.tables.append(Table("sources", caption, pd.DataFrame(rows)))
    return section


def _kind(run: pd.Series) -> dict[str, object]:
    return json.loads(str(run["method_parameters"])) | {"method": run["method"], "model": str(run["model"])}


def _drawn(name: str, caption: str, panels: Sequence[tuple[Small, str]], labels: list[str], study: Study) -> Exhibit:
    def draw(data: Sequence[Small], legend: bool) -> figures.Figure:
        return figures.small_multiples(data, study.look, log=True, legend=legend)

    return exhibit(Drawing(name, caption, draw, panels, labels), study.folder, study.look)


def _answers(found: Transfers) -> Section:
    """Returns how often a model's answers could not be read, and what was done about it."""
    section = Section("Translations of principles")
    if found.translations.empty:
        return section
    rows = []
    for (label, benchmark), group in found.translations.groupby(["label", "benchmark"], sort=False):
        row: dict[str, object] = {"method": label, "benchmark": benchmark, "translations": len(group)}
        row |= {name: int(group[name].sum()) for name in ("answers", "incomplete", "decisions", "replaced")}
        rows.append(row | {"share": float(group["replaced"].sum() / group["decisions"].sum())})
    caption = (
        "Translations of principles into allowed options by the language model, and the answers that they took; "
        "incomplete: answers in which at least one decision's line could not be read, which are asked for again as "
        "often as the method's `retries` say; replaced: decisions whose line could be read in no answer, which keep "
        "all their options, and their share of all decisions."
    )
    section.tables.append(Table("translations", caption, pd.DataFrame(rows)))
    return section


def _words(study: Study) -> Section:
    """Returns how often an answer in words, which becomes principles, was cut or did not come."""
    section = Section("Principles in words")
    in_words = set(methods.get("lapt").prompts) - {transfer.TRANSLATION}
    asked = study.completions[study.completions["template"].isin(in_words)]
    asked = asked.assign(label=asked["run"].map(study.every.set_index("run")["label"]))
    rows = []
    for (label, template), group in asked.groupby(["label", "template"], sort=False):
        failed, empty = group["failure"].notna(), group["text"].str.strip() == ""
        row: dict[str, object] = {"method": label, "question": template, "answers": len(group)}
        row |= {"runs": int(group["run"].nunique()), "cut": int((failed & ~empty).sum()), "empty": int(empty.sum())}
        rows.append(row | _interval("share", failed.astype(float).groupby(group["run"]).mean(), study.rng))
    caption = (
        "Answers of the language model in words; cut: those that were cut, mostly at the limit of tokens; empty: those "
        "without a word. A cut answer is used as far as it goes; without one, principles stay as they were, and "
        "without any principles all of the space is allowed. Share of a run's answers that failed either way: mean "
        f"with {INTERVALS}."
    )
    if rows:
        section.tables.append(Table("principles_in_words", caption, pd.DataFrame(rows)))
    return section


def _claims(verdicts: Sequence[Judged]) -> Section:
    section = Section("The claims of LAPT")
    section.notes.append(
        "Each claim is a comparison: confirmed if it holds by a margin that matters (probability of improvement at "
        "least .56, p < .05 corrected by Holm over all rows), refuted if the other is better or such a margin is "
        "excluded. The same claims are judged for counted operations, which use no language model: what holds for "
        "them, too, is not the language model's doing. That LAPT does better than operations counted in the same "
        "archive, or than LAPT that is shown the worst architectures, or those of a task that is less related (by the "
        "correlation above), is no claim of the paper; it is what each of its claims needs to be about the language "
        "model, about the archive, and about its source. Of evaluations, both sides have as many "
        "as the shorter budget allows, and tasks on which none of them found a top architecture are left out; ranks "
        "are compared at equal budgets; spread is that of the rank's logarithm, on tasks with median ranks of "
        f"{LOWEST_MEDIAN} or more, since a lower rank has no room to vary. Tasks is how many are left. The paper "
        "claims speed for NAS-Bench-201, against more than 500 evaluations of the search in the whole space, and the "
        "others for TransNAS-Bench-101; a verdict says that the difference is there on this study's tasks and budget, "
        "not that it is of that size."
    )
    rows = []
    for claim, label, other, tasks, outcome in verdicts:
        row: dict[str, object] = {"claim": claim, "method": label, "compared with": other, "verdict": outcome.level}
        row |= {"tasks": tasks, "runs": outcome.improvement.n}
        row |= outcome.improvement.columns("improvement") | {"p_holm": outcome.p, "explanation": outcome.explanation}
        rows.append(row)
    caption = f"Verdicts; improvement: probability that a run is better than one of the other, with {INTERVALS}."
    if rows:
        section.tables.append(Table("transfer_claims", caption, pd.DataFrame(rows)))
    return section


def _diffs(found: Transfers) -> list[Diff]:
    """Returns the principles of the first run of each method that has some in words, on its first task."""
    diffs = []
    if found.principles.empty:
        return diffs
    for label, group in found.principles.groupby("label", sort=False):
        run = group.iloc[0]
        words = group[group["run"] == run["run"]].set_index("part")["text"]
        parts = found.parts[found.parts["run"] == run["run"]].set_index("part")
        before: list[str] = []
        steps = []
        for part, row in parts.iterrows():
            now = [*str(words.get(part, "")).splitlines(), "", *str(row["allowed"]).splitlines()]
            lines = [line for line in difflib.ndiff(before, now) if not line.startswith("?")]
            steps.append((f"Part {part}, after {row['evaluations']} evaluations", lines))
            before = now
        diffs.append(Diff(f"{label} on {run['benchmark']}/{run['task']}, seed {run['seed']}", steps))
    return diffs


def headlines(verdicts: Sequence[Judged]) -> list[Headline]:
    """Returns a sentence for each claim and level: which methods have it, against which others."""
    claims: dict[str, dict[str, dict[str, list[str]]]] = {}
    for claim, label, other, _, outcome in verdicts:
        claims.setdefault(claim, {}).setdefault(outcome.level, {}).setdefault(label, []).append(other)
    return [
        Headline(
            level, f"Design principles: {claim}: {'; '.join(f'{m} against {listed(o)}' for m, o in found.items())}."
        )
        for claim, levels in claims.items()
        for level, found in levels.items()
    ]


def _median(tasks: list[NDArray[np.float64]]) -> float:
    return float(np.median(np.concatenate(tasks)))


def _spread(tasks: list[NDArray[np.float64]]) -> float:
    """Returns the standard deviation over seeds, mean over tasks; NaN where a run returned none or is the only one."""
    finite = all(len(runs) > 1 and np.isfinite(runs).all() for runs in tasks)
    return float(np.mean([runs.std(ddof=1) for runs in tasks])) if finite else np.nan


def _interval(name: str, values: "pd.Series[float]", rng: np.random.Generator) -> dict[str, float]:
    return statistics.mean_interval(values.to_numpy()[:, None], rng).columns(name)
