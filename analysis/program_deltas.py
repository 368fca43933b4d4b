"""Claim 4 on real programs: errors injected into whole programs and into deltas that git applies."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.programs import Program, compiles, corrupt, sources
from surrogates.errors import InputError
from theory import delta_validity
from theory.delta_validity import losing_error, valid_rate
from theory.demonstration import Demonstration, Row, resampled, share
from theory.generated_programs import Process, simulate_errors
from theory.proportion import proportion_interval

RESAMPLES = 20_000
"""Resamples of a bootstrap whose 99.9% interval counts."""

CONTEXT = 3
"""Unchanged lines on each side of a change in a unified diff."""


@dataclass(frozen=True)
class Delta:
    """A unified diff that adds lines to a parent, and the program that results when nothing is wrong.

    Attributes:
        program: The whole program.
        start: First added line, from 0.
        stop: Line after the last added one.
    """

    program: Program
    start: int
    stop: int

    @classmethod
    def draw(cls, program: Program, rng: np.random.Generator, tokens: int) -> "Delta | None":
        """Draws a block of whole lines with about so many tokens; None when the program has no such block inside.

        Args:
            program: The whole program.
            rng: Source of all randomness.
            tokens: Tokens that the block has at least; a last line may add more.
        """
        per_line = np.bincount(cls._lines(program), minlength=program.text.count("\n"))
        upto = np.concatenate([[0], np.cumsum(per_line)])
        last = len(per_line) - CONTEXT
        starts = [s for s in range(CONTEXT, last) if upto[last] - upto[s] >= tokens and per_line[s]]
        if not starts:
            return None
        start = starts[int(rng.integers(len(starts)))]
        return cls(program, start, int(np.searchsorted(upto, upto[start] + tokens)))

    @staticmethod
    def _lines(program: Program) -> NDArray[np.int64]:
        ends = np.cumsum([len(line) for line in program.text.splitlines(keepends=True)])
        return np.searchsorted(ends, program.spans[:, 0], side="right")

    def parts(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Returns which tokens of the program are context of the delta, and which are added; shape (n,) each."""
        line = self._lines(self.program)
        added = (line >= self.start) & (line < self.stop)
        return (line >= self.start - CONTEXT) & (line < self.stop + CONTEXT) & ~added, added

    def parent(self) -> str:
        """Returns the program without the lines that the delta adds."""
        lines = self.program.text.splitlines(keepends=True)
        return "".join(lines[: self.start] + lines[self.stop :])

    def diff(self, name: str, before: str, added: str, after: str) -> str:
        """Returns the delta as a unified diff for a file of that name, from the text of its three parts."""
        # git counts the lines itself (--recount); the line "diff" tells it where the next file begins.
        place = f"{self.start - CONTEXT + 1},{2 * CONTEXT}"
        head = f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -{place} +{place} @@\n"
        lines = [
            mark + line for mark, part in ((" ", before), ("+", added), (" ", after)) for line in part.split("\n")[:-1]
        ]
        return head + "\n".join(lines) + "\n"


def apply_deltas(parents: Sequence[str], diffs: Sequence[str]) -> list[str | None]:
    """Applies one diff to each parent with `git apply --recount`, in one call in a folder of its own.

    Args:
        parents: Texts of the parents.
        diffs: A unified diff for each, beginning with "diff --git"; parent i is the file "i.py".

    Returns:
        The patched texts; None where the context did not match, so that nothing changed.

    Raises:
        InputError: git is missing, or does not read the diffs.
    """
    settings = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    settings |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{i}.py") for i in range(len(parents))]
        for file, parent in zip(files, parents, strict=True):
            file.write_bytes(parent.encode())

        def git(*arguments: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
            command = ["git", *arguments]
            try:
                return subprocess.run(
                    command, cwd=folder, env=settings, input=text.encode(), capture_output=True, check=False
                )
            except OSError as error:
                raise InputError(f"git cannot be run ({error.strerror}); install it") from error

        # A repository of its own: inside another one, git would leave out files that are not its own.
        git("init", "--quiet")
        done = git("apply", "--recount", "--reject", "--whitespace=nowarn", "-", text="".join(diffs))
        said = done.stderr.decode(errors="replace")
        if done.returncode not in (0, 1):
            raise InputError(f"git apply failed: {said.strip()[-300:]}")
        patched = [file.read_bytes().decode() for file in files]
        return [None if text == parent else text for text, parent in zip(patched, parents, strict=True)]


def corrupted_deltas(
    deltas: Sequence[Delta], wrong: Sequence[NDArray[np.bool_]], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Corrupts the text of deltas, context included, applies them and compiles the results.

    Args:
        deltas: The deltas.
        wrong: For each, which tokens of its program are wrong, shape (n,); those outside the delta are not touched.
        rng: Draws what becomes of wrong tokens.

    Returns:
        Whether the context matched, and whether the patched program compiles, shape (m,) each.
    """
    diffs = []
    for i, (delta, errors) in enumerate(zip(deltas, wrong, strict=True)):
        lines = delta.program.text.splitlines(keepends=True)
        bounds = np.cumsum([0, *(len(line) for line in lines)])
        cuts = [delta.start - CONTEXT, delta.start, delta.stop, delta.stop + CONTEXT]
        parts = []
        for a, b in pairwise(cuts):
            low, high = int(bounds[a]), int(bounds[b])
            inside = (delta.program.spans[:, 0] >= low) & (delta.program.spans[:, 0] < high)
            piece = Program(delta.program.text[low:high], delta.program.spans[inside] - low)
            parts.append(corrupt(piece, errors[inside], rng))
        diffs.append(delta.diff(f"{i}.py", *parts))
    patched = apply_deltas([delta.parent() for delta in deltas], diffs)
    matched = np.array([text is not None for text in patched])
    return matched, np.array([text is not None and compiles(text) for text in patched])


def broken_by_one_error(programs: Sequence[Program], rng: np.random.Generator) -> list[bool]:
    """Returns for each program whether it no longer compiles once one token at a random place is wrong."""
    broken = []
    for program in programs:
        wrong = np.zeros(len(program.spans), dtype=bool)
        wrong[int(rng.integers(len(wrong)))] = True
        broken.append(not compiles(corrupt(program, wrong, rng)))
    return broken


def _markov(error: float, clustering: float) -> Process:
    """Returns the stationary process with this error probability whose errors follow an error with P = clustering."""
    return Process(1 - error, 1 - error * (1 - clustering) / (1 - error), clustering)


def demonstrate(rng: np.random.Generator, programs: int = 100) -> Demonstration:
    """Injects errors into real programs and into deltas of them, and compares valid rates with predictions.

    Args:
        rng: Source of all randomness.
        programs: Programs in each cell of the grid of lengths and error rates; twice as many measure the breaking
            share.

    Raises:
        InputError: There are no model files, or no git.
    """
    rows: list[Row] = []
    pool = sources(rng, 20 * programs)
    held_out, rest = pool[: 2 * programs], pool[2 * programs :]
    broken = broken_by_one_error(held_out, rng)
    breaking, interval = float(np.mean(broken)), proportion_interval(sum(broken), len(broken))
    rows.append(share("share of single token errors that break a real program; claim: all", broken, 1.0))
    clustering = 0.2
    for (low, high), error in product(((50, 150), (150, 400), (400, 1200)), (0.001, 0.003, 0.01)):
        process = _markov(error, clustering)
        cell = [p for p in rest if low <= len(p.spans) < high][:programs]
        if not cell:
            continue
        lengths = np.array([len(p.spans) for p in cell])
        wrong = [simulate_errors(process, 1, int(n), rng)[0] for n in lengths]
        valid = [compiles(corrupt(p, w, rng)) for p, w in zip(cell, wrong, strict=True)]
        text = f"V, full programs of {low} to {high} tokens, p = {error}, P(error | error) = {clustering}"
        for name, b in (
            ("published: each error breaks", 1.0),
            (f"each breaks with probability {breaking:.2f}", breaking),
        ):
            predicted = float(np.mean(_rates(lengths, process, b)))
            # The breaking share is itself an estimate.
            ends = [float(np.mean(_rates(lengths, process, end))) for end in (interval if b < 1 else (1.0,))]
            rows.append(share(f"{text}; {name}", valid, predicted, (max(ends) - min(ends)) / 2))

    length, error = 40, 0.003
    parents = [p for p in rest if 200 <= len(p.spans) < 600]
    deltas = [d for p in parents if (d := Delta.draw(p, rng, length)) is not None][: 2 * programs]
    full = [d.program for d in deltas]
    n_full = np.array([len(p.spans) for p in full])
    process = _markov(error, clustering)
    wrong = [simulate_errors(process, 1, int(n), rng)[0] for n in n_full]
    full_valid = [compiles(corrupt(p, w, rng)) for p, w in zip(full, wrong, strict=True)]
    v_full = float(np.mean(_rates(n_full, process, breaking)))
    ends = [float(np.mean(_rates(n_full, process, end))) for end in interval]
    text = f"V of {len(full)} full programs, p = {error}; each breaks with probability {breaking:.2f}"
    rows.append(share(text, full_valid, v_full, (max(ends) - min(ends)) / 2))

    parts = [d.parts() for d in deltas]
    n_context, n_added = (np.array([int(part[i].sum()) for part in parts]) for i in (0, 1))
    errors = (0.001, 0.003, 0.01, 0.02, 0.04, 0.08)
    curves: dict[str, dict[str, list[float]]] = {
        name: {"x": list(errors), "y": []} for name in ("predicted", "published model", "full programs")
    }
    valids = []
    measured: dict[str, list[float]] = {"x": list(errors), "y": [], "low": [], "high": []}
    for delta_error in errors:
        own = _markov(delta_error, clustering)
        injected = [_within(d, own, rng) for d in deltas]
        matched, valid = corrupted_deltas(deltas, injected, rng)
        valids.append(valid)
        context = float(np.mean(_rates(n_context, own, 1.0)))
        predicted = float(np.mean(_rates(n_context, own, 1.0) * _rates(n_added, own, breaking)))
        published = float(np.mean(_rates(n_added, own, 1.0)))
        text = f"{len(deltas)} deltas of about {length} tokens, p = {delta_error}"
        rows.append(share(f"P(context matches), {text}", matched, context))
        ends = [float(np.mean(_rates(n_context, own, 1.0) * _rates(n_added, own, end))) for end in interval]
        tolerance = (max(ends) - min(ends)) / 2
        line = share(f"V, {text}; context and breaking share", valid, predicted, tolerance)
        rows += [line, share(f"V, {text}; published", valid, published)]
        assert line["interval"] is not None
        for key, value in zip(("y", "low", "high"), (valid.mean(), *line["interval"]), strict=True):
            measured[key].append(float(value))
        curves["predicted"]["y"].append(predicted)
        curves["published model"]["y"].append(published)
        curves["full programs"]["y"].append(float(np.mean(full_valid)))
    gains = np.array(valids, dtype=float) - np.array(full_valid, dtype=float)
    drawn = rng.multinomial(len(deltas), np.full(len(deltas), 1 / len(deltas)), RESAMPLES) / len(deltas)
    crossings = [_crossing(np.array(errors), gain) for gain in (gains.mean(axis=1), *(drawn @ gains.T))]
    boundary = losing_error(error, float(n_full.mean()), float(n_added.mean()))
    text = f"p above which deltas lose (full programs: {error}; ∞: above {errors[-1]}); published model"
    rows.append(resampled(text, boundary, crossings[0], np.array(crossings[1:]), len(deltas)))
    caption = (
        "Share of real deltas, applied by git, whose result compiles, against their error probability per token, with "
        f"95% intervals; full programs with p = {error} beside it. Predicted: context tokens must all be right, and a "
        f"wrong one among the added breaks the program with probability {breaking:.2f}; published: neither is known."
    )
    series = curves | {"measured": measured}
    return Demonstration(delta_validity.CLAIM.name, rows, series, "error probability per token", "valid rate", caption)


def _rates(lengths: NDArray[np.int64], process: Process, breaking: float) -> NDArray[np.float64]:
    return valid_rate(lengths, process.right_after_right, process.first_right, process.wrong_after_wrong, breaking)


def _within(delta: Delta, process: Process, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draws errors for the context's tokens and, as a run of their own, for the added ones."""
    wrong = np.zeros(len(delta.program.spans), dtype=bool)
    for part in delta.parts():
        if part.any():
            wrong[part] = simulate_errors(process, 1, int(part.sum()), rng)[0]
    return wrong


def _crossing(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Returns where y first falls below 0, by linear interpolation; infinity if it never does."""
    below = np.flatnonzero(y < 0)
    if not len(below):
        return np.inf
    i = int(below[0])
    return float(x[0]) if i == 0 else float(x[i - 1] + (x[i] - x[i - 1]) * y[i - 1] / (y[i - 1] - y[i]))
