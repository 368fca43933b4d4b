"""The results of a study as tidy tables: journal -> pandas -> Parquet."""

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench import journal
from bench.methods import methods
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError

JOURNAL = "journal.sqlite"
LIMITS = ("evaluations", "simulated_seconds", "tokens", "wall_seconds")
"""Limits of a budget; each has a column `budget_...`."""

CONFIGURATION = (
    "benchmark",
    "task",
    "method",
    "method_parameters",
    "model",
    *(f"budget_{limit}" for limit in LIMITS),
    "seed",
)
"""Columns that say what a run was asked to do; results are sorted by them."""

SCHEMA = pa.schema(
    [
        ("study", pa.string()),
        ("run", pa.string()),
        ("benchmark", pa.string()),
        ("task", pa.string()),
        ("method", pa.string()),
        ("method_parameters", pa.string()),
        ("model", pa.string()),
        *((f"budget_{limit}", pa.float64()) for limit in LIMITS),
        ("seed", pa.int64()),
        ("method_version", pa.string()),
        ("benchmark_version", pa.string()),
        ("data", pa.string()),
        ("revision", pa.string()),
        ("evaluation", pa.int64()),
        ("arch", pa.string()),
        ("proposal", pa.string()),
        ("fidelity", pa.int64()),
        ("validation", pa.float64()),
        ("test", pa.float64()),
        ("seconds", pa.float64()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("tokens", pa.int64()),
        ("parameters", pa.float64()),
        ("failure", pa.string()),
        ("valid", pa.bool_()),
        ("new", pa.bool_()),
    ]
)
"""Columns of the file that `export` writes; `export` says what they mean."""

_PLACE = {"run": "int64", "step": "int64", "position": "int64"}
_TYPES: dict[str, Any] = {
    "evaluations": _PLACE
    | {"fidelity": "Int64"}
    | dict.fromkeys(("validation", "test", "seconds", "parameters"), "float64")
    | dict.fromkeys(("proposal", "arch", "failure"), "str"),
    "completions": _PLACE | {"prompt_tokens": "int64", "completion_tokens": "int64", "seconds": "float64"},
}
"""Types of the journal's columns where pandas cannot infer them from an empty table."""


class Results(NamedTuple):
    """All of a journal, read at one moment.

    Attributes:
        runs: One row a run: the columns of `CONFIGURATION`, the versions, and `run` (start of its key), `status`
            ("running", "done" or "failed"), `reason`, `superseded` (a later run of the journal has the same
            configuration with other versions or data), `evaluations`, `valid_share` and `new_share` of the proposals
            (NaN without proposals), `requests` to a language model, `failed_requests`, `prompt_tokens`,
            `completion_tokens`, `llm_seconds` (sum over requests of the time from request to answer; requests
            overlap) and `wall_seconds`.
        trajectories: One row an evaluation, as `export` describes, without `study`.
        completions: One row an answer of a language model, in order: `run`, `step`, `position`, `model`, `revision`,
            `template`, `prompt`, `sampling`, `text`, `prompt_tokens`, `completion_tokens`, `seconds`, `failure`.
    """

    runs: pd.DataFrame
    trajectories: pd.DataFrame
    completions: pd.DataFrame


def read(path: Path) -> Results:
    """Reads a journal, also while a study writes it.

    Args:
        path: The journal file.

    Raises:
        InputError: There is no journal, it is damaged, or a benchmark in it is not installed.
    """
    with journal.read(path) as db:
        db.execute("BEGIN")  # one snapshot for all three tables
        runs = pd.read_sql_query("SELECT * FROM runs ORDER BY id", db)
        evaluations, completions = (
            pd.read_sql_query(f"SELECT * FROM {table} ORDER BY run, step, position", db, dtype=_TYPES[table])
            for table in ("evaluations", "completions")
        )
    runs = _configured(runs, path)
    evaluations = _evaluations(evaluations, completions, runs)
    runs = _counted(runs, evaluations, completions)
    keys = runs.set_index("id")["run"]
    rank = runs.sort_values([*CONFIGURATION, "run"], na_position="first").index
    order = pd.Series(np.arange(len(runs)), index=runs.loc[rank, "id"])
    evaluations = evaluations.assign(_order=evaluations["id"].map(order)).sort_values(["_order", "evaluation"])
    completions = completions.assign(_order=completions["run"].map(order)).sort_values(["_order", "step", "position"])
    completions["run"] = completions["run"].map(keys)
    return Results(
        runs.loc[rank].drop(columns="id").reset_index(drop=True),
        evaluations[[name for name in SCHEMA.names if name != "study"]].reset_index(drop=True),
        completions.drop(columns=["_order", "prompt_hash"]).reset_index(drop=True),
    )


def trajectories(path: Path) -> pd.DataFrame:
    """Returns one row an evaluation, as `export` describes, without `study`.

    Args:
        path: The journal file.

    Raises:
        InputError: As `read`.
    """
    return read(path).trajectories


def recorded(db: sqlite3.Connection, runs: pd.DataFrame, rows: str) -> Iterator[tuple[int, pd.Series]]:
    """Yields the runs of a journal that have rows of a kind, in the order of the journal.

    Args:
        db: The journal.
        runs: The runs that count, with their `run`.
        rows: A table of the journal, with a condition if only some of its rows count, as SQL.

    Yields:
        The run's number in the journal, and its row of `runs`.
    """
    chosen = runs.set_index("run", drop=False)
    query = f"SELECT id, key FROM runs WHERE id IN (SELECT run FROM {rows}) ORDER BY id"
    for number, key in db.execute(query).fetchall():
        if key[:12] in chosen.index:
            yield number, chosen.loc[key[:12]]


def manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a study's folder; empty when there is none or it is damaged."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def export(folder: Path, file: Path) -> int:
    """Writes the trajectories of a study as Parquet, also while it runs; the file appears whole or not at all.

    Nothing in it depends on the clock, on the machine or on interruptions: two studies of the same configuration with
    the same answers give the same rows in the same order (by configuration, then by evaluation). Columns:

    - `study`: name of the study. `run`: the first 12 digits of the run's key, a hash of its configuration.
    - `benchmark`, `task`, `method`, `method_parameters` (JSON), `model` (null: asks none), `seed`: what was run;
      `budget_evaluations`, `budget_simulated_seconds`, `budget_tokens`, `budget_wall_seconds`: limits (null: none).
    - `method_version`, `benchmark_version`, `data` (SHA-256 of the benchmark's data), `revision` (of the model).
    - `evaluation`: number within the run, from 1. `arch`: the architecture (null: the proposal was none). `proposal`:
      what was proposed, where it was a text or no architecture. `fidelity`: training epochs (null: full training).
    - `validation`, `test`: scores in the task's unit; `parameters`: of the network. Null where unknown.
    - `seconds`: simulated training time up to and with this evaluation (null: the benchmark knows none).
    - `prompt_tokens`, `completion_tokens`, `tokens` (their sum): spent by the run before this evaluation.
    - `failure`: why there is no score. `valid`: the proposal is an architecture of the space. `new`: it is valid, and
      its run has not proposed one before that computes the same function (the space's canonical form).

    Args:
        folder: The study's folder.
        file: The Parquet file to write.

    Returns:
        Number of rows.

    Raises:
        InputError: The journal or the file's folder cannot be used, or the file is one that the study itself needs.
    """
    if file.resolve() in {path.resolve() for path in (*folder.glob(f"{JOURNAL}*"), folder / "manifest.json")}:
        raise InputError(f"{file}: the study's own file; name another, e.g. {folder / 'trajectories.parquet'}")
    found = trajectories(folder / JOURNAL)
    study = manifest(folder).get("study")
    write_parquet(found, study if isinstance(study, str) else folder.absolute().name, file)
    return len(found)


def write_parquet(frame: pd.DataFrame, study: str, file: Path) -> None:
    """Writes trajectories with the study's name, as `export` does."""
    table = pa.Table.from_pandas(frame.assign(study=study), schema=SCHEMA, preserve_index=False)
    # The schema pandas adds holds library versions, which say nothing of the results.
    table = table.replace_schema_metadata(None)
    write(file, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def write(file: Path, fill: Callable[[Path], object]) -> None:
    """Lets `fill` write a temporary file beside `file`, and then puts it in its place.

    Raises:
        InputError: The file cannot be written.
    """
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        os.close(handle)
        temporary = Path(name)
        fill(temporary)
        temporary.chmod(0o644)
        temporary.replace(file)
    except OSError as error:
        raise InputError(
            f"{file}: cannot be written ({error.strerror or error}); free space or name another"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def defaults(method: str) -> dict[str, object]:
    """Returns a method's parameters with their defaults; none of a method that is not here any more."""
    return methods.get(method).parameters if method in methods.names() else {}


def _configured(runs: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Replaces the JSON of each run by columns; a parameter that its method has got since is at its default."""
    rows = []
    known = cache(defaults)
    for run in runs.itertuples():
        try:
            config = json.loads(str(run.config))
            rows.append(
                {
                    **{name: config[name] for name in ("benchmark", "task", "method", "model", "seed")},
                    **{name: config[name] for name in ("method_version", "benchmark_version", "data", "revision")},
                    "method_parameters": json.dumps(known(config["method"]) | config["parameters"], sort_keys=True),
                    **{f"budget_{limit}": config["budget"].get(limit) for limit in LIMITS},
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: the configuration of run {run.key} is damaged ({error!r})") from error
    names = [*CONFIGURATION, "method_version", "benchmark_version", "data", "revision"]
    found = pd.DataFrame(rows, columns=pd.Index(names), index=runs.index)
    found = found.astype({f"budget_{limit}": float for limit in LIMITS} | {"seed": "int64"})
    found = pd.concat([runs[["id", "status", "reason", "wall_seconds"]], found], axis=1)
    # Long enough that no two of a study's keys agree.
    found["run"] = runs["key"].str[:12]
    found["superseded"] = found.duplicated(list(CONFIGURATION), keep="last")
    return found


def _evaluations(evaluations: pd.DataFrame, completions: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    columns = [*CONFIGURATION, "run", "method_version", "benchmark_version", "data", "revision"]
    spent = completions.groupby(["run", "step"])[["prompt_tokens", "completion_tokens"]].sum()
    spent = spent.groupby("run").cumsum().reset_index().sort_values("step")
    found = pd.merge_asof(
        evaluations.sort_values("step", kind="stable"),
        spent,
        on="step",
        by="run",
        allow_exact_matches=False,
    )
    found = found.sort_values(["run", "step", "position"]).rename(columns={"run": "id"})
    found = found.merge(runs[["id", *columns]], on="id", validate="many_to_one")
    # A run that has asked nothing yet has spent nothing: this 0 is known, not filled in.
    counts = ["prompt_tokens", "completion_tokens"]
    found[counts] = found[counts].fillna(0).astype("int64")
    found["tokens"] = found["prompt_tokens"] + found["completion_tokens"]
    found["evaluation"] = found.groupby("id").cumcount() + 1
    found["seconds"] = _cumulative_seconds(found)
    found["valid"] = found["arch"].notna()
    again = _canonical(found).to_frame("canonical").assign(id=found["id"]).duplicated()
    found["new"] = found["valid"] & ~again
    return found


def _cumulative_seconds(evaluations: pd.DataFrame) -> pd.Series:
    """Returns the simulated time spent; an evaluation without a network trained none, as the budget counts it."""
    timed = pd.Series(False, index=evaluations.index)
    for name, rows in evaluations.groupby("benchmark"):
        tasks = benchmarks.get(str(name)).tasks
        # The user's own table may have lost a task since.
        known = {task for task in tasks if tasks[task].seconds}
        timed[rows.index] = rows["task"].isin(known)
    spent = evaluations["seconds"].fillna(0).groupby(evaluations["id"]).cumsum()
    return spent.where(timed)


def _canonical(evaluations: pd.DataFrame) -> pd.Series:
    """Returns the canonical form of each architecture as text."""
    found = evaluations["arch"].copy()
    for benchmark, archs in evaluations.groupby("benchmark")["arch"]:
        space = benchmarks.get(str(benchmark)).space

        @cache
        def canonical(text: str, space: Any = space) -> str:
            return space.format(space.canonical(space.parse(text)))

        found[archs.index] = archs.map(canonical, na_action="ignore")
    return found


def _counted(runs: pd.DataFrame, evaluations: pd.DataFrame, completions: pd.DataFrame) -> pd.DataFrame:
    made = evaluations.groupby("id").agg(
        evaluations=("evaluation", "size"), valid_share=("valid", "mean"), new_share=("new", "mean")
    )
    asked = completions.assign(failed=completions["failure"].notna())
    asked = asked.groupby("run").agg(
        requests=("step", "size"),
        failed_requests=("failed", "sum"),
        prompt_tokens=("prompt_tokens", "sum"),
        completion_tokens=("completion_tokens", "sum"),
        llm_seconds=("seconds", "sum"),
    )
    found = runs.join(made, on="id").join(asked, on="id")
    # Rows that are not there are nothing asked and nothing made.
    sums = ["evaluations", *asked.columns]
    found[sums] = found[sums].fillna(0)
    return found.astype({name: "int64" for name in sums if name != "llm_seconds"} | {"llm_seconds": float})
