"""Drives the runs of a study: performs what methods ask for, meters it, journals it, replays it."""

import asyncio
import math
import traceback
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence, Sized
from contextlib import asynccontextmanager, nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import manifest
from bench.active_run import ActiveRun, Answered, Question, text_of
from bench.effects import Answer, Archive, Ask, Completion, Effect, Evaluate, Evaluation, Note, Tune
from bench.executors import Executor, ExecutorError
from bench.journal import AnswerColumns, CompletionRow, EvaluationRow, Journal
from bench.llm.client import Client, Request
from bench.llm.models import Model
from bench.llm.serving import Server
from bench.study import Run, Study
from bench.tuned_generators import TunedGenerators
from surrogates.benchmark import Benchmark, Scores
from surrogates.errors import InputError
from surrogates.space import Arch, ArchitectureError, Space

SAMPLE = 5000
"""Architectures that an archive is taken from where a space cannot be listed (Zhou et al. 2025, on DARTS)."""

Progress = Callable[[int, int], None]
"""Is told, whenever something has happened: runs that ended, evaluations that were made."""


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
        self._ended = self._made = 0
        self._archives: dict[tuple[str, str], asyncio.Task[tuple[list[Arch], NDArray[np.float64]]]] = {}
        self._client: Client | None = None
        self._known: dict[str, AnswerColumns] = {}
        self._asked: dict[str, asyncio.Task[AnswerColumns]] = {}
        self._generators: TunedGenerators | None = None

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
            active = [ActiveRun(run, row, recorded[row.id], self._journal) for run, row in todo if run.model == model]
            if model is not None:
                untuned = (rows[key].id for key, run in keyed.items() if run.model == model and not run.method.tunes)
                self._known, self._asked = self._journal.answers(untuned), {}
            asyncio.run(self._with_model(model, [a for a in active if not a.run.method.tunes]))
            # Seed by seed, so that what is done first covers all that is compared.
            tuning = sorted((a for a in active if a.run.method.tunes), key=lambda a: a.run.seed)
            for space in {a.space.name: a.space for a in tuning}.values():
                asyncio.run(self._with_generators(model, space, [a for a in tuning if a.space is space]))
        return {"skipped": skipped, "done": len(todo) - self._failed, "failed": self._failed}

    async def _with_model(self, model: Model | None, active: list[ActiveRun]) -> None:
        if model is None:
            await self._drive(active)
        else:
            async with _client(model, self._logs) as self._client:
                await self._drive(active)

    async def _with_generators(self, model: Model | None, space: Space, active: list[ActiveRun]) -> None:
        """Drives runs that tune: as many at once as there are generators, so that early ones end early."""
        async with _client(model, self._logs) if model else nullcontext() as self._client:
            generators = self._generators = TunedGenerators(model, space, len(active), self._client, self._journal)
            try:
                await self._drive(active, generators.count)
            finally:
                generators.close()

    async def _drive(self, active: list[ActiveRun], at_once: int | None = None) -> None:
        following = iter(active)
        ready: Answered = [(run, []) for run in islice(following, at_once)]
        waiting: set[asyncio.Task[Answered]] = set()
        try:
            while ready or waiting:
                evaluates: list[tuple[ActiveRun, Evaluate]] = []
                for run, answer in ready:  # grows
                    match self._advance(run, answer):
                        case Evaluate() as effect:
                            evaluates.append((run, effect))
                        case Ask() as effect:
                            waiting.add(asyncio.create_task(self._ask(run, effect)))
                        case Tune() as effect:
                            waiting.add(asyncio.create_task(self._generators_of(run).tune(run, effect)))
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

    def _advance(self, active: ActiveRun, answer: Answer) -> Effect | None:
        """Gives a method its answer; returns what it asks next, or None when the run has ended."""
        meter, first = active.meter, active.step < 0
        if first:
            active.begin()
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
            case Ask(prompts=Sized() as asked) | Evaluate(proposals=Sized() as asked):
                size = len(asked)
            case _:  # a plugin's method can yield anything
                return self._end(active, "failed", f"{active.run.method.name} yielded {effect!r}, which is no effect")
        if not size:
            return self._end(active, "failed", f"{active.run.method.name} asked for nothing at step {active.step}")
        if isinstance(effect, Evaluate) and size > (room := meter.room()):
            return Evaluate(effect.proposals[: int(room)], effect.fidelity)
        return effect

    def _end(self, active: ActiveRun, status: str, reason: str) -> None:
        self._journal.finish(active.id, status, reason, active.wall_seconds())
        if self._generators is not None:
            self._generators.forget(active)
        self._ended += 1
        self._failed += status == "failed"

    async def _archive(self, active: ActiveRun, effect: Archive) -> Answered:
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

    async def _evaluate(self, asked: list[tuple[ActiveRun, Evaluate]]) -> Answered:
        """Answers many runs' `Evaluate` with one question to each benchmark, task and fidelity."""
        answers: Answered = []
        rows: list[tuple[object, ...]] = []
        groups: defaultdict[tuple[Benchmark, str, int | None], list[tuple[ActiveRun, Evaluate]]] = defaultdict(list)
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

    async def _score(
        self, benchmark: Benchmark, task: str, fidelity: int | None, proposals: Sequence[Arch | str]
    ) -> list[tuple[Evaluation, Columns]]:
        """Returns for each proposal its evaluation and the columns of its row."""
        space = benchmark.space
        parsed: list[tuple[Arch | None, str | None, str | None]] = []  # architecture, its text, why there is none
        for proposal in proposals:
            try:
                arch = space.parse(proposal) if isinstance(proposal, str) else proposal
                parsed.append((arch, text_of(space, arch), None))
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
        except ExecutorError:
            raise
        except Exception as error:
            if len(archs) == 1:
                return Scores(*[np.full(1, np.nan)] * len(Scores._fields)), [f"{type(error).__name__}: {error}"]
        each = [await self._query(benchmark, [arch], task, fidelity) for arch in archs]
        joined = Scores(*(np.concatenate(column) for column in zip(*(s for s, _ in each), strict=True)))
        return joined, [failure for _, (failure,) in each]

    def _recall(self, active: ActiveRun, effect: Evaluate, recorded: list[EvaluationRow]) -> list[Evaluation]:
        """Returns the journalled answers to an effect, after a check that it is the same effect."""
        answers = []
        for proposal, row in zip(effect.proposals, recorded, strict=False):
            text = isinstance(proposal, str)
            same = proposal == row.proposal if text else self._same(active, proposal, row)
            if not same:
                raise active.contradiction(repr(proposal), row.proposal or row.arch)
            arch = None
            if row.arch is not None:  # as at first, only a text is parsed
                arch = active.space.parse(row.arch) if text else proposal
            nan = math.nan
            score, seconds = (nan if value is None else value for value in (row.validation, row.seconds))
            answers.append(Evaluation(arch, score, seconds, row.failure))
        active.meter.charge([evaluation.seconds for evaluation in answers])
        return answers

    def _same(self, active: ActiveRun, proposal: Arch, row: EvaluationRow) -> bool:
        return repr(proposal) == row.proposal if row.arch is None else text_of(active.space, proposal) == row.arch

    def _generators_of(self, active: ActiveRun) -> TunedGenerators:
        if self._generators is None or not active.run.method.tunes:
            raise InputError(f"method {active.run.method.name} tunes but does not declare it")
        return self._generators

    async def _ask(self, active: ActiveRun, effect: Ask) -> Answered:
        """Answers a run's `Ask`, prompt by prompt; what is journalled is not asked again."""
        recorded = active.completions.pop(active.step, {})
        if active.run.method.tunes and effect.constraint == active.space.grammar:
            completions = await self._generators_of(active).draw(active, effect, recorded)
        else:
            new = active.run.method.tunes and len(recorded) < len(effect.prompts)
            async with self._generators_of(active).server(active) if new else nullcontext():
                tasks = [self._complete(active, effect, i, recorded.get(i)) for i in range(len(effect.prompts))]
                completions = await asyncio.gather(*tasks)
        active.meter.tokens += sum(c.prompt_tokens + c.completion_tokens for c in completions)
        return [(active, completions)]

    async def _complete(
        self, active: ActiveRun, effect: Ask, position: int, recorded: CompletionRow | None
    ) -> Completion:
        if active.run.model is None or self._client is None:
            raise InputError(f"method {active.run.method.name} asks a language model but declares no prompts")
        question = Question(active, effect, position)
        if recorded is None:
            recorded = question.row(*await self._answer(self._client, active, question, effect))
            self._journal.write_completion(recorded)
        return question.known(recorded)

    async def _answer(self, client: Client, active: ActiveRun, question: Question, effect: Ask) -> AnswerColumns:
        """Asks the model; the variants of a method share seeds, and what they ask alike in a study is asked once."""
        request = Request(question.prompt, question.seed, effect.sampling, effect.constraint)
        if active.run.method.tunes:  # each run has weights of its own
            return await _reply(client, request)
        if question.hash in self._known:
            return self._known[question.hash]
        if question.hash not in self._asked:
            self._asked[question.hash] = asyncio.create_task(_reply(client, request))
        return await self._asked[question.hash]


async def _reply(client: Client, request: Request) -> AnswerColumns:
    reply = await client.complete(request)
    return reply.text, reply.prompt_tokens, reply.completion_tokens, reply.seconds, reply.failure


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
        InputError: A model is not there, the folder or the journal cannot be used, or a model's server does not run.
    """
    for run in {run.model: run for run in runs}.values():
        _ = run.revision  # raises before anything is written
    journal = Journal(out / "journal.sqlite")
    try:
        manifest.write(out / "manifest.json", study, runs)
        return Driver(journal, executor, out / "logs", progress).drive(runs)
    finally:
        journal.close()
        executor.close()
