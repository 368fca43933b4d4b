"""Small official files, written with the packages' own classes."""

import pickle
import shutil
import zipfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from surrogates.spaces.nas_bench_201 import nas_bench_201

SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("ori-test", "x-valid", "x-test"),
    "ImageNet16-120": ("ori-test", "x-valid", "x-test"),
}


def _trial(package, rng, arch, data_set, seed, epochs):
    def series(keys, high):
        return dict(zip(keys, rng.uniform(1, high, len(keys)).tolist(), strict=True))

    config = {"channel": 16, "num_cells": 5, "arch_str": arch, "class_num": 10}
    size = np.float64(rng.uniform(0.1, 2)), np.float64(rng.uniform(10, 300))
    trial = package.ResultsCount(data_set, None, None, None, *size, config, seed, epochs, None)
    every = range(epochs)
    trial.update_train_info(series(every, 99), None, series(every, 3), series(every, 30))
    for name in SETS[data_set]:
        keys = [f"{name}@{epoch}" for epoch in every]
        trial.update_eval(series(keys, 99), series(keys, 3), series(keys, 5))
    trial.update_latency([float(rng.uniform(0.01, 0.1)) for _ in range(3)])
    return trial


class Official:
    """Results of a few architectures in the classes of a package (`nas_201_api.api_utils` or `nats_bench.api_utils`).

    The second lacks seeds and a data set; the third was trained for 12 epochs only.
    """

    def __init__(self, package, listed=nas_bench_201.size):
        self.package, rng = package, np.random.default_rng(1)
        some = nas_bench_201.enumerate()[rng.permutation(nas_bench_201.size)[:listed]]
        self.archs = [nas_bench_201.format(tuple(arch)) for arch in some.tolist()]
        self.results = {index: {epochs: self._empty(index) for epochs in (200, 12)} for index in (0, 7, listed - 1)}
        for data_set in SETS:
            self._train(rng, 0, data_set, 200, (777, 888))
            self._train(rng, 0, data_set, 12, (111, 777))
            self._train(rng, listed - 1, data_set, 12, (777,))
            if data_set != "cifar100":
                self._train(rng, 7, data_set, 200, (999,))

    def _empty(self, index):
        return self.package.ArchResults(index, self.archs[index])

    def _train(self, rng, index, data_set, epochs, seeds):
        results = self.results[index][epochs]
        for seed in seeds:
            results.update(data_set, seed, _trial(self.package, rng, results.arch_str, data_set, seed, epochs))

    def __deepcopy__(self, memo):
        copy = object.__new__(Official)
        copy.package, copy.archs = self.package, list(self.archs)
        copy.results = pickle.loads(pickle.dumps(self.results))
        return copy

    def place(self, index):
        return int(nas_bench_201.index([nas_bench_201.parse(self.archs[index])])[0])

    def states(self, index, names):
        return {name: self.results[index][epochs].state_dict() for name, epochs in names.items()}

    def whole(self, names):
        return {
            "meta_archs": self.archs,
            "total_archs": len(self.archs),
            "arch2infos": {index: self.states(index, names) for index in self.results},
            "evaluated_indexes": set(self.results),
        }


@pytest.fixture(scope="session")
def made_201():
    import nas_201_api.api_utils as package

    return Official(package)


@pytest.fixture(scope="session")
def made_nats():
    import nats_bench.api_utils as package

    return Official(package, listed=500)


@pytest.fixture
def official_201(made_201):
    return deepcopy(made_201)


@pytest.fixture
def official_nats(made_nats):
    return deepcopy(made_nats)


@pytest.fixture(scope="session")
def made_nats_folder(made_nats, tmp_path_factory):
    folder = tmp_path_factory.mktemp("NATS-tss-simple")
    save = made_nats.package.pickle_save
    save({"meta_archs": made_nats.archs}, folder / "meta.pickle")
    for index in made_nats.results:
        # One file has the short form of its name.
        name = f"{index}.pickle" if index == 7 else f"{index:06d}.pickle"
        save(made_nats.states(index, {"12": 12, "200": 200}), folder / name)
    return folder


@pytest.fixture
def nats_folder(made_nats_folder, tmp_path):
    return Path(shutil.copytree(made_nats_folder, tmp_path / "folder"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def torch_file(tmp_path):
    """Writes the pickle of a content in one of the two forms that `torch.save` writes."""

    def write(main: bytes, zipped: bool, protocol: int = 1001) -> Path:
        path = tmp_path / "file.pth"
        if zipped:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", main)
                archive.writestr("archive/version", "3\n")
        else:
            start = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, protocol, {"little_endian": True})]
            path.write_bytes(b"".join([*start, main, pickle.dumps([], 2)]))
        return path

    return write
