"""Torch on one thread."""

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Computes what is inside on one thread of torch, or inside a function that this decorates.

    For models as small as those of search methods and surrogates, more threads cost more than they give: beside a
    language-model server on the same cores ten times as much. And the result is the same whatever the number of cores.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
