"""Speed of exact scores beside its floor, one forward pass over the tokens that are needed: `make bench`."""

import os
import subprocess

import numpy as np
import pytest

from bench.effects import Sampling
from bench.llm import environment, models, weights
from bench.llm.tuner import Tuner
from surrogates.errors import InputError
from surrogates.spaces import spaces

PROMPT = "A cell is |op~0|+|op~0|op~1|+|op~0|op~1|op~2|. Propose one.\n"

NEEDED = {"smollm2": 40_878, "gemma3": 40_618}
"""Tokens of NAS-Bench-201's 15,625 cells that lead to a choice."""

FLOOR = """
import sys
import torch
from transformers import AutoModel
folder, threads, needed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
tokens = torch.arange(needed - needed % 512).reshape(-1, 512) % 1000
print("loaded", flush=True)
for precision in sys.stdin:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision.strip() == "bfloat16"):
        for batch in tokens:
            model(batch[None], use_cache=False)
    print("passed", flush=True)
"""
"""Passes so many tokens through a model, in sequences of 512; runs in vLLM's environment."""

pytestmark = [
    pytest.mark.llm,
    pytest.mark.parametrize("precision", ["float32", "bfloat16"]),
    pytest.mark.parametrize("name", list(NEEDED)),
]


def test_scores_of_15625_cells(benchmark, peak_memory, name, precision):
    with Tuner(models.get(name), spaces.get("nas_bench_201")) as tuner:
        with pytest.raises(InputError, match="need"):
            tuner.score([0] * 100_000)  # loads the model
        sampling = Sampling(precision=precision)
        found = benchmark.pedantic(tuner.score, args=(PROMPT, sampling), rounds=1)
        peak = peak_memory(tuner)
    benchmark.extra_info["peak"] = peak
    assert peak < 6
    assert found.masked.shape == (15_625,)
    assert np.exp(found.masked).sum() == pytest.approx(1, abs=1e-5)


def test_floor(benchmark, name, precision):
    threads = str(os.cpu_count())
    command = [environment.python(), "-I", "-c", FLOOR, weights.require(models.get(name)), threads, str(NEEDED[name])]
    variables = environment.clean_environment() | {"OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables, text=True
    ) as process:
        asked, answers = process.stdin, process.stdout
        assert asked
        assert answers
        assert answers.readline() == "loaded\n"

        def passes():
            print(precision, file=asked, flush=True)
            return answers.readline()

        assert benchmark.pedantic(passes, rounds=1) == "passed\n"
        asked.close()
