import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from surrogates.benchmarks.darts_zero_cost import RESOLUTIONS, darts_zero_cost, naswot
from surrogates.errors import InputError
from surrogates.spaces.darts import darts


@pytest.fixture(scope="module")
def archs():
    rng = np.random.default_rng(2)
    return [darts.sample(rng) for _ in range(12)]


def test_it_is_labelled_as_a_proxy():
    assert darts_zero_cost.kind == "proxy"
    assert "not an accuracy" in darts_zero_cost.note
    assert all(task.metric == "NASWOT score" for task in darts_zero_cost.tasks.values())


def test_scores_neither_depend_on_nor_change_the_global_random_numbers(archs):
    before = torch.random.get_rng_state()
    first = darts_zero_cost.query(archs[:2], "16px").validation
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(77)
        np.testing.assert_array_equal(darts_zero_cost.query(archs[:2], "16px").validation, first)


def test_tasks_agree_in_part(archs):
    one, other = (darts_zero_cost.query(archs, task).validation for task in RESOLUTIONS)
    assert (one != other).all()
    assert kendalltau(one, other).correlation > 0.5  # pyright: ignore[reportAttributeAccessIssue]


def test_more_convolutions_tell_images_apart_better():
    """The determinant grows with the number of ReLUs whose pattern differs from image to image."""
    pairs = "{op}~0|{op}~1+{op}~0|{op}~1+{op}~0|{op}~1+{op}~0|{op}~1"
    score = {
        op: naswot(darts.parse(f"normal={pairs.format(op=op)} reduce={pairs.format(op=op)}"), 16)
        for op in ("none", "skip_connect", "sep_conv_3x3")
    }
    assert score["none"] < score["skip_connect"] < score["sep_conv_3x3"]


def test_without_torch_it_is_listed_and_says_what_it_needs(monkeypatch):
    code = "import sys; sys.modules['torch'] = None; from surrogates.benchmarks import benchmarks as b; "
    subprocess.run([sys.executable, "-c", code + "assert b.get('darts-zero-cost').note"], check=True)

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("surrogates.benchmarks.darts_zero_cost.version", missing)
    with pytest.raises(InputError, match=r"needs the package torch: pip install 'nascent\[train\]'"):
        _ = darts_zero_cost.checksum
