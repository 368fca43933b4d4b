"""The cycles of runs that tuned: what their generators' exact distributions say, cycle by cycle.

p_t is the distribution that the candidates of cycle t were drawn from, over the whole space; nothing about it is
estimated. q is the validation score of the benchmark, as a share, or, where scores are not in [0, 1], from the lowest
of the space to its highest; an architecture without a score has q = 0 and is no elite. E = {a : q(a) >= τ}, τ being the
run's own.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import recorded
from bench import journal
from bench.methods.cross_entropy import elite_threshold, hold_out
from surrogates.benchmark import Benchmark
from surrogates.benchmarks import benchmarks
from theory.worlds import entropy, expectation, jensen_shannon

Floats = NDArray[np.float64]

LABELS = ("label", "benchmark", "task", "method", "model", "seed")

SWEEPS, FITTED = 1000, 1e-6
"""Sweeps at most, and the error of a marginal at which categoricals count as fitted."""


class Cycles(NamedTuple):
    """What was measured.

    Attributes:
        table: One row a run and cycle: `run`, the columns of `LABELS`, `cycle` from 0, and, numbers being NaN where
            there is none:
            `threshold` (τ); `quality` (E_t[q]); `mass` (C_t); `entropy` of p_t in nats; `distance`: mean share of the
            decisions in which the canonical graphs of two independent draws differ; `model_mass` and `model_entropy`:
            the same of p_θ, before temperature, top-k and top-p; `distinct`: share of the candidates that differ.
            Of the step that follows, with the elites of this cycle: `gain` (Δ, -inf where p_{t+1} lacks elites);
            `quality_gain` (Δ_q, that of p_t · q);
            `mass_after` p_{t+1}(E), which is C_{t+1} if τ is fixed; `tightness`, that divided by C_t e^Δ;
            `target_distance`: Jensen-Shannon divergence of p_{t+1} from p_t(.|E) in nats; `before` and `after`:
            KL(p̂ || p_θ) in nats of the cycle's elites that were not held out; `least`: the least that independent
            categoricals, over the architectures of the space, reach (runs without a model only); `corpus`: texts tuned
            on; `foreign`: those of them that are no elites of this cycle; `lacking`: elites of this cycle, but for
            those held out, that are not among them, repetitions counted; `weighted`: whether the texts had different
            weights; `steps` of the optimiser (NaN for categoricals, which have none), and the `schedule`: the share
            they are of what the epochs ask for; `tune_failure`, why p_{t+1} is p_t.
            What it cost: `tune_seconds`, `score_seconds` (computing p_t; near 0 where it was known from before),
            `tokens`.
        held_out: One row a held-out elite of a step that was not undone: `run`, the columns of `LABELS`, `cycle`,
            `log_ratio` log p_{t+1} - log p_t.
    """

    table: pd.DataFrame
    held_out: pd.DataFrame


def measure(path: Path, runs: pd.DataFrame) -> Cycles:
    """Measures the cycles of all runs that tune or could have, also while the study runs.

    Of a method without the parameters of `cross_entropy` it is not known which candidates are elites.

    Args:
        path: The journal.
        runs: Runs with their `label`, as in `analysis.sections.Study.every`.

    Raises:
        InputError: There is no journal, or it is damaged.
    """
    rows: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    with journal.read(path) as db:
        db.execute("BEGIN")
        for number, run in recorded(db, runs, "draws"):
            told = {name: run[name] for name in ("run", *LABELS)}
            problem = _problem(str(run["benchmark"]), str(run["task"]))
            steps = _steps(db, number, problem, json.loads(str(run["method_parameters"])))
            for cycle, (row, ratios) in enumerate(_measured(steps, problem, bool(pd.isna(run["model"])))):
                rows.append({**told, "cycle": cycle, **row})
                held += [{**told, "cycle": cycle, "log_ratio": ratio} for ratio in ratios]
    columns = ["run", *LABELS, "cycle", *(name for name in (rows[0] if rows else ()) if name not in LABELS)]
    return Cycles(
        pd.DataFrame(rows, columns=pd.Index(dict.fromkeys(columns))),
        pd.DataFrame(held, columns=pd.Index(["run", *LABELS, "cycle", "log_ratio"])),
    )


@dataclass(frozen=True)
class _Problem:
    """A space, and the quality of each of its architectures."""

    benchmark: Benchmark
    task: str

    @cached_property
    def quality(self) -> Floats:
        """What is compared with τ; -inf where there is no score."""
        scores = self.benchmark.scores(self.task, "validation") * self.benchmark.task(self.task).scale
        return np.where(np.isnan(scores), -np.inf, scores)

    @cached_property
    def shares(self) -> Floats:
        """The quality q, in [0, 1]."""
        known = np.isfinite(self.quality)
        low, high = self.quality[known].min(), self.quality[known].max()
        scaled = self.quality if low >= 0 and high <= 1 else (self.quality - low) / (high - low)
        return np.where(known, scaled, 0.0)

    @cached_property
    def canonical(self) -> NDArray[np.int64]:
        """The canonical form of each architecture, shape (size, decisions)."""
        space = self.benchmark.space
        return np.array([space.canonical(tuple(arch)) for arch in space.enumerate().tolist()])

    @cached_property
    def rows(self) -> dict[str, int]:
        """The place of each text."""
        return {text: row for row, text in enumerate(self.benchmark.space.texts)}

    def distance(self, p: Floats) -> float:
        """Returns the mean share of decisions in which the canonical graphs of two draws differ."""
        shares = [np.bincount(decision, p) for decision in self.canonical.T]
        return float(np.mean([1 - (share**2).sum() for share in shares]))


@cache
def _problem(benchmark: str, task: str) -> _Problem:
    return _Problem(benchmarks.get(benchmark), task)


@dataclass
class _Step:
    """What the journal holds of one cycle."""

    log_p: Floats
    sampled: Floats
    score_seconds: float
    tokens: int
    threshold: float | None = None
    candidates: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    held_out: list[int] = field(default_factory=list)
    tune: "_Tune | None" = None


class _Tune(NamedTuple):
    """What the journal holds of a tuning step."""

    texts: list[str]
    weighted: bool
    steps: int
    schedule: float
    seconds: float
    failure: str | None


def _steps(db: sqlite3.Connection, run: int, problem: _Problem, parameters: dict[str, Any]) -> Iterator[_Step]:
    """Yields the cycles of a run in order, each complete as far as the journal is."""
    draws = db.execute(
        "SELECT step, seconds, log_p, sampled FROM draws JOIN distributions ON hash = distribution "
        "WHERE run = ? AND prompt = (SELECT prompt FROM draws WHERE run = ? ORDER BY step LIMIT 1) ORDER BY step",
        (run, run),
    ).fetchall()
    tunes = {}
    for step, *lists, seconds, failure in db.execute(
        "SELECT step, texts, weights, losses, tuning, seconds, failure FROM tunes WHERE run = ?", (run,)
    ):
        texts, weights, losses, tuning = map(json.loads, lists)
        whole = tuning["epochs"] * -(-len(texts) // (tuning["batch"] or max(len(texts), 1)))
        schedule = len(losses) / whole if whole else np.nan
        tunes[step] = _Tune(texts, len(set(weights or ())) > 1, len(losses), schedule, seconds, failure)
    made: dict[int, list[tuple[str | None, str | None]]] = {}
    for step, arch, failure in db.execute(
        "SELECT step, arch, failure FROM evaluations WHERE run = ? ORDER BY step, position", (run,)
    ):
        made.setdefault(step, []).append((arch, failure))
    tokens = dict(
        db.execute("SELECT step, SUM(prompt_tokens + completion_tokens) FROM completions WHERE run = ? GROUP BY step",
                   (run,)).fetchall()
    )  # fmt: skip
    ends = [*(step for step, *_ in draws[1:]), np.inf]
    tau = parameters.get("threshold") if parameters.get("elite") == "fixed" else None
    for (start, seconds, log_p, sampled), end in zip(draws, ends, strict=True):
        within = [step for step in made if start <= step < end]
        first = np.frombuffer(log_p, dtype=np.float32).astype(float)
        second = first if sampled is None else np.frombuffer(sampled, dtype=np.float32).astype(float)
        found = _Step(first, second, seconds, sum(n for step, n in tokens.items() if start <= step < end))
        rows = [(problem.rows.get(a) if a else None, f) for step in within for a, f in made[step]]
        found.candidates = [row for row, failure in rows if row is not None and failure is None]
        scores = [float(problem.quality[row]) for row in found.candidates]
        if "elite" in parameters:
            tau = elite_threshold(parameters["elite"], tau, parameters["share"], scores)
        found.threshold = tau
        if tau is not None:
            elites = [row for row, q in zip(found.candidates, scores, strict=True) if q >= tau]
            found.kept, found.held_out = hold_out(elites, parameters["held_out"])
        found.tune = next((tune for step, tune in tunes.items() if start <= step < end), None)
        yield found


def _measured(
    steps: Iterator[_Step], problem: _Problem, categoricals: bool
) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """Yields each cycle's row, and the log-ratios of its held-out elites."""
    now = next(steps, None)
    while now is not None:
        following = next(steps, None)
        row = _alone(now, problem)
        ratios: list[float] = []
        step: dict[str, Any] = dict.fromkeys(
            ("gain", "quality_gain", "tightness", "target_distance", "before", "after", "least"), np.nan
        )
        if following is not None and now.threshold is not None:
            step |= _between(now, following, problem, row["mass"], categoricals)
            if now.tune and not now.tune.failure:
                ratios = (following.sampled[now.held_out] - now.sampled[now.held_out]).tolist()
        tune = now.tune or _Tune([], False, 0, np.nan, 0.0, None)
        corpus, elites = Counter(problem.rows[text] for text in tune.texts), Counter(now.kept)
        spent: dict[str, Any] = {
            "corpus": corpus.total(),
            "foreign": (corpus - elites).total(),
            "lacking": (elites - corpus).total(),
        }
        spent |= {"weighted": tune.weighted, "tune_failure": tune.failure}
        spent |= (
            {"steps": np.nan, "schedule": np.nan} if categoricals else {"steps": tune.steps, "schedule": tune.schedule}
        )
        costs = {"tune_seconds": tune.seconds, "score_seconds": now.score_seconds, "tokens": now.tokens}
        yield {**row, **step, **spent, **costs}, ratios
        now = following


def _alone(now: _Step, problem: _Problem) -> dict[str, Any]:
    """Returns what one generator says."""
    p, model = _normalised(now.sampled), _normalised(now.log_p)
    elite = _elite(now, problem)
    known = now.threshold is not None
    return {
        "threshold": now.threshold if known else np.nan,
        "quality": float(expectation(p, problem.shares)),
        "mass": float(p[elite].sum()) if known else np.nan,
        "entropy": float(entropy(p)),
        "distance": problem.distance(p),
        "model_mass": float(model[elite].sum()) if known else np.nan,
        "model_entropy": float(entropy(model)),
        "distinct": len(set(now.candidates)) / len(now.candidates) if now.candidates else np.nan,
    }


def _between(now: _Step, following: _Step, problem: _Problem, mass: float, categoricals: bool) -> dict[str, Any]:
    """Returns what two successive generators say."""
    elite = _elite(now, problem)
    p, after = _normalised(now.sampled), _normalised(following.sampled)
    found: dict[str, Any] = {}
    found["quality_gain"] = _gain(p, after, p * problem.shares)
    if mass > 0:
        target = np.where(elite, p, 0.0) / mass
        reached, gain = float(after[elite].sum()), _gain(p, after, target)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            tightness = float(np.divide(reached, mass * np.exp(gain)))
        found |= {"gain": gain, "mass_after": reached, "tightness": tightness}
        found |= {"target_distance": float(jensen_shannon(target, after))}
    if now.kept:
        own = entropy(np.array(list(Counter(now.kept).values())) / len(now.kept))
        logs = {"before": now.log_p, "after": following.log_p}
        if categoricals:
            logs["least"] = _product(now.kept, problem)
        # Rounding may carry a divergence of 0 below it.
        found |= {name: max(float(-own - log_p[now.kept].mean()), 0.0) for name, log_p in logs.items()}
    return found


def _gain(before: Floats, after: Floats, weights: Floats) -> float:
    """Returns the mean of log p_{t+1} - log p_t under weights that p_t is part of; NaN where they are all 0."""
    drawn = weights > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(weights[drawn] @ (np.log(after[drawn]) - np.log(before[drawn])) / weights.sum())


def _elite(step: _Step, problem: _Problem) -> NDArray[np.bool_]:
    return problem.quality >= (np.inf if step.threshold is None else step.threshold)


def _normalised(logs: Floats) -> Floats:
    p = np.exp(logs)
    return p / p.sum()


def _product(corpus: list[int], problem: _Problem) -> Floats:
    """Returns log p of each architecture under the categoricals that make the corpus likeliest.

    Where not every combination of values is an architecture, that is not the product of its frequencies, but what has
    them as its marginals: iterative proportional fitting (Deming and Stephan 1940), until these are met.
    """
    archs = problem.benchmark.space.enumerate()
    frequencies = [np.bincount(decision[corpus], minlength=decision.max() + 1) / len(corpus) for decision in archs.T]
    rows = np.flatnonzero(np.all([f[decision] > 0 for f, decision in zip(frequencies, archs.T, strict=True)], axis=0))
    inside = archs[rows].T
    p = np.full(len(rows), 1 / len(rows))
    for _ in range(SWEEPS):
        off = 0.0
        for wanted, decision in zip(frequencies, inside, strict=True):
            found = np.bincount(decision, p, minlength=len(wanted))
            off = max(off, float(np.abs(found - wanted).max()))
            p *= np.divide(wanted, found, out=np.zeros_like(wanted), where=found > 0)[decision]
        if off < FITTED:
            break
    total = np.full(len(archs), -np.inf)
    with np.errstate(divide="ignore"):
        total[rows] = np.log(p / p.sum())
    return total
