import math
import sqlite3
import time

import numpy as np
import pytest

from bench.active_run import ActiveRun
from bench.budget import Budget
from bench.effects import Archive, Evaluate, Note, ask, evaluate, recall
from bench.executors import ExecutorError, ProcessPool
from bench.journal import Journal
from bench.method import Method
from bench.study import Run
from surrogates.benchmark import Scores
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError


def rows(
    path, query="SELECT run, step, position, proposal, arch, validation, failure FROM evaluations ORDER BY 1, 2, 3"
):
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def a_run(search, benchmark, task="cora", budget=Budget(evaluations=10), version="1", prompts=()):
    return Run(Method(search.__name__, search, version, prompts), {}, benchmark, task, 0, budget)


def test_budgets_of_evaluations_are_spent_exactly(drive, make_runs, tmp_path):
    assert drive(make_runs("regularized_evolution", seeds=4, evaluations=37)) == {"skipped": 0, "done": 4, "failed": 0}
    counts = rows(tmp_path / "journal.sqlite", "SELECT count(*) FROM evaluations GROUP BY run")
    assert counts == [(37,)] * 4


def test_finished_runs_are_skipped_and_more_seeds_add_runs(drive, make_runs):
    drive(make_runs("random_search", seeds=2))
    assert drive(make_runs("random_search", seeds=5)) == {"skipped": 2, "done": 3, "failed": 0}


def test_the_same_runs_give_the_same_journal_inline_and_on_a_pool(drive, make_runs, tmp_path):
    runs = make_runs("local_search") + make_runs("regularized_evolution")
    drive(runs, name="a.sqlite")
    drive(runs, name="b.sqlite")
    drive(runs, ProcessPool(2), name="c.sqlite")
    first = rows(tmp_path / "a.sqlite")
    assert first == rows(tmp_path / "b.sqlite") == rows(tmp_path / "c.sqlite")


def test_runs_with_other_seeds_differ(drive, make_runs, tmp_path):
    drive(make_runs("random_search", seeds=2))
    archs = [r[4] for r in rows(tmp_path / "journal.sqlite")]
    assert archs[:30] != archs[30:]


def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(drive, make_runs, tmp_path):
    runs = make_runs("regularized_evolution", evaluations=40)
    drive(runs, name="whole.sqlite")
    drive(runs, name="cut.sqlite")
    db = sqlite3.connect(tmp_path / "cut.sqlite", isolation_level=None)
    db.execute("DELETE FROM evaluations WHERE step >= 7 + run")
    db.execute("UPDATE runs SET status='running', reason=NULL")
    kept = db.execute("SELECT count(*) FROM evaluations").fetchone()[0]
    db.close()
    asked = []

    class Counting:
        async def query(self, benchmark, archs, task, fidelity):
            asked.extend(archs)
            return benchmark.query(archs, task, fidelity)

        def close(self): ...

    drive(runs, Counting(), name="cut.sqlite")
    whole = rows(tmp_path / "whole.sqlite")
    assert rows(tmp_path / "cut.sqlite") == whole
    assert len(asked) == len(whole) - kept > 0


def test_a_method_that_changed_without_a_new_version_is_found_out(drive, graph, tmp_path):
    def changing(problem, rng):
        while True:
            yield from evaluate([problem.space.sample(rng)])

    run = a_run(changing, graph)
    drive([run])
    db = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    other = graph.space.format(tuple(graph.space.enumerate()[0].tolist()))
    db.execute("UPDATE runs SET status='running'")
    db.execute("UPDATE evaluations SET arch=? WHERE step=3", (other,))
    db.close()
    with pytest.raises(InputError, match=r"step 3.*raise its version"):
        drive([run])


def test_texts_that_are_no_architecture_cost_budget_are_journalled_and_end_nothing(drive, graph, tmp_path):
    good = graph.space.format(tuple(graph.space.enumerate()[5].tolist()))
    seen = []

    def talker(problem, rng):
        while True:
            seen.extend((yield from evaluate(["rm -rf /", good, ""])))

    assert drive([a_run(talker, graph, budget=Budget(evaluations=7))])["done"] == 1
    found = rows(tmp_path / "journal.sqlite")
    assert [r[3] for r in found] == ["rm -rf /", good, "", "rm -rf /", good, "", "rm -rf /"]
    assert [r[6] is None for r in found] == [False, True, False, False, True, False, False]
    assert seen[0].arch is None
    assert seen[0].failure
    assert math.isnan(seen[0].score)
    assert seen[1].score == graph.query([graph.space.parse(good)], "cora").validation[0]


def test_what_is_no_architecture_is_a_failure_not_a_crash(drive, graph, tmp_path):
    def wild(problem, rng):
        while True:
            yield Evaluate([(1, 2), [0], None, (99,) * 8, (-1,) * 8, problem.space.sample(rng)])  # pyright: ignore

    assert drive([a_run(wild, graph, budget=Budget(evaluations=6))])["done"] == 1
    assert [r[6] is None for r in rows(tmp_path / "journal.sqlite")] == [False] * 5 + [True]


def test_a_run_that_proposed_no_architectures_goes_on_where_it_stopped(drive, graph, tmp_path):
    seen = []

    def wild(problem, rng):
        while True:
            answer = yield from evaluate([(1, 2), (-1,) * 8, problem.space.sample(rng)])
            seen.append(answer)

    run = a_run(wild, graph, budget=Budget(evaluations=6))
    drive([run])
    whole = rows(tmp_path / "journal.sqlite")
    db = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    db.execute("DELETE FROM evaluations WHERE step = 1")
    db.execute("UPDATE runs SET status='running'")
    db.close()
    drive([run])
    assert rows(tmp_path / "journal.sqlite") == whole
    live, replayed = ([e.arch for e in answer] for answer in seen)
    assert live == replayed


@pytest.mark.parametrize("effect", [[(0,) * 8], Evaluate(arch for arch in ()), None])  # pyright: ignore[reportArgumentType]
def test_a_method_that_yields_no_effect_fails_alone(drive, make_runs, graph, tmp_path, effect):
    def confused(problem, rng):
        yield effect

    runs = [a_run(confused, graph), *make_runs("random_search", seeds=2)]
    assert drive(runs) == {"skipped": 0, "done": 2, "failed": 1}
    assert "no effect" in str(rows(tmp_path / "journal.sqlite", "SELECT reason FROM runs WHERE status = 'failed'"))


def test_an_unknown_score_is_a_failure_with_its_reason(drive, make_runs, tmp_path):
    drive(make_runs("random_search", seeds=1, task="proteins", evaluations=60))
    found = rows(tmp_path / "journal.sqlite")
    assert all((r[5] is None) == (r[6] is not None) for r in found)
    assert any("knows no score" in (r[6] or "") for r in found)


def test_a_method_that_breaks_fails_alone_and_is_tried_again(drive, make_runs, graph):
    def broken(problem, rng):
        yield from evaluate([problem.space.sample(rng)])
        raise ZeroDivisionError("of its own making")

    runs = [a_run(broken, graph), *make_runs("random_search", seeds=2)]
    assert drive(runs) == {"skipped": 0, "done": 2, "failed": 1}
    assert drive(runs) == {"skipped": 2, "done": 0, "failed": 1}


def test_a_failed_run_keeps_its_error(drive, graph, tmp_path):
    def broken(problem, rng):
        yield from evaluate([])

    drive([a_run(broken, graph)])
    ((status, reason),) = rows(tmp_path / "journal.sqlite", "SELECT status, reason FROM runs")
    assert status == "failed"
    assert "asked for nothing" in reason


def test_a_method_that_asks_without_saying_so_is_an_error(drive, graph):
    def sly(problem, rng):
        yield from ask([])

    def sly_with_prompt(problem, rng):
        from bench.effects import Prompt

        yield from ask([Prompt("genius")])

    assert drive([a_run(sly, graph)])["failed"] == 1
    with pytest.raises(InputError, match="declares no prompts"):
        drive([a_run(sly_with_prompt, graph)])


def test_a_method_that_ends_by_itself_is_done(drive, graph, tmp_path):
    def short(problem, rng):
        yield from evaluate([problem.space.sample(rng)])

    assert drive([a_run(short, graph)])["done"] == 1
    assert rows(tmp_path / "journal.sqlite", "SELECT reason FROM runs") == [("method ended",)]


def test_simulated_seconds_end_a_run_where_the_benchmark_knows_them(drive, graph, tmp_path, monkeypatch):
    def query(archs, task, fidelity=None, seed=None):
        scores = type(graph).query(graph, archs, task, fidelity, seed)
        return scores._replace(seconds=np.full(len(archs), 2.5))

    monkeypatch.setattr(graph, "query", query, raising=False)

    def batches(problem, rng):
        while True:
            yield from evaluate(problem.space.sample(rng) for _ in range(4))

    drive([a_run(batches, graph, budget=Budget(simulated_seconds=14))])
    assert len(rows(tmp_path / "journal.sqlite")) == 6
    assert rows(tmp_path / "journal.sqlite", "SELECT reason FROM runs") == [("simulated_seconds",)]


def test_wall_seconds_end_a_run(drive, make_runs, tmp_path):
    assert drive(make_runs("random_search", seeds=1, wall_seconds=0.2))["done"] == 1
    assert rows(tmp_path / "journal.sqlite", "SELECT reason FROM runs") == [("wall_seconds",)]


def test_waiting_for_its_turn_is_no_time_of_a_run(graph, tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    run = a_run(remembering, graph, budget=Budget(wall_seconds=1))
    ((_, row),) = journal.register([(run.key, run.config)]).items()
    active = ActiveRun(run, row._replace(wall_seconds=0.5), {}, journal)
    time.sleep(0.01)
    assert active.wall_seconds() == 0.5
    active.begin()
    time.sleep(0.01)
    assert active.wall_seconds() > 0.5
    journal.close()


def test_nothing_is_journalled_as_failed_where_nothing_can_be_computed(drive, graph, tmp_path):
    class Nowhere:
        async def query(self, benchmark, archs, task, fidelity) -> Scores:
            raise ExecutorError("no processes")

        def close(self): ...

    with pytest.raises(InputError, match="no processes"):
        drive([a_run(remembering, graph)], Nowhere())
    assert rows(tmp_path / "journal.sqlite") == []


def test_a_benchmark_that_breaks_on_one_architecture_fails_that_one_alone(drive, graph, tmp_path):
    bad = tuple(graph.space.enumerate()[3].tolist())

    class Fragile:
        async def query(self, benchmark, archs, task, fidelity) -> Scores:
            if bad in archs:
                raise RuntimeError("diverged")
            return benchmark.query(archs, task, fidelity)

        def close(self): ...

    def fixed(problem, rng):
        yield from evaluate([tuple(a) for a in graph.space.enumerate()[:6].tolist()])

    drive([a_run(fixed, graph)], Fragile())
    failures = [r[6] for r in rows(tmp_path / "journal.sqlite")]
    assert failures == [None, None, None, "RuntimeError: diverged", None, None]


def remembering(problem, rng):
    best = yield from recall(Archive("citeseer", 3))
    worst = yield from recall(Archive("citeseer", 2, worst=True))
    yield Note("best", problem.space.format(best[0].arch))
    yield from evaluate(e.arch for e in (*best, *worst) if e.arch)


def test_an_archive_holds_the_best_or_worst_of_another_task_and_costs_nothing(drive, graph, tmp_path):
    drive([a_run(remembering, graph, budget=Budget(evaluations=50))])
    scores = graph.scores("citeseer", "validation")
    archs = [graph.space.parse(text) for (text,) in rows(tmp_path / "journal.sqlite", "SELECT arch FROM evaluations")]
    found = scores[graph.space.index(archs)]
    assert found.tolist() == [*np.sort(scores)[:-4:-1], *np.sort(scores)[:2]]
    # The evaluations are of the run's own task.
    told = [v for (v,) in rows(tmp_path / "journal.sqlite", "SELECT validation FROM evaluations")]
    assert told == graph.query(archs, "cora").validation.tolist()


def test_notes_are_journalled_once_also_by_a_run_that_goes_on(drive, graph, tmp_path):
    run = a_run(remembering, graph, budget=Budget(evaluations=50))
    drive([run])
    query = "SELECT run, step, name, text FROM notes"
    before = rows(tmp_path / "journal.sqlite", query)
    best = tuple(graph.space.enumerate()[np.argmax(graph.scores("citeseer", "validation"))].tolist())
    assert before == [(1, 2, "best", graph.space.format(best))]
    db = sqlite3.connect(tmp_path / "journal.sqlite")
    with db:
        db.execute("UPDATE runs SET status = 'running'")
    db.close()
    assert drive([run]) == {"skipped": 0, "done": 1, "failed": 0}
    assert rows(tmp_path / "journal.sqlite", query) == before


def test_an_archive_of_no_task_is_an_error_that_names_the_nearest(drive, graph):
    def lost(problem, rng):
        yield from recall(Archive("corra", 3))

    with pytest.raises(InputError, match=r"lost\.source.*corra.*cora"):
        drive([a_run(lost, graph)])


def test_an_archive_of_a_space_that_cannot_be_listed_is_taken_from_one_sample(drive, tmp_path, monkeypatch):
    """Two runs get the same archive; scores are those of a stand-in, as thousands of networks would take minutes."""
    proxy = benchmarks.get("darts-zero-cost")
    asked = []

    def sums(archs, task, fidelity=None, seed=None):
        asked.append((task, len(archs)))
        scores = np.array([float(sum(arch)) for arch in archs])
        return Scores(scores, scores, *[np.full(len(archs), np.nan)] * 4)

    monkeypatch.setattr(proxy, "query", sums)

    def recalling(problem, rng):
        known = yield from recall(Archive("32px", 4))
        archs = [e.arch for e in known if e.arch]
        assert [e.score for e in known] == sorted(map(sum, archs), reverse=True)
        yield from evaluate(archs)

    runs = [Run(Method("recalling", recalling, "1"), {}, proxy, "16px", s, Budget(evaluations=4)) for s in (0, 1)]
    assert drive(runs) == {"skipped": 0, "done": 2, "failed": 0}
    assert [size for task, size in asked if task == "32px"] == [5000]
    one, two = (rows(tmp_path / "journal.sqlite", f"SELECT arch FROM evaluations WHERE run = {run}") for run in (1, 2))
    assert one == two
