import bz2
import os
import pickle
import sys
import tracemalloc

import numpy as np
import pytest

from surrogates import store
from surrogates.errors import InputError
from surrogates.formats import nats_bench, recognise
from surrogates.formats.nas_bench_201 import LAYOUT
from surrogates.store import Column

NAMES = {"12": 12, "200": 200}
SEARCHED = {"cifar10": "cifar10-valid", "cifar100": "cifar100", "ImageNet16-120": "ImageNet16-120"}


def told_by(api, index):
    """Asks the package's own API for every value of an architecture."""
    values = {}
    for epochs, suffix in ((200, ""), (12, "@12")):
        results = api.query_meta_info_by_index(index, hp=str(epochs))
        for task, searched in SEARCHED.items():
            # With the seeds 111 and 777, the package fails where they disagree on the size.
            if searched in results.get_dataset_names() and results.dataset_seed[searched] != [111, 777]:
                cost = api.get_cost_info(index, searched, hp=str(epochs))
                values[Column(task + suffix, "parameters")] = cost["params"] * 1e6
                values[Column(task + suffix, "flops")] = cost["flops"] * 1e6
                values[Column(task + suffix, "latency")] = cost["latency"]
            for data_set in {searched, task}:
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


def rows_of(path):
    return {row.arch: row.values for row in recognise(path).rows(lambda benchmark, arch: False)}


def column(name, field, fidelity=0, seed=-1):
    return LAYOUT.columns.index(Column(name, field, fidelity, seed))


def save(path, content):
    path.write_bytes(bz2.compress(pickle.dumps(content, 4)))


def load(path):
    return pickle.loads(bz2.decompress(path.read_bytes()))


def test_every_value_is_that_of_the_packages_own_api(made_nats, made_nats_folder):
    import nats_bench as package

    api = package.create(str(made_nats_folder), "tss", fast_mode=True, verbose=False)
    rows = rows_of(made_nats_folder)
    assert rows.keys() == {made_nats.place(index) for index in made_nats.results}
    for index in made_nats.results:
        np.testing.assert_allclose(rows[made_nats.place(index)], told_by(api, index), rtol=1e-12)


@pytest.fixture(scope="module")
def one_file(made_nats, tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "one.pickle"
    made_nats.package.pickle_save(made_nats.whole(NAMES), path)
    return path.with_name("one.pickle.pbz2")


def test_the_one_file_holds_the_same(made_nats_folder, one_file):
    one, many = rows_of(one_file), rows_of(made_nats_folder)
    assert one.keys() == many.keys()
    for place in one:
        np.testing.assert_array_equal(one[place], many[place])


def test_sizes_on_which_trials_disagree_are_those_of_seed_888_as_the_package_repairs_them(made_nats, made_nats_folder):
    results = made_nats.results[0][200]
    of_888 = results.query("cifar100", 888)
    assert of_888.params != results.query("cifar100", 777).params
    values = rows_of(made_nats_folder)[made_nats.place(0)]
    assert values[column("cifar100", "parameters")] == of_888.params * 1e6
    assert values[column("cifar100", "flops")] == of_888.flop * 1e6


def test_sizes_that_the_package_cannot_repair_are_missing(made_nats, made_nats_folder):
    results = made_nats.results[0][12]
    assert results.dataset_seed["cifar10-valid"] == [111, 777]
    with pytest.raises(ValueError, match="888"):
        results.get_compute_costs("cifar10-valid")
    values = rows_of(made_nats_folder)[made_nats.place(0)]
    assert np.isnan(values[column("cifar10@12", "parameters")])


def test_the_long_form_of_a_name_goes_first_as_in_the_package(nats_folder):
    (nats_folder / "000007.pickle.pbz2").write_bytes((nats_folder / "7.pickle.pbz2").read_bytes())
    (nats_folder / "7.pickle.pbz2").write_bytes(b"not read")
    assert len(rows_of(nats_folder)) == 3
    assert [file.name for file in recognise(nats_folder).files()] == [
        f"{name}.pickle.pbz2" for name in ("meta", "000000", "000007", "000499")
    ]


@pytest.fixture
def reads(monkeypatch):
    """The names of the compressed files that were read."""
    read, content = [], nats_bench._content
    monkeypatch.setattr(nats_bench, "_content", lambda path: (read.append(path.name), content(path))[1])
    return read


def test_after_an_interruption_what_was_read_is_not_read_again(official_nats, nats_folder, reads, home):
    for index in (0, 7, 499):
        official_nats.results[index][200].dataset_seed.clear()
        name = f"{index}.pickle" if index == 7 else f"{index:06d}.pickle"
        official_nats.package.pickle_save(official_nats.states(index, NAMES), nats_folder / name)

    def interrupt(step, made, of):
        if made == 2 and step != "checksum":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add(recognise(nats_folder), interrupt)
    assert store.names() == []
    (table,) = store.add(recognise(nats_folder))
    assert [name for name in reads if "meta" not in name] == [
        "000000.pickle.pbz2",
        "7.pickle.pbz2",
        "000499.pickle.pbz2",
    ]
    assert table.architectures == 2  # one of the three has no results
    place = official_nats.place(0)
    trial = official_nats.results[0][12].all_results["cifar10", 777]
    row = table.columns.index(Column("cifar10@12", "test", 12, 777))
    assert table.values[row, place] == trial.eval_acc1es["ori-test@11"]
    reads.clear()
    store.add(recognise(nats_folder))
    assert reads == ["meta.pickle.pbz2"]
    assert [file.name for file in (home / "data").iterdir() if file.name != ".lock"] == ["nas-bench-201"]


def test_a_file_of_another_architecture_than_the_list_has_is_an_error(nats_folder):
    file = nats_folder / "000499.pickle.pbz2"
    record = load(file)
    for state in record.values():
        state["arch_str"] = load(nats_folder / "meta.pickle.pbz2")["meta_archs"][0]
    save(file, record)
    with pytest.raises(InputError, match=r"000499\.pickle\.pbz2.*another architecture"):
        rows_of(nats_folder)


def test_a_file_under_another_ones_name_is_an_error(nats_folder):
    (nats_folder / "000000.pickle.pbz2").rename(nats_folder / "000003.pickle.pbz2")
    with pytest.raises(InputError, match=r"000003\.pickle\.pbz2"):
        rows_of(nats_folder)


@pytest.mark.parametrize("name", ["000500", "0007"])
def test_a_number_that_the_list_does_not_have_is_an_error(nats_folder, name):
    (nats_folder / f"{name}.pickle.pbz2").write_bytes(b"")
    with pytest.raises(InputError, match=name):
        recognise(nats_folder).files()


def test_the_space_of_sizes_is_refused_with_its_first_architecture(nats_folder):
    save(nats_folder / "meta.pickle.pbz2", {"meta_archs": ["64:64:64:64:64", "64:64:64:64:8"]})
    with pytest.raises(InputError, match="64:64:64:64:64"):
        recognise(nats_folder)


def test_other_schedules_are_refused(nats_folder):
    file = nats_folder / "000000.pickle.pbz2"
    save(file, {"90": load(file)["200"]})
    with pytest.raises(InputError, match=r"000000\.pickle\.pbz2.*90"):
        rows_of(nats_folder)


def test_a_bomb_is_not_decompressed_whole(nats_folder, monkeypatch):
    monkeypatch.setattr(nats_bench, "_MOST_BYTES", 1 << 20)
    (nats_folder / "000000.pickle.pbz2").write_bytes(bz2.compress(bytes(1 << 24)))
    with pytest.raises(InputError, match="more than 1 MB"):
        rows_of(nats_folder)


def test_a_bomb_in_the_one_file_is_refused_with_little_memory(tmp_path):
    path = tmp_path / "bomb"
    body = b"\x80\x04}\x8c\x0ameta_archs]" + (b"(" + (b"B\x00\xff\x00\x00" + bytes(65_280)) * 100 + b"e") * 5
    for content in body, b"\x80\x04}\x8c\x0ameta_archs0" + b"\x95" + bytes(40 << 20):
        path.write_bytes(bz2.compress(content))
        source = recognise(path)
        tracemalloc.start()
        with pytest.raises(InputError, match="bomb"):
            list(source.rows(lambda benchmark, arch: False))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 48 << 20


def test_the_one_file_may_not_decompress_to_much_more_than_its_size(one_file, monkeypatch):
    monkeypatch.setattr(nats_bench, "_MOST_AT_FIRST", 0)
    assert rows_of(one_file)
    monkeypatch.setattr(nats_bench, "_MOST_RATIO", 1)
    with pytest.raises(InputError, match="times its size"):
        rows_of(one_file)


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["meta", "000499"])
def test_a_command_hidden_inside_is_named_and_not_run(nats_folder, tmp_path, name):
    file, marker = nats_folder / f"{name}.pickle.pbz2", tmp_path / "marker"
    content = load(file)
    (content["200"]["all_results"] if "200" in content else content)["hidden"] = Evil(marker)
    save(file, content)
    with pytest.raises(InputError, match=rf"{name}.*(posix|nt)\.system"):
        rows_of(nats_folder)
    assert not marker.exists()


def test_a_path_in_place_of_results_is_not_opened_although_the_package_would(nats_folder, tmp_path):
    file, other = nats_folder / "000000.pickle.pbz2", nats_folder / "other.pickle.pbz2"
    save(other, Evil(tmp_path / "marker"))
    save(file, load(file) | {"200": str(other)})
    with pytest.raises(InputError, match=r"000000\.pickle\.pbz2.*holds a str"):
        rows_of(nats_folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["meta", "000000"])
@pytest.mark.parametrize("keep", [0, 0.3, 0.9999])
def test_a_file_that_was_cut_short_is_one_clear_error(nats_folder, name, keep):
    file = nats_folder / f"{name}.pickle.pbz2"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(InputError, match=name):
        rows_of(nats_folder)


def test_the_one_file_cut_short_is_one_clear_error(one_file, tmp_path):
    whole, path = one_file.read_bytes(), tmp_path / "short"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match="short"):
        rows_of(path)


def test_a_missing_package_is_said_with_the_command_that_installs_it(nats_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(InputError, match=r"pip install 'nascent\[data\]'"):
        recognise(nats_folder)
