"""The report of a study: one self-contained page, with its figures, tables and data beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from analysis import comparison, cycle_report, figures, results, statistics, trajectories, transfer_report
from analysis.comparison import Headline
from analysis.figures import Reliability, Row
from analysis.page import render
from analysis.proxy_reliability import SHARES, check_proxy_reliability
from analysis.sections import INTERVALS, Drawing, Section, Study, counted, exhibit, listed, runs_a_line
from analysis.statistics import Estimate
from analysis.tables import Table, number
from bench.methods import methods
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from theory.claim import Level
from theory.proxy_reliability import CLAIM

SEED = 0
"""Of the bootstrap, so that the same journal gives the same page."""


def report(folder: Path) -> Path:
    """Writes the report of a study: `index.html`, `figures/`, `tables/` and `results.parquet` in its folder.

    Nothing is run: all comes from the journal, the manifest and the benchmarks, also while the study is unfinished.

    Args:
        folder: The study's folder.

    Returns:
        The page.

    Raises:
        InputError: There is no journal, it is damaged, the scores of a whole space are unknown or have changed, or the
            folder cannot be written.
    """
    found = results.read(folder / results.JOURNAL)
    made = results.manifest(folder)
    name = str(made.get("study") or folder.absolute().name)
    study = _study(folder, found)
    results.write_parquet(found.trajectories, name, folder / "results.parquet")
    compared, headlines = comparison.compare(study)
    language = _language(study) if len(study.completions) else None
    claims, verdicts = _claims(study)
    cycles, of_cycles = cycle_report.sections(study)
    transferred = transfer_report.sections(study)
    setup, described = _budgets(study), Section(tables=[_tasks(study)])
    asked = [language] if language else []
    shown = [*compared, *asked, *cycles, *transferred.sections, claims, setup, described]
    _remove_others(folder, shown)
    for section in shown:
        study.tell_fitted(section)
        for table in section.tables:
            table.save(folder / "tables")
    told = transfer_report.headlines(transferred.verdicts)
    page = render(
        "report",
        title=str(made.get("title") or name),
        name=name,
        status=_status(study.every),
        unfinished=_unfinished(study.every),
        summary=[*headlines, *cycle_report.headlines(of_cycles), *told, *_headlines(verdicts)],
        comparison=Section(notes=comparison.reading(study)),
        compared=compared,
        language=language,
        cycles=cycles,
        transferred=transferred,
        samples=_samples(study),
        claim=CLAIM,
        claims=claims,
        verdicts=verdicts,
        setup=setup,
        tasks=described.tables[0],
        failures=_failures(study.every),
        methods=_methods(study.every),
        benchmarks=[benchmarks.get(name) for name in sorted({b for b, _ in study.places})],
        manifest=made,
        levels=get_args(Level),
    )
    index = folder / "index.html"
    results.write(index, lambda file: file.write_text(page, encoding="utf-8"))
    return index


def _remove_others(folder: Path, shown: Sequence[Section]) -> None:
    """Removes the figures and tables of an earlier report that this one does not have."""
    kept = {
        "figures": {drawn.name for section in shown for drawn in section.exhibits},
        "tables": {table.name for section in shown for table in section.tables},
    }
    for kind, names in kept.items():
        for file in (folder / kind).glob("*"):
            if file.suffix in (".svg", ".pdf", ".csv", ".tex") and file.stem not in names:
                file.unlink()


def _study(folder: Path, found: results.Results) -> Study:
    every = found.runs[~found.runs["superseded"]]
    _refuse_unknown_scores(every, folder)
    every = every.assign(label=trajectories.labels(every))
    runs = _compared(every)
    chosen = found.trajectories[found.trajectories["run"].isin(runs["run"])]
    completions = found.completions[found.completions["run"].isin(every["run"])]
    look = figures.looks(every)
    rng = np.random.default_rng(SEED)
    return Study(folder, every, runs, trajectories.incumbents(chosen), completions, look, rng)


def _refuse_unknown_scores(every: pd.DataFrame, folder: Path) -> None:
    """Regret needs the scores of the whole space: those that the runs were answered from."""
    for name, data in every[["benchmark", "data"]].drop_duplicates().itertuples(index=False):
        now = benchmarks.get(str(name))
        if not now.space.enumerable:
            raise InputError(
                f"{folder}: there is no report of runs on {name}: its space cannot be listed, so the optimum that "
                f"regret is measured from is unknown; nascent export {folder} --parquet FILE writes the trajectories"
            )
        if data != now.checksum:
            raise InputError(
                f"{folder}: runs on {name} were answered from other data (SHA-256 {str(data)[:12]}) than {name} has "
                f"now (a {now.kind}, {now.checksum[:12]}); run the study again, or bring that data back "
                "(nascent data add, nascent data remove)"
            )


def _compared(every: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs to compare: those done; of a method that has none done on a task, those under way."""
    usable = every[every["status"] != "failed"]
    done = usable["status"] == "done"
    some = done.groupby([usable["label"], usable["benchmark"], usable["task"]]).transform("any")
    return usable[done | (~some & (usable["evaluations"] > 0))].reset_index(drop=True)


def _status(every: pd.DataFrame) -> str:
    done, made = int((every["status"] == "done").sum()), int(every["evaluations"].sum())
    return f"{done:,} of {counted(len(every), 'run')} done, {counted(made, 'evaluation')}."


def _unfinished(every: pd.DataFrame) -> str:
    running = int((every["status"] == "running").sum())
    if not running:
        return ""
    return (
        f"This study is not finished: {counted(running, 'run')} under way or not begun. What follows rests on the "
        "runs that are done, and on those under way where a method has none done on a task. To finish it, run the "
        "same command again."
    )


def _language(study: Study) -> Section:
    """Returns what the language models cost and how they behaved."""
    section = Section()
    asking = [label for label in study.labels if study.of(label)["requests"].sum() > 0]
    rows, lines, sizes = [], [], []
    for label in asking:
        for benchmark, runs in study.of(label).groupby("benchmark"):
            shares = {
                share: statistics.mean_interval(
                    runs.pivot(index="seed", columns="task", values=f"{share}_share"), study.rng
                )
                for share in ("valid", "new")
            }
            lines.append(Row(f"{label}, {benchmark}", [(s, study.look[label].colour, e) for s, e in shares.items()]))
            spent = runs[["requests", "failed_requests", "prompt_tokens", "completion_tokens", "llm_seconds"]].sum()
            sizes.append(len(runs))
            row: dict[str, object] = {"method": label, "benchmark": benchmark, "runs": len(runs)}
            row |= {k: int(spent[k]) for k in ("requests", "failed_requests", "prompt_tokens", "completion_tokens")}
            row["tokens_per_evaluation"] = (spent["prompt_tokens"] + spent["completion_tokens"]) / runs[
                "evaluations"
            ].sum()
            row["seconds_per_request"] = spent["llm_seconds"] / spent["requests"]
            row["longest_run_seconds"] = float(runs["wall_seconds"].max())
            for share, estimate in shares.items():
                row |= estimate.columns(share)
            rows.append(row)
    if not rows:
        section.notes.append("No run of a method that asks a language model has an evaluation yet.")
        return section
    told = "; ".join(f"{r.title}: " + ", ".join(f"{s} {e.value:.2f}" for s, _, e in r.points) for r in lines)

    def draw(data: Sequence[Sequence[Row]], legend: bool) -> figures.Figure:
        return figures.estimates(data[0], "share of proposals")

    caption = (
        "Share of proposals that are an architecture of the space (valid, filled), and that compute a function which "
        f"their run had not proposed before (new, open): mean over runs with {INTERVALS}; {runs_a_line(sizes)}"
    )
    section.exhibits.append(
        exhibit(
            Drawing("proposals", caption, draw, [(lines, f"Share of proposals. {told}.")]), study.folder, study.look
        )
    )
    caption = (
        "What the language models cost, summed over runs. Seconds per request run from request to answer, waiting for "
        "other requests included. Valid and new: shares of proposals as in the figure."
    )
    section.tables.append(Table("language_models", caption, pd.DataFrame(rows)))
    return section


def _samples(study: Study) -> list[dict[str, object]]:
    """Returns the first, middle and last request of one run of each method that asks a language model."""
    samples = []
    for label in study.labels:
        for run in study.of(label).itertuples():
            asked = study.completions[study.completions["run"] == run.run]
            if asked.empty:
                continue
            for i in sorted({0, len(asked) // 2, len(asked) - 1}):
                row = asked.iloc[i].to_dict()
                failed = isinstance(row["failure"], str)
                samples.append(
                    {
                        **row,
                        "title": f"{label} on {run.benchmark}/{run.task}, seed {run.seed}: request {i + 1} of "
                        f"{len(asked)}",
                        "outcome": f"failed: {row['failure']}" if failed else f"after {row['seconds']:.1f} s",
                    }
                )
            break
    return samples


def _claims(study: Study) -> tuple[Section, list[dict[str, Any]]]:
    """Checks claim 6 on the study's tasks, and returns the section and the verdicts."""
    section, verdicts, panels, rows = Section(), [], [], []
    single = []
    for benchmark, task in study.places:
        table = benchmarks.get(benchmark)
        if table.kind != "table" or len(table.task(task).splits) < 2:
            single.append(f"{benchmark}/{task}")
            continue
        scores = table.query(table.space.enumerate(), task)
        frame = pd.DataFrame(
            {"arch": np.arange(table.space.size), "validation": scores.validation, "test": scores.test}
        )
        columns = ["validation", "test"]
        try:
            found = check_proxy_reliability(frame, arch="arch", replicates=columns, top=list(SHARES), seed=SEED)
        except InputError as error:
            section.notes.append(f"{benchmark}/{task} cannot be checked: {error}.")
            continue
        place = f"{benchmark} / {task}"
        for verdict in found:
            low, high = verdict["interval"] or (None, None)
            rows.append(
                {
                    "task": place,
                    "top_share": f"{verdict['share']:.0%}",
                    "verdict": verdict["verdict"],
                    "architectures": verdict["n"],
                    "snr": verdict["snr"],
                    "observed": verdict["spearman"],
                    "observed_low": low,
                    "observed_high": high,
                    **_predictions(verdict),
                    "needed_n": verdict["needed_n"],
                }
            )
            top = "all architectures" if verdict["share"] == 1 else f"the best {verdict['share']:.0%}"
            verdicts.append({**verdict, "task": place, "top": top, "level": verdict["verdict"]})
        panels.append((_panel(place, found), _told(place, found)))
    if single:
        section.notes.append(
            f"{listed(single)}: no measured validation and test scores, so there is nothing to compare."
        )
    if not panels:
        return section, verdicts
    section.notes.append(
        "Here the proxy is the validation score, compared with the test score over all architectures of the table: a "
        "published table's two splits stand for two replicates. Where an assumption fails, the closed form does not "
        "apply and the verdict is vacuous; the numbers are given all the same."
    )

    def draw(data: Sequence[Reliability], legend: bool) -> figures.Figure:
        return figures.reliability(data)

    sizes = listed(sorted({f"{row['architectures']:,}" for row in rows if row["top_share"] == "100%"}))
    caption = (
        "Spearman correlation of validation and test scores over all architectures and among the best, with 95% "
        "intervals, and what claim 6 predicts from the signal-to-noise ratio of all: the published closed form, and "
        f"its extension to a truncated normal distribution; n = {sizes} architectures at the full share."
    )
    section.exhibits.append(exhibit(Drawing("proxy_reliability", caption, draw, panels), study.folder, study.look))
    numbers = pd.DataFrame(rows)
    unknown = [column for column in numbers.columns if column not in ("task", "top_share", "verdict")]
    numbers[unknown] = numbers[unknown].apply(pd.to_numeric)
    numbers["needed_n"] = numbers["needed_n"].astype("Int64")
    caption = "Claim 6 by task and top share: observed Spearman correlation with its 95% interval, and the predictions."
    section.tables.append(Table("proxy_reliability", caption, numbers))
    return section, verdicts


def _panel(place: str, found: Sequence[Mapping[str, Any]]) -> Reliability:
    ends = [verdict["interval"] or (None, None) for verdict in found]
    observed = [
        Estimate(_number(verdict["spearman"]), _number(low), _number(high), verdict["n"])
        for verdict, (low, high) in zip(found, ends, strict=True)
    ]
    forms = [_predictions(verdict) for verdict in found]
    predicted = {name: [_number(form[name]) for form in forms] for name in forms[0]}
    return Reliability(place, [verdict["share"] for verdict in found], observed, predicted)


def _predictions(verdict: Mapping[str, Any]) -> dict[str, float | None]:
    """Returns what the closed form predicts, and what its extension to the top share does."""
    predicted = verdict["predicted"]
    return {"closed form": predicted[verdict["form"]], "truncated": predicted["truncated"]}


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _told(place: str, found: Sequence[Mapping[str, Any]]) -> str:
    told = [f"top {v['share']:.0%}: observed {number(v['spearman'])}" for v in found if v["spearman"] is not None]
    return f"{place}: {'; '.join(told)}."


def _headlines(verdicts: Sequence[Mapping[str, Any]]) -> list[Headline]:
    """Returns a sentence for each task, on all its architectures."""
    headlines = []
    for verdict in verdicts:
        if verdict["share"] < 1 or verdict["spearman"] is None:
            continue
        low, high = verdict["interval"] or (np.nan, np.nan)
        text = (
            f"Claim 6, proxy reliability, on {verdict['task']}: the Spearman correlation of validation and test "
            f"scores is {number(verdict['spearman'])} [{number(low)}, {number(high)}], n = {verdict['n']:,} "
            f"architectures; the closed form predicts {number(_number(_predictions(verdict)['closed form']))}."
        )
        failed = [item["name"] for item in verdict["assumptions"] if not item["holds"]]
        if failed:
            text += f" It does not apply, because these assumptions do not hold: {listed(failed)}."
        headlines.append(Headline(verdict["level"], text))
    return headlines


def _budgets(study: Study) -> Section:
    """Returns who was given what."""
    rows = []
    columns = ["label", "benchmark", "method_parameters", *(f"budget_{limit}" for limit in results.LIMITS)]
    for _, runs in study.every.groupby(columns, dropna=False, sort=False):
        first = runs.iloc[0]
        row: dict[str, object] = {"method": first["label"], "benchmark": first["benchmark"]}
        row["tasks"], row["seeds"] = int(runs["task"].nunique()), int(runs["seed"].nunique())
        limits = {limit: first[f"budget_{limit}"] for limit in results.LIMITS}
        row["budget"] = ", ".join(f"{v:g} {k.replace('_', ' ')}" for k, v in limits.items() if not pd.isna(v))
        row |= {status: int((runs["status"] == status).sum()) for status in ("done", "running", "failed")}
        row["evaluations"] = int(runs["evaluations"].sum())
        ended = runs.loc[runs["status"] == "done", "reason"].value_counts()
        row["ended by"] = ", ".join(f"{reason} ({n})" for reason, n in ended.items())
        rows.append(row)
    caption = "Budgets and seeds of each method on each benchmark, the state of its runs, and which limit ended them."
    return Section(tables=[Table("budgets", caption, pd.DataFrame(rows))])


def _tasks(study: Study) -> Table:
    rows = []
    for benchmark, task in study.places:
        table = benchmarks.get(benchmark)
        description, scale = table.task(task), trajectories.scale(benchmark, task)
        rows.append(
            {
                "task": f"{benchmark} / {task}",
                "metric": description.metric + {"%": " (%)", "1": " (share)"}.get(description.unit, ""),
                "splits": ", ".join(description.splits),
                "reported": description.reported,
                "optimum": scale.optimum,
                "top 0.1% from": scale.threshold,
                "median": scale.median,
            }
        )
    caption = (
        "Tasks, on the split that is reported: the best score of all, the lowest among the best 0.1%, and the median."
    )
    return Table("tasks", caption, pd.DataFrame(rows))


def _failures(every: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {"title": f"{run.label} on {run.benchmark}/{run.task}, seed {run.seed}", "reason": str(run.reason)}
        for run in every[every["status"] == "failed"].itertuples()
    ]


def _methods(every: pd.DataFrame) -> list[dict[str, str]]:
    """Returns each method in a few words."""
    told = []
    for name, runs in every.groupby("method"):
        versions = listed(sorted(runs["method_version"].unique()))
        settings = [json.loads(text) for text in runs["method_parameters"].unique()]
        words = [", ".join(f"{k} = {v}" for k, v in given.items()) or "no parameters" for given in settings]
        try:
            method = methods.get(str(name))
            summary, control = method.summary.replace("`", ""), f" Control: {method.control}." if method.control else ""
        except InputError:
            summary, control = "A plugin that is not installed here.", ""
        told.append({"name": str(name), "text": f"{summary} Version {versions}; {'; or '.join(words)}.{control}"})
    return told
