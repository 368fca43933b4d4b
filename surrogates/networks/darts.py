"""The networks of DARTS for small images (Liu, Simonyan and Yang 2019, ICLR, arXiv:1806.09055, section 3 and A.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surrogates.networks.layers import FactorizedReduce, relu_conv_bn
from surrogates.space import Arch
from surrogates.spaces.darts import genotype


def depthwise(channels: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Returns ReLU, a convolution of each channel by itself, a 1x1 convolution of all, batch normalisation."""
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, size, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


class Zero(nn.Module):
    """Returns zeros of the shape that an operation with this stride returns."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Returns (n, channels, h / stride, w / stride), rounded up, of (n, channels, h, w)."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class Cell(nn.Module):
    """0 and 1 are the results of the two cells before; each of the nodes 2 to 5 adds up two operations.

    nodes: for each node, two pairs (operation, what it reads), e.g. (("sep_conv_3x3", 0), ("skip_connect", 1)).
    reduction: whether the cell halves the resolution: the operations on 0 and 1 have a stride of 2.
    """

    def __init__(
        self, nodes: Sequence[Sequence[tuple[str, int]]], inputs: tuple[int, int], channels: int,
        reduction: bool, after_reduction: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        make = {
            "none": lambda stride: Zero(stride),
            "max_pool_3x3": lambda stride: nn.MaxPool2d(3, stride, padding=1),
            "avg_pool_3x3": lambda stride: nn.AvgPool2d(3, stride, padding=1, count_include_pad=False),
            "skip_connect": lambda stride: nn.Identity() if stride == 1 else FactorizedReduce(channels, channels),
            "sep_conv_3x3": lambda stride: nn.Sequential(depthwise(channels, 3, stride), depthwise(channels, 3)),
            "sep_conv_5x5": lambda stride: nn.Sequential(depthwise(channels, 5, stride), depthwise(channels, 5)),
            "dil_conv_3x3": lambda stride: depthwise(channels, 3, stride, dilation=2),
            "dil_conv_5x5": lambda stride: depthwise(channels, 5, stride, dilation=2),
        }
        first = FactorizedReduce if after_reduction else relu_conv_bn
        self.inputs = nn.ModuleList([first(inputs[0], channels), relu_conv_bn(inputs[1], channels)])
        pairs = [pair for node in nodes for pair in node]
        self.sources = [source for _, source in pairs]
        self.operations = nn.ModuleList(make[name](2 if reduction and source < 2 else 1) for name, source in pairs)

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Returns the nodes 2 to 5, joined: 4 * channels."""
        results = [self.inputs[0](before_last), self.inputs[1](last)]
        for first in range(0, len(self.sources), 2):
            made = [self.operations[i](results[self.sources[i]]) for i in (first, first + 1)]
            results.append(made[0] + made[1])
        return torch.cat(results[2:], dim=1)


class Network(nn.Module):
    """A stem, a chain of cells, of which two halve the resolution, and a linear classifier.

    Neither the auxiliary classifier nor the drop-path of the authors' training is part of it.

    Args:
        arch: The two cells.
        classes: Number of classes.
        channels: Channels of each node of the first cells; DARTS searches with 16 and evaluates with 36.
        cells: Number of cells; DARTS searches with 8 and evaluates with 20.
    """

    def __init__(self, arch: Arch, classes: int = 10, channels: int = 36, cells: int = 20) -> None:
        super().__init__()
        normal, reduce = genotype(arch)
        before_last = last = 3 * channels
        self.stem = nn.Sequential(nn.Conv2d(3, last, 3, padding=1, bias=False), nn.BatchNorm2d(last))
        self.cells = nn.ModuleList()
        reductions = {cells // 3, 2 * cells // 3}
        for place in range(cells):
            reduction = place in reductions
            channels *= 1 + reduction
            nodes = reduce if reduction else normal
            self.cells.append(Cell(nodes, (before_last, last), channels, reduction, place - 1 in reductions))
            before_last, last = last, 4 * channels
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits, (n, classes), of images, (n, 3, h, w)."""
        before_last = last = self.stem(images)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return self.classifier(last)
