"""Speed and memory of a cycle: tuning on its elites, and the exact distribution of what comes of it."""

from dataclasses import fields

import pytest

from bench.effects import Prompt, Sampling, Tune, Tuning
from bench.llm import models
from bench.llm.tuner import Tuner
from bench.methods import methods
from surrogates.benchmarks import benchmarks

pytestmark = pytest.mark.llm

SPACE = benchmarks.get("analog-nasbench").space
ELITES = [SPACE.format(tuple(arch)) for arch in SPACE.enumerate()[:: SPACE.size // 12].tolist()][:12]
CAPPED = {"steps": 4, "precision": "bfloat16"}
"""Of the study `ce_22_cycles`, for models that are not the small decoder."""


@pytest.mark.parametrize(("name", "given"), [("decoder", {}), ("smollm2", CAPPED), ("gemma3", CAPPED)])
def test_a_cycle(benchmark, peak_memory, name, given, tmp_path):
    parameters = methods.get("exact_ce").complete(given)
    given = {field.name: parameters[field.name] for field in fields(Tuning)}
    tuning = Tuning(**given)  # pyright: ignore[reportArgumentType]
    sampling = Sampling(precision=tuning.precision)
    prompt = "Propose one architecture.\n"
    with Tuner(models.get(name), SPACE) as tuner:
        tuner.distribution(None, prompt, sampling)  # loads the model

        def cycle():
            tuned = tuner.tune(None, Tune(ELITES, Prompt("cross_entropy"), tuning=tuning), prompt, 1, tmp_path / "new")
            return tuned, tuner.distribution(tmp_path / "new", prompt, sampling)

        tuned, found = benchmark.pedantic(cycle, rounds=1)
        peak = peak_memory(tuner)
    assert tuned.failure is None
    assert found.log_p.shape == (SPACE.size,)
    benchmark.extra_info["peak"] = peak
    assert peak < 8
