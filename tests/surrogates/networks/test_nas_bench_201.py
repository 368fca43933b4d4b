from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from surrogates.networks.nas_bench_201 import Cell
from surrogates.spaces.nas_bench_201 import nas_bench_201

PUBLISHED = Path("../shared/data/nb201_acc.parquet")


def parameters(text: str, **options: int) -> int:
    return sum(p.numel() for p in nas_bench_201.build(nas_bench_201.parse(text), **options).parameters())


def cell_of(op: str) -> str:
    return f"|{op}~0|+|{op}~0|{op}~1|+|{op}~0|{op}~1|{op}~2|"


def test_parameters_are_those_of_the_paper():
    """Stem, residual blocks, last normalisation, classifier; then 15 cells with six convolutions of 16, 32, 64."""
    rest = (27 * 16 + 32) + (64 * 2 + 10 * 64 + 10)
    rest += sum(9 * c * 2 * c + 9 * (2 * c) ** 2 + c * 2 * c + 4 * 2 * c for c in (16, 32))
    assert parameters(cell_of("none")) == rest == 73_306
    assert parameters(cell_of("skip_connect")) == rest
    assert parameters(cell_of("avg_pool_3x3")) == rest
    for op, kernel in (("nor_conv_1x1", 1), ("nor_conv_3x3", 9)):
        assert parameters(cell_of(op)) == rest + 5 * 6 * sum(kernel * c * c + 2 * c for c in (16, 32, 64))
    assert parameters(cell_of("none"), classes=100) == rest + 90 * 65


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs {PUBLISHED}")
def test_parameters_are_the_published_ones():
    """In millions, convolutions, normalisations and classifier for CIFAR-10 included."""
    table = pd.read_parquet(PUBLISHED, columns=["arch_str", "params_c10_M_formula"]).sample(40, random_state=0)
    for text, millions in table.itertuples(index=False):
        assert parameters(text) == pytest.approx(1e6 * millions, abs=1)


def test_cell_adds_up_what_its_nodes_read():
    cell = Cell(["skip_connect", "none", "skip_connect", "skip_connect", "avg_pool_3x3", "skip_connect"], 2)
    x = torch.randn(1, 2, 5, 5)
    # Nodes 1 and 2 are x.
    torch.testing.assert_close(cell(x), 2 * x + nn.AvgPool2d(3, 1, 1, count_include_pad=False)(x))


def test_operations_that_nothing_reads_get_no_gradient():
    cell = Cell(["nor_conv_3x3", "none", "none", "nor_conv_1x1", "none", "none"], 2)
    cell(torch.randn(2, 2, 5, 5)).square().sum().backward()
    unread, read = cell.operations
    assert all(p.grad is None for p in unread.parameters())
    assert all(p.grad is not None for p in read.parameters())
