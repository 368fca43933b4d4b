import pytest
import torch

from surrogates.networks.layers import FactorizedReduce
from surrogates.networks.trans_nas_bench_101_micro import Cell
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro as space

MODULES = ((64, 128), (128, 128), (128, 256), (256, 256), (256, 512))
"""Channels before and after each module; where they differ, its first cell halves the resolution."""


def parameters(key: str) -> int:
    return sum(p.numel() for p in space.build(space.parse(key)).parameters())


@pytest.mark.parametrize(("op", "kernel"), [(0, None), (1, None), (2, 1), (3, 9)])
def test_parameters_are_those_of_the_described_network(op, kernel):
    expected = (27 * 32 + 64) + (9 * 32 * 64 + 128) + (512 * 75 + 75)
    for before, after in MODULES:
        if kernel:
            expected += 3 * (kernel * before * after + 2 * after) + 9 * (kernel * after**2 + 2 * after)
        elif op == 1 and before != after:  # node 0 is read three times
            expected += 3 * (before * after + 2 * after)
    assert parameters(f"64-41414-{op}_{op}{op}_{op}{op}{op}") == expected


def test_encoder_makes_512_channels_of_a_32nd_of_the_resolution():
    network = space.build(space.parse("64-41414-1_02_111"))
    assert network.get_submodule("encoder")(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 7, 7)


def test_cell_adds_up_what_its_nodes_read():
    x = torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(Cell(["skip_connect"] * 6, 2, 2, 1)(x), 4 * x)


def test_cell_without_a_connection_is_zero_of_the_right_shape():
    assert torch.equal(Cell(["none"] * 6, 2, 4, 2)(torch.randn(3, 2, 5, 7)), torch.zeros(3, 4, 3, 4))


def test_reduction_reads_all_pixels_once():
    """The first half of the channels reads those of even row and column, the second those of odd ones."""
    reduce = FactorizedReduce(1, 2).eval()
    with torch.no_grad():
        for weight in reduce.convs.parameters():
            weight.fill_(1)
    x = torch.arange(1.0, 26).reshape(1, 1, 5, 5)
    even, odd = reduce(x)[0] * (1 + reduce.norm.eps) ** 0.5
    torch.testing.assert_close(even, x[0, 0, ::2, ::2])
    torch.testing.assert_close(odd[:2, :2], x[0, 0, 1::2, 1::2])
    assert torch.equal(odd[2], torch.zeros(3))
