import os
import sqlite3

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import results
from analysis.report import report
from bench.budget import Budget
from bench.driver import Driver
from bench.executors import Inline
from bench.journal import Journal
from bench.methods import methods
from bench.study import Run
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError


class Stopped(Exception):
    """Stands for a kill between two steps."""


def stop_after(steps):
    """A progress function that ends the driver after so many steps."""
    seen = []

    def progress(ended, made):
        seen.append(made)
        if len(seen) == steps:
            raise Stopped

    return progress


@pytest.fixture(scope="module")
def found(small_study):
    return results.read(small_study / "journal.sqlite")


def test_there_is_a_row_for_each_evaluation_numbered_within_its_run(found):
    assert len(found.trajectories) == 3 * 3 * 4 * 30 + 6 * 6
    for _, rows in found.trajectories.groupby("run"):
        assert rows["evaluation"].tolist() == list(range(1, len(rows) + 1))
    assert found.trajectories["run"].nunique() == len(found.runs) == 42


def test_a_run_from_before_its_method_had_a_parameter_is_superseded_by_one_with_its_default(tmp_path):
    evolution, graph = methods.get("regularized_evolution"), benchmarks.get("nas-bench-graph")
    run = Run(evolution, {}, graph, "cora", 0, Budget(evaluations=3))
    old = {**run.config, "parameters": {"population": 5}}
    default = evolution.parameters["tournament"]
    journal = Journal(tmp_path / "journal.sqlite")
    journal.register([("old", old), ("new", {**old, "parameters": {"population": 5, "tournament": default}})])
    journal.close()
    runs = results.read(tmp_path / "journal.sqlite").runs
    assert dict(zip(runs["run"], runs["superseded"], strict=True)) == {"old": True, "new": False}
    assert runs["method_parameters"].nunique() == 1


def test_scores_are_those_of_the_benchmark(found):
    rows = found.trajectories.query("task == 'cora'").sample(50, random_state=0)
    table = benchmarks.get("nas-bench-graph")
    scores = table.query([table.space.parse(text) for text in rows["arch"]], "cora")
    for name in ("validation", "test", "parameters"):
        np.testing.assert_array_equal(rows[name], getattr(scores, name))
    assert not np.allclose(rows["validation"], rows["test"])


def test_what_is_unknown_stays_unknown(found):
    assert found.trajectories["seconds"].isna().all()
    analog = found.trajectories.query("benchmark == 'analog-nasbench'")
    assert analog["test"].isna().all()
    unknown = found.trajectories.query("task == 'proteins'")["validation"].isna()
    assert 0.5 < unknown.mean() < 1  # 2,021 of 26,206 architectures have scores
    failed = found.trajectories.query("task == 'proteins'")
    assert (failed["failure"].notna() == unknown).all()
    assert failed["valid"].all()


def test_tokens_are_those_spent_before_the_evaluation(found):
    rows = found.trajectories.query("method == 'genius' and seed == 1")
    assert rows["prompt_tokens"].tolist() == [100, 201, 303, 406, 510, 615]
    assert rows["completion_tokens"].tolist() == [10, 20, 30, 40, 50, 60]
    assert (rows["tokens"] == rows["prompt_tokens"] + rows["completion_tokens"]).all()
    assert (found.trajectories.query("method == 'random_search'")["tokens"] == 0).all()


def test_an_answer_that_is_no_architecture_is_kept_as_text(found, hostile):
    rows = found.trajectories.query("method == 'genius' and seed == 0")
    assert rows["valid"].tolist() == [False, True, True, True, True, True]
    assert rows["proposal"].iloc[0] == hostile
    assert pd.isna(rows["arch"].iloc[0])


def test_new_means_a_function_that_the_run_has_not_proposed(found):
    for run, rows in found.trajectories.groupby("run"):
        space = benchmarks.get(rows["benchmark"].iloc[0]).space
        seen, expected = set(), []
        for text in rows["arch"]:
            form = None if pd.isna(text) else space.canonical(space.parse(text))
            expected.append(form is not None and form not in seen)
            seen.add(form)
        assert rows["new"].tolist() == expected, run


def test_runs_are_counted(found):
    runs = found.runs.set_index(["method", "task", "seed"])
    one = runs.loc["genius", "clean", 0]
    assert (one["requests"], one["failed_requests"], one["evaluations"]) == (6, 0, 6)
    assert (one["prompt_tokens"], one["completion_tokens"], one["llm_seconds"]) == (615, 60, 3.0)
    assert one["valid_share"] == pytest.approx(5 / 6)
    assert one["new_share"] <= 4 / 6
    other = runs.loc["random_search", "cora", 0]
    assert (other["requests"], other["llm_seconds"], other["evaluations"]) == (0, 0, 30)
    assert other["reason"] == "evaluations"
    assert not found.runs["superseded"].any()


def test_answers_are_in_the_order_of_their_requests(found):
    rows = found.completions.groupby("run")["step"].apply(list)
    assert (rows.map(lambda steps: steps == [0, 2, 4, 6, 8, 10])).all()
    assert set(found.completions["run"]) <= set(found.runs["run"])


def test_the_file_has_the_schema_that_is_documented(small_study, tmp_path):
    file = tmp_path / "out" / "study.parquet"
    assert results.export(small_study, file) == 1116
    table = pq.read_table(file)
    assert table.schema.equals(results.SCHEMA)
    for name in results.SCHEMA.names:
        assert f"`{name}`" in (results.export.__doc__ or "")
    frame = table.to_pandas()
    assert set(frame["study"]) == {"small"}
    assert set(frame["data"]) == {benchmarks.get(b).checksum for b in ("analog-nasbench", "nas-bench-graph")}
    assert frame["seconds"].isna().all()
    assert os.listdir(file.parent) == ["study.parquet"]


def test_an_interrupted_study_exports_the_same_file(classical_study, tmp_path):
    _, runs = classical_study
    files = []
    for name, order in (("whole", runs), ("interrupted", runs[::-1])):
        folder = tmp_path / name
        if name == "interrupted":
            for steps in (3, 7):
                journal = Journal(folder / "journal.sqlite")
                with pytest.raises(Stopped):
                    Driver(journal, Inline(), folder, stop_after(steps)).drive(order)
                journal.close()
        journal = Journal(folder / "journal.sqlite")
        Driver(journal, Inline(), folder).drive(order)
        journal.close()
        (folder / "manifest.json").write_text('{"study": "same"}')
        results.export(folder, tmp_path / f"{name}.parquet")
        files.append((tmp_path / f"{name}.parquet").read_bytes())
    assert files[0] == files[1]


def test_a_journal_can_be_read_while_a_study_writes_it(classical_study, tmp_path):
    _, runs = classical_study
    journal = Journal(tmp_path / "journal.sqlite")
    with pytest.raises(Stopped):
        Driver(journal, Inline(), tmp_path, stop_after(5)).drive(runs)
    found = results.read(tmp_path / "journal.sqlite")  # the journal is still open for writing
    journal.close()
    assert (found.runs["status"] == "running").all()
    assert 0 < len(found.trajectories) < 36 * 30


def test_a_journal_without_evaluations_is_read(classical_study, tmp_path):
    _, runs = classical_study
    journal = Journal(tmp_path / "journal.sqlite")
    journal.register((run.key, run.config) for run in runs)
    found = results.read(tmp_path / "journal.sqlite")
    journal.close()
    assert len(found.runs) == 36
    assert found.trajectories.empty
    assert found.runs["valid_share"].isna().all()
    assert results.export(tmp_path, tmp_path / "empty.parquet") == 0
    assert pq.read_table(tmp_path / "empty.parquet").schema.equals(results.SCHEMA)


def test_an_earlier_version_of_a_run_is_superseded(make_runs, tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    (run,) = make_runs("random_search", seeds=1)
    journal.register([("a" * 64, {**run.config, "method_version": "0"}), (run.key, run.config)])
    found = results.read(tmp_path / "journal.sqlite").runs.sort_values("method_version")
    journal.close()
    assert found["superseded"].tolist() == [True, False]


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100])
def test_what_is_no_journal_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "journal.sqlite").write_bytes(content)
    with pytest.raises(InputError, match="journal"):
        results.export(tmp_path, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_a_damaged_configuration_is_named(damaged_config):
    with pytest.raises(InputError, match="configuration of run"):
        results.read(damaged_config)


def test_a_file_that_cannot_be_written_leaves_nothing(small_study, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"x\.parquet"):
        results.export(small_study, tmp_path / "file" / "x.parquet")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(InputError, match=r"folder\.parquet"):
        results.export(small_study, tmp_path / "folder.parquet")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.parquet"]


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_a_damaged_manifest_says_nothing(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    assert results.manifest(tmp_path) == {}


def test_a_task_that_a_table_has_lost_since_is_no_crash(small_study, tmp_path):
    with sqlite3.connect(small_study / "journal.sqlite") as db, sqlite3.connect(tmp_path / "journal.sqlite") as copy:
        db.backup(copy)
        copy.execute("UPDATE runs SET config = replace(config, '\"cora\"', '\"gone\"')")
    for connection in (db, copy):
        connection.close()
    assert "gone" in set(results.read(tmp_path / "journal.sqlite").trajectories["task"])
    with pytest.raises(InputError, match="gone"):
        report(tmp_path)
