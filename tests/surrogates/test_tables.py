import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from surrogates.tables import open_table, package_file

VALUES = np.array([[1.5, np.nan, -2.0], [0.1, 0.2, 0.3]])


class Conversion:
    """Opens a small table and counts how often it was converted."""

    def __init__(self, folder: Path):
        self.made = 0
        self.source = folder / "source"
        self.source.write_bytes(b"published")
        self.data, self.sidecar = folder / "home/tables/small.npy", folder / "home/tables/small.json"

    def convert(self):
        self.made += 1
        return VALUES.copy()

    def open(self, version="1", columns=("a", "b")):
        return open_table("small", version, [self.source], columns, self.convert)


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    return Conversion(tmp_path)


def rebuilt(small: Conversion) -> bool:
    """Whether the next opening converts again; its values must be right in any case, and the one after finds them."""
    before = small.made
    np.testing.assert_array_equal(small.open(), VALUES)
    made = small.made
    np.testing.assert_array_equal(small.open(), VALUES)
    assert small.made == made
    return made > before


def test_converts_once(small):
    first, second = small.open(), small.open()
    assert small.made == 1
    for table in (first, second):
        np.testing.assert_array_equal(table, VALUES)
        assert table.dtype == np.float64
        assert not table.flags.writeable
    assert sorted(path.name for path in small.data.parent.iterdir()) == ["small.json", "small.npy"]


def test_cache_is_a_plain_npy_file_with_a_description(small):
    small.open()
    np.testing.assert_array_equal(np.load(small.data), VALUES)
    assert json.loads(small.sidecar.read_text())["columns"] == ["a", "b"]


def test_a_flipped_bit_anywhere_is_found_and_mended(small):
    small.open()
    for path in (small.data, small.sidecar):
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert rebuilt(small), f"byte {place} of {path.name}"
            assert path.read_bytes() == whole


def test_a_truncated_file_is_found_and_mended(small):
    small.open()
    for path in (small.data, small.sidecar):
        whole = path.read_bytes()
        for end in range(len(whole)):
            path.write_bytes(whole[:end])
            assert rebuilt(small), f"{end} bytes of {path.name}"


def test_a_missing_file_is_made_again(small):
    small.open()
    for path in (small.data, small.sidecar):
        path.unlink()
        assert rebuilt(small)


@pytest.mark.parametrize("garbage", [b"null", b"{}", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"sha256": 1}', b"1" * 5000])
def test_a_garbage_description_is_made_again(small, garbage):
    small.open()
    small.sidecar.write_bytes(garbage)
    assert rebuilt(small)


def test_another_version_source_or_column_is_converted_again(small):
    small.open()
    small.open(version="2")
    assert small.made == 2
    small.open(version="2", columns=("a", "c"))
    assert small.made == 3
    small.source.write_bytes(b"PUBLISHED")
    small.open(version="2", columns=("a", "c"))
    assert small.made == 4


def test_missing_source_is_one_clear_error(small):
    small.source.unlink()
    with pytest.raises(InputError, match=str(small.source)):
        small.open()


def test_folder_that_cannot_be_made_is_one_clear_error(small, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"file/tables.*\$NASCENT_HOME"):
        small.open()


OPEN = "from surrogates.benchmarks import benchmarks; print(benchmarks.get('analog-nasbench').checksum)"


def run(code: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"NASCENT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_full_disk_is_one_clear_error_and_leaves_nothing_behind(tmp_path):
    """A limit on file sizes fails a real write midway, as a full disk does."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n{OPEN}"
    _, errors = run(code, tmp_path).communicate()
    last = errors.strip().splitlines()[-1]
    assert last.startswith("surrogates.errors.InputError: the table analog-nasbench cannot be written")
    assert str(tmp_path) in last
    assert "$NASCENT_HOME" in last
    assert list((tmp_path / "tables").iterdir()) == []


def test_processes_may_open_a_table_at_the_same_time(tmp_path):
    running = [run(OPEN, tmp_path) for _ in range(4)]
    answers = [process.communicate() for process in running]
    expected = benchmarks.get("analog-nasbench").checksum
    assert answers == [(f"{expected}\n", "")] * 4
    assert len(list((tmp_path / "tables").iterdir())) == 2


@pytest.mark.parametrize("name", ["analog-nasbench", "nas-bench-graph"])
def test_damaged_cache_of_a_benchmark_gives_the_same_scores(tmp_path, monkeypatch, name):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path))
    expected = benchmarks.get(name).checksum
    fresh = type(benchmarks.get(name))
    assert fresh().checksum == expected
    path = tmp_path / f"tables/{name}.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 64
    path.write_bytes(content)
    assert fresh().checksum == expected
    assert path.read_bytes() != content


def test_asking_for_what_needs_no_data_opens_none(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path))
    for name in ("analog-nasbench", "nas-bench-graph"):
        benchmark = type(benchmarks.get(name))()
        assert benchmark.tasks
        assert benchmark.space.size
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_an_error_that_says_what_to_install():
    with pytest.raises(InputError, match=r"pip install.*no-such==1"):
        package_file("no_such_package", "no-such==1", "data")
    with pytest.raises(InputError, match="no file nothing of the package numpy"):
        package_file("numpy", "numpy", "nothing")
