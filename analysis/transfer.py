"""Runs that searched in parts of a space: the parts, the principles that chose them, and how far the runs came."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import recorded
from analysis.sections import Study
from bench import journal
from surrogates.benchmark import Benchmark
from surrogates.benchmarks import benchmarks
from surrogates.subspace import Allowed, everything, parse_options

LABELS = ("run", "label", "benchmark", "task", "method", "method_parameters", "model", "seed")
TOP = 0.001
"""Share of the space that counts as its top (Zhou et al. 2025, section "Experiments on NAS201")."""

TRANSLATION = "lapt_translate"
"""Template of the question that is answered by options; LAPT's others are answered in words."""


class Transfers(NamedTuple):
    """What was measured; each table has the columns of `LABELS`.

    Attributes:
        parts: One row a part of the space that a run searched in: `part` from 0, `evaluations` made before, the
            `allowed` options as text, `size`, `share` of the whole space, `mean` validation score, `density` (share of
            its architectures with a score that are of the top 0.1% by validation score), `best` (rank of its best
            architecture in the space, 1 being the optimum), `open` (share of the decisions that keep all options),
            whether some are left out and all are `listed` first, and whether it is the whole space because what was
            chosen is `empty`: no architecture is made of those options.
        principles: One row a change of principles in words: `part` that they choose, and their `text`.
        translations: One row a translation of principles into allowed options by a language model: its `answers`, of
            which all but the first were asked for again; how many of them are `incomplete`, without a line that can be
            read for each decision; `decisions`; and how many are `replaced` by all their options, since no answer has
            a line for them.
    """

    parts: pd.DataFrame
    principles: pd.DataFrame
    translations: pd.DataFrame


def measure(path: Path, study: Study) -> Transfers:
    """Measures the parts that the runs of a study searched in.

    Raises:
        InputError: There is no journal, or it is damaged.
    """
    parts: list[dict[str, Any]] = []
    principles: list[dict[str, Any]] = []
    with journal.read(path) as db:
        db.execute("BEGIN")
        for number, run in recorded(db, study.every, "notes WHERE name = 'subspace'"):
            told = {name: run[name] for name in LABELS}
            own, words = _notes(db, number, benchmarks.get(str(run["benchmark"])), str(run["task"]))
            parts += [told | row for row in own]
            principles += [told | row for row in words]
    translations = []
    chosen = study.every.set_index("run", drop=False)
    answers = study.completions[study.completions["template"] == TRANSLATION]
    # What is asked again follows at once: other effects stand between two translations.
    turn = (answers["step"] != answers["step"].shift() + 1).cumsum()
    for (key, _), texts in answers.groupby(["run", turn], sort=False)["text"]:
        run = chosen.loc[str(key)]
        most = int(json.loads(str(run["method_parameters"]))["options"])
        read = [parse_options(benchmarks.get(str(run["benchmark"])).space, str(text), most) for text in texts]
        lines = list(zip(*read, strict=True))
        told = {name: run[name] for name in LABELS} | {"answers": len(read), "decisions": len(lines)}
        told["incomplete"] = sum(None in answer for answer in read)
        translations.append(told | {"replaced": sum(not any(line) for line in lines)})
    return Transfers(*(pd.DataFrame(rows) for rows in (parts, principles, translations)))


def _notes(
    db: sqlite3.Connection, run: int, benchmark: Benchmark, task: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the parts and the principles of a run."""
    validation = benchmark.scores(task, "validation")
    top = validation >= benchmark.threshold(task, "validation", TOP)
    parts: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    empty = False
    steps = [step for (step,) in db.execute("SELECT step FROM evaluations WHERE run = ?", (run,))]
    query = "SELECT step, name, text FROM notes WHERE run = ? ORDER BY step"
    for step, name, text in db.execute(query, (run,)):
        if name == "principles":
            words.append({"part": len(parts), "text": text})
            continue
        if name == "empty_subspace":
            empty = True
            continue
        allowed = _allowed(benchmark, text)
        inside = benchmark.space.members(allowed)
        known = inside & ~np.isnan(validation)
        found = validation[known]
        row: dict[str, Any] = {"part": len(parts), "evaluations": sum(other < step for other in steps), "allowed": text}
        row |= {
            "size": int(inside.sum()),
            "share": float(inside.mean()),
            "mean": float(found.mean()) if found.size else np.nan,
        }
        best = float((validation > found.max()).sum() + 1) if found.size else np.nan
        row |= {"density": float(top[known].mean()) if found.size else np.nan, "best": best, "empty": empty}
        whole = everything(benchmark.space)
        row["open"] = float(np.mean([chosen == every for chosen, every in zip(allowed, whole, strict=True)]))
        first = all(chosen == every[: len(chosen)] for chosen, every in zip(allowed, whole, strict=True))
        row["listed"] = first and allowed != whole
        parts.append(row)
        empty = False
    return parts, words


def _allowed(benchmark: Benchmark, text: str) -> Allowed:
    return tuple(options or () for options in parse_options(benchmark.space, text))


def both_scores(benchmark: Benchmark, source: str, task: str) -> NDArray[np.float64]:
    """Returns the validation scores on two tasks of the architectures that have both: shape (2, n)."""
    scores = np.array([benchmark.scores(name, "validation") for name in (source, task)])
    return scores[:, ~np.isnan(scores).any(axis=0)]


def concentration(benchmark: Benchmark, task: str, text: str, shares: Sequence[float]) -> NDArray[np.float64]:
    """Returns, for each share of the whole space's best architectures, the share of a part that is among them.

    Of both, only architectures with a score count; NaN where the part has none.

    Args:
        benchmark: The benchmark.
        task: Name of the task.
        text: The part, as `format_options` writes it.
        shares: In (0, 1].
    """
    scores = benchmark.scores(task, "validation")
    found = scores[benchmark.space.members(_allowed(benchmark, text)) & ~np.isnan(scores)]
    if not found.size:
        return np.full(len(shares), np.nan)
    return np.array([(found >= benchmark.threshold(task, "validation", share)).mean() for share in shares])


def outcomes(study: Study) -> pd.DataFrame:
    """Measures how soon each compared run found a top architecture, and how good the one is that it returns.

    Returns:
        One row a run, with the columns of `LABELS`: `status`, whether it is done or under way; `made`, its evaluations;
        `top`, the first evaluation among the top 0.1% by validation score (NaN: none was); `archs`, the measure of the
        paper's table 2: the first evaluation with the optimum of the space, else `top`, else `made`; `accuracy`, the
        reported score of what the run would have returned then; `score`, that of the architecture which it returns in
        the end; `rank`, that score's among the reported scores of the whole space, 1 being the best, and infinite for a
        run that returns none.
    """
    rows = []
    runs = study.runs.set_index("run")
    for run, made in study.incumbents.groupby("run", sort=False):
        told = runs.loc[str(run)]
        benchmark, task = benchmarks.get(str(told["benchmark"])), str(told["task"])
        validation, reported = made["validation"].to_numpy(), made["reported"].to_numpy()
        threshold, optimum = benchmark.threshold(task, "validation", TOP), benchmark.optimum(task, "validation")[1]
        top, best = (np.flatnonzero(validation >= bound) for bound in (threshold, optimum))
        archs = int((best if best.size else top)[0]) + 1 if top.size else len(made)
        every = benchmark.scores(task, benchmark.task(task).reported)
        rows.append(
            {"run": run, **{name: told[name] for name in (*LABELS[1:], "status")}}
            | {"made": len(made), "top": top[0] + 1 if top.size else np.nan, "archs": archs}
            | {"accuracy": float(reported[archs - 1]), "score": float(reported[-1])}
            | {"rank": np.inf if np.isnan(reported[-1]) else float((every > reported[-1]).sum() + 1)}
        )
    return pd.DataFrame(rows)
