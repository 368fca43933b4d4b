"""The classifiers of TransNAS-Bench-101, cell level (Duan et al. 2021, CVPR, arXiv:2105.11871, section 3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from surrogates.networks.layers import FactorizedReduce, relu_conv_bn
from surrogates.space import Arch
from surrogates.spaces.trans_nas_bench_101_micro import OPERATIONS


class Cell(nn.Module):
    """Node 0 is the input, node 3 the output. Every node adds up one operation on each earlier node.

    operations: names of the operations on the edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3, in this order.
    stride: 1, or 2 in a cell that halves the resolution: there the operations on node 0 have it.
    """

    def __init__(self, operations: Sequence[str], inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        make = {
            "skip_connect": lambda c, s: nn.Identity() if s == 1 else FactorizedReduce(c, outputs),
            "nor_conv_1x1": lambda c, s: relu_conv_bn(c, outputs, size=1, stride=s),
            "nor_conv_3x3": lambda c, s: relu_conv_bn(c, outputs, size=3, stride=s),
        }
        edges = zip([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)], operations, strict=True)
        connected = [(edge, name) for edge, name in edges if name != "none"]
        self.edges = [edge for edge, _ in connected]
        self.operations = nn.ModuleList(
            make[name](inputs, stride) if source == 0 else make[name](outputs, 1) for (source, _), name in connected
        )
        self.outputs, self.stride = outputs, stride

    def forward(self, x: Tensor) -> Tensor:
        """Returns node 3, (n, outputs, h / stride, w / stride), of x, (n, inputs, h, w)."""
        height, width = (-(-n // self.stride) for n in x.shape[2:])
        nodes = [x] + [x.new_zeros(len(x), self.outputs, height, width)] * 3
        for (source, target), operation in zip(self.edges, self.operations, strict=True):
            nodes[target] = nodes[target] + operation(nodes[source])
        return nodes[3]


class Network(nn.Module):
    """The encoder 64-41414 and a linear classifier.

    A stem quarters the resolution; of five modules of two cells, the first, third and fifth double the channels and
    halve the resolution in their first cell.

    Args:
        arch: The cell.
        classes: Number of classes; 75 in object classification.
        channels: Channels after the stem; the benchmark's networks have 64.
    """

    def __init__(self, arch: Arch, classes: int = 75, channels: int = 64) -> None:
        super().__init__()
        names = [OPERATIONS[op] for op in arch]
        half = channels // 2
        layers: list[nn.Module] = [nn.Conv2d(3, half, 3, 2, padding=1, bias=False), nn.BatchNorm2d(half)]
        layers.append(relu_conv_bn(half, channels, 3, 2))
        for factor in (2, 1, 2, 1, 2):
            layers += [Cell(names, channels, factor * channels, factor)]
            channels *= factor
            layers += [Cell(names, channels, channels, 1)]
        self.encoder = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        for module in self.encoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits, (n, classes), of images, (n, 3, h, w)."""
        return self.classifier(self.encoder(images))
