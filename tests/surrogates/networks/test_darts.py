import pytest
import torch

from surrogates.networks.darts import Cell
from surrogates.spaces.darts import darts

V2 = (
    "normal=sep_conv_3x3~0|sep_conv_3x3~1+sep_conv_3x3~0|sep_conv_3x3~1+skip_connect~0|sep_conv_3x3~1"
    "+skip_connect~0|dil_conv_3x3~2 reduce=max_pool_3x3~0|max_pool_3x3~1+max_pool_3x3~1|skip_connect~2"
    "+max_pool_3x3~0|skip_connect~2+max_pool_3x3~1|skip_connect~2"
)
"""The cells of DARTS (second order), figures 4 and 5 of the paper."""


def test_parameters_of_the_published_architecture_are_the_published_ones():
    """Table 1: 3.3 million with 36 channels and 20 cells on CIFAR-10, without the auxiliary classifier."""
    network = darts.build(darts.parse(V2), classes=10, channels=36, cells=20)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(3.3, abs=0.05)


@pytest.mark.parametrize("cells", [8, 20])
def test_cells_at_a_third_and_two_thirds_halve_the_resolution_and_double_the_channels(cells):
    network, shapes = darts.build(darts.parse(V2), channels=4, cells=cells), []
    for cell in network.get_submodule("cells").children():
        cell.register_forward_hook(lambda cell, read, made: shapes.append(made.shape[1:]))
    network(torch.zeros(1, 3, 32, 32))
    third, two_thirds = cells // 3, 2 * cells // 3
    assert shapes == (
        [(16, 32, 32)] * third + [(32, 16, 16)] * (two_thirds - third) + [(64, 8, 8)] * (cells - two_thirds)
    )


def test_cell_joins_its_nodes_each_the_sum_of_two_operations():
    nodes = [[("skip_connect", 0), ("skip_connect", 1)], [("none", 0), ("skip_connect", 2)],
             [("skip_connect", 1), ("avg_pool_3x3", 0)], [("skip_connect", 3), ("max_pool_3x3", 1)]]  # fmt: skip
    cell = Cell(nodes, (2, 2), 2, reduction=False, after_reduction=False)
    for place in range(2):
        cell.inputs[place] = torch.nn.Identity()
    x, y = torch.randn(2, 1, 2, 5, 5)
    pooled = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    largest = torch.nn.functional.max_pool2d(y, 3, 1, 1)
    torch.testing.assert_close(cell(x, y), torch.cat([x + y, x + y, y + pooled, x + y + largest], dim=1))


@pytest.mark.parametrize(("op", "weights"), [
    ("none", 0), ("max_pool_3x3", 0), ("avg_pool_3x3", 0), ("skip_connect", 0),
    ("sep_conv_3x3", 2 * (9 * 6 + 36 + 12)), ("sep_conv_5x5", 2 * (25 * 6 + 36 + 12)),
    ("dil_conv_3x3", 9 * 6 + 36 + 12), ("dil_conv_5x5", 25 * 6 + 36 + 12),
])  # fmt: skip
def test_operations_have_the_parameters_of_depthwise_separable_convolutions(op, weights):
    cell = Cell([[(op, 0), (op, 1)]] * 4, (6, 6), 6, reduction=False, after_reduction=False)
    assert sum(p.numel() for p in cell.operations.parameters()) == 8 * weights


def test_operations_see_as_far_as_their_kernels_reach():
    """A dilated 5x5 convolution sees 9x9 pixels, as two 5x5 convolutions after each other do; 3x3 see 5x5."""
    for op, reach in (("sep_conv_3x3", 2), ("dil_conv_3x3", 2), ("sep_conv_5x5", 4), ("dil_conv_5x5", 4)):
        cell = Cell([[(op, 0), (op, 1)]] * 4, (2, 2), 2, reduction=False, after_reduction=False).eval()
        x = torch.ones(1, 2, 15, 15, requires_grad=True)
        with torch.no_grad():
            for parameter in cell.operations.parameters():
                parameter.fill_(1)
        cell.operations[0](x)[0, 0, 7, 7].backward()
        assert x.grad is not None
        rows = x.grad[0, 0].abs().sum(dim=1).nonzero().flatten()
        assert (rows.min().item(), rows.max().item()) == (7 - reach, 7 + reach)
