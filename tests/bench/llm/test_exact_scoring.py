"""Exact scores against whole strings scored one by one, and against samples; on a tiny network and on real models."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import stats

from bench.effects import Sampling
from bench.llm import environment, models, weights
from bench.llm.exact_scoring import Scores, trie_scores
from bench.llm.token_trie import TokenTrie
from bench.llm.tuner import Tuner
from surrogates.errors import InputError
from surrogates.space import Space
from surrogates.spaces import spaces

END = 11
TEMPERATURE = 0.35
SEQUENCES: list[tuple[int, ...]] = [
    (*(int(token) for token in text), END)
    for text in ("0", "00", "0123", "0124", "012567", "0125", "9", "94", "95", "9512", "9513", "95132222", "8888")
]
DRAWS = 4000
WARM = 2.0
"""A temperature at which a real model spreads its answers over many cells."""


class Cache:
    """Keys and values of each layer, as transformers' `DynamicCache` holds them: (1, heads, tokens, width)."""

    def __init__(self) -> None:
        self.layers: list[SimpleNamespace] = []

    def update(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if layer == len(self.layers):
            self.layers.append(SimpleNamespace(keys=keys[:, :, :0], values=values[:, :, :0]))
        held = self.layers[layer]
        held.keys, held.values = torch.cat([held.keys, keys], dim=2), torch.cat([held.values, values], dim=2)
        return held.keys, held.values


class Tiny:
    """A random transformer with two layers of two heads, called as those of transformers are."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        self.embeddings, self.positions, self.layers = normal(12, 16), normal(40, 16), normal(2, 16, 48) / 4
        self.head = SimpleNamespace(weight=normal(12, 16) / 8)

    def get_output_embeddings(self) -> SimpleNamespace:
        return self.head

    def base_model(
        self, input_ids: torch.Tensor, position_ids: torch.Tensor, attention_mask: torch.Tensor, past_key_values: Cache,
        use_cache: bool,
    ) -> SimpleNamespace:  # fmt: skip
        assert use_cache
        x = self.embeddings[input_ids] + self.positions[position_ids]
        for number, weight in enumerate(self.layers):
            q, k, v = ((x @ weight).unflatten(-1, (3, 2, 8))).permute(2, 0, 3, 1, 4)
            k, v = past_key_values.update(number, k, v)
            attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, attention_mask)
            x = torch.nn.functional.layer_norm(x + attended.transpose(1, 2).flatten(2), (16,))
        return SimpleNamespace(last_hidden_state=x)

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Scores one whole text, shape (tokens, 12)."""
        n = len(tokens)
        causal = torch.ones(n, n, dtype=torch.bool).tril()[None, None]
        out = self.base_model(torch.tensor(tokens)[None], torch.arange(n)[None], causal, Cache(), True)
        return (out.last_hidden_state[0] @ self.head.weight.T).double().numpy()


@pytest.fixture(scope="module")
def tiny_scores() -> Callable[..., Scores]:
    trie = TokenTrie.build(SEQUENCES)

    def do(chunk: int = 5, free: bool = True, cache: Any = None) -> Scores:
        return trie_scores(Tiny(), cache or Cache(), [3, 1, 4], trie, Sampling(TEMPERATURE), free, chunk)

    return do


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits)


def test_scores_are_those_of_whole_texts_masked_by_hand(tiny_scores: Callable[..., Scores]):
    found = tiny_scores()
    assert found.free is not None
    for sequence, *logs in zip(SEQUENCES, found.masked, found.sampled, found.free, strict=True):
        rows = Tiny().logits([3, 1, 4, *sequence])[2:-1]
        expected = np.zeros(3)
        for length, (token, row) in enumerate(zip(sequence, rows, strict=True)):
            allowed = sorted({other[length] for other in SEQUENCES if other[:length] == sequence[:length]})
            masked, sampled = (log_softmax(row[allowed] / t)[allowed.index(token)] for t in (1, TEMPERATURE))
            expected += masked, sampled, log_softmax(row)[token]
        assert logs == pytest.approx(expected.tolist(), abs=1e-4)


def test_probabilities_sum_to_one_whatever_the_size_of_the_chunks(tiny_scores: Callable[..., Scores]):
    whole = tiny_scores(chunk=1000)
    assert np.exp(whole.masked).sum() == pytest.approx(1, abs=1e-5)
    assert np.exp(whole.sampled).sum() == pytest.approx(1, abs=1e-5)
    for chunk in (1, 2, 7):
        np.testing.assert_allclose(tiny_scores(chunk).masked, whole.masked, atol=1e-4)


def test_sampled_frequencies_are_the_probabilities(tiny_scores: Callable[..., Scores]):
    rng = np.random.default_rng(0)
    counts: dict[tuple[int, ...], int] = dict.fromkeys(SEQUENCES, 0)

    def draw(prefix: tuple[int, ...], draws: int) -> None:
        """Draws the next token of so many samples that begin alike."""
        if prefix in counts:
            counts[prefix] = draws
            return
        allowed = sorted({s[len(prefix)] for s in SEQUENCES if s[: len(prefix)] == prefix})
        chances = np.exp(log_softmax(Tiny().logits([3, 1, 4, *prefix])[-1, allowed] / TEMPERATURE))
        for token, drawn in zip(allowed, rng.multinomial(draws, chances), strict=True):
            draw((*prefix, token), int(drawn))

    draw((), DRAWS)
    assert_frequencies(np.array(list(counts.values())), tiny_scores().sampled)


def assert_frequencies(counts: np.ndarray, logs: np.ndarray) -> None:
    """Pearson's test; outcomes that are expected fewer than ten times are joined, the last of these at least."""
    order = np.argsort(logs)
    expected = np.exp(logs[order]) * counts.sum()
    rare = max(1, np.searchsorted(np.cumsum(expected), 10) + 1)
    observed, expected = (np.append(x[:rare].sum(), x[rare:]) for x in (counts[order], expected))
    assert expected.size > 2
    assert stats.chisquare(observed, expected * (observed.sum() / expected.sum())).pvalue > 0.001


def test_tokens_that_lead_to_no_choice_are_not_computed(tiny_scores: Callable[..., Scores]):
    cache = Cache()
    tiny_scores(chunk=1000, free=False, cache=cache)
    # Below the root: 0, 01, 012, 0125, 9, 95, 951, 9513; and the prompt.
    assert cache.layers[0].keys.shape[2] == 3 + 8


def test_a_single_text_is_certain():
    trie = TokenTrie.build([(1, 2, END)])
    assert trie_scores(Tiny(), Cache(), [3], trie).masked.tolist() == [0.0]


WHOLE_TEXTS = """
import json, sys
import numpy as np, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, prompt, chat, texts, checked, temperature, draws = json.loads(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
if chat:
    message = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    start = tokenizer(text, add_special_tokens=False).input_ids
else:
    start = tokenizer(prompt).input_ids
sequences = [tuple(tokenizer(t, add_special_tokens=False).input_ids) + (tokenizer.eos_token_id,) for t in texts]
def logits(tokens):
    with torch.inference_mode():
        return model(torch.tensor([start + list(tokens)]), use_cache=False).logits[0, len(start) - 1:]
def allowed(prefix):
    return sorted({s[len(prefix)] for s in sequences if s[:len(prefix)] == prefix})
masked, free = [], []
for n in checked:
    s, rows = sequences[n], logits(sequences[n])
    free.append(sum(float(rows[i].log_softmax(-1)[t]) for i, t in enumerate(s)))
    chances = [(rows[i, allowed(s[:i])] / temperature).log_softmax(-1) for i in range(len(s))]
    masked.append(sum(float(c[allowed(s[:i]).index(t)]) for i, (t, c) in enumerate(zip(s, chances))))
rng, counts = np.random.default_rng(1), dict.fromkeys(sequences, 0)
def draw(prefix, n):
    while prefix not in counts and len(allowed(prefix)) == 1:
        prefix += tuple(allowed(prefix))
    if prefix in counts:
        counts[prefix] = n
    elif n:
        p = (logits(prefix)[-1, allowed(prefix)] / temperature).double().softmax(-1).numpy()
        for t, m in zip(allowed(prefix), rng.multinomial(n, p)):
            draw((*prefix, t), int(m))
draw((), draws)
print(json.dumps([len(start), tokenizer.decode(start), masked, free, list(counts.values())]))
"""
"""Scores texts one by one and draws samples, without a cache and without the trie; runs in vLLM's environment."""


@pytest.mark.llm
@pytest.mark.parametrize("name", ["smollm2"])
def test_scores_of_cells_are_those_of_whole_texts_and_of_samples(name: str, setup_done: None, tmp_path: Path):
    space, model = spaces.get("nas_bench_201"), models.get(name)
    archs = space.enumerate()
    texts = [space.format(tuple(arch)) for arch in archs[(archs[:, [1, 2, 3, 5]] == [1, 4, 3, 2]).all(axis=1)].tolist()]
    checked = np.random.default_rng(3).choice(len(texts), 5, replace=False).tolist()
    prompt = "A cell is |op~0|+|op~0|op~1|+|op~0|op~1|op~2|. Propose one.\n"
    few = SimpleNamespace(name="some cells", texts=texts)
    with Tuner(model, cast(Space, few)) as tuner:
        found = tuner.score(prompt, Sampling(WARM), free=True)
        half = tuner.score(prompt, Sampling(WARM, precision="bfloat16"))
    asked = json.dumps([str(weights.folder(model)), prompt, model.chat, texts, checked, WARM, DRAWS])
    said = environment.run([environment.python(), "-I", "-c", WHOLE_TEXTS, asked], tmp_path / "log", "failed")
    _, start, masked, free, counts = json.loads(said.splitlines()[-1])
    assert start.endswith("<|im_start|>assistant\n") if model.chat else start == f"<bos>{prompt}"
    assert np.exp(found.sampled).sum() == pytest.approx(1, abs=1e-5)
    assert found.free is not None
    np.testing.assert_allclose(found.sampled[checked], masked, atol=2e-4)
    assert np.exp(half.sampled).sum() == pytest.approx(1, abs=1e-5)
    assert 0 < np.abs(np.exp(half.sampled) - np.exp(found.sampled)).sum() / 2 < 0.05
    np.testing.assert_allclose(found.free[checked], free, rtol=1e-5)
    assert_frequencies(np.array(counts), found.sampled)


@pytest.mark.llm
def test_a_text_longer_than_the_window_of_the_model_is_refused(setup_done: None):
    two = SimpleNamespace(name="two", texts=["|", "a"])
    with (
        Tuner(models.get("gemma3"), cast(Space, two)) as tuner,
        pytest.raises(InputError, match="513 tokens; exact scores need 512 or fewer"),
    ):
        tuner.score([2] * 512)
