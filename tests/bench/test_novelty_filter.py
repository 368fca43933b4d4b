from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.novelty_filter import NoveltyFilter, lexemes
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
