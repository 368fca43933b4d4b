import pickle
import sys

import numpy as np
import pytest
from nas_bench_graph.architecture import Arch, gnn_list, gnn_list_proteins

from surrogates.benchmarks.nas_bench_graph import nas_bench_graph
from surrogates.errors import InputError

TASKS = ["cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins"]


class Plain(pickle.Unpickler):
    def find_class(self, module, name):
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def published(task):
    """The package's file, read by numpy."""
    path = nas_bench_graph.sources()[TASKS.index(task)]
    with path.open("rb") as file:
        return Plain(file).load()


def test_has_the_nine_published_tasks():
    assert list(nas_bench_graph.tasks) == TASKS


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_the_files(task):
    """Random descriptions, found in the file by the package's own hash."""
    records, rng = published(task), np.random.default_rng(4)
    names = gnn_list_proteins if task == "proteins" else gnn_list
    links = [[0, *(int(rng.integers(i + 1)) for i in (1, 2, 3))] for _ in range(3000)]
    ops = [rng.choice([name for name in names if name != "skip" or i], 4).tolist() for i in range(3000)]
    archs = [
        nas_bench_graph.space.parse(f"links={','.join(map(str, link))} ops={','.join(op)}")
        for link, op in zip(links, ops, strict=True)
        if op != ["skip"] * 4
    ]
    found = [records[Arch(link, op).valid_hash()] for link, op in zip(links, ops, strict=True) if op != ["skip"] * 4]
    answer = nas_bench_graph.query(archs, task)
    assert answer.validation.tolist() == [record["valid_perf"] for record in found]
    assert answer.test.tolist() == [record["perf"] for record in found]
    assert answer.latency.tolist() == [record["latency"] for record in found]
    np.testing.assert_allclose(answer.parameters, [1e6 * record["para"] for record in found], rtol=1e-12)
    assert np.isnan(answer.seconds).all()
    assert np.isnan(answer.flops).all()


def test_every_architecture_has_scores_but_for_proteins():
    for task in TASKS[:-1]:
        assert not np.isnan(nas_bench_graph.scores(task, "test")).any()


def test_proteins_knows_the_architectures_of_five_operations():
    archs = nas_bench_graph.space.enumerate()
    five = np.isin(archs[:, 4:], [gnn_list.index(op) for op in gnn_list_proteins]).all(axis=1)
    known = ~np.isnan(nas_bench_graph.scores("proteins", "validation"))
    assert known.sum() == 2021
    np.testing.assert_array_equal(known, five)
    assert nas_bench_graph.tasks["proteins"].metric == "ROC-AUC"


def test_parameters_are_counts():
    """Whole numbers on all tasks but physics, where the published means of three seeds end in thirds."""
    for task in TASKS:
        parameters = nas_bench_graph.query(nas_bench_graph.space.enumerate(), task).parameters
        parameters = parameters[~np.isnan(parameters)]
        counts = parameters * 3 if task == "physics" else parameters
        np.testing.assert_allclose(counts, np.round(counts), rtol=0, atol=1e-5)
        assert parameters.min() > 1000


@pytest.mark.parametrize(
    "content",
    [None, [], {1: 2}, {"a": {}}, {0: {"valid_perf": "high", "perf": 1, "latency": 1, "para": 1}}, {88888: {}}],
)
def test_a_file_with_other_content_is_one_clear_error(tmp_path, monkeypatch, content):
    path = tmp_path / "cora.bench"
    path.write_bytes(pickle.dumps(content))
    sources = [path, *nas_bench_graph.sources()[1:]]
    monkeypatch.setattr(nas_bench_graph, "sources", lambda: sources)
    with pytest.raises(InputError, match=r"cora\.bench.*pip install"):
        nas_bench_graph.convert()


@pytest.mark.parametrize("value", [np.float32(1), np.int64(1), np.array([1.0]), np.array(["x"], dtype=object)[0:1]])
def test_only_float64_scalars_are_read(tmp_path, monkeypatch, value):
    path = tmp_path / "cora.bench"
    record = {"valid_perf": value, "perf": 1.0, "latency": 1.0, "para": 1.0}
    path.write_bytes(pickle.dumps({0: record}, protocol=3).replace(b"numpy._core", b"numpy.core"))
    monkeypatch.setattr(nas_bench_graph, "sources", lambda: [path])
    with pytest.raises(InputError, match=r"cora\.bench"):
        nas_bench_graph.convert()


def test_package_is_not_imported_by_the_benchmark():
    """In a fresh interpreter, as this file imports it."""
    import subprocess

    code = (
        "import sys; from surrogates.benchmarks import benchmarks; b = benchmarks.get('nas-bench-graph'); "
        "b.checksum; assert 'nas_bench_graph' not in sys.modules; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
