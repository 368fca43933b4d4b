"""Low-rank adaptation (LoRA) of a language model, and its exact distribution over a space; runs in vLLM's environment.

`main` answers the requests of a `bench.llm.tuner.Tuner` until its standard input ends. A state is a safetensors file
with the adapters; merged into the weights, they give the tuned model.
"""

# pyright: reportMissingImports=false
import copy
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.effects import Sampling, Tune, Tuned, Tuning
from bench.generator import Distribution, corpus_weights, less_likely
from bench.journal import RESUMABLE
from bench.llm import tree_attention
from bench.llm.exact_scoring import Scores, canonical_tokens, check, prompt_tokens, trie_scores
from bench.llm.token_trie import TokenTrie
from surrogates.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER = "default"

PART = 16
"""Texts in one pass at most: attention is computed, and kept for its gradient, between all their tokens."""


class TunableModel:
    """A language model with adapters.

    Args:
        folder: Folder of the model.
        chat: Whether prompts go through its chat template.
        texts: All texts of the space, in its order.
        own_prompt: The prompt for all, in place of those that are asked; None: those that are asked.
    """

    def __init__(self, folder: str, chat: bool, texts: Sequence[str], own_prompt: str | None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._chat, self._own_prompt = chat, own_prompt
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        sequences = canonical_tokens(self._tokenizer, texts)
        self._trie = TokenTrie.build(sequences)
        self._rows = {text: row for row, text in enumerate(texts)}
        self._lengths = np.array([len(sequence) for sequence in sequences])
        device = "cuda" if torch.cuda.is_available() else "cpu"
        attention = tree_attention.register() if device == "cpu" else "sdpa"
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
        self._model = model.to(device).eval()
        self._wrapped: Any = None
        self._layers: tuple[object, ...] = ()
        self._merged: tuple[Path | None, Any] | None = None
        trie = self._trie
        self._branching = trie.children > 1
        nodes = 1 + np.flatnonzero(self._branching[trie.parents[1:]])
        self._choices = np.unique(trie.tokens[nodes])
        self._allowed = np.zeros((trie.size, self._choices.size), dtype=bool)
        self._allowed[trie.parents[nodes], np.searchsorted(self._choices, trie.tokens[nodes])] = True

    def _prompt(self, prompt: str) -> list[int]:
        return prompt_tokens(self._tokenizer, prompt if self._own_prompt is None else self._own_prompt, self._chat)

    def distribution(self, state: Path | None, prompt: str, sampling: Sampling) -> Distribution:
        """Returns the exact distribution; see `bench.generator.Generator`."""
        tokens = self._prompt(prompt)
        found = self._scores(state, tokens, sampling, free=False)
        return Distribution(found.masked, found.sampled, len(tokens), self._lengths)

    def score(self, prompt: str | list[int], sampling: Sampling, free: bool) -> Scores:
        """Returns the scores of the untuned model; `prompt` as for `prompt_tokens`."""
        return self._scores(None, prompt_tokens(self._tokenizer, prompt, self._chat), sampling, free)

    def _scores(self, state: Path | None, prompt: list[int], sampling: Sampling, free: bool) -> Scores:
        from transformers import DynamicCache

        model = self._merge(state)
        check(model, prompt, self._trie)
        return trie_scores(model, DynamicCache(), prompt, self._trie, sampling, free)

    def save(self, state: Path, folder: Path) -> None:
        """Writes the tuned model of a state as a model's folder.

        Raises:
            InputError: The folder cannot be written.
        """
        from safetensors import SafetensorError

        merged = self._merge(state)
        try:
            merged.save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{folder}: {error}; {RESUMABLE}") from error

    def _merge(self, state: Path | None) -> Any:
        """Returns the model with the adapters of a state merged into a copy of its weights."""
        if state is None and self._wrapped is None:
            return self._model
        if self._merged is None or self._merged[0] != state:
            self._merged = None
            if state is None:
                self._reset(0)
            else:
                self._load(state, _tuning_of(state))
            self._merged = state, copy.deepcopy(self._wrapped).merge_and_unload().eval()
        return self._merged[1]

    def tune(self, state: Path | None, effect: Tune, prompt: str, seed: int, out: Path) -> Tuned:
        """Tunes by AdamW; see `bench.generator.Generator`.

        Raises:
            InputError: The model has no layers of the names given, or they are its embeddings or output layer; it
                cannot be scored exactly; a text is none of the space's; or the state cannot be written.
        """
        import torch
        from peft import get_peft_model_state_dict
        from safetensors.torch import save

        weights = corpus_weights(effect)
        if isinstance(weights, str):
            return Tuned((), (), weights)
        tuning, rows = effect.tuning, self._find(effect.texts)
        tokens = self._prompt(prompt)
        self._merged = None
        held = self._find(effect.held_out)
        self._start(state, tuning, seed)
        check(self._wrapped.get_base_model(), tokens, self._trie)
        before = self._log_likelihoods(tokens, held, tuning)
        if effect.anew:
            self._start(None, tuning, seed)
        parameters = [p for p in self._wrapped.parameters() if p.requires_grad]
        old = [p.detach().clone() for p in parameters]
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # of dropout
            losses = self._descend(tokens, rows, weights, tuning, parameters, np.random.default_rng(seed))
        with torch.no_grad():
            for p, before_tuning in zip(parameters, old, strict=True):
                p.lerp_(before_tuning, effect.keep)
        last = self._log_likelihoods(tokens, rows[:PART], tuning)
        if not (np.isfinite(losses).all() and np.isfinite(last).all()):
            return Tuned(tuple(losses), (), f"the loss is not finite after {len(losses)} steps; undone")
        after = self._log_likelihoods(tokens, held, tuning)
        pairs = tuple(zip(before, after, strict=True))
        if worse := less_likely(pairs):
            return Tuned(tuple(losses), pairs, worse)
        adapters = {k: v.contiguous() for k, v in sorted(get_peft_model_state_dict(self._wrapped).items())}
        _write(out, save(adapters, metadata={"tuning": json.dumps(asdict(tuning), sort_keys=True)}))
        return Tuned(tuple(losses), pairs)

    def _descend(
        self,
        prompt: list[int],
        rows: NDArray[np.int64],
        weights: NDArray[np.float64],
        tuning: Tuning,
        parameters: "list[Tensor]",
        rng: np.random.Generator,
    ) -> list[float]:
        """Takes the steps of AdamW; stops at the first loss that is not finite. Returns the losses."""
        import torch

        optimiser = torch.optim.AdamW(parameters, lr=tuning.learning_rate, weight_decay=0.0)
        size = tuning.batch or len(rows)
        batches = (
            order[start : start + size]
            for order in (rng.permutation(len(rows)) for _ in range(tuning.epochs))
            for start in range(0, len(rows), size)
        )
        losses: list[float] = []
        self._wrapped.train()
        for batch in batches:
            if tuning.steps and len(losses) == tuning.steps:
                break
            losses.append(0.0)
            optimiser.zero_grad()
            for part in _parts(batch[np.argsort(rows[batch])]):
                shares = weights[part] / weights.mean() / len(batch)
                nll = -self._log_likelihood(prompt, rows[part], tuning)
                loss = (nll * torch.tensor(shares, dtype=nll.dtype, device=nll.device)).sum()
                losses[-1] += loss.item()
                loss.backward()
            if not np.isfinite(losses[-1]):
                break
            optimiser.step()
        self._wrapped.eval()
        return losses

    def _log_likelihoods(self, prompt: list[int], rows: NDArray[np.int64], tuning: Tuning) -> list[float]:
        import torch

        with torch.no_grad():
            return [value for part in _parts(rows) for value in self._log_likelihood(prompt, part, tuning).tolist()]

    def _log_likelihood(self, prompt: list[int], rows: NDArray[np.int64], tuning: Tuning) -> "Tensor":
        """Returns the log-likelihood of each text, shape (rows,); what texts share passes the model once."""
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        trie, device = self._trie, self._wrapped.device
        paths = trie.paths[rows]
        counts = paths > 0
        if tuning.likelihood == "constrained":
            counts &= self._branching[trie.parents[paths]]
        scored = np.unique(paths[counts])
        asked = np.zeros(trie.size, dtype=bool)
        asked[trie.parents[scored]] = True
        nodes = np.union1d(0, trie.leading_to(asked))
        # The root is the last token of the prompt, to which all that follows attends.
        tokens = np.concatenate([prompt, trie.tokens[nodes[1:]]])
        positions = len(prompt) - 1 + trie.depths[nodes]
        mask = np.tri(len(tokens), dtype=bool)
        mask[len(prompt) :, len(prompt) :] = trie.within(nodes[1:], nodes[1:])
        model = self._wrapped.get_base_model()
        # The others are slow at its gradient on a CPU, and not deterministic on a GPU.
        with (
            sdpa_kernel(SDPBackend.MATH),
            torch.autocast(device.type, torch.bfloat16, enabled=tuning.precision == "bfloat16"),
        ):
            output = model.base_model(
                input_ids=torch.from_numpy(tokens).to(device)[None],
                position_ids=torch.from_numpy(np.concatenate([np.arange(len(prompt) - 1), positions])).to(device)[None],
                attention_mask=torch.from_numpy(mask).to(device)[None, None],
                use_cache=False,
            )
        chosen = torch.from_numpy(np.flatnonzero(asked[nodes])).to(device)
        hidden = output.last_hidden_state[0, len(prompt) - 1 :].float().index_select(0, chosen)
        head = model.get_output_embeddings().weight
        if tuning.likelihood == "constrained":
            choices = torch.from_numpy(self._choices).to(device)
            allowed = torch.from_numpy(self._allowed[asked]).to(device)
            logs = (hidden @ head[choices].T).masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)
            wanted = np.searchsorted(self._choices, trie.tokens[scored])
        else:
            logs = (hidden @ head.T).log_softmax(dim=-1)
            wanted = trie.tokens[scored]
        # No element is taken twice: the gradients of such would be added up in an order that differs between runs.
        after = np.searchsorted(np.flatnonzero(asked), trie.parents[scored])
        found = logs[torch.from_numpy(after).to(device), torch.from_numpy(wanted).to(device)]
        passes = np.zeros((len(rows), len(scored)), dtype=np.float32)
        passes[np.nonzero(counts)[0], np.searchsorted(scored, paths[counts])] = 1
        return torch.from_numpy(passes).to(device) @ found

    def _find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        unknown = [text for text in texts if text not in self._rows]
        if unknown:
            raise InputError(f"{unknown[0]!r:.120} is none of the {len(self._rows)} texts of the space")
        return np.array([self._rows[text] for text in texts], dtype=np.int64)

    def _wrap(self, tuning: Tuning) -> None:
        """Puts adapters of the right shape around the model."""
        from peft import LoraConfig, get_peft_model
        from peft.tuners.lora import LoraLayer

        layers = (tuning.rank, tuning.alpha, tuning.dropout, tuning.modules)
        if self._wrapped is not None and self._layers == layers:
            return
        if self._wrapped is not None:
            self._model, self._wrapped = self._wrapped.unload(), None
        modules = tuning.modules if tuning.modules == "all-linear" else tuning.modules.split(",")
        config = LoraConfig(
            r=tuning.rank, lora_alpha=tuning.alpha, lora_dropout=tuning.dropout, target_modules=modules,
            task_type="CAUSAL_LM",
        )  # fmt: skip
        try:
            self._wrapped = get_peft_model(self._model, config, adapter_name=ADAPTER).eval()
        except ValueError as error:
            named = sorted({n.rpartition(".")[2] for n, m in self._model.named_modules() if hasattr(m, "in_features")})
            raise InputError(
                f"tuning.modules {tuning.modules!r}: the model has no such layers; it has {', '.join(named)} ({error})"
            ) from error
        base = self._wrapped.get_base_model()
        if any(isinstance(layer, LoraLayer) for layer in (base.get_input_embeddings(), base.get_output_embeddings())):
            # Scoring takes rows of the output layer's weight, and a server that is given new weights in place keeps its
            # old output layer where that shares them with the embeddings.
            self._model, self._wrapped = self._wrapped.unload(), None
            raise InputError(
                f"tuning.modules {tuning.modules!r}: embeddings and the output layer can neither be scored nor served "
                "once they are tuned; leave them out"
            )
        self._layers = layers

    def _reset(self, seed: int) -> None:
        """Makes the adapters those of an untuned model: their products are 0."""
        import torch
        from peft.tuners.lora import LoraLayer

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for module in self._wrapped.modules():
                if isinstance(module, LoraLayer):
                    module.reset_lora_parameters(ADAPTER, True)

    def _start(self, state: Path | None, tuning: Tuning, seed: int) -> None:
        """Puts the adapters into a state, or into that of an untuned model."""
        if state is not None:
            self._load(state, tuning)
        else:
            self._wrap(tuning)
            self._reset(seed)

    def _load(self, state: Path, tuning: Tuning) -> None:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        self._wrap(tuning)
        set_peft_model_state_dict(self._wrapped, load_file(state), adapter_name=ADAPTER)


def _parts(values: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Returns them in parts, each for one pass of the model."""
    return [values[start : start + PART] for start in range(0, len(values), PART)]


def _tuning_of(state: Path) -> Tuning:
    from safetensors import safe_open

    with safe_open(state, "pt") as file:
        return Tuning(**json.loads(file.metadata()["tuning"]))


def _write(out: Path, data: bytes) -> None:
    try:
        out.write_bytes(data)
    except OSError as error:
        out.unlink(missing_ok=True)
        raise InputError(f"{out}: {error.strerror}; {RESUMABLE}") from error


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended, also in the middle of a request."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    """Answers requests: pickles of (name, arguments), the first of them to `TunableModel` itself, with (ok, answer)."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    import torch

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to the log
    torch.set_num_threads(int(sys.argv[2]))
    model: TunableModel | None = None
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if model is None:
                model, answer = TunableModel(*arguments), None
            else:
                answer = getattr(model, name)(*arguments)
            reply = True, answer
        except InputError as error:
            reply = False, str(error)
        pickle.dump(reply, answers)
        answers.flush()
