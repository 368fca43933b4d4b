"""LLM-NAS as a cross-entropy method."""

from collections.abc import Generator, Sequence
from typing import Annotated, Literal, Protocol, TypeVar

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bench.effects import (
    Answer,
    Effect,
    Evaluation,
    Likelihood,
    Precision,
    Prompt,
    Sampling,
    Search,
    Tune,
    Tuning,
    ask,
    evaluate,
    tune,
)
from bench.method import Problem, method
from bench.novelty_filter import CanonicalFilter, JaccardFilter, NoveltyFilter

Corpus = Literal["current_elites", "accumulated", "accumulated+prior", "static_prior", "random", "none"]
Elite = Literal["fixed", "first_share", "share"]
Novelty = Literal["off", "minhash", "jaccard", "canonical"]
Share = Annotated[float, Field(gt=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]
T = TypeVar("T")


class Filter(Protocol):
    """Tells which programs are new."""

    def admit(self, programs: Sequence[str]) -> list[bool]:
        """Returns which of the programs are admitted, in their order."""
        ...


@method("cross_entropy", prompts=("cross_entropy",), control="eda", tunes=True)
def cross_entropy(
    problem: Problem, rng: np.random.Generator, *,
    candidates: PositiveInt = 50, corpus: Corpus = "accumulated+prior", prior: PositiveInt = 50,
    elite: Elite = "fixed", threshold: float = 0.4, share: Share = 0.25,
    weights: Literal["uniform", "quality"] = "uniform", smoothing: Part = 0.0, novelty: Novelty = "minhash",
    similarity: Share = 0.9, permutations: PositiveInt = 256, shingle: PositiveInt = 10, retries: NonNegativeInt = 0,
    warm_start: bool = True, held_out: Part = 0.0, temperature: NonNegativeFloat = 0.35, top_k: NonNegativeInt = 50,
    top_p: Share = 0.9, max_tokens: PositiveInt = 1024, rank: PositiveInt = 32, alpha: PositiveFloat = 32.0,
    dropout: Part = 0.05, modules: Name = "all-linear", learning_rate: PositiveFloat = 1e-5, epochs: PositiveInt = 3,
    batch: NonNegativeInt = 8, steps: NonNegativeInt = 0, likelihood: Likelihood = "free",
    precision: Precision = "float32",
) -> Search:  # fmt: skip
    """A language model proposes, and is tuned on the best of what it proposed (arXiv:2605.30103, 2605.04903).

    Args:
        problem: Space and task.
        rng: Draws the prior and the random corpora.
        candidates: Architectures proposed in a cycle.
        corpus: What is tuned on: "current_elites" of the cycle alone, as the theory has it; "accumulated" over cycles;
            "accumulated+prior"; "static_prior", the same in each cycle; or, as controls, "random" architectures, as
            many as there are elites, and "none", so that the model is never tuned.
        prior: Architectures of the prior, drawn uniformly.
        elite: Which are elites: "fixed", quality >= `threshold`; "first_share", quality >= what the best `share` of
            the first cycle reached; "share", the best `share` of each cycle.
        threshold: τ, in the task's unit, percent being taken as shares.
        share: Share of the scored candidates, in (0, 1].
        weights: Of the texts: "uniform", or their "quality", which is the score (1 for those of the prior).
        smoothing: Share of the old parameters that is kept, in [0, 1).
        novelty: Filter that elites pass: "off", "minhash", exact "jaccard" similarity, or "canonical" graphs.
        similarity: From which on "minhash" and "jaccard" reject.
        permutations: Of MinHash.
        shingle: Lexemes of a shingle.
        retries: How often a candidate that failed is asked for again, with the error fed back.
        warm_start: Whether tuning goes on from the last cycle, or starts from the untuned model each time.
        held_out: Share of the elites that is kept out of the corpus, in [0, 1): a step that makes these less likely is
            undone. Likelihood is that of the tuning, at a temperature of 1: of Δ of the progress certificate, which
            is about what is sampled, that says something only if candidates are drawn so, too.
        temperature: Of sampling, as top_k, top_p and max_tokens (`bench.effects.Sampling`).
        top_k: See there.
        top_p: See there.
        max_tokens: See there.
        rank: Of the adapters, as all that follows (`bench.effects.Tuning`).
        alpha: See there.
        dropout: See there.
        modules: See there.
        learning_rate: See there.
        epochs: See there.
        batch: See there.
        steps: See there.
        likelihood: See there.
        precision: Of tuning and of the exact distribution.
    """
    space, scale = problem.space, problem.task.scale
    prompt = Prompt(
        "cross_entropy",
        {"space": space.description, "benchmark": problem.benchmark, "task": problem.task.name,
         "metric": problem.task.metric, "text": "", "failure": ""},
    )  # fmt: skip
    sampling = Sampling(temperature, top_p, top_k, max_tokens, precision)
    tuning = Tuning(rank, alpha, dropout, modules, learning_rate, epochs, batch, steps, likelihood, precision)
    filters: dict[str, Filter | None] = {
        "off": None,
        "minhash": NoveltyFilter(similarity, permutations, shingle),
        "jaccard": JaccardFilter(similarity, shingle),
        "canonical": CanonicalFilter(space),
    }
    static = [(space.format(space.sample(rng)), 1.0) for _ in range(prior)]
    tau: float | None = threshold if elite == "fixed" else None
    accumulated: list[tuple[str, float]] = []
    while True:
        results = yield from propose(problem, prompt, candidates, sampling, retries)
        scored = [(space.format(r.arch), r.score * scale) for r in results if r.arch is not None and r.failure is None]
        tau = elite_threshold(elite, tau, share, [q for _, q in scored])
        elites = [(text, q) for text, q in scored if tau is not None and q >= tau]
        elites, fresh = hold_out(elites, held_out)
        chosen = filters[novelty]
        if chosen is not None:
            new = chosen.admit([text for text, _ in elites])
            elites = [e for e, admitted in zip(elites, new, strict=True) if admitted]
        accumulated += elites
        uniform = [(space.format(space.sample(rng)), 1.0) for _ in elites] if corpus == "random" else []
        corpora = {
            "current_elites": elites, "accumulated": accumulated, "accumulated+prior": [*accumulated, *static],
            "static_prior": static, "random": uniform,
        }  # fmt: skip
        if corpus != "none":
            texts, unseen = ([text for text, _ in part] for part in (corpora[corpus], fresh))
            quality = [q for _, q in corpora[corpus]] if weights == "quality" else None
            yield from tune(Tune(texts, prompt, quality, unseen, smoothing, not warm_start, tuning))


def elite_threshold(elite: Elite, tau: float | None, share: float, scores: Sequence[float]) -> float | None:
    """Returns τ in a cycle.

    Args:
        elite: As in `cross_entropy`.
        tau: τ before: of the cycle before, or, if "fixed", as given; None: there was none yet.
        share: As in `cross_entropy`.
        scores: Scores of the cycle's candidates that have one.
    """
    if scores and (elite == "share" or (elite == "first_share" and tau is None)):
        return sorted(scores, reverse=True)[max(1, round(share * len(scores))) - 1]
    return tau


def hold_out(elites: list[T], share: float) -> tuple[list[T], list[T]]:
    """Returns the elites that are tuned on, and the last ones, a share rounded down, that are held out."""
    kept = len(elites) - int(share * len(elites))
    return elites[:kept], elites[kept:]


def propose(
    problem: Problem, prompt: Prompt, candidates: int, sampling: Sampling, retries: int
) -> Generator[Effect, Answer, list[Evaluation]]:
    """Asks for candidates and evaluates them; those that fail are asked for again, with the error fed back."""
    prompts = [prompt] * candidates
    kept: list[Evaluation] = []
    for attempt in range(retries + 1):
        answers = yield from ask(prompts, problem.space.grammar, sampling)
        results = yield from evaluate(answer.text for answer in answers)
        last = attempt == retries
        kept += [r for r in results if last or r.failure is None]
        failed = [(a.text, r.failure) for a, r in zip(answers, results, strict=False) if r.failure is not None]
        if not failed:
            break
        prompts = [Prompt(prompt.template, {**prompt.values, "text": t, "failure": f}) for t, f in failed]
    return kept
