"""Studies that are killed at any moment go on as if they had not been."""

import sqlite3
import subprocess
import sys
import time

import numpy as np
import pandas as pd

CLASSICAL = """
name = "killed"
[[grid]]
methods = ["random_search", "regularized_evolution", "local_search"]
benchmarks = { nas-bench-graph = ["cora"], analog-nasbench = ["clean"] }
seeds = 20
budget = { evaluations = 300 }
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
    for _ in range(4):
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
