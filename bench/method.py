"""What a method is: a generator of effects, with a name, a version and parameters."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

import numpy as np
from pydantic import TypeAdapter, ValidationError

from bench.effects import Evaluation, Search
from surrogates.benchmark import Task
from surrogates.errors import InputError, unknown
from surrogates.space import Space

LARGEST = 1_000_000
"""Largest number that a parameter may be: what a method allocates by it must fit."""


@dataclass(frozen=True)
class Problem:
    """What a method knows of its problem.

    Attributes:
        space: The space to search.
        task: The task that scores come from.
        benchmark: Name of the benchmark.
    """

    space: Space
    task: Task
    benchmark: str


@dataclass(frozen=True)
class Method:
    """A search method.

    Attributes:
        name: Name of the method, equal to its file's.
        search: The generator function: `search(problem, rng, **parameters)`.
        version: Declared version; raise it when the method proposes otherwise than before.
        prompts: Templates in `bench/llm/prompts` that it asks a language model with; empty: it asks none.
        control: Name of the method that does the same without what this one adds; "" when it has none.
        tunes: Whether it tunes a generator: the language model that it asks, or, without prompts, categoricals.
        requires: Modules that it imports when it starts, of the extra `baselines`.
        enumerates: Whether it needs the list of all architectures of the space, as all do that tune.
    """

    name: str
    search: Callable[..., Search]
    version: str
    prompts: tuple[str, ...] = ()
    control: str = ""
    tunes: bool = False
    requires: tuple[str, ...] = ()
    enumerates: bool = False

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.search) or "").split("\n", maxsplit=1)[0]

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters with their defaults."""
        found = inspect.signature(self.search).parameters.values()
        return {p.name: p.default for p in found if p.kind is p.KEYWORD_ONLY}

    def complete(self, parameters: dict[str, object], where: str = "") -> dict[str, object]:
        """Returns all parameters: those given, the others at their defaults.

        Raises:
            InputError: A parameter that the method does not have, or a value that its annotation does not allow.
        """
        found = dict(self.parameters)
        annotations = {p.name: p.annotation for p in inspect.signature(self.search).parameters.values()}
        for name, value in parameters.items():
            if name not in found:
                raise unknown(f"parameter of {self.name}", name, found, where)
            if isinstance(value, float | int) and not abs(value) <= LARGEST:
                raise InputError(f"{where}: {self.name}.{name} must be finite, at most {LARGEST:,}; it is {value!r}")
            try:
                found[name] = TypeAdapter(annotations[name]).validate_python(value, strict=True)
            except ValidationError as error:
                said = error.errors()[0]["msg"].replace("Input should", "must")
                raise InputError(f"{where}: {self.name}.{name} {said}, it is {value!r}") from error
        return found

    def start(self, problem: Problem, rng: np.random.Generator, parameters: dict[str, object]) -> Search:
        """Returns the running method, before its first effect.

        Raises:
            InputError: A module that it requires is not installed.
        """
        if missing := [name for name in self.requires if find_spec(name) is None]:
            raise InputError(
                f"method {self.name} needs {' and '.join(missing)}; install it: pip install 'nascent[baselines]'"
            )
        return self.search(problem, rng, **parameters)


def method(
    name: str,
    *,
    version: str = "1",
    prompts: tuple[str, ...] = (),
    control: str = "",
    tunes: bool = False,
    requires: tuple[str, ...] = (),
    enumerates: bool = False,
) -> Callable[[Callable[..., Search]], Method]:
    """Makes a method of a generator function; the arguments are the attributes of `Method`."""
    return lambda search: Method(name, search, version, prompts, control, tunes, requires, enumerates or tunes)


def preset(of: Method, name: str, summary: str, control: str, **defaults: object) -> Method:
    """Returns a method that is another one with other defaults.

    Args:
        of: The method.
        name: Name of the preset.
        summary: What it is for, in a line.
        control: As in `Method`.
        defaults: Parameters of the method.
    """
    search = partial(of.search, **defaults)
    search.__doc__ = summary
    return replace(of, name=name, search=search, control=control)


def score(evaluation: Evaluation) -> float:
    """Returns the score to compare by: a proposal without a score loses against every other."""
    return evaluation.score if evaluation.failure is None else -np.inf
