"""What a generator that is tuned answers, whatever it is: a language model or a product of categoricals."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.effects import Sampling, Tune, Tuned


class Distribution(NamedTuple):
    """The exact distribution of a generator over a space, in the order of its `enumerate()`.

    Attributes:
        log_p: log p_θ of each architecture, in nats, shape (size,); `exp` of it sums to 1.
        sampled: With which each is drawn, under the sampling asked for; likewise, -inf where it never is.
        prompt_tokens: Tokens of the prompt.
        text_tokens: Tokens of each architecture's text, shape (size,).
    """

    log_p: NDArray[np.float64]
    sampled: NDArray[np.float64]
    prompt_tokens: int
    text_tokens: NDArray[np.int64]


class Generator(Protocol):
    """Tunes, and computes distributions; a state is a file that `tune` wrote, None is the untuned generator."""

    def tune(self, state: Path | None, effect: Tune, prompt: str, seed: int, out: Path) -> Tuned:
        """Tunes from a state and writes the new one, unless it fails.

        Args:
            state: The state to start from.
            effect: What to tune on.
            prompt: Its prompt, rendered.
            seed: Of all randomness, in [0, 2**63).
            out: File of the new state.
        """
        ...

    def distribution(self, state: Path | None, prompt: str, sampling: Sampling) -> Distribution:
        """Returns the exact distribution of answers to a prompt."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


def corpus_weights(effect: Tune) -> NDArray[np.float64] | str:
    """Returns the weight of each text of a corpus, or why it cannot be tuned on."""
    if not effect.texts:
        return "the corpus is empty"
    weights = np.ones(len(effect.texts)) if effect.weights is None else np.asarray(effect.weights, dtype=float)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() == 0:
        return "the weights must be finite and at least 0, not all 0"
    return weights


def less_likely(held_out: Sequence[tuple[float, float]]) -> str | None:
    """Returns why a step is undone: held-out texts became less likely on the mean; None if they did not.

    Args:
        held_out: Log-likelihood of each before and after the step.
    """
    fall = sum(before - after for before, after in held_out) / max(len(held_out), 1)
    # NaN is no progress, either.
    return None if fall <= 0 else f"held-out texts became less likely, by {fall:.3g} nats on the mean; undone"
