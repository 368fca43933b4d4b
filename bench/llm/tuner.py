"""A language model that is tuned and scored in a process of vLLM's environment, where torch and transformers are."""

import os
import pickle
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from bench.effects import Sampling, Tune, Tuned
from bench.generator import Distribution
from bench.llm import decoder, environment, weights
from bench.llm.exact_scoring import Scores
from bench.llm.models import Model
from surrogates.cache import cache_dir
from surrogates.errors import InputError
from surrogates.space import Space

START = "import sys; sys.path.append(sys.argv[1]); from bench.llm import tuning; tuning.main()"
"""Starts the process, in which the environment's packages come before Nascent's."""


class Tuner:
    """Tunes a model whose answers are the texts of a space; starts its process with the first request.

    Args:
        model: The model; its weights are on this machine.
        space: The space.
        threads: Threads that it computes with; None: one a core.
    """

    def __init__(self, model: Model, space: Space, threads: int | None = None) -> None:
        self._model, self._space = model, space
        self._threads = threads or os.cpu_count() or 1
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tune(self, state: Path | None, effect: Tune, prompt: str, seed: int, out: Path) -> Tuned:
        """Tunes the adapters; see `bench.generator.Generator`.

        Raises:
            InputError: As `bench.llm.tuning.TunableModel.tune`, or the process failed.
        """
        return self._ask("tune", state, effect, prompt, seed, out)

    def distribution(self, state: Path | None, prompt: str, sampling: Sampling) -> Distribution:
        """Returns the exact distribution; see `bench.generator.Generator`.

        Raises:
            InputError: The model cannot be scored exactly (`bench.llm.exact_scoring.check`), or the process failed.
        """
        return self._ask("distribution", state, prompt, sampling)

    def save(self, state: Path, folder: Path) -> None:
        """Writes the tuned model of a state, adapters merged, as a folder that can be served.

        Args:
            state: The state.
            folder: The folder; it is made.

        Raises:
            InputError: The folder cannot be written, or the process failed.
        """
        self._ask("save", state, folder)

    def score(self, prompt: str | Sequence[int], sampling: Sampling = Sampling(), free: bool = False) -> Scores:
        """Scores all texts of the space under the untuned model, in the order of its `enumerate()`.

        Args:
            prompt: What the model is asked: as text it is sent through the chat template or after the first token that
                the model expects, as serving does; or all tokens before the answer.
            sampling: How tokens are drawn.
            free: Whether the free model's log-likelihoods are computed, too; several times the work.

        Raises:
            InputError: As `distribution`.
        """
        return self._ask("score", prompt if isinstance(prompt, str) else [int(t) for t in prompt], sampling, free)

    def close(self) -> None:
        """Ends the process, also while it works."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        if self._log:
            self._log.unlink(missing_ok=True)

    def _ask(self, name: str, *arguments: object) -> Any:
        if self._process is None:
            folder = decoder.require(self._space) if self._model.decoder else weights.require(self._model)
            self._process = self._start()
            # A decoder knows one prompt, the empty one.
            self._put("", str(folder), self._model.chat, self._space.texts, "" if self._model.decoder else None)
        return self._put(name, *arguments)

    def _start(self) -> subprocess.Popen[bytes]:
        log = cache_dir() / "logs"
        log.mkdir(parents=True, exist_ok=True)
        # A log of its own, which stays if the process fails: several may run at once.
        handle, name = tempfile.mkstemp(prefix=f"tuner-{self._model.name}-", suffix=".log", dir=log)
        self._log = Path(name)
        variables = environment.clean_environment() | {"OMP_NUM_THREADS": str(self._threads), "HF_HUB_OFFLINE": "1"}
        # What the forward pass frees, the backward pass, in another thread, can use: a quarter less memory.
        variables["MALLOC_ARENA_MAX"] = "1"
        with os.fdopen(handle, "wb") as file:
            return subprocess.Popen(
                [environment.python(), "-I", "-c", START, Path(__file__).parents[2], str(self._threads)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=variables, cwd=log,
            )  # fmt: skip

    def _put(self, name: str, *arguments: object) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((name, arguments), self._process.stdin)
            self._process.stdin.flush()
            good, answer = pickle.load(self._process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:  # ValueError: closed meanwhile
            assert self._log is not None
            log, self._log = self._log, None
            self.close()
            raise InputError(
                f"the process that tunes {self._model.name!r} ended; the log {log} ends:\n{environment.log_tail(log)}"
            ) from error
        if not good:
            raise InputError(f"model {self._model.name!r}: {answer}")
        return answer
