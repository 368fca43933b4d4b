"""Layers that the networks of several spaces have."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


def relu_conv_bn(inputs: int, outputs: int, size: int = 1, stride: int = 1) -> nn.Sequential:
    """Returns ReLU, convolution without offset, batch normalisation: (n, inputs, h, w) to (n, outputs, h', w').

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it makes.
        size: Size of the kernel, odd; h' is h / stride, rounded up.
        stride: Stride of the convolution.
    """
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(outputs))


class FactorizedReduce(nn.Module):
    """Halves the resolution: ReLU, two 1x1 convolutions of stride 2, the second moved by a pixel, joined, normalised.

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it makes, even.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (n, outputs, h / 2, w / 2), rounded up, of (n, inputs, h, w)."""
        x = self.relu(x)
        # The padding matters where the resolution is odd only.
        moved = pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.convs[0](x), self.convs[1](moved)], dim=1))
