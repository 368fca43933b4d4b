from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from surrogates.cell_space import EDGES
from surrogates.space import ArchitectureError
from surrogates.spaces.nas_bench_201 import OPERATIONS, nas_bench_201

PUBLISHED = Path("../shared/data/nb201_acc.parquet")


def test_has_as_many_cells_and_classes_as_published():
    """Dong and Yang 2020, section 2.1: 15,625 cells, 6,466 of them unique."""
    archs = [tuple(arch) for arch in nas_bench_201.enumerate().tolist()]
    assert len(archs) == 15_625
    assert len({nas_bench_201.canonical(arch) for arch in archs}) == 6_466


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs {PUBLISHED}")
def test_classes_are_the_published_ones():
    published = pd.read_parquet(PUBLISHED, columns=["arch_str", "unique_str"])
    archs = [nas_bench_201.parse(text) for text in published["arch_str"]]
    ours = pd.Series([nas_bench_201.canonical(arch) for arch in archs])
    assert len(set(archs)) == 15_625
    assert (
        ours.nunique() == published["unique_str"].nunique() == len(set(zip(ours, published["unique_str"], strict=True)))
    )
    # The representative is the smallest of its class.
    smallest = pd.Series(archs).groupby(published["unique_str"]).transform("min")
    assert smallest.tolist() == ours.tolist()


def test_reads_the_edges_in_the_official_order():
    text = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    arch = nas_bench_201.parse(text)
    assert arch == (0, 1, 2, 3, 4, 0)
    assert dict(zip(EDGES, (OPERATIONS[op] for op in arch), strict=True)) == {
        (0, 1): "none",
        (0, 2): "skip_connect",
        (1, 2): "nor_conv_1x1",
        (0, 3): "nor_conv_3x3",
        (1, 3): "avg_pool_3x3",
        (2, 3): "none",
    }


def test_cells_that_compute_the_same_have_one_canonical_form():
    # A convolution straight to the output, or through a node that passes it on.
    none = "|none~0|+|none~0|none~1|+|{}~0|{}~1|{}~2|"
    straight = nas_bench_201.parse(none.format("nor_conv_3x3", "none", "none"))
    through_one = nas_bench_201.parse("|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|")
    before_one = nas_bench_201.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    other = nas_bench_201.parse(none.format("nor_conv_1x1", "none", "none"))
    assert nas_bench_201.canonical(through_one) == nas_bench_201.canonical(before_one)
    assert nas_bench_201.canonical(straight) != nas_bench_201.canonical(other)


def test_neighbours_are_the_24_cells_at_hamming_distance_one():
    archs = nas_bench_201.enumerate()
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = nas_bench_201.sample(rng)
        expected = archs[(archs != arch).sum(axis=1) == 1]
        assert len(expected) == 24
        assert sorted(nas_bench_201.neighbours(arch)) == [tuple(other) for other in expected.tolist()]


def test_encoding_is_one_of_five_on_each_edge():
    features = nas_bench_201.encode([(0, 1, 2, 3, 4, 0)])
    assert features.reshape(6, 5).argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 0]
    assert features.sum() == 6


def test_example_of_the_description_is_a_cell():
    nas_bench_201.parse(nas_bench_201.description.rpartition("Example: ")[2])


def test_error_names_the_operation_and_the_nearest_one():
    with pytest.raises(ArchitectureError, match=r"'nor_conv_3x4'.*did you mean 'nor_conv_3x3'"):
        nas_bench_201.parse("|nor_conv_3x4~0|+|none~0|none~1|+|none~0|none~1|none~2|")


def test_error_shows_the_form():
    with pytest.raises(ArchitectureError) as caught:
        nas_bench_201.parse("|none~0|+|none~0|none~1|")
    assert "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|" in str(caught.value)
