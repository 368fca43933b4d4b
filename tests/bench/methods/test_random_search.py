import numpy as np
import pytest

from bench.budget import Budget
from bench.methods import methods
from bench.study import Run
from surrogates.benchmarks import benchmarks

TABLES = [
    (b, task)
    for b in map(benchmarks.get, benchmarks.names())
    if b.kind == "table"
    for task in b.tasks
    if not np.isnan(b.scores(task, "validation")).any()
]


def expected_best(scores, n):
    """Returns the mean of the best of n draws with replacement: the sum of s_(i) (F(i)^n - F(i-1)^n)."""
    ordered = np.sort(scores)
    share = np.arange(len(ordered) + 1) / len(ordered)
    return ordered @ np.diff(share**n)


@pytest.mark.parametrize(("table", "task"), TABLES, ids=[f"{b.name}-{t}" for b, t in TABLES])
def test_the_best_of_n_draws_agrees_with_mathematics(drive, tmp_path, table, task):
    from bench.journal import read

    method, seeds = methods.get("random_search"), 300
    drive([Run(method, {}, table, task, seed, Budget(evaluations=100)) for seed in range(seeds)])
    with read(tmp_path / "journal.sqlite") as db:
        found = db.execute("SELECT validation FROM evaluations ORDER BY run, step").fetchall()
    best = np.maximum.accumulate(np.array(found, dtype=float).reshape(seeds, 100), axis=1)
    for n in (1, 10, 100):
        sample = best[:, n - 1]
        # 4 standard errors: over all tables and n, a false alarm has a chance below .5%
        assert (
            abs(sample.mean() - expected_best(table.scores(task, "validation"), n))
            < 4 * sample.std(ddof=1) / seeds**0.5
        )
