"""Turns a quantised GGUF file into a folder that vLLM serves. Runs in vLLM's environment, not in Nascent's.

vLLM's GGUF kernels need a GPU, so the weights are dequantised once, to bfloat16 safetensors. Prints one line of JSON:
the mean negative log-likelihood of an English text in nats per token, which tells a whole model from a broken one.
"""

# pyright: reportMissingImports=false
import argparse
import json
from pathlib import Path

import torch
from gguf import GGUFReader
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

ENGLISH = (
    "The water in the river was cold, and the children stood on the bank and watched the boats go by. "
    "In the evening they walked home through the fields, and their mother made soup for all of them."
)


def dequantise(gguf: Path, out: Path) -> float:
    """Writes model and tokenizer of a GGUF file to a folder.

    Args:
        gguf: The GGUF file.
        out: The folder to write.

    Returns:
        Mean negative log-likelihood of `ENGLISH` under the model as written, in nats per token.
    """
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    field = GGUFReader(gguf).get_field("tokenizer.ggml.add_bos_token")
    if field is not None and field.contents() and tokenizer("a").input_ids[0] != tokenizer.bos_token_id:
        # The conversion forgets that the model expects its first token; without it the model writes gibberish.
        bos = tokenizer.bos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
    tokenizer.save_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.to(torch.bfloat16).save_pretrained(out)
    return negative_log_likelihood(out)


def negative_log_likelihood(folder: Path) -> float:
    """Returns the mean negative log-likelihood of `ENGLISH` in nats per token, under the model of a folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = tokenizer(ENGLISH, return_tensors="pt").input_ids
    with torch.inference_mode():
        return float(model(tokens, labels=tokens).loss)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("gguf", type=Path)
    arguments.add_argument("out", type=Path)
    given = arguments.parse_args()
    nll = dequantise(given.gguf, given.out)
    chat = bool(AutoTokenizer.from_pretrained(given.out).chat_template)
    print(json.dumps({"nats_per_token": nll, "chat_template": chat}))
