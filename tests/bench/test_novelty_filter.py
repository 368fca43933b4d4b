from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.novelty_filter import CanonicalFilter, JaccardFilter, NoveltyFilter, lexemes
from surrogates.spaces import spaces
from theory import novelty_filter
from theory.minhash import shingles

TEXTS = {
    "corpus of NAS-Bench code": ("../shared/data/lemur_code.parquet", "code"),
    "run of a language model": ("../shared/data/nngpt_markov_code.parquet", "code"),
}


def test_the_filter_admits_what_is_new(block):
    found = NoveltyFilter()
    other = block.replace("Linear", "Conv2d").replace("step", "t").replace("layers", "convolutions")
    assert found.admit([block, other, block]) == [True, True, False]
    assert found.admit([other, "x = 1\n", "", ""]) == [False, True, True, False]


@pytest.mark.parametrize(("similarity", "admitted"), [(0.97, 0), (0.8, 1)])
def test_pairs_far_from_the_threshold_are_judged_rightly(similarity, admitted, similar):
    rng = np.random.default_rng(0)
    pairs = [similar(similarity, 500, rng)[:2] for _ in range(100)]
    found = [NoveltyFilter().admit_shingles(pair) for pair in pairs]
    assert found == [[True, bool(admitted)]] * 100


@pytest.mark.parametrize("name", TEXTS)
def test_the_filter_reads_any_code(name, misjudged):
    path, column = TEXTS[name]
    if not Path(path).exists():
        pytest.skip(f"{path} does not exist")
    texts = pd.read_parquet(path)[column].tolist()[:300]
    assert misjudged([shingles(lexemes(text), 10) for text in texts]) == []


# Few words and short shingles: programs that are alike, but not equal.
programs = st.lists(st.lists(st.sampled_from("abc+"), max_size=9).map(" ".join), max_size=25)


@given(programs, st.integers(1, 4), st.sampled_from([0.25, 0.5, 0.9, 1.0]), st.integers(1, 25))
def test_the_exact_filter_is_that_of_the_theory_however_programs_come_in(texts, size, threshold, at_once):
    found = JaccardFilter(threshold, size)
    admitted = [a for start in range(0, len(texts), at_once) for a in found.admit(texts[start : start + at_once])]
    expected = novelty_filter.admit([shingles(lexemes(text), size) for text in texts], threshold)
    assert np.flatnonzero(admitted).tolist() == expected
    assert len(admitted) == len(texts)


def test_the_exact_filter_and_minhash_agree_far_from_the_threshold(block):
    other = block.replace("Linear", "Conv2d").replace("step", "t").replace("layers", "convolutions")
    texts = [block, other, block, other, "x = 1\n", "", "", block + "\n\n"]
    assert JaccardFilter().admit(texts) == NoveltyFilter().admit(texts)


@pytest.mark.parametrize("name", ["nas_bench_201", "trans_nas_bench_101_micro"])
def test_the_canonical_filter_admits_the_first_of_each_class(name):
    space = spaces.get(name)
    archs = [tuple(arch) for arch in np.random.default_rng(0).permutation(space.enumerate()).tolist()]
    found = CanonicalFilter(space)
    texts = [space.format(arch) for arch in archs]
    half = len(texts) // 2
    admitted = found.admit(texts[:half]) + found.admit(texts[half:])
    first: dict[tuple[int, ...], int] = {}
    for i, arch in enumerate(archs):
        first.setdefault(space.canonical(arch), i)
    assert np.flatnonzero(admitted).tolist() == list(first.values())
