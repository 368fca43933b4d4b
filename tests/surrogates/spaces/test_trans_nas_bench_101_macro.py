from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from surrogates.space import ArchitectureError
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro

PUBLISHED = Path("../shared/data/tnb101_macro.parquet")

ARCHS = [tuple(arch) for arch in trans_nas_bench_101_macro.enumerate().tolist()]


def modules(arch):
    return "".join(map(str, arch)).rstrip("0")


def test_has_as_many_architectures_as_published():
    """Duan et al. 2021, section 3: 3,256. Which modules double and which halve are independent choices."""
    ways = [
        sum(comb(n, doublings) for doublings in (1, 2, 3)) * sum(comb(n, halvings) for halvings in (1, 2, 3, 4))
        for n in (4, 5, 6)
    ]
    assert ways == [210, 750, 2296]
    assert sum(ways) == 3256
    assert [sum(len(modules(arch)) == n for arch in ARCHS) for n in (4, 5, 6)] == ways


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs {PUBLISHED}")
def test_architectures_are_the_published_ones():
    keys = pd.read_parquet(PUBLISHED, columns=["arch_str"])["arch_str"]
    assert sorted(keys) == sorted(map(trans_nas_bench_101_macro.format, ARCHS))


def test_absent_modules_stand_at_the_end():
    assert trans_nas_bench_101_macro.parse("64-1234-basic") == (1, 2, 3, 4, 0, 0)
    assert all("0" not in modules(arch) for arch in ARCHS)


def test_texts_outside_the_space_are_refused():
    inside = {modules(arch) for arch in ARCHS}
    for length in (3, 4, 5):
        for chain in map("".join, product("01234", repeat=length)):
            if chain not in inside:
                with pytest.raises(ArchitectureError, match=chain):
                    trans_nas_bench_101_macro.parse(f"64-{chain}-basic")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("64-1333-basic", "64-1333-basic: 0 modules double .* 1 to 3"),
        ("64-42224-basic", "5 modules double .* 1 to 3"),
        ("64-1222-basic", "0 modules halve .* 1 to 4"),
        ("64-133334-basic", "5 modules halve .* 1 to 4"),
        ("64-41414-1_02_333", "64-mmmm-basic .* four to six m"),
    ],
)
def test_error_says_which_rule_is_broken(text, says):
    with pytest.raises(ArchitectureError, match=says):
        trans_nas_bench_101_macro.parse(text)


def test_neighbours_are_the_architectures_at_edit_distance_one():
    def is_near(one: str, two: str) -> bool:
        if len(one) == len(two):
            return sum(a != b for a, b in zip(one, two, strict=True)) == 1
        short, long = sorted((one, two), key=len)
        return short in {long[:i] + long[i + 1 :] for i in range(len(long))}

    rng = np.random.default_rng(0)
    for arch in [trans_nas_bench_101_macro.sample(rng) for _ in range(30)]:
        expected = [other for other in ARCHS if is_near(modules(arch), modules(other))]
        assert trans_nas_bench_101_macro.neighbours(arch) == expected


def test_neighbours_are_symmetric():
    near = {arch: set(trans_nas_bench_101_macro.neighbours(arch)) for arch in ARCHS}
    assert all(arch in near[other] for arch, others in near.items() for other in others)


def test_neighbours_are_the_callers_own():
    arch = ARCHS[0]
    trans_nas_bench_101_macro.neighbours(arch).clear()
    assert trans_nas_bench_101_macro.neighbours(arch)


def test_encoding_is_one_of_five_at_each_place():
    features = trans_nas_bench_101_macro.encode([(1, 2, 3, 4, 4, 0)])
    assert features.reshape(6, 5).argmax(axis=1).tolist() == [1, 2, 3, 4, 4, 0]
    assert features.sum() == 6


def test_example_of_the_description_is_an_architecture():
    trans_nas_bench_101_macro.parse(trans_nas_bench_101_macro.description.rpartition("Example: ")[2])
