"""A study that tunes, killed in the middle of a tuning step, ends as one that was not."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.llm

STUDY = """
name = "killed"
[[grid]]
methods = [{ name = "exact_ce", candidates = 8, elite = "share", share = 0.5, held_out = 0.0, epochs = 20 }]
models = ["decoder"]
benchmarks = { trans-nas-bench-101-macro = ["class_scene"] }
seeds = 2
budget = { evaluations = 24 }
"""
"""Steps of a run: ask 0, evaluate 1, tune 2, ask 3, evaluate 4, tune 5, ask 6, evaluate 7."""


def start(study: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nascent", "run", study, "--out", out]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


def journalled(out: Path, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(out / "journal.sqlite")
    try:
        return sorted(db.execute(query).fetchall())
    except sqlite3.OperationalError:
        return []  # the tables are not made yet
    finally:
        db.close()


def test_a_study_killed_in_the_middle_of_tuning_ends_like_one_that_was_not(setup_done: None, tmp_path: Path) -> None:
    study, whole, killed = tmp_path / "study.toml", tmp_path / "whole", tmp_path / "killed"
    study.write_text(STUDY)
    end(start(study, whole))
    process, asked = start(study, killed), "SELECT run FROM evaluations WHERE step = 4"
    try:
        while not ((killed / "journal.sqlite").exists() and journalled(killed, asked)):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    assert set(journalled(killed, asked)) - set(journalled(killed, "SELECT run FROM tunes WHERE step = 5"))
    end(start(study, killed))
    for table, columns in {
        "tunes": "run, step, data_hash, losses, log_likelihoods, generator",
        "draws": "run, step, generator, distribution",
        "distributions": "hash, log_p, sampled",
        "completions": "run, step, position, prompt_hash, text, prompt_tokens, completion_tokens",
        "evaluations": "run, step, position, arch, validation",
    }.items():
        query = f"SELECT {columns} FROM {table}"
        assert journalled(killed, query) == journalled(whole, query)
    generators = journalled(whole, "SELECT DISTINCT generator FROM tunes")
    assert len(generators) == 4
    assert (None,) not in generators
    # Of each run, the last state alone is left.
    left = [{str(file.relative_to(out)) for file in out.glob("generators/*/*")} for out in (whole, killed)]
    assert left[0] == left[1]
    assert len(left[0]) == 2
