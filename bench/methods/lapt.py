"""LAPT: design principles, learned by a language model from one task, transferred to another and adapted."""

from collections.abc import Generator, Sequence
from typing import Literal

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from bench.effects import Answer, Effect, Prompt, Sampling, Search, ask
from bench.method import Problem, method
from bench.principle_transfer import Thinking, learned_from, principle_transfer
from surrogates.space import Arch
from surrogates.subspace import Allowed, everything, options_grammar, parse_options

TRANSLATION = 64
"""Tokens of a translation at most, for each decision."""


class Described:
    """Principles in a language model's words (sections "Design principle learning" and "Principle transfer").

    Args:
        problem: Space and task.
        options: Options of a decision that are allowed at most.
        retries: How often a translation with lines that cannot be read is asked for again.
        temperature: Of sampling.
        max_tokens: Tokens of an answer in words at most.
        forget: Whether the model is not shown its principles when it is asked about other options, which then take
            their place.
    """

    text = ""

    def __init__(
        self, problem: Problem, options: int, retries: int, temperature: float, max_tokens: int, forget: bool
    ) -> None:
        self._space, self._options, self._retries, self._forget = problem.space, options, retries, forget
        self._grammar = options_grammar(problem.space, options)
        self._in_words = Sampling(temperature, max_tokens=max_tokens)
        self._as_options = Sampling(temperature, max_tokens=TRANSLATION * len(problem.space.decisions))

    def _say(self, template: str, archs: Sequence[Arch] = (), patterns: str = "") -> Generator[Effect, Answer, str]:
        (answer,) = yield from ask([self._prompt(template, archs, patterns)], None, self._in_words)
        return answer.text.strip()

    def _prompt(self, template: str, archs: Sequence[Arch] = (), patterns: str = "") -> Prompt:
        decisions = self._space.decisions
        lists = [[d.options[value] for d, value in zip(decisions, arch, strict=True)] for arch in archs]
        values: dict[str, object] = {
            "space": self._space.description, "code": self._space.code, "decisions": [d._asdict() for d in decisions],
            "archs": lists, "patterns": patterns, "principles": self.text, "most": self._options,
        }  # fmt: skip
        return Prompt(template, values)

    def learn(self, archs: Sequence[Arch]) -> Thinking:
        """Shows the architectures (step 1), asks for their patterns (2) and for the principles behind these (3)."""
        patterns = yield from self._say("lapt_patterns", archs)
        self.text = yield from self._say("lapt_principles", archs, patterns)

    def update(self, archs: Sequence[Arch]) -> Thinking:
        """Asks for the principles again, in the light of architectures that were found (algorithm 2, line 2)."""
        said = yield from self._say("lapt_update", archs)
        self.text = said or self.text  # no answer changes nothing

    def explore(self) -> Thinking:
        """Asks for the effects of options that the principles do not speak of (algorithm 2, line 5)."""
        before, self.text = self.text, "" if self._forget else self.text
        others = yield from self._say("lapt_explore")
        self.text = f"{self.text}\n{others}".strip() or before

    def translate(self) -> Generator[Effect, Answer, Allowed]:
        """Returns what the model makes of the principles; without any, all is allowed.

        A decision whose line can be read in no answer keeps all options.
        """
        whole = everything(self._space)
        if not self.text:
            return whole
        read: list[tuple[int, ...] | None] = [None] * len(whole)
        for _ in range(1 + self._retries):
            (answer,) = yield from ask([self._prompt("lapt_translate")], self._grammar, self._as_options)
            again = parse_options(self._space, answer.text, self._options)
            read = [options or new for options, new in zip(read, again, strict=True)]
            if None not in read:
                break
        return tuple(options or every for options, every in zip(read, whole, strict=True))


@method(
    "lapt",
    version="2",
    prompts=("lapt_patterns", "lapt_principles", "lapt_update", "lapt_explore", "lapt_translate"),
    control="operation_counts",
)
def lapt(
    problem: Problem, rng: np.random.Generator, *, source: str = "", archive: Literal["best", "worst"] = "best",
    samples: PositiveInt = 50, options: PositiveInt = 2, first: PositiveInt = 10, every: PositiveInt = 5,
    selected: PositiveInt = 5, inner: str = "regularized_evolution", population: PositiveInt = 5,
    tournament: PositiveInt = 2, adaptation: bool = True, retries: NonNegativeInt = 1,
    temperature: NonNegativeFloat = 0.7, max_tokens: PositiveInt = 256, leak: bool = False, strict: bool = False,
    forget: bool = False, project: bool = True,
) -> Search:  # fmt: skip
    """Design principles are learned from another task, choose a part of the space, and adapt to what is found there.

    Zhou et al. 2025 (AAAI, arXiv:2408.11330), algorithms 1 and 2, with the settings of table 1 for NAS-Bench-201; for
    TransNAS-Bench-101: options = 3, first = 20, every = 10, selected = 15, population = 10, tournament = 5. The
    released code departs from the paper: leak, strict, forget, and no project. Two readings of the paper are ours: line
    5 of algorithm 2 has the answer in place of the principles, which would forget what the source task taught; here it
    is added to them. And B_n is what the last iteration found, not all iterations.

    Args:
        problem: Space and task.
        rng: Source of the NAS method's randomness.
        source: Task whose architectures principles are learned from; "": none, so that the first iteration searches in
            the whole space and principles are learned from what it finds ("WO Transfer").
        archive: Whether the source task's best or, as a control, its worst architectures are shown.
        samples: Architectures shown.
        options: Options of a decision that are allowed at most.
        first: Evaluations of the first iteration.
        every: Of each other.
        selected: Architectures that principles are updated from, r: the best different ones of the last iteration, all
            of them where it made fewer evaluations.
        inner: The NAS method that searches: any that asks no language model, chooses no part itself and needs no list
            of the space, so that it proposes by `sample`, `mutate` or `neighbours`.
        population: Its parameter of that name, where it has one.
        tournament: Likewise.
        adaptation: Whether principles adapt (if not: "WO Adaptation").
        retries: How often a translation with lines that cannot be read is asked for again.
        temperature: Of the model's sampling.
        max_tokens: Tokens of an answer in words at most.
        leak: Whether principles are learned from the *target* task's architectures, whatever the source.
        strict: Whether they are updated only by an iteration that is better than the best before, and not as good.
        forget: Whether the model, asked about other options, is not shown its principles, which its answer replaces.
        project: Whether architectures from before are brought into the new part of the space.
    """
    principles = Described(problem, options, retries, temperature, max_tokens, forget)
    known = learned_from(problem, source, samples, archive, leak)
    return principle_transfer(
        problem, rng, principles, known, inner=inner, population=population, tournament=tournament, first=first,
        every=every, selected=selected, adaptation=adaptation, strict=strict, project=project,
    )  # fmt: skip
