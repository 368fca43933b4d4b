"""Real programs: the model files of torchvision and transformers, wherever they are installed, and how to break them.

Programs are top-level classes and functions. Nothing of their text is executed: "valid" means that it parses and
compiles, which is weaker than that it builds a network that runs. Errors are injected by a Markov process, so λ is
known; each wrong token is left out, doubled, or replaced by another token of the same program. Not every wrong token
breaks a program (a name replaced by a name still compiles); the share that does is measured on programs that are not
used otherwise.
"""

import ast
import importlib.util
import io
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.llm.environment import home
from surrogates.errors import InputError

MODEL_FILES = {"torchvision": "models/**/*.py", "transformers": "models/**/modeling_*.py"}

TOKENS = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
"""Kinds of tokens that can be wrong; layout and comments cannot."""


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
