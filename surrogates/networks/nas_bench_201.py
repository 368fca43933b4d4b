"""The networks of NAS-Bench-201 (Dong and Yang 2020, ICLR, section 2.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surrogates.networks.layers import relu_conv_bn
from surrogates.space import Arch
from surrogates.spaces.nas_bench_201 import OPERATIONS


class Cell(nn.Module):
    """Node 0 is the input, node 3 the output. Every node adds up one operation on each earlier node.

    operations: names of the operations on the edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3, in this order.
    """

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        make = {
            "skip_connect": nn.Identity,
            "nor_conv_1x1": lambda: relu_conv_bn(channels, channels, size=1),
            "nor_conv_3x3": lambda: relu_conv_bn(channels, channels, size=3),
            "avg_pool_3x3": lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        }
        edges = zip([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)], operations, strict=True)
        connected = [(edge, name) for edge, name in edges if name != "none"]
        self.edges = [edge for edge, _ in connected]
        self.operations = nn.ModuleList(make[name]() for _, name in connected)

    def forward(self, x: Tensor) -> Tensor:
        """Returns node 3, in the shape of x: (n, channels, h, w)."""
        nodes = [x] + [torch.zeros_like(x)] * 3
        for (source, target), operation in zip(self.edges, self.operations, strict=True):
            nodes[target] = nodes[target] + operation(nodes[source])
        return nodes[3]


class Halving(nn.Module):
    """The residual block between stacks: doubles the channels and halves the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            relu_conv_bn(channels, 2 * channels, 3, 2), relu_conv_bn(2 * channels, 2 * channels, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (n, 2 channels, h / 2, w / 2) of (n, channels, h, w)."""
        return self.shortcut(x) + self.convs(x)


class Network(nn.Module):
    """A stem, three stacks of cells with residual blocks between them, and a linear classifier.

    Args:
        arch: The cell.
        classes: Number of classes.
        channels: Channels of the first stack; the benchmark's networks have 16.
        cells: Cells in each stack; the benchmark's networks have 5.
    """

    def __init__(self, arch: Arch, classes: int = 10, channels: int = 16, cells: int = 5) -> None:
        super().__init__()
        names = [OPERATIONS[op] for op in arch]
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
        layers += [Cell(names, channels) for _ in range(cells)]
        for width in (channels, 2 * channels):
            layers += [Halving(width), *(Cell(names, 2 * width) for _ in range(cells))]
        layers += [nn.BatchNorm2d(4 * channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.layers = nn.Sequential(*layers, nn.Linear(4 * channels, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits, (n, classes), of images, (n, 3, h, w) with h and w divisible by 4."""
        return self.layers(images)
