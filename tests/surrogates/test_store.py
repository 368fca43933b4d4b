import json
import resource
from pathlib import Path

import numpy as np
import pytest

from surrogates import store
from surrogates.errors import InputError
from surrogates.spaces import spaces
from surrogates.store import Column, Layout, Row, Source

SPACE = "nas_bench_201"
SIZE = spaces.get(SPACE).size
COLUMNS = (Column("a", "validation", 12, 777), Column("a", "validation", 12, 888), Column("b", "test"))


def value(arch, column):
    """What the small source says; every third architecture lacks the second column."""
    return np.nan if column == 2 or (column == 1 and arch % 3 == 0) else arch + column / 10


class Small(Source):
    """A source of a few architectures that counts what was read, and can be stopped or fail."""

    format = "small"

    def __init__(self, folder: Path, archs=(4, 9, 2), tables=("small",), content=b"published"):
        self.path = folder / "source"
        self.path.write_bytes(content)
        self.archs, self.read = archs, []
        self.layouts = tuple(Layout(name, SPACE, COLUMNS) for name in tables)
        self.error: BaseException = KeyboardInterrupt()
        self.error_at = -1

    def files(self):
        return [self.path]

    def rows(self, done):
        for layout in self.layouts:
            for arch in self.archs:
                if done(layout.benchmark, arch):
                    continue
                if arch == self.error_at:
                    raise self.error
                self.read.append((layout.benchmark, arch))
                yield Row(layout.benchmark, arch, np.array([value(arch, c) for c in range(len(COLUMNS))]))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "data"


def left(home):
    return sorted(path.name for path in home.iterdir() if path.name != ".lock")


def assert_whole(table, archs):
    expected = np.full((2, SIZE), np.nan)
    for arch in archs:
        expected[:, arch] = [value(arch, 0), value(arch, 1)]
    np.testing.assert_array_equal(table.values, expected)


def test_values_come_back_as_they_were(tmp_path):
    (table,) = store.add(Small(tmp_path))
    assert_whole(table, (4, 9, 2))
    assert not table.values.flags.writeable
    assert table.architectures == 3


def test_columns_without_a_value_are_dropped_and_missing_values_counted(tmp_path):
    (table,) = store.add(Small(tmp_path))
    assert table.columns == COLUMNS[:2]
    assert table.missing == {"a/validation": 2 * SIZE - 5}


def test_names_are_those_of_what_was_added(tmp_path):
    assert store.names() == []
    store.add(Small(tmp_path, tables=("two", "one")))
    assert store.names() == ["one", "two"]


def test_what_was_converted_is_not_converted_again(tmp_path):
    store.add(Small(tmp_path))
    again = Small(tmp_path)
    (table,) = store.add(again)
    assert again.read == []
    assert_whole(table, (4, 9, 2))


def test_another_source_for_the_same_benchmark_is_an_error_that_says_how_to_go_on(tmp_path):
    store.add(Small(tmp_path))
    with pytest.raises(InputError, match="nascent data remove small"):
        store.add(Small(tmp_path, content=b"another"))
    assert_whole(store.open_stored("small"), (4, 9, 2))


def test_an_interrupted_conversion_goes_on_where_it_stopped(tmp_path, home):
    first = Small(tmp_path, tables=("one", "two"))
    first.error_at = 9
    with pytest.raises(KeyboardInterrupt):
        store.add(first)
    assert store.names() == []
    second = Small(tmp_path, tables=("one", "two"))
    tables = store.add(second)
    assert first.read == [("one", 4)]
    assert ("one", 4) not in second.read
    for table in tables:
        assert_whole(table, (4, 9, 2))
    assert left(home) == ["one", "two"]


def test_what_is_left_of_another_source_is_not_continued(tmp_path):
    first = Small(tmp_path, archs=(7, 9))
    first.error_at = 9
    with pytest.raises(KeyboardInterrupt):
        store.add(first)
    (table,) = store.add(Small(tmp_path, content=b"another"))
    assert_whole(table, (4, 9, 2))


def test_of_two_tables_only_the_missing_one_is_converted(tmp_path):
    store.add(Small(tmp_path, tables=("one", "two")))
    store.remove("two")
    again = Small(tmp_path, tables=("one", "two"))
    store.add(again)
    assert {name for name, _ in again.read} == {"two"}


def test_a_bad_source_leaves_nothing_behind(tmp_path, home):
    bad = Small(tmp_path, tables=("one", "two"))
    bad.error, bad.error_at = InputError("damaged"), 9
    with pytest.raises(InputError, match="damaged"):
        store.add(bad)
    assert left(home) == []


def test_a_source_without_architectures_is_an_error(tmp_path, home):
    with pytest.raises(InputError, match="holds no architecture"):
        store.add(Small(tmp_path, archs=()))
    assert left(home) == []


def test_a_full_disk_is_one_clear_error_and_the_conversion_goes_on_when_there_is_room(tmp_path, home):
    first, limits = Small(tmp_path, archs=range(500)), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written.*NASCENT_HOME"):
            store.add(first)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.names() == []
    second = Small(tmp_path, archs=range(500))
    (table,) = store.add(second)
    assert 0 < len(second.read) < 500
    assert_whole(table, range(500))


@pytest.mark.parametrize("damage", [slice(60, 61), slice(64, None), slice(70, None)])
def test_a_row_that_a_crash_left_damaged_is_converted_again(tmp_path, home, damage):
    first = Small(tmp_path, archs=(4, 9, 2, 7))
    first.error_at = 7
    with pytest.raises(KeyboardInterrupt):
        store.add(first)
    path = home / ".small.partial" / "rows"
    content = bytearray(path.read_bytes())
    content[damage] = bytes(len(content[damage])) if damage.stop else b""
    path.write_bytes(content)
    (table,) = store.add(Small(tmp_path, archs=(4, 9, 2, 7)))
    assert_whole(table, (4, 9, 2, 7))


def test_architectures_without_a_value_are_none(tmp_path, home):
    class Empty(Small):
        def rows(self, done):
            for row in super().rows(done):
                yield row._replace(values=np.full(len(COLUMNS), np.nan))

    with pytest.raises(InputError, match="holds no value"):
        store.add(Empty(tmp_path))
    assert left(home) == []


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="NASCENT_HOME"):
        store.add(Small(tmp_path))


def test_progress_ends_at_what_was_made(tmp_path):
    steps = []
    store.add(Small(tmp_path), lambda *step: steps.append(step))
    assert ("checksum", 9, 9) in steps
    assert steps[-1] == ("small", 3, SIZE)


def test_a_flipped_bit_in_the_values_is_found(tmp_path, home):
    store.add(Small(tmp_path))
    store.verify("small")
    path = home / "small" / "values.npy"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="nascent data remove small"):
        store.verify("small")


@pytest.mark.parametrize("name", ["values.npy", "table.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x93NUMPY", b"[" * 100_000])
def test_a_damaged_table_is_one_clear_error(tmp_path, home, name, content):
    store.add(Small(tmp_path))
    path = home / "small" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.*nascent data remove small"):
        store.open_stored("small")
    store.remove("small")
    assert left(home) == []


@pytest.mark.parametrize("change", [{"version": 0}, {"space": "nas_bench_graph"}, {"columns": [["a", "test"]]}])
def test_a_description_that_does_not_fit_is_one_clear_error(tmp_path, home, change):
    store.add(Small(tmp_path))
    path = home / "small" / "table.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match="damaged"):
        store.open_stored("small")


def test_an_unknown_name_is_an_error_with_the_nearest(tmp_path):
    store.add(Small(tmp_path))
    for ask in (store.open_stored, store.verify, store.remove):
        with pytest.raises(InputError, match="did you mean 'small'"):
            ask("smal")


def test_removing_takes_what_is_left_of_an_interrupted_conversion(tmp_path, home):
    first = Small(tmp_path)
    first.error_at = 9
    with pytest.raises(KeyboardInterrupt):
        store.add(first)
    store.remove("small")
    assert left(home) == []
