"""What a method may ask for. A new kind of effect is one class here and one handler in the driver."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from surrogates.space import Arch


class Evaluation(NamedTuple):
    """The answer to one proposal of an `Evaluate`.

    Attributes:
        arch: The architecture; None when the proposal was not one.
        score: Validation score, higher is better; NaN when there is none.
        seconds: Simulated training time; NaN when the benchmark does not know it.
        failure: Why there is no score; None when there is one.
    """

    arch: Arch | None
    score: float
    seconds: float
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Asks for the validation scores of proposals; answered by a list of `Evaluation` in their order.

    Attributes:
        proposals: Architectures, or texts: a text is parsed by the space, and costs an evaluation even if it is none.
        fidelity: Training epochs; None: full training.
    """

    proposals: Sequence[Arch | str]
    fidelity: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt: the template's name in `bench/llm/prompts`, and what is filled in."""

    template: str
    values: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: Share of probability kept, in (0, 1].
        max_tokens: Tokens of an answer at most.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 96


class Completion(NamedTuple):
    """The answer to one prompt of an `Ask`.

    Attributes:
        text: The answer; "" when there is none.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        failure: Why there is no usable answer; None when there is one.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks the run's language model; answered by a list of `Completion`, in the prompts' order.

    Attributes:
        prompts: The prompts, one answer each.
        constraint: EBNF grammar the answers must follow, e.g. a space's; None: free text.
        sampling: How tokens are drawn.
    """

    prompts: Sequence[Prompt]
    constraint: str | None = None
    sampling: Sampling = Sampling()


Effect = Evaluate | Ask
Answer = list[Evaluation] | list[Completion]
Search = Generator[Effect, Answer, None]
"""A running method: yields effects, receives their answers, is closed when the budget is spent."""


def evaluate(
    proposals: Iterable[Arch | str], fidelity: int | None = None
) -> Generator[Effect, Answer, list[Evaluation]]:
    """Asks for the scores of proposals, in a method: `results = yield from evaluate(archs)`."""
    return (yield Evaluate(list(proposals), fidelity))  # pyright: ignore[reportReturnType]


def ask(
    prompts: Iterable[Prompt], constraint: str | None = None, sampling: Sampling = Sampling()
) -> Generator[Effect, Answer, list[Completion]]:
    """Puts prompts to the language model, in a method: `answers = yield from ask([prompt], space.grammar)`."""
    return (yield Ask(list(prompts), constraint, sampling))  # pyright: ignore[reportReturnType]
