"""What a method is: a generator of effects, with a name, a version and parameters."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.effects import Evaluation, Search
from surrogates.benchmark import Task
from surrogates.errors import InputError, unknown
from surrogates.space import Space


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
    """

    name: str
    search: Callable[..., Search]
    version: str
    prompts: tuple[str, ...] = ()
    control: str = ""

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
            InputError: A parameter that the method does not have, or of another type than its default.
        """
        defaults = self.parameters
        for name, value in parameters.items():
            if name not in defaults:
                raise unknown(f"parameter of {self.name}", name, defaults, where)
            number = isinstance(value, int) and not isinstance(value, bool) and isinstance(defaults[name], float)
            if type(value) is not type(defaults[name]) and not number:
                expected = type(defaults[name]).__name__
                raise InputError(f"{where}: {self.name}.{name} must be of type {expected}, it is {value!r}")
        return defaults | parameters

    def start(self, problem: Problem, rng: np.random.Generator, parameters: dict[str, object]) -> Search:
        """Returns the running method, before its first effect."""
        return self.search(problem, rng, **parameters)


def method(
    name: str, *, version: str = "1", prompts: tuple[str, ...] = (), control: str = ""
) -> Callable[[Callable[..., Search]], Method]:
    """Makes a method of a generator function; the arguments are the attributes of `Method`."""
    return lambda search: Method(name, search, version, prompts, control)


def score(evaluation: Evaluation) -> float:
    """Returns the score to compare by: a proposal without a score loses against every other."""
    return evaluation.score if evaluation.failure is None else -np.inf
