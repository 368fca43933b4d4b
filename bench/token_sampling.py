"""What temperature, top-k and top-p make of the probabilities of tokens."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.effects import Sampling


def log_probabilities(logits: ArrayLike, groups: NDArray[np.int64], sampling: Sampling) -> NDArray[np.float64]:
    """Returns the log-probability with which each token is drawn among those of its group.

    Temperature comes first, then top-k, then top-p, as in vLLM; of equally likely tokens, the first ones are kept.

    Args:
        logits: One for each token, shape (tokens,), all finite.
        groups: Group of each token, from 0, shape (tokens,).
        sampling: How tokens are drawn.

    Returns:
        Shape (tokens,); -inf for a token that is never drawn.
    """
    z = np.asarray(logits, dtype=np.float64)
    kept = sampling.top_k if sampling.temperature > 0 else 1
    logs = _log_softmax(z / (sampling.temperature or 1), groups)
    if kept == 0 and sampling.top_p == 1:
        return logs
    order = np.lexsort((-logs, groups))
    sizes = np.bincount(groups)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    if kept:
        logs[order[np.arange(z.size) - starts >= kept]] = -np.inf
        logs = _log_softmax(logs, groups)
    if sampling.top_p < 1:
        before = np.cumsum(np.exp(logs[order])) - np.exp(logs[order])
        before -= np.repeat(before[np.cumsum(sizes) - sizes], sizes)
        # The likeliest stays whatever rounding makes of the sum.
        logs[order[(before >= sampling.top_p) & (np.arange(z.size) > starts)]] = -np.inf
        logs = _log_softmax(logs, groups)
    return logs


def _log_softmax(z: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    highest = np.full(groups.max(initial=-1) + 1, -np.inf)
    np.maximum.at(highest, groups, z)
    z = z - highest[groups]
    return z - np.log(np.bincount(groups, np.exp(z))[groups])
