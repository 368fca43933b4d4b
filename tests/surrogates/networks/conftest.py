import pytest
import torch


@pytest.fixture(autouse=True)
def weights_are_reproducible():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
