import numpy as np
import pytest

from surrogates import store
from surrogates.benchmarks.nas_bench_201 import NasBench201Table, nas_bench_201
from surrogates.errors import InputError
from surrogates.fitted import NAS_BENCH_201
from surrogates.spaces.nas_bench_201 import nas_bench_201 as space
from surrogates.store import Column, Layout, Row, Source, Table
from surrogates.stored_benchmark import table_or

COLUMNS = (
    *(Column("cifar10", split, epoch, 888) for split in ("validation", "test") for epoch in (11, 12, 200)),
    *(Column("cifar10@12", split, epoch, 111) for split in ("validation", "test") for epoch in (11, 12)),
)


@pytest.fixture(scope="module")
def table():
    values = np.arange(len(COLUMNS) * space.size, dtype=np.float64).reshape(len(COLUMNS), -1)
    return Table("nas-bench-201", space.name, "", "", "", "", "", space.size, {}, "0" * 64, COLUMNS, values)


@pytest.fixture(scope="module")
def benchmark_(table):
    return NasBench201Table(table, NAS_BENCH_201.tasks, "source")


def test_fidelity_12_is_the_end_of_the_short_schedule_and_others_are_of_the_long_one(table, benchmark_):
    for fidelity, name in ((11, "cifar10"), (12, "cifar10@12"), (200, "cifar10"), (None, "cifar10")):
        for split in ("validation", "test"):
            column = next(i for i, c in enumerate(COLUMNS) if c[:3] == (name, split, fidelity or 200))
            answer = benchmark_.query(space.enumerate(), "cifar10", fidelity)
            np.testing.assert_array_equal(getattr(answer, split), table.values[column])


def test_every_point_of_both_schedules_is_there(table, benchmark_):
    for place, column in enumerate(COLUMNS):
        np.testing.assert_array_equal(benchmark_.values(column), table.values[place])


def test_the_short_schedule_is_no_task_but_its_seeds_can_be_asked_for(benchmark_):
    assert list(benchmark_.tasks) == ["cifar10"]
    task = benchmark_.tasks["cifar10"]
    assert (task.metric, task.unit, task.fidelities, task.seeds) == ("accuracy", "%", (11, 12, 200), (111, 888))


def test_a_seed_that_was_not_run_is_unknown_and_not_another_one(benchmark_):
    arch = space.enumerate()[:2]
    assert np.isnan(benchmark_.query(arch, "cifar10", 200, seed=111).validation).all()
    assert np.isnan(benchmark_.query(arch, "cifar10", 12, seed=888).validation).all()
    assert not np.isnan(benchmark_.query(arch, "cifar10", 12, seed=111).validation).any()


def test_objectives_are_those_fitted(benchmark_):
    archs = space.enumerate()[::1000]
    found = benchmark_.objectives(archs, "cifar10")
    assert found.keys() == benchmark_.objective_units.keys()
    for name, values in NAS_BENCH_201.objectives(archs, "cifar10").items():
        np.testing.assert_array_equal(found[name], values)


class One(Source):
    format = "one cell"
    layouts = (Layout("nas-bench-201", space.name, COLUMNS),)

    def __init__(self, path):
        self.path = path

    def files(self):
        return [self.path]

    def rows(self, done):
        yield Row("nas-bench-201", 5, np.ones(len(COLUMNS)))


def test_the_table_answers_as_soon_as_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    assert table_or(NAS_BENCH_201, {}, "") is NAS_BENCH_201
    (tmp_path / "one").write_text("")
    store.add(One(tmp_path / "one"))
    answering = table_or(NAS_BENCH_201, NAS_BENCH_201.tasks, "source", NasBench201Table)
    assert (answering.kind, answering.source) == ("table", "source")
    assert f"cifar10 {space.size - 1:,}" in answering.note
    (tmp_path / "home" / "data" / "nas-bench-201" / "values.npy").write_bytes(b"")
    with pytest.raises(InputError, match="nascent data remove nas-bench-201"):
        table_or(NAS_BENCH_201, {}, "")


def test_who_answers_says_so():
    assert nas_bench_201.kind in ("table", "surrogate")
    assert "surrogate" in NAS_BENCH_201.note
