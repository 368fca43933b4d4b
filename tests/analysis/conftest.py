"""Studies that the tests of analysis read, and a space whose scores have closed forms."""

import json
import shutil
import sqlite3
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import results, transfer
from analysis.report import _study, report
from bench import manifest
from bench.budget import Budget
from bench.driver import Driver, run_study
from bench.executors import Inline
from bench.journal import CompletionRow, EvaluationRow, Journal
from bench.llm import models
from bench.methods import methods
from bench.study import Grid, Run, Study
from surrogates.benchmarks import benchmarks
from surrogates.space import Space
from surrogates.subspace import everything, format_options

HOSTILE = '<script>document.title = "broken"</script><img src="http://example.org/x.png" onerror="alert(1)">'


def classical(seeds=4, evaluations=30):
    """A small study of classical methods on three tasks, and its runs."""
    grid = Grid.model_validate(
        {
            "methods": ["random_search", "regularized_evolution", "local_search"],
            "benchmarks": {"analog-nasbench": ["clean"], "nas-bench-graph": ["cora", "proteins"]},
            "seeds": seeds,
            "budget": {"evaluations": evaluations},
        }
    )
    study = Study(name="small", title="A small study", grid=[grid])
    return study, study.runs()


def language_model_runs():
    """Runs of GENIUS and its control, for which `write_answers` makes up what a model said."""
    model = models.get("smollm2")
    return [
        Run(methods.get(name), methods.get(name).complete({}), benchmarks.get("analog-nasbench"), "clean", seed,
            Budget(evaluations=6), model)
        for name in ("genius", "genius_blind")
        for seed in range(3)
    ]  # fmt: skip


def write_answers(journal):
    """Writes rows as the driver does, with made-up answers: a hostile text, a repetition and architectures."""
    space = benchmarks.get("analog-nasbench").space
    runs = language_model_runs()
    rows = journal.register((run.key, run.config) for run in runs)
    for number, run in enumerate(runs):
        row = rows[run.key]
        archs = [tuple(a) for a in space.enumerate()[[7, 7, 500 + number, 9000 + number, 12000 - number]].tolist()]
        scores = run.benchmark.query(archs, run.task).validation
        texts = [HOSTILE, *(space.format(arch) for arch in archs)]
        for i, text in enumerate(texts):
            place, tokens = (row.id, 2 * i, 0), (100 + i, 10, 0.5, None)
            prompt = f"Propose an architecture {HOSTILE}"
            answer = CompletionRow(*place, "smollm2", "1", "genius", "0" * 64, prompt, '{"seed": 1}', text, *tokens)
            journal.write_completion(answer)
            arch = None if i == 0 else text
            score = None if i == 0 else float(scores[i - 1])
            failure = f"no cell: {HOSTILE}" if i == 0 else None
            with journal.transaction():
                evaluation = EvaluationRow(row.id, 2 * i + 1, 0, text, arch, None, score, None, None, None, failure)
                journal.write_evaluations([evaluation])
        journal.finish(row.id, "done", "evaluations", 3.0)


@pytest.fixture(scope="session")
def hostile():
    return HOSTILE


@pytest.fixture(scope="session")
def classical_study():
    return classical()


@pytest.fixture(scope="session")
def small_study(tmp_path_factory) -> Path:
    """The folder of a finished study: classical methods driven for real, answers of a model made up."""
    folder = tmp_path_factory.mktemp("small")
    study, runs = classical()
    journal = Journal(folder / "journal.sqlite")
    Driver(journal, Inline(), folder / "logs").drive(runs)
    write_answers(journal)
    journal.close()
    manifest.write(folder / "manifest.json", study, runs, ["nascent", "run", "<b>small</b>"])
    return folder


@pytest.fixture(scope="session")
def reported(small_study, tmp_path_factory) -> Path:
    """The folder of that study with its report."""
    folder = tmp_path_factory.mktemp("reported") / "small"
    shutil.copytree(small_study, folder)
    report(folder)
    return folder


@pytest.fixture
def analog_study(small_study, tmp_path) -> Path:
    """A copy of that study without the tasks of NAS-Bench-Graph, whose claims take seconds to check."""
    folder = tmp_path / "analog"
    shutil.copytree(small_study, folder)
    with sqlite3.connect(folder / "journal.sqlite") as db:
        graph = "SELECT id FROM runs WHERE config LIKE '%nas-bench-graph%'"
        db.execute(f"DELETE FROM evaluations WHERE run IN ({graph})")
        db.execute(f"DELETE FROM runs WHERE id IN ({graph})")
    db.close()
    return folder


@pytest.fixture
def damaged_config(small_study, tmp_path):
    """A journal whose first run has a configuration that says nothing."""

    path = tmp_path / "journal.sqlite"
    shutil.copy(small_study / "journal.sqlite", path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE runs SET config = ? WHERE id = 1", (json.dumps({"method": "random_search"}),))
    db.close()
    return path


@pytest.fixture(scope="session")
def transfer_folder(tmp_path_factory):
    """A study of five controls on two tasks, driven for real, and a LAPT run whose two translations are made up."""
    out = tmp_path_factory.mktemp("transfer")
    source = {"source": "arxiv", "options": 3}
    grid = {
        "methods": [
            {"name": "operation_counts", **source},
            {"name": "operation_counts", **source, "adaptation": False},
            {"name": "operation_counts", "options": 3},
            {"name": "random_subspace", "options": 3},
            {"name": "regularized_evolution", "population": 5, "tournament": 2},
        ],
        "benchmarks": {"nas-bench-graph": ["cora", "citeseer"]},
        "seeds": 4,
        "budget": {"evaluations": 20},
    }
    study = Study(name="principles", title="Principles", grid=[Grid.model_validate(grid)])
    run_study(study, study.runs(), out, Inline())
    lapt, graph = methods.get("lapt"), benchmarks.get("nas-bench-graph")
    run = Run(lapt, lapt.complete(source), graph, "cora", 0, Budget(evaluations=20), models.get("smollm2"))
    whole = format_options(graph.space, tuple(options[:3] for options in everything(graph.space)))
    journal = Journal(out / results.JOURNAL)
    (row,) = journal.register([(run.key, run.config)]).values()
    for step, text in ((3, whole.replace("operation of layer 2: ", "operation of layer 2: pool, ")), (5, whole)):
        told = ("smollm2", "1", transfer.TRANSLATION, "0" * 64, HOSTILE, '{"seed": 1}', text, 9, 9, 0.5, None)
        journal.write_completion(CompletionRow(row.id, step, 0, *told))
    for step, failure in ((0, "cut after 256 tokens"), (1, None)):
        told = ("smollm2", "1", "lapt_patterns", "0" * 64, HOSTILE, '{"seed": 1}', HOSTILE, 9, 9, 0.5, failure)
        journal.write_completion(CompletionRow(row.id, step, 0, *told))
    journal.write_note(row.id, 2, "principles", HOSTILE)
    journal.write_note(row.id, 5, "empty_subspace", whole)
    journal.write_note(row.id, 6, "subspace", whole)
    journal.close()
    return out


@pytest.fixture(scope="session")
def transfer_study(transfer_folder):
    """That study as a report reads it."""
    return _study(transfer_folder, results.read(transfer_folder / results.JOURNAL))


@pytest.fixture(scope="session")
def transfers(transfer_folder, transfer_study):
    """What is measured of its parts."""
    return transfer.measure(transfer_folder / results.JOURNAL, transfer_study)


def outcomes_of(**ranks):
    """Outcomes of methods on one task: label -> (method, parameters, tops, ranks)."""
    made = []
    for label, (method, given, tops, reached) in ranks.items():
        parameters = json.dumps(methods.get(method).complete(given))
        for seed, (top, rank) in enumerate(zip(tops, reached, strict=True)):
            row = {"run": f"{label}{seed}", "label": label, "benchmark": "b", "task": "t", "method": method}
            row |= {"method_parameters": parameters, "model": None, "seed": seed, "status": "done", "made": 50}
            made.append(row | {"top": top, "archs": top, "accuracy": 0.5, "rank": rank})
    return pd.DataFrame(made)


@pytest.fixture(scope="session")
def outcomes():
    return outcomes_of


class Product(Space):
    """All tuples of so many symbols; neighbours differ in one place."""

    description = grammar = ""

    def __init__(self, symbols, places):
        self.name, self.symbols, self.size = f"product_{symbols}_{places}", symbols, symbols**places
        self.all = np.array(list(product(range(symbols), repeat=places)))

    def enumerate(self):
        return self.all

    def neighbours(self, arch):
        return [
            (*arch[:i], new, *arch[i + 1 :]) for i, old in enumerate(arch) for new in range(self.symbols) if new != old
        ]

    def encode(self, archs):
        return np.asarray(archs, dtype=np.float32)

    def format(self, arch):
        return str(arch)

    def parse(self, text):
        raise NotImplementedError

    def canonical(self, arch):
        return arch


@pytest.fixture(scope="session")
def product_space():
    """The class of spaces of tuples."""
    return Product


@pytest.fixture(scope="session")
def cube():
    return Product(4, 4)


@pytest.fixture(scope="session")
def distance(cube):
    """Of each architecture from the first."""
    return (cube.all != 0).sum(axis=1)
