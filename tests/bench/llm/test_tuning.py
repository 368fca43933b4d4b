"""Tuning of the decoder against what its exact distributions say."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.effects import Prompt, Sampling, Tune, Tuned, Tuning
from bench.llm.tuner import Tuner
from bench.methods import methods
from surrogates.errors import InputError
from surrogates.spaces import spaces

pytestmark = pytest.mark.llm

PROMPT = Prompt("cross_entropy")
SPACE = spaces.get("trans_nas_bench_101_macro")
TEXTS = [SPACE.format(tuple(arch)) for arch in SPACE.enumerate()[:: SPACE.size // 24].tolist()][:24]
CORPUS, HELD_OUT, OTHERS = TEXTS[:20], TEXTS[14:20], TEXTS[20:]
PARAMETERS = methods.get("exact_ce").parameters
EXACT = Tuning(**{name: value for name, value in PARAMETERS.items() if name in Tuning.__dataclass_fields__})  # pyright: ignore[reportArgumentType]
LONG = replace(EXACT, learning_rate=1e-3, epochs=20)
SHORT = replace(LONG, epochs=2)

Step = Callable[..., tuple[Path, Tuned]]


@pytest.fixture(scope="module")
def step(tuner: Tuner, tmp_path_factory: pytest.TempPathFactory) -> Step:
    """Takes a tuning step; returns the file of the state and the answer."""
    folder = tmp_path_factory.mktemp("states")

    def do(
        effect: Tuning = SHORT, state: Path | None = None, seed: int = 1, texts: list[str] = CORPUS, **fields: object
    ) -> tuple[Path, Tuned]:
        out = folder / str(len(list(folder.iterdir())))
        tune = Tune(texts, PROMPT, tuning=effect, **fields)  # pyright: ignore[reportArgumentType]
        answer = tuner.tune(state, tune, "", seed, out)
        assert out.exists() == (answer.failure is None)
        return out, answer

    return do


@pytest.fixture(scope="module")
def log_p(tuner: Tuner) -> Callable[..., np.ndarray]:
    """Returns log p of texts, by default of all, under a state."""

    def do(state: Path | None, texts: list[str] | None = None) -> np.ndarray:
        found = tuner.distribution(state, "", Sampling()).log_p
        return found if texts is None else found[SPACE.index([SPACE.parse(text) for text in texts])]

    return do


@pytest.fixture(scope="module")
def tuned(step: Step) -> tuple[Path, Tuned]:
    """A state that has left the untuned one far behind."""
    return step(LONG, held_out=HELD_OUT)


def tensors(state: Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file: the length of a header, the header, the numbers."""
    content = state.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    del header["__metadata__"]
    assert all(entry["dtype"] == "F32" for entry in header.values())
    return {
        name: np.frombuffer(content[slice(*(start + n for n in entry["data_offsets"]))], np.float32)
        for name, entry in header.items()
    }


def test_tuning_brings_the_generator_nearer_to_the_corpus(
    tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray]
) -> None:
    # Cross-entropies: the divergence differs from them by the corpus' entropy.
    before, far = (-log_p(state, CORPUS).mean() for state in (None, tuned[0]))
    assert tuned[1].losses[-1] < tuned[1].losses[0] - 0.5
    assert far < before - 0.5
    state, answer = step(EXACT)
    assert answer.losses[-1] < answer.losses[0]
    near = -log_p(state, CORPUS).mean()
    assert far < near < before


def test_probabilities_sum_to_one_after_tuning(tuner: Tuner, tuned: tuple[Path, Tuned]) -> None:
    for sampling in (Sampling(), Sampling(0.7, 0.9, 3)):
        found = tuner.distribution(tuned[0], "", sampling)
        assert np.exp(found.log_p).sum() == pytest.approx(1, abs=1e-5)
        assert np.exp(found.sampled).sum() == pytest.approx(1, abs=1e-5)


def test_held_out_likelihoods_are_those_of_the_distributions_before_and_after(
    tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray]
) -> None:
    state, answer = tuned
    np.testing.assert_allclose(np.array(answer.held_out).T, [log_p(s, HELD_OUT) for s in (None, state)], atol=1e-3)
    first, _ = step()
    second, answer = step(state=first, held_out=HELD_OUT, keep=0.3)
    assert answer.failure is None
    np.testing.assert_allclose(np.array(answer.held_out).T, [log_p(s, HELD_OUT) for s in (first, second)], atol=1e-3)


def test_a_step_that_makes_held_out_texts_less_likely_is_undone(
    tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray]
) -> None:
    expected = log_p(tuned[0], OTHERS)
    assert expected.mean() < log_p(None, OTHERS).mean()  # as the same step without them shows
    _, answer = step(LONG, held_out=OTHERS)
    assert answer.failure is not None
    assert "less likely" in answer.failure
    assert len(answer.losses) == LONG.epochs
    np.testing.assert_allclose(np.array(answer.held_out).T, [log_p(None, OTHERS), expected], atol=1e-3)


def test_held_out_likelihoods_before_are_those_of_the_last_generator_also_when_tuning_starts_anew(
    tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray]
) -> None:
    _, answer = step(state=tuned[0], held_out=HELD_OUT, anew=True)
    np.testing.assert_allclose([before for before, _ in answer.held_out], log_p(tuned[0], HELD_OUT), atol=1e-3)


def test_the_loss_is_the_mean_likelihood_of_the_corpus(
    tuner: Tuner, tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray]
) -> None:
    state, answer = tuned
    assert answer.losses[0] == pytest.approx(-log_p(None, CORPUS).mean(), abs=1e-3)
    _, answer = step(state=state)
    assert answer.losses[0] == pytest.approx(-log_p(state, CORPUS).mean(), abs=1e-3)
    weights = np.arange(20.0)
    _, answer = step(state=state, weights=weights.tolist())
    assert answer.losses[0] == pytest.approx(-np.average(log_p(state, CORPUS), weights=weights), abs=1e-3)
    free = tuner.score("", free=True).free
    assert free is not None
    rows = SPACE.index([SPACE.parse(text) for text in CORPUS])
    _, answer = step(replace(SHORT, likelihood="free"))
    assert answer.losses[0] == pytest.approx(-free[rows].mean(), abs=1e-3)
    _, answer = step(replace(SHORT, precision="bfloat16"))
    assert answer.losses[0] == pytest.approx(-log_p(None, CORPUS).mean(), rel=1e-2)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_same_seed_gives_the_same_state_and_another_another(step: Step, dropout: float) -> None:
    tuning = replace(SHORT, dropout=dropout, batch=8)
    first, again, other = (step(tuning, seed=seed)[0].read_bytes() for seed in (1, 1, 2))
    assert first == again != other


def test_states_do_not_mix(
    tuner: Tuner, tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray]
) -> None:
    a = tuned[0]
    b, _ = step(texts=TEXTS[5:9], seed=2)
    c, _ = step(replace(SHORT, rank=3, modules="q_proj,v_proj"))
    alone = {state: tuner.distribution(state, "", Sampling(0.5)) for state in (a, b, c, None)}
    assert len({found.log_p.tobytes() for found in alone.values()}) == 4
    onwards = step(state=a)[0].read_bytes()
    for state in (b, a, None, c, None, a, b, c, a):
        found = tuner.distribution(state, "", Sampling(0.5))
        assert found.log_p.tobytes() == alone[state].log_p.tobytes()
        assert found.sampled.tobytes() == alone[state].sampled.tobytes()
    log_p(c)
    assert step(state=a)[0].read_bytes() == onwards


def test_tuning_anew_is_tuning_the_untuned_model(tuned: tuple[Path, Tuned], step: Step) -> None:
    (anew, first), (untuned, second), (warm, _) = (
        step(seed=5, state=tuned[0], anew=True), step(seed=5), step(seed=5, state=tuned[0]),
    )  # fmt: skip
    assert first == second
    assert anew.read_bytes() == untuned.read_bytes() != warm.read_bytes()


@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_smoothing_keeps_a_share_of_the_old_parameters(tuned: tuple[Path, Tuned], step: Step, keep: float) -> None:
    old, new, between = (tensors(s) for s in (tuned[0], step(state=tuned[0])[0], step(state=tuned[0], keep=keep)[0]))
    assert old.keys() == new.keys() == between.keys()
    for name in old:
        np.testing.assert_allclose(between[name], keep * old[name] + (1 - keep) * new[name], atol=1e-7)
    assert max(np.abs(old[name] - new[name]).max() for name in old) > 1e-3


def test_a_text_of_weight_zero_does_not_count(step: Step) -> None:
    weights = [1.0, 2.0] * 9
    (_, with_them), (_, without) = (
        step(weights=[*weights, 0, 0]), step(texts=CORPUS[:18], weights=weights),
    )  # fmt: skip
    assert with_them.losses == pytest.approx(without.losses, rel=1e-5)


def test_a_weight_counts_like_repetitions(step: Step) -> None:
    (_, weighted), (_, repeated) = (
        step(texts=TEXTS[:3], weights=[30, 10, 20]), step(texts=[*TEXTS[:3], TEXTS[0], TEXTS[0], TEXTS[2]]),
    )  # fmt: skip
    assert weighted.losses == pytest.approx(repeated.losses, rel=1e-5)


@pytest.mark.parametrize(
    ("batch", "epochs", "steps", "taken"), [(8, 2, 0, 6), (8, 2, 4, 4), (0, 3, 0, 3), (50, 2, 9, 2)]
)
def test_as_many_steps_are_taken_as_asked(step: Step, batch: int, epochs: int, steps: int, taken: int) -> None:
    _, answer = step(replace(EXACT, batch=batch, epochs=epochs, steps=steps))
    assert len(answer.losses) == taken


def test_unknown_layers_are_one_clear_error_and_nothing_is_lost(
    tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray]
) -> None:
    before = log_p(tuned[0]).tobytes()
    with pytest.raises(InputError, match=r"'decoder'.*'nope'.*it has .*down_proj.*q_proj"):
        step(replace(SHORT, modules="nope"))
    assert log_p(tuned[0]).tobytes() == before
    assert step()[1].failure is None


@pytest.mark.parametrize("modules", ["embed_tokens", "q_proj,lm_head"])
def test_embeddings_and_the_output_layer_are_not_tuned(step: Step, modules: str) -> None:
    with pytest.raises(InputError, match="leave them out"):
        step(replace(SHORT, modules=modules))
    assert step()[1].failure is None


@pytest.mark.parametrize("steps", [0, 1])
def test_a_loss_that_is_not_finite_is_a_failure_and_the_old_state_stays(
    tuned: tuple[Path, Tuned], step: Step, log_p: Callable[..., np.ndarray], steps: int
) -> None:
    before, content = log_p(tuned[0]).tobytes(), tuned[0].read_bytes()
    _, answer = step(replace(EXACT, learning_rate=1e30, steps=steps), tuned[0], held_out=HELD_OUT)
    assert answer.failure is not None
    assert "not finite" in answer.failure
    assert answer.held_out == ()
    assert tuned[0].read_bytes() == content
    assert log_p(tuned[0]).tobytes() == before


@pytest.mark.parametrize(
    ("weights", "said"), [([], "empty"), ([0, 0], "not all 0"), ([1, -1], "at least 0"), ([1, float("nan")], "finite")]
)
def test_a_corpus_without_weight_is_a_failure(step: Step, weights: list[float], said: str) -> None:
    _, answer = step(texts=TEXTS[: len(weights)], weights=weights)
    assert answer.failure is not None
    assert said in answer.failure


def test_a_text_outside_the_space_is_an_error(step: Step) -> None:
    for fields in ({"texts": [*CORPUS, "64-1111-basic"]}, {"held_out": ["64-1111-basic"]}):
        with pytest.raises(InputError, match=r"'64-1111-basic' is none of the 3256 texts"):
            step(**fields)


ENDLESS = """
import sys
from pathlib import Path
from bench.effects import Prompt, Sampling, Tune, Tuning
from bench.llm import models
from bench.llm.tuner import Tuner
from surrogates.spaces import spaces

space = spaces.get("trans_nas_bench_101_macro")
tuner = Tuner(models.get("decoder"), space)
tuner.distribution(None, "", Sampling())
print("loaded", flush=True)
text = space.format(tuple(space.enumerate()[0].tolist()))
tuner.tune(None, Tune([text] * 20, Prompt("cross_entropy"), tuning=Tuning(epochs=10**6)), "", 1, Path(sys.argv[1]))
"""
"""Begins a step that takes hours."""


def test_the_process_ends_with_the_one_that_started_it(
    setup_done: None, tmp_path: Path, members: Callable[[int], list[int]]
) -> None:
    command = [sys.executable, "-c", ENDLESS, tmp_path / "state"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"
        time.sleep(1)
        assert len(members(process.pid)) >= 2
        process.kill()
    until = time.monotonic() + 20
    while members(process.pid):
        assert time.monotonic() < until, "it is still there after 20 s"
        time.sleep(0.1)


def test_a_process_that_is_killed_is_one_clear_error(tuner: Tuner, step: Step) -> None:
    step()
    assert tuner._process is not None
    threading.Timer(0.5, tuner._process.kill).start()
    with pytest.raises(InputError, match=r"'decoder' ended; the log \S+tuner-decoder-\S+\.log ends") as error:
        step(replace(EXACT, epochs=10**6))
    (log,) = re.findall(r"\S+\.log", str(error.value))
    Path(log).unlink()  # it is kept for the user
