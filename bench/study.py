"""A study: a TOML file, and the grid of runs that it stands for."""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from bench.budget import Budget
from bench.llm import decoder, models, weights
from bench.llm.models import Model
from bench.llm.prompts import template_hash
from bench.method import Method, Problem
from bench.methods import methods
from surrogates.benchmark import Benchmark
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError, unknown

SEEDS_AT_MOST = 100_000
"""Repetitions that a study may ask for."""


@dataclass(frozen=True)
class Run:
    """One run: a method on a task of a benchmark, with a seed, a budget and perhaps a language model.

    Attributes:
        method: The method.
        parameters: All its parameters.
        benchmark: The benchmark.
        task: Name of the task.
        seed: Number of the repetition, from 0.
        budget: What it may spend.
        model: The language model it asks; None when it asks none.
    """

    method: Method
    parameters: dict[str, object]
    benchmark: Benchmark
    task: str
    seed: int
    budget: Budget
    model: Model | None = None

    @property
    def config(self) -> dict[str, object]:
        """All that decides the trajectory, as JSON: configuration, declared versions, data and prompts."""
        return {
            "method": self.method.name,
            "method_version": self.method.version,
            "parameters": self.parameters,
            "prompts": {name: template_hash(name) for name in self.method.prompts},
            "benchmark": self.benchmark.name,
            "benchmark_version": self.benchmark.version,
            "data": self.benchmark.checksum,
            "task": self.task,
            "seed": self.seed,
            "budget": self.budget.limits(),
            "model": self.model.name if self.model else None,
            "revision": self.revision,
        }

    @property
    def identity(self) -> tuple[object, ...]:
        """What the study says of the run; two runs of a study with one identity are the same run."""
        parameters = tuple(sorted(self.parameters.items()))
        return (self.method.name, parameters, self.benchmark.name, self.task, self.seed, self.budget, self.model)

    @property
    def revision(self) -> str | None:
        """Which weights the language model has, and how it is asked if not as usual; None without a model."""
        if self.model is None:
            return None
        if self.model.decoder:
            return decoder.revision(self.benchmark.space)
        usual = models.BUILT_IN.get(self.model.name)
        found = weights.revision(self.model)
        for name in ("chat", "context"):
            value, default = getattr(self.model, name), Model.model_fields[name].default
            if value != getattr(usual, name, default):
                found += f" {name}={value}"
        return found

    @property
    def key(self) -> str:
        """SHA-256 of `config`: two runs with one key are the same run."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()

    @property
    def _entropy(self) -> str:
        return f"{self.method.name}/{self.benchmark.name}/{self.task}/{self.seed}"

    def rng(self) -> np.random.Generator:
        """Returns the run's generator of random numbers, derived from method, benchmark, task and repetition."""
        return np.random.default_rng(int(hashlib.sha256(self._entropy.encode()).hexdigest(), 16))

    def sample_seed(self, step: int, position: int) -> int:
        """Returns the seed, in [0, 2^31), of the answer to one prompt of one effect."""
        digest = hashlib.sha256(f"{self._entropy}/{step}/{position}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, strict=True)


Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BudgetTable(_Strict):
    """The table `budget` of a grid; the limits of `Budget`."""

    evaluations: PositiveInt | None = None
    simulated_seconds: Limit | None = None
    tokens: PositiveInt | None = None
    wall_seconds: Limit | None = None


class MethodTable(BaseModel):
    """A method with parameters: `{name = "regularized_evolution", population = 20}`."""

    model_config = ConfigDict(extra="allow")
    name: str


class Grid(_Strict):
    """A grid of runs: every method on every task, with every seed and, if it asks one, every language model."""

    methods: Annotated[list[str | MethodTable], Field(min_length=1)]
    benchmarks: Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], Field(min_length=1)]
    seeds: Annotated[int, Field(gt=0, le=SEEDS_AT_MOST)]
    budget: BudgetTable
    models: list[str] = []


class Study(_Strict):
    """A study file.

    Attributes:
        name: Name; the results go to `reports/<name>` unless told otherwise.
        title: One line for the report.
        models: Language models of the user's, by name.
        grid: The grids of runs.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    models: dict[str, Model] = {}
    grid: Annotated[list[Grid], Field(min_length=1)]

    @field_validator("models", mode="before")
    @classmethod
    def _named(cls, models: object) -> object:
        if not isinstance(models, dict):
            return models
        for name, table in models.items():
            if isinstance(table, dict) and table.get("name", name) != name:
                raise ValueError(f"model {name!r} calls itself {table['name']!r}; leave its key 'name' out")
        return {name: {**table, "name": name} if isinstance(table, dict) else table for name, table in models.items()}

    def runs(self, where: str = "") -> list[Run]:
        """Returns the runs, each once, in the order of the file.

        Args:
            where: The file, for errors.

        Raises:
            InputError: Something is named that does not exist, or a budget that can never end a run.
        """
        runs = [r for i, grid in enumerate(self.grid) for r in self._expand(grid, f"{where}: grid[{i}]")]
        return list({run.identity: run for run in runs}.values())

    def _expand(self, grid: Grid, where: str) -> list[Run]:
        budget = Budget(**grid.budget.model_dump())
        tasks = []
        for name, names in grid.benchmarks.items():
            benchmark = benchmarks.get(name, f"{where}.benchmarks")
            tasks += [(benchmark, benchmark.task(t, f"{where}.benchmarks.{name}").name) for t in names]
        runs = []
        for model in grid.models:
            models.get(model, self.models, f"{where}.models")
        for entry in grid.methods:
            name, given = (entry, {}) if isinstance(entry, str) else (entry.name, entry.model_extra or {})
            method = methods.get(name, f"{where}.methods")
            parameters = method.complete(given, f"{where}.methods")
            if method.prompts and not grid.models:
                raise InputError(
                    f'{where}.models: {name} asks a language model; name at least one, e.g. models = ["smollm2"]'
                )
            asked = [models.get(m, self.models, f"{where}.models") for m in grid.models] if method.prompts else [None]
            for model in asked:
                if model and (model.base_url if method.tunes else model.decoder):
                    raise InputError(
                        f"{where}.models: {name} cannot use {model.name!r}: "
                        + ("its weights are not on this machine" if method.tunes else "only methods that tune can")
                    )
            for benchmark, task in tasks:
                self._check(budget, method, parameters, benchmark, task, where)
                if source := parameters.get("source"):
                    self._check_source(str(source), benchmark, task, f"{where}.methods: {name}.source")
                runs += [
                    Run(method, parameters, benchmark, task, seed, budget, model)
                    for model in asked
                    for seed in range(grid.seeds)
                ]
        return runs

    @staticmethod
    def _check_source(source: str, benchmark: Benchmark, task: str, where: str) -> None:
        """Makes sure that what a method learns from is another task than the one it searches for."""
        if benchmark.task(source, where).name == task:
            raise InputError(f"{where}: {source!r} is itself a task of this grid; a source must be another task")

    @staticmethod
    def _check(
        budget: Budget, method: Method, parameters: dict[str, object], benchmark: Benchmark, task: str, where: str
    ) -> None:
        space = benchmark.space
        if method.enumerates and not space.enumerable:
            raise InputError(
                f"{where}.methods: {method.name} needs a list of all architectures; {space.name}, the space of "
                f"{benchmark.name}, has {space.size:.2g}, too many to list"
            )
        reachable = set(budget.limits())
        if not benchmark.tasks[task].seconds:
            reachable -= {"simulated_seconds"}
        if not method.prompts:
            reachable -= {"tokens"}
        given = ", ".join(budget.limits()) or "no limit"
        if not reachable:
            raise InputError(
                f"{where}.budget: {given} never ends {method.name} on {benchmark.name}/{task};"
                " add e.g. evaluations = 100"
            )
        if method.prompts and not reachable & {"evaluations", "wall_seconds"}:
            raise InputError(
                f"{where}.budget: {given} may never end {method.name}, which may go on without asking its language "
                "model, or be answered with nothing that can be trained; add e.g. evaluations = 1000"
            )
        problem = Problem(space, benchmark.task(task), benchmark.name)
        try:
            # A method may refuse its parameters before its first effect, which comes after the journal is written.
            method.search(problem, np.random.default_rng(0), **parameters).close()
        except InputError as error:
            raise InputError(f"{where}.methods: {method.name}: {error}") from error


def shipped() -> list[str]:
    """Returns the names of the studies that come with Nascent."""
    return sorted(
        f.name.removesuffix(".toml") for f in (files("bench") / "studies").iterdir() if f.name.endswith(".toml")
    )


def load(path: Path) -> Study:
    """Reads a study file, or one of the `shipped` studies by its name.

    Raises:
        InputError: A file that is not there or cannot be read, no TOML, or a key or value that a study does not have.
    """
    if path.suffix != ".toml" and len(path.parts) == 1 and not path.is_file():
        if str(path) not in shipped():
            raise unknown("study", str(path), shipped())
        path = Path(str((files("bench") / "studies") / f"{path}.toml"))
    try:
        return Study.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Returns the most telling of the errors: a key that does not exist explains the one that is missing."""
    found = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", e["loc"][-1:] == ("str",)))
    # Which kind of value was tried is no part of the file.
    named = [p for p in found["loc"] if p not in ("str", "MethodTable")]
    *parents, last = named
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in named).lstrip(".")
    if found["type"] == "extra_forbidden":
        return str(unknown("key", str(last), _fields(parents), place.removesuffix(f".{last}")))
    return f"{place}: {found['msg']}" + ("" if found["type"] == "missing" else f"; it is {found['input']!r}")


def _fields(place: Sequence[Any]) -> list[str]:
    """Returns the keys that a table of a study file may have."""
    tables = {"grid": Grid, "budget": BudgetTable, "models": Model}
    named = [p for p in place if p in tables]
    return list((tables[named[-1]] if named else Study).model_fields)
