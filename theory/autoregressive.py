"""A small autoregressive network as a family of generators, and the gradients of its fine-tuning loss by autograd.

The network is a language model in small: p(a) = Π_l softmax(W₂ tanh(W₁ x_l + b₁) + b₂)(a_l), where x_l codes the
position l and the tokens before it. PyTorch is imported when a method runs, so that the module can be imported without
it.
"""

# pyright: reportMissingImports=false
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from theory.families import Floats, Parameters
from theory.one_thread import one_thread

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Network:
    """The family. Parameters: (W₁: (..., hidden, inputs), b₁: (..., hidden), W₂: (..., k, hidden), b₂: (..., k)).

    Attributes:
        space: Shape (n, length).
        tokens: k.
        hidden: Width of the hidden layer.
        tolerance: The projection stops when no component of the gradient is larger.
        steps: Steps of the projection at most.
    """

    space: NDArray[np.intp]
    tokens: int
    hidden: int = 8
    tolerance: float = 1e-8
    steps: int = 500

    @cached_property
    def _inputs(self) -> Floats:
        """Position and earlier tokens of each architecture at each position, shape (n, length, length + length · k)."""
        n, length = self.space.shape
        one_hot = np.eye(self.tokens)[self.space]
        earlier = np.tril(np.ones((length, length)), -1)
        prefix = earlier[None, :, :, None] * one_hot[:, None, :, :]
        position = np.broadcast_to(np.eye(length), (n, length, length))
        return np.concatenate([position, prefix.reshape(n, length, -1)], axis=-1)

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        inputs = self._inputs.shape[-1]
        return (self.hidden, inputs), (self.hidden,), (self.tokens, self.hidden), (self.tokens,)

    def random(self, rng: np.random.Generator, worlds: int) -> Parameters:
        """Draws standard normal weights."""
        return tuple(rng.standard_normal((worlds, *shape)) for shape in self._shapes)

    def probabilities(self, parameters: Parameters) -> Floats:
        """Returns p_θ, shape (..., n)."""
        import torch

        with torch.no_grad():
            found = self._token_logs([torch.from_numpy(np.ascontiguousarray(p)) for p in parameters])
            return found.sum(dim=-1).exp().numpy()

    def project(self, target: Floats, start: Parameters) -> Parameters:
        """Returns the parameters that L-BFGS reaches from `start`, all worlds at once; maybe a local optimum."""
        import torch

        weights = torch.tensor(np.broadcast_to(target, (*start[1].shape[:-1], len(self.space))))
        shapes = [p.shape for p in start]
        ends = np.cumsum([p.size for p in start])[:-1]

        def unpack(flat: Floats) -> Parameters:
            return tuple(part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True))

        def objective(flat: Floats) -> tuple[float, Floats]:
            return self._value_and_gradient(unpack(flat), lambda logs: -(weights * logs.sum(dim=-1)).sum())

        with one_thread():
            result = optimize.minimize(
                objective,
                np.concatenate([p.ravel() for p in start]),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": self.steps, "maxfun": 2 * self.steps, "gtol": self.tolerance, "ftol": 0.0},
            )
        return unpack(result.x)

    def loss_gradient(self, parameters: Parameters, corpus: ArrayLike) -> Floats:
        """Returns the gradient of the fine-tuning loss: the mean over a corpus of each text's summed token losses.

        Args:
            parameters: θ of one world.
            corpus: Index in the space of each text, shape (m,), repeats allowed.
        """
        import torch
        from torch.nn.functional import cross_entropy

        texts = torch.as_tensor(np.asarray(corpus, dtype=np.int64))
        tokens = torch.as_tensor(self.space)[texts]

        def loss(logits: "Tensor") -> "Tensor":
            rows = logits[texts]
            return cross_entropy(rows.flatten(0, 1), tokens.flatten(), reduction="sum") / len(texts)

        return self._value_and_gradient(parameters, loss, logits=True)[1]

    def divergence_gradient(self, parameters: Parameters, target: ArrayLike) -> Floats:
        """Returns the gradient of KL(target || p_θ) over the whole space.

        Args:
            parameters: θ of one world.
            target: Probabilities, shape (n,).
        """
        import torch
        from torch.nn.functional import kl_div

        goal = torch.as_tensor(np.asarray(target, dtype=float))
        return self._value_and_gradient(parameters, lambda logs: kl_div(logs.sum(dim=-1), goal, reduction="sum"))[1]

    def _value_and_gradient(
        self, parameters: Parameters, loss: "Callable[[Tensor], Tensor]", logits: bool = False
    ) -> tuple[float, Floats]:
        import torch

        leaves = [torch.from_numpy(np.array(p, dtype=float)).requires_grad_() for p in parameters]
        value = loss(self._logits(leaves) if logits else self._token_logs(leaves))
        value.backward()
        gradient = [leaf.grad for leaf in leaves]
        return value.item(), np.concatenate([g.numpy().ravel() for g in gradient if g is not None])

    def _logits(self, parameters: "list[Tensor]") -> "Tensor":
        """Returns the logits, shape (..., n, length, k)."""
        import torch

        w1, b1, w2, b2 = parameters
        x = torch.from_numpy(self._inputs)
        hidden = torch.tanh(torch.einsum("nld,...hd->...nlh", x, w1) + b1[..., None, None, :])
        return torch.einsum("...nlh,...kh->...nlk", hidden, w2) + b2[..., None, None, :]

    def _token_logs(self, parameters: "list[Tensor]") -> "Tensor":
        """Returns log p(a_l | a_1 ... a_{l-1}), shape (..., n, length)."""
        import torch

        logs = torch.log_softmax(self._logits(parameters), dim=-1)
        index = torch.from_numpy(self.space)[:, :, None].expand(*logs.shape[:-1], 1)
        return logs.gather(-1, index)[..., 0]
