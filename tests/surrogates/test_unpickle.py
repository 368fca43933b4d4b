import os
import pickle
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surrogates.errors import InputError
from surrogates.unpickle import unpickle


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_plain_content(tmp_path, protocol):
    content = {(0, 1): {"a": 1.5, "b": [None, True, "text", 2**70]}}
    path = tmp_path / "plain"
    path.write_bytes(pickle.dumps(content, protocol))
    assert unpickle(path, {}) == content


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_refuses_a_command_and_does_not_run_it(tmp_path, protocol):
    path, marker = tmp_path / "evil.bench", tmp_path / "marker"
    path.write_bytes(pickle.dumps({1: Evil(marker)}, protocol))
    with pytest.raises(InputError, match=r"evil\.bench.*(posix|nt)\.system"):
        unpickle(path, {("decimal", "Decimal"): Decimal})
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists(), "the pickle is harmless: this test shows nothing"


@pytest.mark.parametrize("name", ["builtins eval", "os system", "copyreg _reconstructor", "decimal Context"])
def test_refuses_every_global_that_is_not_allowed(tmp_path, name):
    path = tmp_path / "global"
    path.write_bytes(b"c" + name.replace(" ", "\n").encode() + b"\n.")
    with pytest.raises(InputError, match=name.replace(" ", r"\.")):
        unpickle(path, {("decimal", "Decimal"): Decimal})


def test_puts_the_replacement_in_the_place_of_an_allowed_global(tmp_path):
    path = tmp_path / "decimal"
    path.write_bytes(pickle.dumps(Decimal("1.5")))
    assert unpickle(path, {("decimal", "Decimal"): float}) == 1.5


def test_truncated_pickles_are_one_clear_error(tmp_path):
    whole = pickle.dumps({(0, 1): [1.5, "text"], "more": Decimal(2)})
    for end in range(len(whole)):
        path = tmp_path / "short"
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="short"):
            unpickle(path, {("decimal", "Decimal"): Decimal})


def test_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        unpickle(tmp_path / "nowhere", {})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 60))
def test_garbage_is_one_clear_error_or_plain_content(tmp_path, garbage, place):
    whole = pickle.dumps({(0, 1): [1.5, "text"], "more": 2**70})
    path = tmp_path / "garbage"
    path.write_bytes(whole[:place] + garbage + whole[place + len(garbage) :])
    with suppress(InputError):
        unpickle(path, {})
