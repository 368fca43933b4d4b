"""What the networks of every image space do."""

import importlib
import inspect

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from surrogates.spaces import spaces

SMALL = {
    "darts": {"channels": 4, "cells": 3},
    "nas_bench_201": {"channels": 4, "cells": 1},
    "trans_nas_bench_101_micro": {"channels": 4},
}
"""The image spaces, with the sizes of a network that is quick."""

WHOLE = {
    "darts": "normal=sep_conv_3x3~0|sep_conv_5x5~1+dil_conv_3x3~0|dil_conv_5x5~2+skip_connect~0|avg_pool_3x3~1"
    "+max_pool_3x3~3|sep_conv_3x3~4 reduce=max_pool_3x3~0|skip_connect~1+sep_conv_5x5~1|skip_connect~2"
    "+dil_conv_5x5~0|avg_pool_3x3~2+dil_conv_3x3~0|sep_conv_3x3~1",
    "nas_bench_201": "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "trans_nas_bench_101_micro": "64-41414-1_32_123",
}
"""Architectures whose every operation has an influence on the output."""


@pytest.fixture(params=SMALL)
def name(request):
    return request.param


def small(name, arch, **options):
    return spaces.get(name).build(arch, **SMALL[name], **options)


def test_any_architecture_classifies_images(name):
    space, rng = spaces.get(name), np.random.default_rng(0)
    for arch in [space.sample(rng) for _ in range(10)]:
        logits = small(name, arch, classes=7)(torch.randn(2, 3, 32, 32))
        assert logits.shape == (2, 7)
        assert logits.isfinite().all()


def test_resolutions_need_not_be_powers_of_two(name):
    space = spaces.get(name)
    assert small(name, space.parse(WHOLE[name]), classes=3)(torch.randn(2, 3, 36, 28)).shape == (2, 3)


def test_gradients_reach_every_parameter(name):
    network = small(name, spaces.get(name).parse(WHOLE[name]))
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_a_few_steps_of_descent_reduce_the_loss(name):
    network = small(name, spaces.get(name).parse(WHOLE[name]), classes=2)
    labels = torch.arange(16) % 2
    images = torch.randn(16, 3, 32, 32) + 2 * labels[:, None, None, None]
    optimiser, losses = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9), []
    for _ in range(8):
        loss = cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", [*SMALL, "nas_bench_graph"])
def test_code_is_the_class_that_builds_the_cell(name):
    networks = importlib.import_module(f"surrogates.networks.{name}")
    assert spaces.get(name).code == inspect.getsource(networks.Cell).rstrip()
