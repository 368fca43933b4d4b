"""A run that is being driven, and the questions that it puts to a language model."""

import hashlib
import json
import math
import time
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from bench.budget import Meter
from bench.effects import Answer, Ask, Completion
from bench.journal import CompletionRow, EvaluationRow, Journal, RunRow
from bench.llm.prompts import render
from bench.method import Problem
from bench.study import Run
from surrogates.errors import InputError
from surrogates.space import Arch, Space


@lru_cache(maxsize=1 << 17)
def text_of(space: Space, arch: Arch) -> str:
    """Returns an architecture as its space writes it; the same few are asked for again and again."""
    return space.format(arch)


class ActiveRun:
    """A run that is being driven.

    Args:
        run: The run.
        row: Its row in the journal.
        evaluations: What the journal holds of its evaluations, by step.
        journal: The journal.

    Attributes:
        step: Number of the effect that it waits for, from 0; -1 before the first.
        generator: Hash of the tuned generator that it has now; None: the untuned one.
    """

    def __init__(self, run: Run, row: RunRow, evaluations: dict[int, list[EvaluationRow]], journal: Journal) -> None:
        benchmark = run.benchmark
        self.run, self.id, self.space, self.revision = run, row.id, benchmark.space, run.revision
        problem = Problem(benchmark.space, benchmark.task(run.task), benchmark.name)
        self.search = run.method.start(problem, run.rng(), run.parameters)
        self.meter = Meter(run.budget)
        self.step = -1
        self.evaluations = evaluations
        self.completions = journal.completions(row.id)
        self.tunes = journal.tunes(row.id) if run.method.tunes else {}
        self.generator: str | None = None
        self._before, self._began = row.wall_seconds, math.inf
        self.timed = run.budget.wall_seconds is not None
        self._journal: Path = journal.path

    def begin(self) -> None:
        """Starts its clock: runs may wait for their turn."""
        self._began = time.monotonic()

    def wall_seconds(self) -> float:
        """Returns how long it has been driven, in all sessions."""
        return self._before + max(time.monotonic() - self._began, 0.0)

    def contradiction(self, now: str, before: str | None) -> InputError:
        """Returns the error of a method that asks for something else than the journal holds."""
        run = self.run
        return InputError(
            f"{self._journal}: {run.method.name} on {run.benchmark.name}/{run.task}, seed {run.seed},"
            f" step {self.step}: journalled {before!r}, but now it asks {now}; the method changed without"
            " a new version: raise its version, or give another --out"
        )


Answered = list[tuple[ActiveRun, Answer]]


class Question:
    """One prompt of an `Ask`, with all that decides its answer.

    Args:
        active: Who asks.
        effect: The `Ask`.
        position: Of the prompt in it.

    Attributes:
        hash: SHA-256 of all that decides the answer.
    """

    def __init__(self, active: ActiveRun, effect: Ask, position: int) -> None:
        run, prompt = active.run, effect.prompts[position]
        self.position, self._active = position, active
        self.prompt, _ = render(prompt.template, prompt.values)
        self.seed = run.sample_seed(active.step, position)
        self._model, self._revision = run.model.name if run.model else "", active.revision or ""
        self._place, self._template = (active.id, active.step, position), prompt.template
        self._sampling = json.dumps({**asdict(effect.sampling), "seed": self.seed})
        identity = json.dumps([self._model, self._revision, self.prompt, effect.constraint, self._sampling])
        self.hash = hashlib.sha256(identity.encode()).hexdigest()

    def row(
        self, text: str, prompt_tokens: int, completion_tokens: int, seconds: float, failure: str | None
    ) -> CompletionRow:
        """Returns the row with its answer."""
        asked = (self._model, self._revision, self._template, self.hash, self.prompt, self._sampling)
        return CompletionRow(*self._place, *asked, text, prompt_tokens, completion_tokens, seconds, failure)

    def known(self, recorded: CompletionRow) -> Completion:
        """Returns a journalled answer, after a check that it is the answer to this question."""
        if recorded.prompt_hash != self.hash:
            raise self._active.contradiction(self.prompt, recorded.prompt)
        return Completion(recorded.text, recorded.prompt_tokens, recorded.completion_tokens, recorded.failure)
