"""Claim 5 on real programs: what evades the novelty filter, and where it errs."""

import ast
import builtins
import keyword
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

from analysis.programs import Program, sources
from bench.novelty_filter import NoveltyFilter, lexemes
from theory import novelty_filter
from theory.demonstration import Demonstration, Row, mean, share
from theory.minhash import admission_probability, edits_to_evade, jaccard, jaccard_after_edits, shingles


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


def filter_errors(
    programs: Sequence[frozenset[str]], threshold: float = 0.9
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Finds the filter's errors against exact similarity; quadratic, so for samples.

    Returns:
        For each program whether it is a false admission (one admitted before has J >= threshold), a false rejection
        (none has), and whether it was admitted.
    """
    admitted = np.array(NoveltyFilter(threshold).admit_shingles(programs), dtype=bool)
    kept: list[frozenset[str]] = []
    similar = np.zeros(len(programs), dtype=bool)
    for i, program in enumerate(programs):
        # Sets whose sizes differ by more than the threshold cannot be that similar.
        similar[i] = any(
            min(len(program), len(other)) >= threshold * max(len(program), len(other))
            and jaccard(program, other) >= threshold
            for other in kept
        )
        if admitted[i]:
            kept.append(program)
    return admitted & similar, ~admitted & ~similar, admitted


def demonstrate(rng: np.random.Generator, programs: int = 200, filtered: int = 1000) -> Demonstration:
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
        rows.append(mean(f"J after {label}", similarity))
    exact: dict[str, list[float]] = {"x": [float(m) for m in edits], "y": [], "low": [], "high": []}
    for m, changed in edited.items():
        admitted, similarity = _evasion(originals, changed)
        expected = float(np.mean([jaccard_after_edits(len(s), size, m) for s in originals]))
        line = mean(f"J after {m} edits at random places; predicted for edits that do not touch", similarity, expected)
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
    rows.append(mean("scattered edits needed for J < .90", needed, float(edits_to_evade(1500, size))))
    sets = [shingles(lexemes(p.text), 10) for p in pool]
    wrongly_admitted, wrongly_rejected, kept = filter_errors(sets)
    rows.append(share("false admissions by the filter (10-shingles, k = 256)", wrongly_admitted, 0.0))
    rows.append(share("false rejections by the filter", wrongly_rejected, 0.0))
    rows.append(share("programs admitted by the filter", kept))
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
    return share(quantity, admitted, 0.0)


def _sketch_errors(originals: Sequence[frozenset[str]], changed: Sequence[frozenset[str]]) -> list[Row]:
    """Compares the errors of rensa's estimates with those of independent permutations."""
    exact = np.array([jaccard(a, b) for a, b in zip(originals, changed, strict=True)])
    found = estimated_similarities(list(zip(originals, changed, strict=True)))
    spread = exact * (1 - exact) / 256
    standardised = (found - exact)[spread > 0] ** 2 / spread[spread > 0]
    expected = sum(admission_probability(j, 256) for j in exact.tolist()) / len(exact)
    return [
        mean("squared error of rensa's estimates over J(1-J)/k, k = 256", standardised, 1.0),
        share(
            "pairs estimated below .9; predicted from exact J by the binomial",
            found < 0.9,
            expected,
        ),
    ]
