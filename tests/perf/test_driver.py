"""Speed of the driver: `make bench`."""

import subprocess
import sys

import pytest

from bench.budget import Budget
from bench.driver import Driver
from bench.executors import Inline
from bench.journal import Journal
from bench.methods import methods
from bench.study import Run
from surrogates.benchmarks import benchmarks


def some_runs(name, seeds, evaluations):
    table, method = benchmarks.get("analog-nasbench"), methods.get(name)
    return [Run(method, method.complete({}), table, "clean", s, Budget(evaluations=evaluations)) for s in range(seeds)]


def drive(path, runs):
    journal = Journal(path)
    try:
        return Driver(journal, Inline(), path.parent).drive(runs)
    finally:
        journal.close()


def test_aging_evolution_500_runs_of_1000_evaluations(benchmark, tmp_path):
    runs = some_runs("regularized_evolution", 500, 1000)
    done = benchmark.pedantic(drive, args=(tmp_path / "journal.sqlite", runs), rounds=1)
    assert done["done"] == 500


def test_skipping_1000_finished_runs(benchmark, tmp_path):
    runs = some_runs("random_search", 1000, 100)
    drive(tmp_path / "journal.sqlite", runs)
    skipped = benchmark.pedantic(drive, args=(tmp_path / "journal.sqlite", runs), rounds=5)
    assert skipped["skipped"] == 1000


def test_the_front_door_opens(benchmark):
    benchmark.pedantic(
        subprocess.run, args=([sys.executable, "-m", "nascent", "--help"],), kwargs={"capture_output": True}, rounds=5
    )


@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler"])
def test_a_peer_optuna_500_trials_in_memory(benchmark, sampler):
    optuna = pytest.importorskip("optuna", reason="pip install optuna to compare")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = benchmarks.get("analog-nasbench")

    def objective(trial):
        arch = tuple(trial.suggest_int(f"edge{i}", 0, 4) for i in range(6))
        return table.query([arch], "clean").validation[0]

    def search():
        study = optuna.create_study(direction="maximize", sampler=getattr(optuna.samplers, sampler)(seed=0))
        study.optimize(objective, n_trials=500)

    benchmark.pedantic(search, rounds=1)
