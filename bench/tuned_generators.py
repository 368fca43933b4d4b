"""Runs that tune: their generators are tuned, asked for exact distributions, and served."""

import asyncio
import hashlib
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np

from bench.active_run import ActiveRun, Answered, Question, text_of
from bench.categoricals import Categoricals
from bench.effects import Ask, Completion, Sampling, Tune, Tuned
from bench.generator import Distribution, Generator
from bench.journal import RESUMABLE, CompletionRow, DrawRow, Journal, TuneRow
from bench.llm import environment, weights
from bench.llm.client import Client
from bench.llm.models import Model
from bench.llm.prompts import render
from bench.llm.tuner import Tuner
from surrogates.errors import InputError
from surrogates.space import Space

P = ParamSpec("P")
T = TypeVar("T")

BESIDE = 400_000_000
"""Bytes of a model's folder up to which, on a CPU, it is tuned beside its running server: both take less than 8 GB."""


class TunedGenerators:
    """The generators of runs that tune, which take turns; a run's own state is a file, named by its hash.

    Args:
        model: The language model; None: categoricals.
        space: The space of all the runs.
        runs: Their number.
        client: Asks the model's server what the space's grammar does not constrain; None: nobody does.
        journal: Where all is written.
    """

    def __init__(self, model: Model | None, space: Space, runs: int, client: Client | None, journal: Journal) -> None:
        self._client, self._journal = client, journal
        self._states = journal.path.parent / "generators"
        self._merged = self._states / "merged"
        self._apart = False
        if model is None:
            self._all: list[Generator] = [Categoricals(space)]
        elif model.decoder:
            self._all = [Tuner(model, space, threads=1) for _ in range(min(os.cpu_count() or 1, runs))]
        else:
            self._all = [Tuner(model, space)]
            size = sum(file.stat().st_size for file in weights.require(model).rglob("*") if file.is_file())
            self._apart = size > BESIDE or environment.device() == "gpu"
        self._free: asyncio.Queue[Generator] = asyncio.Queue()
        for generator in self._all:
            self._free.put_nowait(generator)
        self._known: defaultdict[int | None, dict[_Asked, tuple[Distribution, _Packed]]] = defaultdict(dict)

    @property
    def count(self) -> int:
        """How many can work at once."""
        return len(self._all)

    def close(self) -> None:
        """Ends their processes and removes merged weights; the states stay."""
        for generator in self._all:
            generator.close()
        shutil.rmtree(self._merged, ignore_errors=True)

    def forget(self, active: ActiveRun) -> None:
        """Gives back what is kept of a run that has ended."""
        self._known.pop(active.id, None)

    async def draw(self, active: ActiveRun, effect: Ask, recorded: dict[int, CompletionRow]) -> list[Completion]:
        """Draws answers from the exact distribution of the run's generator, one for each different prompt."""
        questions = [Question(active, effect, i) for i in range(len(effect.prompts))]
        todo: defaultdict[str, list[Question]] = defaultdict(list)
        for question in questions:
            if question.position not in recorded:
                todo[question.prompt].append(question)
        for prompt, same in todo.items():
            began = time.monotonic()
            found, packed = await self._distribution(active, prompt, effect.sampling)
            seconds = time.monotonic() - began
            shares = np.cumsum(np.exp(found.sampled))
            drawn = [np.random.default_rng(q.seed).random() * shares[-1] for q in same]
            rows = []
            for question, place in zip(same, np.searchsorted(shares, drawn, side="right").tolist(), strict=True):
                text = text_of(active.space, tuple(active.space.enumerate()[place].tolist()))
                tokens = int(found.text_tokens[place])
                rows.append(question.row(text, found.prompt_tokens, tokens, seconds / len(same), None))
            draw = DrawRow(active.id, active.step, prompt, active.generator, packed.hash, seconds)
            self._journal.write_draw(draw, packed.log_p, packed.sampled, rows)
            recorded |= {row.position: row for row in rows}
        return [question.known(recorded[question.position]) for question in questions]

    @asynccontextmanager
    async def _generator(self) -> AsyncGenerator[Generator, None]:
        """Waits for a generator, which is the caller's alone until it is given back."""
        generator = await self._free.get()
        try:
            yield generator
        finally:
            self._free.put_nowait(generator)

    async def _generate(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Calls a generator; a server that memory has no room for beside it is stopped first."""
        if self._apart and self._client:
            await asyncio.to_thread(self._client.server.stop)
        return await asyncio.to_thread(function, *arguments, **named)

    @asynccontextmanager
    async def server(self, active: ActiveRun) -> AsyncGenerator[None, None]:
        """Waits for the server of the runs that tune, which then has the weights of the run's generator."""
        async with self._generator() as generator:
            model, client = active.run.model, self._client
            if model is None or client is None or model.decoder or not isinstance(generator, Tuner):
                raise InputError(
                    f"method {active.run.method.name} tunes, and asks without its space's grammar: that needs a model "
                    f"that can be served{f', which {model.name!r} cannot' if model else ''}; name another"
                )
            state = self._state(active)
            # The name of the folder tells the weights: those of a state, or the untuned ones.
            folder = self._merged / state.name if state else weights.require(model)
            if client.server.folder != folder:
                if state:
                    shutil.rmtree(self._merged, ignore_errors=True)
                    await self._generate(generator.save, state, folder)
                await asyncio.to_thread(client.server.load, folder)
            if self._apart:
                generator.close()
            await asyncio.to_thread(client.server.ensure)
            yield

    async def _distribution(self, active: ActiveRun, prompt: str, sampling: Sampling) -> "tuple[Distribution, _Packed]":
        """Returns a distribution.

        That of the untuned generator is computed once for all runs; that of a run's own again after another alone.
        """
        known = self._known[None if active.generator is None else active.id]
        asked = active.generator, prompt, sampling
        if asked not in known:
            async with self._generator() as generator:
                found = await self._generate(generator.distribution, self._state(active), prompt, sampling)
            if active.generator is not None:
                known.clear()
            known[asked] = found, _packed(found)
        return known[asked]

    def _state(self, active: ActiveRun) -> Path | None:
        """Returns the file of the run's generator, None for the untuned one."""
        if active.generator is None:
            return None
        path = self._states / str(active.id) / active.generator
        try:
            with path.open("rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == active.generator
        except OSError:
            whole = False
        if not whole:
            raise InputError(f"{path}: the tuned generator that the journal tells of is missing or damaged; bring it "
                             "back, or give another --out")  # fmt: skip
        return path

    async def tune(self, active: ActiveRun, effect: Tune) -> Answered:
        """Tunes a run's generator; a journalled step is not taken again."""
        run, recorded = active.run, active.tunes.pop(active.step, None)
        prompt, _ = render(effect.prompt.template, effect.prompt.values)
        seed = run.sample_seed(active.step, 0)
        texts, weights, held_out = (json.dumps(v and list(v)) for v in (effect.texts, effect.weights, effect.held_out))
        tuning = json.dumps(asdict(effect.tuning) | {"keep": effect.keep, "anew": effect.anew})
        data = (prompt, texts, weights, held_out, tuning)
        name = run.model.name if run.model else None
        identity = json.dumps([name, active.revision, active.generator, seed, *data])
        data_hash = hashlib.sha256(identity.encode()).hexdigest()
        if recorded is None:
            began = time.monotonic()
            answer, made = await self._tuned(active, effect, prompt, seed)
            told = (json.dumps(answer.losses), json.dumps(answer.held_out))
            seconds = time.monotonic() - began
            recorded = TuneRow(active.id, active.step, data_hash, *data, *told, made, seconds, answer.failure)
            self._journal.write_tune(recorded)
        elif recorded.data_hash != data_hash:
            raise active.contradiction(f"to tune on {texts}", recorded.texts)
        if recorded.generator:
            active.generator = recorded.generator
            if not active.tunes:  # nothing is left to replay: older states are of no use
                for old in (self._states / str(active.id)).glob("*"):
                    if old.name != active.generator:
                        old.unlink()
        losses, pairs = json.loads(recorded.losses), json.loads(recorded.log_likelihoods)
        return [(active, Tuned(tuple(losses), tuple(map(tuple, pairs)), recorded.failure))]

    async def _tuned(self, active: ActiveRun, effect: Tune, prompt: str, seed: int) -> tuple[Tuned, str | None]:
        """Tunes; returns the answer, and the hash of the new state, under which it is kept, if there is one."""
        folder = self._states / str(active.id)
        out = folder / "new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            out.unlink(missing_ok=True)
            async with self._generator() as generator:
                answer = await self._generate(generator.tune, self._state(active), effect, prompt, seed, out)
            if answer.failure:
                return answer, None
            with out.open("rb") as file:
                made = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())  # before the journal tells of it
            out.replace(folder / made)
            _sync(folder)
        except OSError as error:
            raise InputError(f"{out}: {error.strerror or error}; {RESUMABLE}") from error
        return answer, made


def _sync(folder: Path) -> None:
    """Makes the names of a folder outlast a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_Asked = tuple[str | None, str, Sampling]
"""A run's generator, a prompt, and how answers are drawn."""


class _Packed(NamedTuple):
    """A distribution as the journal keeps it."""

    hash: str
    log_p: bytes
    sampled: bytes | None


def _packed(found: Distribution) -> _Packed:
    log_p, drawn = (logs.astype(np.float32).tobytes() for logs in (found.log_p, found.sampled))
    sampled = None if drawn == log_p else drawn
    return _Packed(hashlib.sha256(log_p + (sampled or b"")).hexdigest(), log_p, sampled)
