"""The small decoder: a language model of about a million parameters, trained from scratch on the texts of a space.

Its corpus is drawn uniformly from all texts, so its distribution is nearly uniform. Its tokens are words that begin
with a letter, and what stands between them: whole, or sign by sign in a space that has many of these.
"""

# pyright: reportMissingImports=false
import hashlib
import json
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.llm import environment
from surrogates.cache import cache_dir
from surrogates.errors import InputError
from surrogates.space import Space

RECIPE = 1
"""Version of the training; folders of another version are made anew."""

STEPS, BATCH, RATE, SEED = 150, 128, 2e-3, 0
"""Of the training: steps of AdamW, texts in each, largest learning rate (warmed up, then cosine), seed."""

WORD = r"[^\W\d_]\w*"

BETWEEN = 64
"""Different pieces between words up to which each is a token."""

CONTEXT = 256
"""Tokens at most."""

START = "import sys; sys.path.append(sys.argv[1]); from bench.llm import decoder; decoder.main()"


@cache
def revision(space: Space) -> str:
    """Returns which decoder a space has: 12 digits of a hash of the recipe and of its texts."""
    texts = "\n".join(space.texts)
    recipe = [RECIPE, STEPS, BATCH, RATE, SEED, BETWEEN, hashlib.sha256(texts.encode()).hexdigest()]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


def require(space: Space) -> Path:
    """Returns the folder of a space's decoder, after training it if it is not there: about a minute.

    Raises:
        InputError: vLLM's environment is not made yet, or the training failed.
    """
    goal = cache_dir() / "models" / "decoder" / f"{space.name}-{revision(space)}"
    if goal.is_dir():
        return goal
    python = environment.python()
    with environment.lock("models"):
        if not goal.is_dir():
            part = goal.with_name(f".{goal.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            try:
                part.mkdir(parents=True)
                (part / "texts.json").write_text(json.dumps(space.texts))
                environment.run(
                    [python, "-I", "-c", START, Path(__file__).parents[2], part], cache_dir() / "logs" / "decoder.log",
                    f"the decoder of {space.name} could not be trained",
                )  # fmt: skip
                (part / "texts.json").unlink()
                part.replace(goal)
            except OSError as error:
                raise InputError(f"{part}: {error.strerror}; the decoder of {space.name} was not made") from error
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return goal


def main() -> None:
    """Trains a decoder on `texts.json` of a folder, and saves it there; runs in vLLM's environment."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = Path(sys.argv[2])
    texts = json.loads((folder / "texts.json").read_text())
    # On one thread the same weights come out whatever the number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    tokenizer = make_tokenizer(texts)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=CONTEXT, tie_word_embeddings=False, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS, pct_start=0.1)
    for _ in range(STEPS):
        drawn = [texts[i] for i in rng.integers(len(texts), size=BATCH)]
        rows = [torch.tensor([*ids, tokenizer.eos_token_id]) for ids in tokenizer(drawn).input_ids]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
        labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
        loss = model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tokenizer(texts: list[str]) -> Any:
    """Returns a tokenizer whose vocabulary is the tokens of the texts, their start, end and padding."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import WordLevelTrainer
    from transformers import PreTrainedTokenizerFast

    pieces = {piece for text in texts for piece in re.split(WORD, text)}
    tokenizer = Tokenizer(WordLevel(unk_token="<unknown>"))
    tokenizer.pre_tokenizer = Split(Regex(WORD if len(pieces) <= BETWEEN else f"{WORD}|."), "isolated")
    special = ["<s>", "</s>", "<pad>", "<unknown>"]
    tokenizer.train_from_iterator(sorted(texts), WordLevelTrainer(special_tokens=special, show_progress=False))
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unknown>"
    )
