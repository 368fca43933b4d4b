"""Claims 4 and 5 on real programs: the model files of torchvision and transformers, wherever they are installed.

Programs are top-level classes and functions. Nothing of their text is executed: "valid" means that it parses and
compiles, which is weaker than that it builds a network that runs. Errors are injected by a Markov process, so λ is
known; each wrong token is left out, doubled, or replaced by another token of the same program. Not every wrong token
breaks a program (a name replaced by a name still compiles); the share that does is measured on programs that are not
used otherwise.
"""

import ast
import builtins
import importlib.util
import io
import keyword
import os
import re
import subprocess
import tempfile
import tokenize
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashDeduplicator  # pyright: ignore[reportAttributeAccessIssue]
from scipy import stats

from bench.llm.environment import home
from surrogates.errors import InputError
from theory import delta_validity, novelty_filter
from theory.delta_validity import losing_error, valid_rate
from theory.demonstration import Demonstration, Row, row, share
from theory.generated_programs import Process, simulate_errors
from theory.minhash import admission_probability, edits_to_evade, jaccard, jaccard_after_edits, shingles
from theory.proportion import proportion_interval

MODEL_FILES = {"torchvision": "models/**/*.py", "transformers": "models/**/modeling_*.py"}

CONTEXT = 3
"""Unchanged lines on each side of a change in a unified diff."""

TOKENS = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
"""Kinds of tokens that can be wrong; layout and comments cannot."""

BANDS = 16
"""Bands of the filter's LSH index. With 256 permutations it misses 4% of pairs with J = .9 and .8% with J = .92, far
fewer than the estimate errs on (50% and 12.5%); twice as many bands cost four times as much among similar programs."""


@dataclass(frozen=True)
class Program:
    """A program's text and the places of its tokens.

    Attributes:
        text: The text; it ends with a line feed.
        spans: Start and end of each token in the text, shape (n, 2).
    """

    text: str
    spans: NDArray[np.int64]

    @classmethod
    def read(cls, text: str) -> "Program":
        """Finds the tokens of a program that tokenizes.

        Raises:
            InputError: It does not.
        """
        text = text.rstrip("\n") + "\n"
        starts = np.concatenate([[0], np.cumsum([len(line) for line in text.splitlines(keepends=True)])])
        try:
            found = [
                (starts[t.start[0] - 1] + t.start[1], starts[t.end[0] - 1] + t.end[1])
                for t in tokenize.generate_tokens(io.StringIO(text).readline)
                if t.type in TOKENS
            ]
        except (tokenize.TokenError, SyntaxError) as error:
            raise InputError(f"the program that begins {text[:40]!r} is not Python: {error}") from error
        return cls(text, np.array(found, dtype=np.int64).reshape(-1, 2))

    def tokens(self) -> list[str]:
        """Returns the tokens as text."""
        return [self.text[a:b] for a, b in self.spans.tolist()]


def source_files() -> list[Path]:
    """Returns the model files of torchvision and transformers, of this environment or else of vLLM's; sorted by name.

    Raises:
        InputError: Neither package is installed anywhere.
    """
    found: list[Path] = []
    for package, pattern in MODEL_FILES.items():
        spec = importlib.util.find_spec(package)
        folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
        folders = folders or sorted(home().glob(f"lib/python*/site-packages/{package}"))
        for folder in folders[:1]:
            found += sorted(folder.glob(pattern))
    if not found:
        raise InputError(
            "no model files to test on: neither torchvision nor transformers is installed in this environment, nor in "
            f"vLLM's ({home()}); run `nascent llm setup`, or `pip install torchvision`"
        )
    return found


def sources(rng: np.random.Generator, count: int, smallest: int = 50, largest: int = 2000) -> list[Program]:
    """Returns top-level classes and functions of the model files, drawn at random without repetition of a text.

    Args:
        rng: Source of all randomness.
        count: Number of programs at most.
        smallest: Tokens of a program at least.
        largest: Tokens of a program at most.

    Raises:
        InputError: There are no model files.
    """
    files = source_files()
    texts: dict[str, None] = {}
    for i in rng.permutation(len(files)).tolist():
        text = files[i].read_text(encoding="utf-8", errors="replace")
        try:
            body = ast.parse(text).body
        except (SyntaxError, ValueError):
            continue  # A file for another version of Python.
        lines = text.splitlines(keepends=True)
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                texts["".join(lines[first - 1 : node.end_lineno])] = None
        # More than needed, so that programs of one file are few among those drawn.
        if len(texts) >= 4 * count:
            break
    distinct, found = list(texts), []
    for i in rng.permutation(len(distinct)).tolist():
        program = Program.read(distinct[i])
        if smallest <= len(program.spans) <= largest:
            found.append(program)
        if len(found) == count:
            break
    return found


def compiles(text: str) -> bool:
    """Returns whether a text parses and compiles as Python; it is not executed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<program>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return False
    return True


def corrupt(program: Program, wrong: NDArray[np.bool_], rng: np.random.Generator) -> str:
    """Returns the program's text with some tokens wrong.

    Each is left out, doubled, or replaced by another token of the program, with equal probability.

    Args:
        program: The program.
        wrong: Which tokens are wrong, shape (n,).
        rng: Draws what becomes of them.
    """
    tokens = program.tokens()
    different = sorted(set(tokens))
    parts, end = [], 0
    for i in np.flatnonzero(wrong).tolist():
        start, stop = program.spans[i].tolist()
        match int(rng.integers(3)):
            case 0:
                put = ""
            case 1:
                put = f"{tokens[i]} {tokens[i]}"
            case _:
                others = [token for token in different if token != tokens[i]] or [""]
                put = others[int(rng.integers(len(others)))]
        parts += [program.text[end:start], put]
        end = stop
    return "".join([*parts, program.text[end:]])


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


def breaking_share(programs: Sequence[Program], rng: np.random.Generator) -> tuple[int, int]:
    """Counts programs that one wrong token at a random place breaks.

    Returns:
        The number of those that no longer compile, and the number of programs.
    """
    broken = 0
    for program in programs:
        wrong = np.zeros(len(program.spans), dtype=bool)
        wrong[int(rng.integers(len(wrong)))] = True
        broken += not compiles(corrupt(program, wrong, rng))
    return broken, len(programs)


def _markov(error: float, clustering: float) -> Process:
    """Returns the stationary process with this error probability whose errors follow an error with P = clustering."""
    return Process(1 - error, 1 - error * (1 - clustering) / (1 - error), clustering)


def demonstrate_delta_validity(rng: np.random.Generator, programs: int = 100) -> Demonstration:
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
    broken, tried = breaking_share(held_out, rng)
    breaking, interval = broken / tried, proportion_interval(broken, tried)
    rows.append(share("share of single token errors that break a real program; claim: all", 1.0, broken, tried))
    clustering = 0.2
    for (low, high), error in product(((50, 150), (150, 400), (400, 1200)), (0.001, 0.003, 0.01)):
        process = _markov(error, clustering)
        cell = [p for p in rest if low <= len(p.spans) < high][:programs]
        if not cell:
            continue
        lengths = np.array([len(p.spans) for p in cell])
        wrong = [simulate_errors(process, 1, int(n), rng)[0] for n in lengths]
        valid = sum(compiles(corrupt(p, w, rng)) for p, w in zip(cell, wrong, strict=True))
        text = f"V, full programs of {low} to {high} tokens, p = {error}, P(error | error) = {clustering}"
        for name, b in (
            ("published: each error breaks", 1.0),
            (f"each breaks with probability {breaking:.2f}", breaking),
        ):
            predicted = float(np.mean(_rates(lengths, process, b)))
            # The breaking share is itself an estimate.
            ends = [float(np.mean(_rates(lengths, process, end))) for end in (interval if b < 1 else (1.0,))]
            rows.append(share(f"{text}; {name}", predicted, valid, len(cell), (max(ends) - min(ends)) / 2))

    length, error = 40, 0.003
    parents = [p for p in rest if 200 <= len(p.spans) < 600]
    deltas = [d for p in parents if (d := Delta.draw(p, rng, length)) is not None][: 2 * programs]
    full = [d.program for d in deltas]
    n_full = np.array([len(p.spans) for p in full])
    process = _markov(error, clustering)
    wrong = [simulate_errors(process, 1, int(n), rng)[0] for n in n_full]
    full_valid = sum(compiles(corrupt(p, w, rng)) for p, w in zip(full, wrong, strict=True))
    v_full = float(np.mean(_rates(n_full, process, breaking)))
    ends = [float(np.mean(_rates(n_full, process, end))) for end in interval]
    text = f"V of {len(full)} full programs, p = {error}; each breaks with probability {breaking:.2f}"
    rows.append(share(text, v_full, full_valid, len(full), (max(ends) - min(ends)) / 2))

    parts = [d.parts() for d in deltas]
    n_context, n_added = (np.array([int(part[i].sum()) for part in parts]) for i in (0, 1))
    errors = (0.001, 0.003, 0.01, 0.02, 0.04, 0.08)
    curves: dict[str, dict[str, list[float]]] = {
        name: {"x": list(errors), "y": []} for name in ("predicted", "published model", "full programs")
    }
    measured: dict[str, list[float]] = {"x": list(errors), "y": [], "low": [], "high": []}
    for delta_error in errors:
        own = _markov(delta_error, clustering)
        injected = [_within(d, own, rng) for d in deltas]
        matched, valid = corrupted_deltas(deltas, injected, rng)
        context = float(np.mean(_rates(n_context, own, 1.0)))
        predicted = float(np.mean(_rates(n_context, own, 1.0) * _rates(n_added, own, breaking)))
        published = float(np.mean(_rates(n_added, own, 1.0)))
        text = f"{len(deltas)} deltas of about {length} tokens, p = {delta_error}"
        rows.append(share(f"P(context matches), {text}", context, int(matched.sum()), len(deltas)))
        ends = [float(np.mean(_rates(n_context, own, 1.0) * _rates(n_added, own, end))) for end in interval]
        tolerance = (max(ends) - min(ends)) / 2
        line = share(f"V, {text}; context and breaking share", predicted, int(valid.sum()), len(deltas), tolerance)
        rows += [line, share(f"V, {text}; published", published, int(valid.sum()), len(deltas))]
        assert line["interval"] is not None
        for key, value in zip(("y", "low", "high"), (valid.mean(), *line["interval"]), strict=True):
            measured[key].append(float(value))
        curves["predicted"]["y"].append(predicted)
        curves["published model"]["y"].append(published)
        curves["full programs"]["y"].append(full_valid / len(full))
    crossing = _crossing(np.array(errors), np.array(measured["y"]) - full_valid / len(full))
    boundary = losing_error(error, float(n_full.mean()), float(n_added.mean()))
    rows.append(
        row(f"p above which deltas lose (full programs: {error}); published model", boundary, crossing, "breaks")
    )
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


def _crossing(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Returns where y first falls below 0, by linear interpolation; None if it never does."""
    below = np.flatnonzero(y < 0)
    if not len(below):
        return None
    i = int(below[0])
    return float(x[0]) if i == 0 else float(x[i - 1] + (x[i] - x[i - 1]) * y[i - 1] / (y[i - 1] - y[i]))


WORDS = re.compile(r"\w+|[^\w\s]")


def lexemes(text: str) -> list[str]:
    """Returns the words and signs of any text, whether it is a program or not."""
    return WORDS.findall(text)


class NoveltyFilter:
    """Admits programs that are not similar to one admitted before, by MinHash and an LSH index (rensa).

    A pair is similar when its estimated Jaccard similarity reaches the threshold. rensa's sketches vary less than those
    of independent permutations, so `theory.minhash.admission_probability` bounds their errors from above. Memory grows
    with the number of programs admitted.

    Args:
        threshold: Similarity from which on a program is rejected.
        permutations: Entries of a sketch.
        size: Lexemes of a shingle.
    """

    def __init__(self, threshold: float = 0.9, permutations: int = 256, size: int = 10) -> None:
        self.threshold, self.permutations, self.size = threshold, permutations, size
        self._seen = 0
        self._index = RMinHashDeduplicator(threshold, permutations, use_lsh=True, num_bands=BANDS, seed=0)

    def admit(self, programs: Iterable[str]) -> list[bool]:
        """Returns which of the programs are admitted, in their order."""
        return self.admit_shingles([shingles(lexemes(program), self.size) for program in programs])

    def admit_shingles(self, programs: Sequence[Iterable[str]]) -> list[bool]:
        """Returns which of the programs, given by their shingles, are admitted."""
        sketches = RMinHash.from_token_sets([list(program) for program in programs], self.permutations, seed=0)
        first, self._seen = self._seen, self._seen + len(sketches)
        return list(self._index.add_pairs((str(first + i), sketch) for i, sketch in enumerate(sketches)))


def estimated_similarities(
    pairs: Sequence[tuple[Iterable[str], Iterable[str]]], permutations: int = 256
) -> NDArray[np.float64]:
    """Returns rensa's estimate of the Jaccard similarity of pairs of shingle sets."""
    sets = [list(side) for pair in pairs for side in pair]
    sketches = RMinHash.from_token_sets(sets, permutations, seed=0)
    return np.array([a.jaccard(b) for a, b in zip(sketches[::2], sketches[1::2], strict=True)])


BY_NAME = {"locals", "vars", "eval", "exec"}
"""Functions that may look up local variables by their names."""


def rename(program: Program, rng: np.random.Generator, renamed: float = 1.0) -> str:
    """Returns the program with local variables renamed; it computes the same.

    Renamed are the names that it uses as variables assigned in functions only: no parameters, imports, class members,
    global names, or names in f-strings; none at all where variables may be looked up by name.

    Args:
        program: A program that parses.
        rng: Draws which names.
        renamed: Share of these names.
    """
    tree = ast.parse(program.text)
    names = sorted(_local_names(tree))
    chosen = {names[i] for i in rng.permutation(len(names))[: round(renamed * len(names))].tolist()}
    taken = set(program.tokens())
    fresh = (f"v{i}" for i in range(10**9) if f"v{i}" not in taken)
    new = {name: next(fresh) for name in sorted(chosen)}
    lines = program.text.splitlines(keepends=True)
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in chosen]
    for node in sorted(nodes, key=lambda n: (n.lineno, n.col_offset), reverse=True):
        line = lines[node.lineno - 1].encode()
        end = node.col_offset + len(node.id.encode())
        lines[node.lineno - 1] = (line[: node.col_offset] + new[node.id].encode() + line[end:]).decode()
    return "".join(lines)


def _local_names(tree: ast.Module) -> set[str]:
    if any(isinstance(n, ast.Name) and n.id in BY_NAME for n in ast.walk(tree)):
        return set()
    assigned: set[str] = set()
    other: set[str] = {*keyword.kwlist, *dir(builtins)}

    def visit(node: ast.AST, in_function: bool) -> None:
        match node:
            case ast.Name(ctx=ast.Store()):
                (assigned if in_function else other).add(node.id)
            case ast.arg(arg=name):
                other.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                other.update(names)
            case ast.alias(name=name, asname=alias):
                other.add((alias or name).split(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                other.add(name)
            case ast.MatchMapping(rest=str(name)):
                other.add(name)
            case ast.JoinedStr():
                # Python 3.11 does not know the places of names in f-strings.
                other.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                other.add(name)
            case _:
                pass
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            in_function and not isinstance(node, ast.ClassDef)
        )
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(tree, False)
    return assigned - other


def scatter_edits(program: Program, edits: int, rng: np.random.Generator) -> str:
    """Returns the program with tokens at random places replaced by names that it does not have."""
    places = np.sort(rng.choice(len(program.spans), min(edits, len(program.spans)), replace=False))
    parts, end = [], 0
    for i, (start, stop) in enumerate(program.spans[places].tolist()):
        parts += [program.text[end:start], f" edit{i} "]  # Blanks, so that it is a token of its own.
        end = stop
    return "".join([*parts, program.text[end:]])


def filter_errors(programs: Sequence[frozenset[str]], threshold: float = 0.9) -> tuple[int, int, int]:
    """Counts the filter's errors against exact similarity; quadratic, so for samples.

    Returns:
        False admissions (a program admitted before has J >= threshold), false rejections (none has), and the number
        admitted.
    """
    kept: list[frozenset[str]] = []
    admitted_wrongly = rejected_wrongly = 0
    for program, admitted in zip(programs, NoveltyFilter(threshold).admit_shingles(programs), strict=True):
        # Sets whose sizes differ by more than the threshold cannot be that similar.
        similar = any(
            min(len(program), len(other)) >= threshold * max(len(program), len(other))
            and jaccard(program, other) >= threshold
            for other in kept
        )
        admitted_wrongly += admitted and similar
        rejected_wrongly += not admitted and not similar
        if admitted:
            kept.append(program)
    return admitted_wrongly, rejected_wrongly, len(kept)


def demonstrate_novelty(rng: np.random.Generator, programs: int = 200, filtered: int = 1000) -> Demonstration:
    """Measures on real programs what evades the filter, and the filter's errors.

    Args:
        rng: Source of all randomness.
        programs: Programs that are renamed and edited.
        filtered: Programs that the filter is applied to.

    Raises:
        InputError: There are no model files.
    """
    pool = sources(rng, filtered)
    size, long = 7, [p for p in pool if len(p.spans) >= 400][:programs]
    originals = [shingles(lexemes(p.text), size) for p in long]
    rows: list[Row] = []
    shares = (0.1, 0.25, 0.5, 1.0)
    series: dict[str, dict[str, list[float]]] = {}
    renamed = {
        f"{s:.0%} of local variables renamed": _changed(long, lambda p, s=s: rename(p, rng, s), size) for s in shares
    }
    edits = (1, 2, 4, 8, 12, 16, 24, 32)
    edited = {m: _changed(long, lambda p, m=m: scatter_edits(p, m, rng), size) for m in edits}
    for label, changed in renamed.items():
        admitted, similarity = _evasion(originals, changed)
        rows.append(_evading(f"admitted by the filter after {label}", admitted))
        rows.append(_mean(f"J after {label}", None, similarity))
    exact: dict[str, list[float]] = {"x": [float(m) for m in edits], "y": [], "low": [], "high": []}
    for m, changed in edited.items():
        admitted, similarity = _evasion(originals, changed)
        expected = float(np.mean([jaccard_after_edits(len(s), size, m) for s in originals]))
        line = _mean(f"J after {m} edits at random places; predicted for edits that do not touch", expected, similarity)
        rows += [line, _evading(f"admitted by the filter after {m} edits at random places", admitted)]
        assert line["measured"] is not None
        assert line["interval"] is not None
        for key, value in zip(("y", "low", "high"), (line["measured"], *line["interval"]), strict=True):
            exact[key].append(value)
    series["mean J, measured"] = exact
    series["mean J, predicted"] = {
        "x": exact["x"],
        "y": [float(np.mean([jaccard_after_edits(len(s), size, m) for s in originals])) for m in edits],
    }
    series["threshold"] = {"x": [float(edits[0]), float(edits[-1])], "y": [0.9, 0.9]}
    needed = [float(edits_to_evade(len(s), size)) for s in originals]
    rows.append(_mean("scattered edits needed for J < .90", float(edits_to_evade(1500, size)), np.array(needed)))
    sets = [shingles(lexemes(p.text), 10) for p in pool]
    false_admissions, false_rejections, kept = filter_errors(sets)
    rows.append(share("false admissions by the filter (10-shingles, k = 256)", 0.0, false_admissions, len(sets)))
    rows.append(share("false rejections by the filter", 0.0, false_rejections, len(sets)))
    rows.append(row("programs admitted by the filter", None, float(kept), "measured", None, len(sets)))
    rows += _sketch_errors(originals, edited[8])
    caption = (
        f"Jaccard similarity of {len(long)} real programs (at least 400 tokens, {size}-shingles) and copies after "
        "edits at random places: mean and 95% interval, the prediction for edits that do not touch, the threshold."
    )
    return Demonstration(
        novelty_filter.CLAIM.name, rows, series, "edited tokens", "Jaccard similarity to the original", caption
    )


def _changed(programs: Sequence[Program], change: Callable[[Program], str], size: int) -> list[frozenset[str]]:
    return [shingles(lexemes(change(program)), size) for program in programs]


def _evasion(
    originals: Sequence[frozenset[str]], changed: Sequence[frozenset[str]]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Returns which changed programs a filter that holds their original admits, and the exact similarities."""
    admitted = [NoveltyFilter().admit_shingles([a, b])[1] for a, b in zip(originals, changed, strict=True)]
    return np.array(admitted), np.array([jaccard(a, b) for a, b in zip(originals, changed, strict=True)])


def _evading(quantity: str, admitted: NDArray[np.bool_]) -> Row:
    return share(quantity, 0.0, int(admitted.sum()), len(admitted))


def _mean(quantity: str, predicted: float | None, values: NDArray[np.float64]) -> Row:
    mean, n = float(values.mean()), len(values)
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    holds = predicted is None or abs(mean - predicted) <= half
    verdict = "measured" if predicted is None else "holds" if holds else "breaks"
    return row(quantity, predicted, mean, verdict, (mean - half, mean + half), n)


def _sketch_errors(originals: Sequence[frozenset[str]], changed: Sequence[frozenset[str]]) -> list[Row]:
    """Compares the errors of rensa's estimates with those of independent permutations."""
    exact = np.array([jaccard(a, b) for a, b in zip(originals, changed, strict=True)])
    found = estimated_similarities(list(zip(originals, changed, strict=True)))
    spread = exact * (1 - exact) / 256
    standardised = (found - exact)[spread > 0] ** 2 / spread[spread > 0]
    expected = sum(admission_probability(j, 256) for j in exact.tolist()) / len(exact)
    return [
        _mean("squared error of rensa's estimates over J(1-J)/k, k = 256", 1.0, standardised),
        share(
            "pairs estimated below .9; predicted from exact J by the binomial",
            expected,
            int((found < 0.9).sum()),
            len(found),
        ),
    ]
