import os
import pickle
import sys

import numpy as np
import pytest

from surrogates import store
from surrogates.errors import InputError
from surrogates.formats import recognise
from surrogates.formats.nas_bench_201 import LAYOUT, SEEDS
from surrogates.store import Column

NAMES = {"full": 200, "less": 12}
SEARCHED = {"cifar10": "cifar10-valid", "cifar100": "cifar100", "ImageNet16-120": "ImageNet16-120"}


def told_by(api, index):
    """Asks the package's own API for every value of an architecture."""
    values = {}
    for epochs, suffix in ((200, ""), (12, "@12")):
        for task, searched in SEARCHED.items():
            if searched in api.arch2infos_dict[index][str(epochs)].get_dataset_names():
                cost = api.get_cost_info(index, searched, hp=str(epochs))
                values[Column(task + suffix, "parameters")] = cost["params"] * 1e6
                values[Column(task + suffix, "flops")] = cost["flops"] * 1e6
                values[Column(task + suffix, "latency")] = cost["latency"]
            for data_set in {searched, task}:
                results = api.arch2infos_dict[index][str(epochs)]
                for seed in results.dataset_seed.get(data_set, []):
                    for epoch in range(epochs):
                        info = api.get_more_info(index, data_set, epoch, hp=str(epochs), is_random=seed)
                        place = epoch + 1, seed
                        if data_set == searched:
                            values[Column(task + suffix, "validation", *place)] = info["valid-accuracy"]
                            seconds = info["train-all-time"] + info["valid-per-time"]
                            values[Column(task + suffix, "seconds", *place)] = seconds
                        if data_set == task:
                            values[Column(task + suffix, "test", *place)] = info["test-accuracy"]
    return np.array([values.get(column, np.nan) for column in LAYOUT.columns])


def api_of(official):
    from nas_201_api import NASBench201API

    return NASBench201API(official.whole(NAMES), verbose=False)


def save(official, path, zipped=True):
    import torch

    torch.save(official.whole(NAMES), path, _use_new_zipfile_serialization=zipped)
    return path


def rows_of(path):
    return {row.arch: row.values for row in recognise(path).rows(lambda benchmark, arch: False)}


def column(name, field, fidelity=0, seed=-1):
    return LAYOUT.columns.index(Column(name, field, fidelity, seed))


@pytest.fixture(scope="module")
def file(made_201, tmp_path_factory):
    return save(made_201, tmp_path_factory.mktemp("official") / "any name")


@pytest.fixture(scope="module")
def rows(file):
    return rows_of(file)


@pytest.fixture(scope="module")
def api(made_201):
    return api_of(made_201)


def test_every_value_is_that_of_the_packages_own_api(made_201, api, rows):
    assert rows.keys() == {made_201.place(index) for index in made_201.results}
    for index in made_201.results:
        np.testing.assert_allclose(rows[made_201.place(index)], told_by(api, index), rtol=1e-12)


def test_both_forms_that_torch_writes_hold_the_same(made_201, rows, tmp_path):
    legacy = rows_of(save(made_201, tmp_path / "legacy", zipped=False))
    assert legacy.keys() == rows.keys()
    np.testing.assert_array_equal(list(legacy.values()), list(rows.values()))


def test_a_table_holds_them_by_column_and_architecture(official_201, tmp_path):
    for index in (0, 7):
        official_201.results[index][200].dataset_seed = {"cifar10": [777] if index == 0 else [999]}
    file = save(official_201, tmp_path / "NAS-Bench-201-v1_1-096897.pth")
    rows = rows_of(file)
    (table,) = store.add(recognise(file))
    known = np.flatnonzero(~np.isnan(list(rows.values())).all(axis=0))
    assert table.columns == tuple(LAYOUT.columns[place] for place in known)
    assert table.architectures == 3
    for place, values in rows.items():
        np.testing.assert_array_equal(table.values[:, place], values[known])
    assert np.isnan(np.delete(table.values, list(rows), axis=1)).all()


def test_a_task_is_the_schedule_of_200_epochs_although_the_api_defaults_to_12(made_201, api, rows):
    values = rows[made_201.place(0)]
    by_default = api.get_more_info(0, "cifar100", is_random=777)["test-accuracy"]
    assert values[column("cifar100@12", "test", 12, 777)] == by_default
    told = api.get_more_info(0, "cifar100", hp="200", is_random=777)["test-accuracy"]
    assert values[column("cifar100", "test", 200, 777)] == told != by_default


def test_each_seed_has_its_own_column_although_the_api_draws_one_by_default(made_201, api, rows):
    values = rows[made_201.place(0)]
    of_seeds = {values[column("cifar10", "validation", 200, seed)] for seed in (777, 888)}
    drawn = {api.get_more_info(0, "cifar10-valid", hp="200")["valid-accuracy"] for _ in range(50)}
    assert drawn == of_seeds
    assert len(drawn) == 2


def test_fidelities_count_from_1_although_the_api_counts_epochs_from_0(made_201, api, rows):
    values = rows[made_201.place(0)]
    first = api.get_more_info(0, "cifar10-valid", 0, hp="200", is_random=888)
    assert values[column("cifar10", "validation", 1, 888)] == first["valid-accuracy"]
    assert values[column("cifar10", "seconds", 1, 888)] == first["train-all-time"] + first["valid-all-time"]
    assert Column("cifar10", "validation", 0, 888) not in LAYOUT.columns


def test_cifar10_is_validated_on_the_half_and_tested_after_training_on_all(made_201, rows):
    trials = made_201.results[0][200]
    values = rows[made_201.place(0)]
    half, whole = trials.query("cifar10-valid", 777), trials.query("cifar10", 777)
    assert values[column("cifar10", "validation", 200, 777)] == half.eval_acc1es["x-valid@199"]
    assert values[column("cifar10", "test", 200, 777)] == whole.eval_acc1es["ori-test@199"]
    assert values[column("cifar10", "test", 200, 777)] != half.eval_acc1es["ori-test@199"]


def test_cifar100_is_tested_on_x_test_and_not_on_ori_test_of_which_half_is_the_validation_set(made_201, api, rows):
    values, told = rows[made_201.place(0)], api.get_more_info(0, "cifar100", hp="200", is_random=888)
    assert values[column("cifar100", "test", 200, 888)] == told["test-accuracy"] != told["valtest-accuracy"]
    assert values[column("cifar100", "validation", 200, 888)] == told["valid-accuracy"]


def test_numbers_of_numpy_are_read_which_torch_refuses_by_default(file, rows):
    from nas_201_api import NASBench201API

    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        NASBench201API(str(file), verbose=False)
    assert len(rows) == 3


def test_a_missing_trial_is_missing_and_no_other_seed_stands_in(made_201, rows):
    values = rows[made_201.place(7)]
    known = {seed: values[column("cifar10", "validation", 200, seed)] for seed in SEEDS}
    assert [seed for seed, value in known.items() if not np.isnan(value)] == [999]
    assert np.isnan(values[[i for i, c in enumerate(LAYOUT.columns) if c.task.startswith("cifar100")]]).all()


def test_times_that_are_not_known_are_missing(official_201, tmp_path):
    trial = official_201.results[0][200].query("cifar100", 777)
    trial.train_times, trial.eval_times = None, {}
    values = rows_of(save(official_201, tmp_path / "file"))[official_201.place(0)]
    assert np.isnan(values[column("cifar100", "seconds", 200, 777)])
    assert not np.isnan(values[column("cifar100", "validation", 200, 777)])
    assert not np.isnan(values[column("cifar100", "seconds", 200, 888)])


def test_an_evaluation_at_the_last_epoch_alone_leaves_the_others_missing(official_201, tmp_path):
    trial = official_201.results[0][200].query("cifar100", 777)
    trial.eval_acc1es = {"x-valid@199": 50.0}
    values = rows_of(save(official_201, tmp_path / "file"))[official_201.place(0)]
    assert values[column("cifar100", "validation", 200, 777)] == 50
    assert np.isnan(values[column("cifar100", "validation", 199, 777)])


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_passed_over(official_201, rows, tmp_path, zipped):
    import torch

    for trial in official_201.results[7][200].all_results.values():
        trial.net_state_dict = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.BatchNorm1d(300)).state_dict()
    after = rows_of(save(official_201, tmp_path / "with", zipped))
    np.testing.assert_array_equal(list(rows.values()), list(after.values()))


def test_a_seed_that_the_benchmark_does_not_have_is_named(official_201, tmp_path):
    results = official_201.results[0][12]
    results.update("cifar10", 4242, results.query("cifar10", 777))
    with pytest.raises(InputError, match=r"file.*4242"):
        rows_of(save(official_201, tmp_path / "file"))


def test_a_training_of_another_length_is_an_error(official_201, tmp_path):
    official_201.results[0][200].query("cifar10", 777).epochs = 90
    with pytest.raises(InputError, match="90 epochs; expected 200"):
        rows_of(save(official_201, tmp_path / "file"))


def test_a_record_of_another_architecture_than_the_list_has_is_an_error(official_201, tmp_path):
    official_201.archs[7], official_201.archs[8] = official_201.archs[8], official_201.archs[7]
    with pytest.raises(InputError, match="the record 7 is of"):
        rows_of(save(official_201, tmp_path / "file"))


def test_a_file_without_architectures_is_an_error(official_201, tmp_path):
    official_201.results.clear()
    with pytest.raises(InputError, match="0 of 0 records"):
        rows_of(save(official_201, tmp_path / "file"))


def test_records_of_another_form_are_not_passed_over(official_201, tmp_path):
    import torch

    content = official_201.whole(NAMES)
    content["arch2infos"][7]["another schedule"] = content["arch2infos"][7]["less"]
    torch.save(content, tmp_path / "file")
    with pytest.raises(InputError, match="2 of 3 records"):
        rows_of(tmp_path / "file")


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_command_hidden_deep_inside_is_named_and_not_run(official_201, tmp_path, home, zipped):
    marker = tmp_path / "marker"
    official_201.results[15_624][12].query("cifar100", 777).arch_config["arch_str"] = Evil(marker)
    path = save(official_201, tmp_path / "evil.pth", zipped)
    with pytest.raises(InputError, match=r"evil\.pth.*(posix|nt)\.system"):
        rows_of(path)
    if zipped:
        with pytest.raises(InputError, match="system"):
            store.add(recognise(path))
        assert [file.name for file in (home / "data").iterdir()] == [".lock"]
    assert not marker.exists()


def test_a_path_in_place_of_results_is_not_opened_although_the_package_would(official_201, tmp_path):
    import torch

    content, other = official_201.whole(NAMES), tmp_path / "all_results"
    other.write_bytes(pickle.dumps(Evil(tmp_path / "marker")))
    content["arch2infos"][7]["full"] = str(other)
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"evil\.pth.*2 of 3 records"):
        rows_of(tmp_path / "evil.pth")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a global in a persistent id", b"(X\x07\0\0\0storagecposix\nsystem\ntQ"),
        ("a global by its name on the stack", b"\x8c\x05posix\x8c\x06system\x93"),
        ("an import of eval", b"cbuiltins\neval\n"),
        ("a torch function", b"ctorch.hub\nload\n"),
        ("an extension", b"\x82\x01"),
        ("an instance", b"(cposix\nsystem\no"),
    ],
)
def test_every_way_to_ask_for_a_global_is_refused(torch_file, zipped, name, body):
    path = torch_file(b"\x80\x02}(X\x0a\0\0\0meta_archs" + body + b"u.", zipped)
    with pytest.raises(InputError, match=r"file\.pth.*(asks for|opcode)"):
        rows_of(path)


@pytest.mark.parametrize(
    "body",
    [
        b"]" * 200_000,
        b"]" * 100_000 + b"a" * 99_999,
        b"N" * 1_200_000,
        b")" + b"\x85" * 200_000,
        b"X\xff\xff\xff\xff",
        b"B\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xff",
        b"h\xff",
        b"r\xff\xff\xff\xff",
        b"\x85",
        b"u",
        b"R",
    ],
    ids=lambda body: f"{body[:6]!r} x {len(body)}",
)
def test_bombs_are_one_clear_error(torch_file, body):
    with pytest.raises(InputError, match=r"file\.pth cannot be read"):
        rows_of(torch_file(b"\x80\x02}(X\x0a\0\0\0meta_archs" + body + b"u.", zipped=False))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_was_cut_short_is_one_clear_error(official_201, tmp_path, zipped):
    del official_201.results[0], official_201.results[7]
    whole = save(official_201, tmp_path / "whole", zipped).read_bytes()
    path = tmp_path / "short"
    for end in [*np.linspace(1, len(whole) - 1, 20).astype(int), len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="short"):
            rows_of(path)


def test_a_flipped_bit_in_an_archive_is_noticed(official_201, tmp_path):
    path = save(official_201, tmp_path / "file")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="file cannot be read"):
        rows_of(path)


def test_another_version_of_torchs_format_is_named(torch_file):
    path = torch_file(pickle.dumps({"meta_archs": []}, 2), zipped=False, protocol=1002)
    with pytest.raises(InputError, match="version 1002"):
        rows_of(path)


def test_a_missing_package_is_said_with_the_command_that_installs_it(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "nas_201_api", None)
    with pytest.raises(InputError, match=r"pip install 'nascent\[data\]'"):
        recognise(file)
