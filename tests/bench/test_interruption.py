"""Studies that are killed at any moment go on as if they had not been."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

CLASSICAL = """
name = "killed"
[[grid]]
methods = ["random_search", "regularized_evolution", "local_search"]
benchmarks = { nas-bench-graph = ["cora"], analog-nasbench = ["clean"] }
seeds = 20
budget = { evaluations = 300 }
"""

ASKING = """
name = "killed"
[[grid]]
methods = ["genius"]
models = ["smollm2"]
benchmarks = { nas-bench-graph = ["cora"] }
seeds = 3
budget = { evaluations = 8 }
"""


def start(study, out):
    command = [sys.executable, "-m", "nascent", "run", study, "--out", out]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(study, out):
    process = start(study, out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def trajectories(out):
    subprocess.run([sys.executable, "-m", "nascent", "export", out, "--parquet", out / "all.parquet"], check=True)
    return pd.read_parquet(out / "all.parquet")


def journalled(out, table):
    """Returns the rows of a journal so far, in the order they were written."""
    path = out / "journal.sqlite"
    if not path.exists():
        return []
    db = sqlite3.connect(path)
    try:
        return db.execute(f"SELECT * FROM {table}").fetchall()
    except sqlite3.OperationalError:
        return []  # killed before the tables were made
    finally:
        db.close()


def test_a_study_killed_at_random_moments_ends_like_one_that_was_not(tmp_path):
    study, whole, killed = tmp_path / "study.toml", tmp_path / "whole", tmp_path / "killed"
    study.write_text(CLASSICAL)
    began = time.monotonic()
    finish(study, whole)
    length = time.monotonic() - began
    rng, before, interrupted = np.random.default_rng(0), [], 0
    for _ in range(6):
        process = start(study, killed)
        time.sleep(length * rng.uniform(0.2, 0.9))
        interrupted += process.poll() is None
        process.kill()
        process.communicate()
        now = journalled(killed, "evaluations")
        assert now[: len(before)] == before
        before = now
    assert interrupted
    finish(study, killed)
    after = journalled(killed, "evaluations")
    assert after[: len(before)] == before
    assert len({row[:3] for row in after}) == len(after)
    pd.testing.assert_frame_equal(trajectories(whole), trajectories(killed))


@pytest.fixture(scope="module")
def asked(require_llm, tmp_path_factory):
    """Returns a study that asks a model, and the folder of its uninterrupted run."""
    folder = tmp_path_factory.mktemp("asked")
    study, out = folder / "study.toml", folder / "out"
    study.write_text(ASKING)
    finish(study, out)
    return study, out


@pytest.mark.llm
def test_a_study_that_asks_a_model_survives_its_own_death_and_the_servers(asked, tmp_path):
    (study, whole), killed = asked, tmp_path / "killed"
    process = start(study, killed)
    answered = wait_for_answers(killed, 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    process = start(study, killed)
    wait_for_answers(killed, len(answered) + 4)
    kill_servers(process)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors

    after = journalled(killed, "completions")
    assert [row for row in after if row[:3] in {a[:3] for a in answered}] == sorted(answered)
    assert len({row[:3] for row in after}) == len(after) == 3 * 8
    pd.testing.assert_frame_equal(trajectories(whole), trajectories(killed))


def wait_for_answers(out, count):
    until = time.monotonic() + 200
    while len(found := journalled(out, "completions")) < count:
        assert time.monotonic() < until, "no answers"
        time.sleep(0.02)
    return found


def kill_servers(process):
    """Kills the servers that a study has started: each is a group of processes, led by a child of the study's."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    for group in map(int, children.stdout.split()):
        os.killpg(group, signal.SIGKILL)


@pytest.mark.llm
def test_a_finished_study_is_replayed_without_a_model(asked, tmp_path):
    study, whole = asked
    out = shutil.copytree(whole, tmp_path / "out", ignore=shutil.ignore_patterns("logs"))
    db = sqlite3.connect(out / "journal.sqlite", isolation_level=None)
    db.execute("DELETE FROM evaluations")
    db.execute("UPDATE runs SET status='running'")
    db.close()
    finish(study, out)
    assert not (out / "logs").exists()
    pd.testing.assert_frame_equal(trajectories(out), trajectories(whole))
