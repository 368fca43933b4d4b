"""Drives the runs of a study: performs what methods ask for, meters it, journals it, replays it."""

import asyncio
import hashlib
import json
import math
import os
import shutil
import time
import traceback
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench import manifest
from bench.budget import Meter
from bench.categoricals import Categoricals
from bench.effects import Answer, Archive, Ask, Completion, Effect, Evaluate, Evaluation, Note, Sampling, Tune, Tuned
from bench.executors import Executor
from bench.generator import Distribution, Generator
from bench.journal import RESUMABLE, CompletionRow, DrawRow, EvaluationRow, Journal, RunRow, TuneRow
from bench.llm import environment, weights
from bench.llm.client import Client, Request
from bench.llm.models import Model
from bench.llm.prompts import render
from bench.llm.serving import Server
from bench.llm.tuner import Tuner
from bench.method import Problem
from bench.study import Run, Study
from surrogates.benchmark import Benchmark, Scores
from surrogates.errors import InputError
from surrogates.space import Arch, ArchitectureError, Space

P = ParamSpec("P")
T = TypeVar("T")

BESIDE = 400_000_000
"""Bytes of a model's folder up to which, on a CPU, it is tuned beside its running server: both take less than 8 GB."""

SAMPLE = 5000
"""Architectures that an archive is taken from where a space cannot be listed (Zhou et al. 2025, on DARTS)."""

Progress = Callable[[int, int], None]
"""Is told, whenever something has happened: runs that ended, evaluations that were made."""


class _Active:
    """A run that is being driven."""

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
        self.started = time.monotonic() - row.wall_seconds
        self.timed = run.budget.wall_seconds is not None

    def wall_seconds(self) -> float:
        return time.monotonic() - self.started


Answered = list[tuple[_Active, Answer]]
Columns = tuple[str | None, str | None, int | None, float, float, float, float, str | None]
"""The columns of an `EvaluationRow` from `proposal` on."""


class Driver:
    """Drives runs, all at once: their questions to a benchmark become one, their prompts reach the model together.

    Args:
        journal: Where all is written before a method sees it; what it holds already is not asked again.
        executor: Where evaluations are computed.
        logs: Folder for the logs of language-model servers.
        progress: Is told how far it is.
    """

    def __init__(
        self,
        journal: Journal,
        executor: Executor,
        logs: Path,
        progress: Progress = lambda ended, made: None,
    ) -> None:
        self._journal, self._executor, self._logs, self._progress = journal, executor, logs, progress
        self._states = journal.path.parent / "generators"
        self._merged = self._states / "merged"
        self._texts: defaultdict[str, dict[Arch, str]] = defaultdict(dict)
        self._ended = self._made = 0
        self._archives: dict[tuple[str, str], asyncio.Task[tuple[list[Arch], NDArray[np.float64]]]] = {}
        self._client: Client | None = None
        self._apart = False
        self._generators: asyncio.Queue[Generator] = asyncio.Queue()
        self._untuned: dict[tuple[str, Sampling], tuple[Distribution, _Packed]] = {}

    def drive(self, runs: Sequence[Run]) -> dict[str, int]:
        """Drives the runs to their ends; those that ended before are skipped.

        Returns:
            How many runs were "skipped", are now "done", and "failed" because of an error in their method.

        Raises:
            InputError: The journal cannot be written, it contradicts a method, or a model's server does not run.
        """
        keyed = {run.key: run for run in runs}
        rows = self._journal.register((key, run.config) for key, run in keyed.items())
        todo = [(run, rows[key]) for key, run in keyed.items() if rows[key].status != "done"]
        self._ended = skipped = len(keyed) - len(todo)
        self._failed = 0
        recorded = self._journal.evaluations(row.id for _, row in todo)
        models = dict.fromkeys(run.model for run, _ in todo)
        for model in sorted(models, key=lambda m: m is not None):
            active = [_Active(run, row, recorded[row.id], self._journal) for run, row in todo if run.model == model]
            asyncio.run(self._with_model(model, [a for a in active if not a.run.method.tunes]))
            # Seed by seed, so that what is done first covers all that is compared.
            tuning = sorted((a for a in active if a.run.method.tunes), key=lambda a: a.run.seed)
            for space in {a.space.name: a.space for a in tuning}.values():
                asyncio.run(self._with_generators(model, space, [a for a in tuning if a.space is space]))
        return {"skipped": skipped, "done": len(todo) - self._failed, "failed": self._failed}

    async def _with_model(self, model: Model | None, active: list[_Active]) -> None:
        if model is None:
            await self._drive(active)
        else:
            async with _client(model, self._logs) as self._client:
                await self._drive(active)

    async def _with_generators(self, model: Model | None, space: Space, active: list[_Active]) -> None:
        """Drives runs that tune: as many at once as there are generators, so that early ones end early."""
        cores = os.cpu_count() or 1
        if model is None:
            generators: list[Generator] = [Categoricals(space)]
        elif model.decoder:
            generators = [Tuner(model, space, threads=1) for _ in range(min(cores, len(active)))]
        else:
            generators = [Tuner(model, space)]
            size = sum(file.stat().st_size for file in weights.require(model).rglob("*") if file.is_file())
            self._apart = size > BESIDE or environment.device() == "gpu"
        self._generators, self._untuned = asyncio.Queue(), {}
        for generator in generators:
            self._generators.put_nowait(generator)
        try:
            async with _client(model, self._logs) if model else nullcontext() as self._client:
                await self._drive(active, len(generators))
        finally:
            for generator in generators:
                generator.close()
            shutil.rmtree(self._merged, ignore_errors=True)

    async def _drive(self, active: list[_Active], at_once: int | None = None) -> None:
        following = iter(active)
        ready: Answered = [(run, []) for run in islice(following, at_once)]
        waiting: set[asyncio.Task[Answered]] = set()
        try:
            while ready or waiting:
                evaluates: list[tuple[_Active, Evaluate]] = []
                for run, answer in ready:  # grows
                    match self._advance(run, answer):
                        case Evaluate() as effect:
                            evaluates.append((run, effect))
                        case Ask() as effect:
                            waiting.add(asyncio.create_task(self._ask(run, effect)))
                        case Tune() as effect:
                            waiting.add(asyncio.create_task(self._tune(run, effect)))
                        case Archive() as effect:
                            waiting.add(asyncio.create_task(self._archive(run, effect)))
                        case Note() as effect:
                            self._journal.write_note(run.id, run.step, effect.name, effect.text)
                            ready.append((run, []))
                        case None:
                            ready += [(run, []) for run in islice(following, 1)]
                if evaluates:
                    waiting.add(asyncio.create_task(self._evaluate(evaluates)))
                ready = []
                if waiting:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    ready = [pair for task in done for pair in task.result()]
                    self._progress(self._ended, self._made)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _advance(self, active: _Active, answer: Answer) -> Effect | None:
        """Gives a method its answer; returns what it asks next, or None when the run has ended."""
        meter, first = active.meter, active.step < 0
        if active.timed:
            meter.wall_seconds = active.wall_seconds()
        limit = meter.reached()
        if limit:
            active.search.close()
            return self._end(active, "done", limit)
        try:
            effect = next(active.search) if first else active.search.send(answer)
        except StopIteration:
            return self._end(active, "done", "method ended")
        except Exception as error:
            return self._end(active, "failed", "".join(traceback.format_exception(error)))
        active.step += 1
        match effect:
            case Tune() | Archive() | Note():
                return effect
            case Ask():
                size = len(effect.prompts)
            case Evaluate():
                size = len(effect.proposals)
        if not size:
            return self._end(active, "failed", f"{active.run.method.name} asked for nothing at step {active.step}")
        if isinstance(effect, Evaluate) and size > (room := meter.room()):
            return Evaluate(effect.proposals[: int(room)], effect.fidelity)
        return effect

    def _end(self, active: _Active, status: str, reason: str) -> None:
        self._journal.finish(active.id, status, reason, active.wall_seconds())
        self._ended += 1
        self._failed += status == "failed"

    async def _archive(self, active: _Active, effect: Archive) -> Answered:
        """Answers with the architectures of the highest, or lowest, validation scores; of equals, the first listed."""
        benchmark = active.run.benchmark
        task = benchmark.task(effect.task, f"{active.run.method.name}.source").name
        if (benchmark.name, task) not in self._archives:
            self._archives[benchmark.name, task] = asyncio.create_task(self._look_up(benchmark, task))
        archs, scores = await asyncio.shield(self._archives[benchmark.name, task])
        order = np.argsort(scores if effect.worst else -scores, kind="stable")[: effect.size].tolist()
        return [(active, [Evaluation(archs[i], float(scores[i]), math.nan) for i in order if scores[i] == scores[i]])]

    async def _look_up(self, benchmark: Benchmark, task: str) -> tuple[list[Arch], NDArray[np.float64]]:
        """Returns architectures with their validation scores: all of the space, or a fixed sample of a larger one."""
        space, rng = benchmark.space, np.random.default_rng(0)
        if space.enumerable:
            return [tuple(arch) for arch in space.enumerate().tolist()], benchmark.scores(task, "validation")
        archs = [space.sample(rng) for _ in range(SAMPLE)]
        return archs, (await self._query(benchmark, archs, task, None))[0].validation

    async def _evaluate(self, asked: list[tuple[_Active, Evaluate]]) -> Answered:
        """Answers many runs' `Evaluate` with one question to each benchmark, task and fidelity."""
        answers: Answered = []
        rows: list[tuple[object, ...]] = []
        groups: defaultdict[tuple[Benchmark, str, int | None], list[tuple[_Active, Evaluate]]] = defaultdict(list)
        for active, effect in asked:
            if recorded := active.evaluations.pop(active.step, None):
                answers.append((active, self._recall(active, effect, recorded)))
            else:
                groups[active.run.benchmark, active.run.task, effect.fidelity].append((active, effect))
        for (benchmark, task, fidelity), members in groups.items():
            proposals = [p for _, effect in members for p in effect.proposals]
            scored = iter(await self._score(benchmark, task, fidelity, proposals))
            for active, effect in members:
                made, columns = zip(*islice(scored, len(effect.proposals)), strict=True)
                kept = active.meter.charge([evaluation.seconds for evaluation in made])
                answers.append((active, list(made[:kept])))
                rows += [(active.id, active.step, i, *columns[i]) for i in range(kept)]
        if rows:
            timed = [(active.id, active.wall_seconds()) for active, _ in asked if active.timed]
            with self._journal.transaction():
                self._journal.write_evaluations(rows)
                self._journal.write_wall_seconds(timed)
        self._made += sum(len(made) for _, made in answers)
        return answers

    def _text(self, space: Space, arch: Arch) -> str:
        texts = self._texts[space.name]
        return texts.get(arch) or texts.setdefault(arch, space.format(arch))

    async def _score(
        self, benchmark: Benchmark, task: str, fidelity: int | None, proposals: Sequence[Arch | str]
    ) -> list[tuple[Evaluation, Columns]]:
        """Returns for each proposal its evaluation and the columns of its row."""
        space = benchmark.space
        parsed: list[tuple[Arch | None, str | None, str | None]] = []  # architecture, its text, why there is none
        for proposal in proposals:
            try:
                arch = space.parse(proposal) if isinstance(proposal, str) else proposal
                parsed.append((arch, self._text(space, arch), None))
            except ArchitectureError as error:
                parsed.append((None, None, str(error)))
            except Exception as error:  # a plugin's method can propose anything
                parsed.append((None, None, f"no architecture of {space.name}: {error!r}"))
        archs = [arch for arch, _, _ in parsed if arch is not None]
        scores, failures = await self._query(benchmark, archs, task, fidelity)
        columns = (c.tolist() for c in (scores.validation, scores.test, scores.seconds, scores.parameters))
        known = zip(*columns, failures, strict=True)
        nothing = (math.nan, math.nan, math.nan, math.nan)
        scored = []
        for proposal, (arch, text, failure) in zip(proposals, parsed, strict=True):
            validation, test, seconds, parameters, broken = (*nothing, None) if arch is None else next(known)
            if failure is None and validation != validation:
                failure = broken or f"{benchmark.name} knows no score of this architecture on {task}"
            given = proposal if isinstance(proposal, str) else None if text else repr(proposal)
            row = (given, text, fidelity, validation, test, seconds, parameters, failure)
            scored.append((Evaluation(arch, validation, seconds, failure), row))
        return scored

    async def _query(
        self, benchmark: Benchmark, archs: list[Arch], task: str, fidelity: int | None
    ) -> tuple[Scores, Sequence[str | None]]:
        """Returns the scores, and for each architecture why it broke the benchmark, or None."""
        if not archs:
            return Scores(*[np.empty(0)] * len(Scores._fields)), []
        try:
            return await self._executor.query(benchmark, archs, task, fidelity), [None] * len(archs)
        except Exception as error:
            if len(archs) == 1:
                return Scores(*[np.full(1, np.nan)] * len(Scores._fields)), [f"{type(error).__name__}: {error}"]
        each = [await self._query(benchmark, [arch], task, fidelity) for arch in archs]
        joined = Scores(*(np.concatenate(column) for column in zip(*(s for s, _ in each), strict=True)))
        return joined, [failure for _, (failure,) in each]

    def _recall(self, active: _Active, effect: Evaluate, recorded: list[EvaluationRow]) -> list[Evaluation]:
        """Returns the journalled answers to an effect, after a check that it is the same effect."""
        answers = []
        for proposal, row in zip(effect.proposals, recorded, strict=False):
            same = proposal == row.proposal if isinstance(proposal, str) else self._same(active, proposal, row)
            if not same:
                raise self._contradiction(active, repr(proposal), row.proposal or row.arch)
            arch = None if row.arch is None else active.space.parse(row.arch)
            nan = math.nan
            score, seconds = (nan if value is None else value for value in (row.validation, row.seconds))
            answers.append(Evaluation(arch, score, seconds, row.failure))
        active.meter.charge([evaluation.seconds for evaluation in answers])
        return answers

    def _same(self, active: _Active, proposal: Arch, row: EvaluationRow) -> bool:
        return repr(proposal) == row.proposal if row.arch is None else self._text(active.space, proposal) == row.arch

    def _contradiction(self, active: _Active, now: str, before: str | None) -> InputError:
        run = active.run
        return InputError(
            f"{self._journal.path}: {run.method.name} on {run.benchmark.name}/{run.task}, seed {run.seed},"
            f" step {active.step}: journalled {before!r}, but now it asks {now}; the method changed without"
            " a new version: raise its version, or give another --out"
        )

    async def _ask(self, active: _Active, effect: Ask) -> Answered:
        """Answers a run's `Ask`, prompt by prompt; what is journalled is not asked again."""
        recorded = active.completions.pop(active.step, {})
        if active.run.method.tunes and effect.constraint == active.space.grammar:
            completions = await self._draw(active, effect, recorded)
        else:
            new = len(recorded) < len(effect.prompts)
            async with self._tuned_server(active) if active.run.method.tunes and new else nullcontext():
                tasks = [self._complete(active, effect, i, recorded.get(i)) for i in range(len(effect.prompts))]
                completions = await asyncio.gather(*tasks)
        active.meter.tokens += sum(c.prompt_tokens + c.completion_tokens for c in completions)
        return [(active, completions)]

    async def _complete(
        self, active: _Active, effect: Ask, position: int, recorded: CompletionRow | None
    ) -> Completion:
        if active.run.model is None or self._client is None:
            raise InputError(f"method {active.run.method.name} asks a language model but declares no prompts")
        question = _Question(active, effect, position)
        if recorded is None:
            request = Request(question.prompt, question.seed, effect.sampling, effect.constraint)
            reply = await self._client.complete(request)
            answer = (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.seconds, reply.failure)
            recorded = question.row(*answer)
            self._journal.write_completion(recorded)
        return self._known(active, question, recorded)

    def _known(self, active: _Active, question: "_Question", recorded: CompletionRow) -> Completion:
        if recorded.prompt_hash != question.hash:
            raise self._contradiction(active, question.prompt, recorded.prompt)
        return Completion(recorded.text, recorded.prompt_tokens, recorded.completion_tokens, recorded.failure)

    async def _draw(self, active: _Active, effect: Ask, recorded: dict[int, CompletionRow]) -> list[Completion]:
        """Draws answers from the exact distribution of the run's generator, one for each different prompt."""
        questions = [_Question(active, effect, i) for i in range(len(effect.prompts))]
        todo: defaultdict[str, list[_Question]] = defaultdict(list)
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
                text = self._text(active.space, tuple(active.space.enumerate()[place].tolist()))
                tokens = int(found.text_tokens[place])
                rows.append(question.row(text, found.prompt_tokens, tokens, seconds / len(same), None))
            draw = DrawRow(active.id, active.step, prompt, active.generator, packed.hash, seconds)
            self._journal.write_draw(draw, packed.log_p, packed.sampled, rows)
            recorded |= {row.position: row for row in rows}
        return [self._known(active, question, recorded[question.position]) for question in questions]

    @asynccontextmanager
    async def _generator(self) -> AsyncGenerator[Generator, None]:
        """Waits for a generator, which is the caller's alone until it is given back."""
        generator = await self._generators.get()
        try:
            yield generator
        finally:
            self._generators.put_nowait(generator)

    async def _generate(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Calls a generator; a server that memory has no room for beside it is stopped first."""
        if self._apart and self._client:
            await asyncio.to_thread(self._client.server.stop)
        return await asyncio.to_thread(function, *arguments, **named)

    @asynccontextmanager
    async def _tuned_server(self, active: _Active) -> AsyncGenerator[None, None]:
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

    async def _distribution(self, active: _Active, prompt: str, sampling: Sampling) -> "tuple[Distribution, _Packed]":
        """Returns a distribution; that of the untuned generator is computed once for all runs."""
        if active.generator is None and (prompt, sampling) in self._untuned:
            return self._untuned[prompt, sampling]
        async with self._generator() as generator:
            found = await self._generate(generator.distribution, self._state(active), prompt, sampling)
        both = found, _packed(found)
        if active.generator is None:
            self._untuned[prompt, sampling] = both
        return both

    def _state(self, active: _Active) -> Path | None:
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

    async def _tune(self, active: _Active, effect: Tune) -> Answered:
        """Tunes a run's generator; a journalled step is not taken again."""
        run, recorded = active.run, active.tunes.pop(active.step, None)
        if not run.method.tunes:
            raise InputError(f"method {run.method.name} tunes but does not declare it")
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
            raise self._contradiction(active, f"to tune on {texts}", recorded.texts)
        if recorded.generator:
            active.generator = recorded.generator
            if not active.tunes:  # nothing is left to replay: older states are of no use
                for old in (self._states / str(active.id)).glob("*"):
                    if old.name != active.generator:
                        old.unlink()
        losses, pairs = json.loads(recorded.losses), json.loads(recorded.log_likelihoods)
        return [(active, Tuned(tuple(losses), tuple(map(tuple, pairs)), recorded.failure))]

    async def _tuned(self, active: _Active, effect: Tune, prompt: str, seed: int) -> tuple[Tuned, str | None]:
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
            out.replace(folder / made)
        except OSError as error:
            raise InputError(f"{out}: {error.strerror or error}; {RESUMABLE}") from error
        return answer, made


class _Question:
    """One prompt of an `Ask`, with all that decides its answer."""

    def __init__(self, active: _Active, effect: Ask, position: int) -> None:
        run, prompt = active.run, effect.prompts[position]
        self.position = position
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


class _Packed(NamedTuple):
    """A distribution as the journal keeps it."""

    hash: str
    log_p: bytes
    sampled: bytes | None


def _packed(found: Distribution) -> _Packed:
    log_p, drawn = (logs.astype(np.float32).tobytes() for logs in (found.log_p, found.sampled))
    sampled = None if drawn == log_p else drawn
    return _Packed(hashlib.sha256(log_p + (sampled or b"")).hexdigest(), log_p, sampled)


@asynccontextmanager
async def _client(model: Model, logs: Path) -> AsyncGenerator[Client, None]:
    """Opens the client of a model, whose server starts with the first request and stops at the end."""
    server = Server(model, logs / f"{model.name}.log")
    client = Client(server)
    try:
        yield client
    finally:
        await client.close()
        server.stop()


def run_study(
    study: Study, runs: Sequence[Run], out: Path, executor: Executor, progress: Progress = lambda ended, made: None
) -> dict[str, int]:
    """Drives the runs of a study in a folder; what the folder's journal holds already is not done again.

    Args:
        study: The study.
        runs: Its runs.
        out: Folder of the journal, the manifest and the servers' logs.
        executor: Where evaluations are computed.
        progress: Is told how far it is.

    Returns:
        As `Driver.drive`.

    Raises:
        InputError: The folder or the journal cannot be used, or a model's server does not run.
    """
    journal = Journal(out / "journal.sqlite")
    try:
        manifest.write(out / "manifest.json", study, runs)
        return Driver(journal, executor, out / "logs", progress).drive(runs)
    finally:
        journal.close()
        executor.close()
