"""How long added tables take, beside the official packages on the same results."""

import shutil

import nas_201_api
import nas_201_api.api_utils
import nats_bench
import nats_bench.api_utils
import numpy as np
import pytest
import torch

from surrogates import store
from surrogates.formats import recognise
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.stored_benchmark import StoredBenchmark

COUNT, EPOCHS, SEEDS = 40, 200, (777, 888)
TEXTS = [nas_bench_201.format(tuple(arch)) for arch in nas_bench_201.enumerate().tolist()]


def results(package, index):
    """Trains on CIFAR-10, and on the half of it: official results of one architecture."""
    rng, every = np.random.default_rng(index), range(EPOCHS)

    def series(keys):
        return dict(zip(keys, rng.uniform(1, 99, EPOCHS).tolist(), strict=True))

    found = package.ArchResults(index, TEXTS[index])
    for data_set, names in (("cifar10-valid", ("x-valid", "ori-test")), ("cifar10", ("ori-test",))):
        for seed in SEEDS:
            config = {"channel": 16, "num_cells": 5, "arch_str": TEXTS[index], "class_num": 10}
            trial = package.ResultsCount(data_set, None, None, None, 1.5, 30.5, config, seed, EPOCHS, [0.01])
            trial.update_train_info(series(every), None, series(every), series(every))
            for name in names:
                keys = [f"{name}@{epoch}" for epoch in every]
                trial.update_eval(series(keys), series(keys), series(keys))
            found.update(data_set, seed, trial)
    return found.state_dict()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The same results as the file of NAS-Bench-201 and as the folder of NATS-Bench."""
    file = tmp_path_factory.mktemp("official") / "NAS-Bench-201-v1_1.pth"
    record = {i: {"full": results(nas_201_api.api_utils, i), "less": {"all_results": {}}} for i in range(COUNT)}
    for i, states in record.items():
        states["less"] |= {"arch_index": i, "arch_str": TEXTS[i], "dataset_seed": {}}
    content = {"meta_archs": TEXTS, "arch2infos": record, "evaluated_indexes": list(record)}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    folder = file.with_name("NATS-tss-v1_0-simple")
    folder.mkdir()
    nats_bench.api_utils.pickle_save({"meta_archs": TEXTS}, folder / "meta.pickle")
    for i in range(COUNT):
        nats_bench.api_utils.pickle_save({"200": results(nats_bench.api_utils, i)}, folder / f"{i:06d}.pickle")
    return file, folder


@pytest.fixture(scope="module")
def table(official, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASCENT_HOME", str(tmp_path_factory.mktemp("home")))
        store.add(recognise(official[0]))
        yield lambda: StoredBenchmark(store.open_stored("nas-bench-201"))


def nas_201(official):
    return nas_201_api.NASBench201API(str(official[0]), verbose=False)


def nats(official):
    return nats_bench.create(str(official[1]), "tss", fast_mode=True, verbose=False)


BATCHES = [1, 1000]


@pytest.mark.parametrize("batch", BATCHES)
def test_query_of_the_store(benchmark, table, batch):
    benchmark.group = f"validation, test and seconds of one seed, {batch} architectures"
    archs, opened = nas_bench_201.enumerate()[np.arange(batch) % COUNT], table()
    answer = benchmark(opened.query, archs, "cifar10", 200, 777)
    assert not np.isnan(answer.validation).any()


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("create", [nas_201, nats])
def test_query_of_the_official_packages(benchmark, official, table, create, batch):
    benchmark.group = f"validation, test and seconds of one seed, {batch} architectures"
    api, archs = create(official), [TEXTS[i % COUNT] for i in range(batch)]

    def query():
        searched = [api.get_more_info(text, "cifar10-valid", hp="200", is_random=777) for text in archs]
        trained = [api.get_more_info(text, "cifar10", hp="200", is_random=777) for text in archs]
        return (
            [info["valid-accuracy"] for info in searched],
            [info["test-accuracy"] for info in trained],
            [info["train-all-time"] + info["valid-per-time"] for info in searched],
        )

    found = benchmark(query)
    expected = table().query(nas_bench_201.enumerate()[np.arange(batch) % COUNT], "cifar10", 200, 777)
    np.testing.assert_allclose(found, expected[:3], rtol=1e-12)


def test_opening_the_store(benchmark, table):
    benchmark.group = f"open, {COUNT} architectures"
    assert benchmark(table).tasks


@pytest.mark.parametrize("create", [nas_201, nats])
def test_opening_with_the_official_packages(benchmark, official, create):
    benchmark.group = f"open, {COUNT} architectures"
    assert len(benchmark(create, official)) == nas_bench_201.size


@pytest.mark.parametrize("place", [0, 1], ids=["file of nas-bench-201", "folder of nats-bench"])
def test_reading_all_rows(benchmark, official, place):
    benchmark.group = f"convert, {COUNT} architectures"
    source = recognise(official[place])
    assert len(benchmark(lambda: list(source.rows(lambda benchmark, arch: False)))) == COUNT


def test_adding_to_the_store(benchmark, official, tmp_path, monkeypatch):
    benchmark.group = f"convert, {COUNT} architectures"
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    source = recognise(official[0])

    def add():
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        return store.add(source)

    (table,) = benchmark.pedantic(add, rounds=3)
    assert table.architectures == COUNT
