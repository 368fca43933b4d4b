import io
import os
import pickle
import sys
import tracemalloc
from collections import OrderedDict
from contextlib import suppress
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates import streamed_pickle
from surrogates.errors import InputError
from surrogates.streamed_pickle import DISCARDED, StreamedPickle

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
CONTENT = {(0, "a"): {"x": 1.5, "y": [None, True, "text", 2**62, -3, 70_000]}, "same": ["text", ("text", (1,))], 1: {}}

integers = st.integers(-(2**63), 2**63 - 1)
keys = integers | st.text(max_size=5) | st.tuples(st.text(max_size=3), st.integers(0, 9))
plain = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text() | st.binary(max_size=64) | keys,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


class Trickle(io.RawIOBase):
    """Gives few bytes at a time, as a decompressor may."""

    def __init__(self, content, size):
        self.rest, self.size = io.BytesIO(content), size

    def read(self, size=-1):
        return self.rest.read(min(size, self.size))


def read(content):
    return StreamedPickle(io.BytesIO(content)).load()


@given(plain, st.sampled_from(PROTOCOLS))
def test_reads_what_the_standard_library_reads(content, protocol):
    # Under protocol 2, bytes are the result of a call, of which the content's text is an argument.
    assert read(pickle.dumps(content, protocol)) == content


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [1, 7, 70_000, 1 << 22])
def test_blocks_of_any_size_read_the_same(protocol, size):
    content = [CONTENT, "x" * 65_000] if size < 100 else [CONTENT, list(range(50_000)), ["x" * 65_000] * 3]
    written = pickle.dumps(content, protocol) + pickle.dumps("next", protocol)
    stream = StreamedPickle(Trickle(written, size))
    assert stream.load() == content
    assert stream.load() == "next"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ordered_dictionaries_sets_and_numbers_of_numpy_become_plain(protocol):
    numbers = [np.float64(1.5), np.float32(0.25), np.int64(-7), np.uint8(9), np.bool_(True), np.array(2.5, ">f8")[()]]
    content = [OrderedDict(a=1, b=OrderedDict()), {3}, numbers]
    found = read(pickle.dumps(content, protocol))
    assert found == [{"a": 1, "b": {}}, [3], [1.5, 0.25, -7, 9, True, 2.5]]
    assert {type(number) for number in found[2]} == {float, int, bool}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_parts_come_as_soon_as_they_are_complete_and_are_emptied_then(protocol):
    shared = "shared by all"
    parts = {n: {"part": {shared: [n, 0.5 * n], "own": f"text {n}"}} for n in range(2_500)}
    written = pickle.dumps({"first": shared, "parts": parts, "last": [shared]}, protocol)
    stream, seen = StreamedPickle(Trickle(written, 1000)), []
    for key, part in stream.parts(lambda d: "part" in d):
        if key is None:
            assert part == {"first": shared, "parts": {key: {} for key in parts}, "last": [shared]}
        else:
            assert part == parts[key]
            seen.append((key, part))
    assert [key for key, _ in seen] == list(parts)
    assert not any(part for _, part in seen)


def test_what_parts_share_with_the_outside_is_discarded_unless_it_is_plain():
    inner = [1, 2]
    content = {"a": {"part": inner, "text": "t", "pair": ("t", 1)}, "b": [inner, ("t", 1)]}
    content["c"] = content["a"]["pair"]
    *_, (_, rest) = StreamedPickle(io.BytesIO(pickle.dumps(content))).parts(lambda d: "part" in d)
    assert rest == {"a": {}, "b": [DISCARDED, ("t", 1)], "c": ("t", 1)}


def test_memory_does_not_grow_with_the_parts(monkeypatch):
    monkeypatch.setattr(streamed_pickle, "_BLOCK", 1 << 12)
    monkeypatch.setattr(streamed_pickle, "_MARGIN", 1 << 12)

    def peak(count):
        names = [f"x-valid@{i}" for i in range(100)]
        # Copies of the texts, as results of many trainings have.
        parts = {n: {"part": {"".join(list(name)): 0.1 + i for i, name in enumerate(names)}} for n in range(count)}
        written = io.BytesIO(pickle.dumps(parts, 2))
        del parts
        tracemalloc.start()
        for _ in StreamedPickle(written).parts(lambda d: "part" in d):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # 100 texts and floats a part: 16 KB as objects. What stays is an empty dictionary, its key and 4 bytes a text.
    assert (peak(120) - peak(60)) / 60 < 1_500


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refuses_a_command_and_does_not_run_it(tmp_path, protocol):
    marker = tmp_path / "marker"
    written = pickle.dumps([CONTENT, Evil(marker)], protocol)
    with pytest.raises(InputError, match=r"(posix|nt)\.system"):
        read(written)
    assert not marker.exists()
    pickle.loads(written)
    assert marker.exists(), "the pickle is harmless: this test shows nothing"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refuses_classes_arrays_and_other_types_of_numpy(protocol):
    for other in (Decimal(1), np.arange(3), np.datetime64("2020-01-01"), complex(1, 2), frozenset((1,)), sys.getsizeof):
        with pytest.raises(InputError, match="its pickle"):
            read(pickle.dumps(other, protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickles_that_were_cut_short_are_one_clear_error(protocol):
    written = pickle.dumps([CONTENT, np.float64(2), {1}], protocol)
    for end in range(len(written)):
        with pytest.raises(InputError, match="its pickle"):
            read(written[:end])


@given(st.binary(max_size=60), st.integers(0, 150))
def test_garbage_is_one_clear_error_or_plain_content(garbage, place):
    written = pickle.dumps([CONTENT, np.float64(2), {1}], 2)
    with suppress(InputError):
        read(written[:place] + garbage + written[place + len(garbage) :])


def test_deep_tuples_are_refused_before_they_are_hashed():
    with pytest.raises(InputError, match="tuples"):
        read(b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns.")


def test_a_container_that_holds_itself_does_no_harm():
    content = []
    content.append(content)
    (inner,) = found = read(pickle.dumps(content, 2))
    assert inner is found


def test_many_containers_outside_of_parts_are_refused(monkeypatch):
    monkeypatch.setattr(streamed_pickle, "_MOST_ELEMENTS", 2_000)
    written = pickle.dumps({n: {"part": [[n]]} for n in range(1000)}, 4)
    assert len(list(StreamedPickle(io.BytesIO(written)).parts(lambda d: "part" in d))) == 1001
    with pytest.raises(InputError, match="no records"):
        read(written)


# The start of each, and what is repeated to make it large: opcodes of a few bytes that copy or keep much.
BOMBS = {
    "sets of one list": (b"\x80\x02]q\x00(" + b"N" * 100_000 + b"ec__builtin__\nset\nq\x01", b"h\x01h\x00\x85R"),
    "encoded text": (
        b"\x80\x02X\x00\xff\x00\x00" + b"x" * 65_280 + b"q\x00c_codecs\nencode\nq\x01X\x01\x00\x00\x00aq\x02]",
        b"h\x01h\x00h\x02\x86Ra",
    ),
    "a list that grows": (b"\x80\x04]", b"(" + b"N" * 1000 + b"e"),
    "byte strings": (b"\x80\x04]", b"(" + (b"B\x00\xff\x00\x00" + b"x" * 65_280) + b"e"),
    "memo": (b"\x80\x04N", b"\x94" * 10_000),
    "marks": (b"\x80\x04N", b"(" * 10_000),
    "tuples": (b"\x80\x04]", b"(((" + b"N" * 100 + b"tte"),
}


def peak_of(content):
    """Returns how much memory is taken until a pickle is refused."""
    file = io.BytesIO(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="its pickle"):
            for _ in StreamedPickle(file).parts(lambda d: "part" in d):
                pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", BOMBS)
def test_small_pickles_do_not_become_large_in_memory(name):
    start, repeated = BOMBS[name]
    assert peak_of(start + repeated * ((5 << 18) // len(repeated)) + b".") < 48 << 20


def test_what_stays_outside_of_parts_is_bounded_over_all_of_them(monkeypatch):
    monkeypatch.setattr(streamed_pickle, "_MOST_STAYING", 10_000)

    def repeated(inside):
        """Parts in a list, after each of which that list grows by 1,000 items, or in each of which another one does."""
        grow = b"(" + b"N" * 1000 + b"e"
        part = b"}\x8c\x04part" + (b"]" + grow + b"sa" if inside else b"Nsa" + grow)
        return b"\x80\x04]" + part * 20 + b"."

    def count(content):
        found = 0
        for _ in StreamedPickle(io.BytesIO(content)).parts(lambda d: "part" in d):
            found += 1
        return found

    with pytest.raises(InputError, match="no records"):
        count(repeated(inside=False))
    assert count(repeated(inside=True)) == 21


def test_different_texts_are_bounded(monkeypatch):
    monkeypatch.setattr(streamed_pickle, "_MOST_TEXT", 1 << 20)
    assert peak_of(pickle.dumps([f"{i:0100}" for i in range(10_000)])) < 8 << 20


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_keys_whose_hashes_are_made_to_collide_are_refused(protocol):
    for key in (2**61 - 1) * 9 + 7, ("a", 2**40), (0.5, 1), ("a", (1, 2.5)):
        with pytest.raises(InputError, match="its pickle"):
            read(pickle.dumps({key: None}, protocol))
