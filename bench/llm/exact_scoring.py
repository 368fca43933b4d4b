"""The exact probability that a language model gives to each text of an enumerable space.

A text counts in one tokenisation, the canonical one: the tokenizer's own encoding of the text alone, without special
tokens, then the tokenizer's end-of-sequence token. It follows the prompt's tokens; no token spans the two.

The masked model chooses, after each prefix, among the tokens alone that lead to another of the texts: p_θ of a text is
the product of the softmax over those tokens. Over the texts it sums to 1. Where one token alone is allowed it has
probability 1: the end has where no text continues another. Temperature, top-k and top-p act on the same choices. A
grammar over characters, as vLLM's structured outputs, allows tokenisations beside the canonical one: its samples follow
another distribution, above all at high temperatures.

The forward passes need torch and transformers: they run in vLLM's environment.
"""

# pyright: reportMissingImports=false
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.effects import Sampling
from bench.llm.token_trie import TokenTrie
from surrogates.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 512
"""Nodes of the trie in one forward pass: more fill the cores better, but attention is computed between all of them."""


class Scores(NamedTuple):
    """Log-probabilities of texts, in nats.

    Attributes:
        masked: Under the masked model, log p_θ: shape (texts,). `exp` of it sums to 1.
        sampled: With which each is drawn: shape (texts,), -inf where it never is. `exp` of it sums to 1.
        free: Under the free model, of the canonical tokenisation with its end: shape (texts,); None if not asked for.
    """

    masked: NDArray[np.float64]
    sampled: NDArray[np.float64]
    free: NDArray[np.float64] | None


def prompt_tokens(tokenizer: Any, prompt: str | list[int], chat: bool) -> list[int]:
    """Returns the tokens before the answer, as vLLM's server makes them of a user's message or of a prompt."""
    if isinstance(prompt, list):
        return prompt
    if chat:
        message = [{"role": "user", "content": prompt}]
        return tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    return tokenizer(prompt).input_ids


def canonical_tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Returns the canonical tokenisation of each text, its end included."""
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(texts), add_special_tokens=False).input_ids]


def check(model: Any, prompt: Sequence[int], trie: TokenTrie) -> None:
    """Makes sure that `trie_scores` can follow a model.

    Raises:
        InputError: Prompt and text are longer than what the model attends to, or it changes its logits after the last
            matrix.
    """
    import torch

    config, longest = model.config, len(prompt) + int(trie.depths.max()) - 1
    # Within the sliding window of its layers, a model attends to all tokens.
    limit = min(config.max_position_embeddings, getattr(config, "sliding_window", None) or longest)
    if longest > limit:
        raise InputError(f"prompt and text have {longest} tokens; exact scores need {limit} or fewer with this model")
    with torch.inference_mode():
        asked = torch.tensor([prompt], device=model.device)
        last = model(asked, logits_to_keep=1, output_hidden_states=True)
        linear = last.hidden_states[-1][:, -1] @ model.get_output_embeddings().weight.T
    if not torch.allclose(linear, last.logits[:, -1], atol=1e-3):
        raise InputError(f"{config.model_type} changes its logits after the last matrix; exact scores cannot follow it")


def trie_scores(
    model: Any,
    cache: Any,
    prompt: Sequence[int],
    trie: TokenTrie,
    sampling: Sampling = Sampling(),
    free: bool = False,
    chunk: int = CHUNK,
) -> Scores:
    """Scores the sequences of a trie.

    The nodes whose logits are needed (those with several children; for the free model, all but the leaves) and those on
    the way to them each pass the model once, in chunks.

    Args:
        model: A causal language model of transformers, in evaluation mode, that `check` has passed.
        cache: An empty `DynamicCache`.
        prompt: Tokens before the sequences, one or more.
        trie: The sequences.
        sampling: How tokens are drawn, and in which precision the passes are computed; logits are float32 in any case.
        free: Whether to score under the free model, too; several times the work.
        chunk: Nodes in one forward pass.
    """
    import torch

    wanted = trie.children > (0 if free else 1)
    logits, log_totals = np.zeros(trie.size), np.zeros(trie.size)
    with torch.inference_mode():
        head = model.get_output_embeddings().weight
        vocabulary = np.arange(len(head)) if free else np.unique(trie.tokens[1:][wanted[trie.parents[1:]]])
        rows = head if free else head[torch.from_numpy(vocabulary).to(head.device)]
        needed, precision = trie.leading_to(wanted), sampling.precision
        for nodes, hidden in _walk(model.base_model, cache, prompt, trie, needed, chunk, head.device, precision):
            scored = nodes[wanted[nodes]]
            found = hidden[torch.from_numpy(wanted[nodes]).to(head.device)] @ rows.T
            if free:
                log_totals[scored] = found.logsumexp(dim=-1).cpu().numpy()
            place = np.full(trie.size, -1)
            place[scored] = np.arange(scored.size)
            children = 1 + np.flatnonzero(place[trie.parents[1:]] >= 0)
            columns = np.searchsorted(vocabulary, trie.tokens[children])
            logits[children] = found.cpu().numpy()[place[trie.parents[children]], columns]
    masked, sampled = (trie.sums(trie.log_probabilities(logits, how)) for how in (Sampling(), sampling))
    return Scores(masked, sampled, trie.sums(np.r_[0.0, (logits - log_totals[trie.parents])[1:]]) if free else None)


def _walk(
    decoder: Any, cache: Any, prompt: Sequence[int], trie: TokenTrie, nodes: NDArray[np.int64], chunk: int, device: Any,
    precision: str,
) -> "Iterator[tuple[NDArray[np.int64], Tensor]]":  # fmt: skip
    """Yields the nodes in chunks, each with the hidden states after the last layer, shape (nodes, width).

    A chunk is one sequence in which each node attends to its ancestors only. In depth-first order, the ancestors that
    are not in the chunk itself are those of its first node, so the cache keeps these alone, and the prompt.
    """
    import torch

    def forward(tokens: Sequence[int] | NDArray, positions: NDArray, mask: NDArray[np.bool_]) -> "Tensor":
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            output = decoder(
                input_ids=torch.as_tensor(tokens, device=device)[None],
                position_ids=torch.as_tensor(positions, device=device)[None],
                attention_mask=torch.as_tensor(mask, device=device)[None, None],
                past_key_values=cache,
                use_cache=True,
            )
        return output.last_hidden_state[0].float()

    if nodes.size == 0:
        return
    asked = np.arange(len(prompt))
    yield nodes[:1], forward(prompt, asked, asked <= asked[:, None])[-1:]
    held = nodes[:0]
    for start in range(1, len(nodes), chunk):
        now = nodes[start : start + chunk]
        path = trie.ancestors(now[0])
        kept = torch.from_numpy(np.concatenate([asked, len(prompt) + np.searchsorted(held, path)])).to(device)
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[:, :, kept], layer.values[:, :, kept]
        held = np.concatenate([path, now])
        mask = np.pad(trie.within(now, held), ((0, 0), (len(prompt), 0)), constant_values=True)
        yield now, forward(trie.tokens[now], len(prompt) - 1 + trie.depths[now], mask)
