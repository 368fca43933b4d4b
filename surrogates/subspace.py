"""The part of a space in which each decision has one of the options allowed for it."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surrogates.errors import InputError
from surrogates.space import Arch, Space

Allowed = tuple[tuple[int, ...], ...]
"""The allowed options of each decision, ascending."""


class Subspace(Space):
    """The architectures of a space that allowed options make (Zhou et al. 2025, arXiv:2408.11330, equation 3).

    What is allowed can change while a method searches. An architecture from before, which may now lie outside, is
    projected before it is mutated: each option that is not allowed is replaced by an allowed one, drawn uniformly.

    Args:
        space: The whole space.
        allowed: The allowed options; see `restrict`.
        project: Whether architectures are projected; if not, only what a mutation changes becomes an allowed option.

    Raises:
        InputError: The space is a part itself, whose options can change; or as `restrict`.
    """

    def __init__(self, space: Space, allowed: Allowed, project: bool = True) -> None:
        if isinstance(space, Subspace):
            raise InputError(f"this is a part of {space.name} already; a method that chooses a part needs all of it")
        self.whole, self.projects = space, project
        self.name, self.description, self.grammar = space.name, space.description, space.grammar
        self.decisions = space.decisions
        self.restrict(allowed)

    @property
    def enumerable(self) -> bool:
        """Whether all architectures can be listed: where those of the whole space can."""
        return self.whole.enumerable

    def restrict(self, allowed: Allowed) -> None:
        """Changes what is allowed.

        Raises:
            InputError: An option does not exist, a decision has none, or no architecture has allowed options alone.
        """
        fitting = len(allowed) == len(self.decisions) and all(
            options and set(options) <= set(range(len(decision.options)))
            for options, decision in zip(allowed, self.decisions, strict=True)
        )
        if not fitting:
            raise InputError(f"{allowed}: expected one or more options for each decision of {self.name}")
        # Of a space that cannot be listed, every combination of options is an architecture.
        inside = self.whole.members(allowed) if self.whole.enumerable else np.empty(0, dtype=bool)
        size = int(inside.sum()) if self.whole.enumerable else math.prod(map(len, allowed))
        if not size:
            raise InputError(f"these options make no architecture of {self.name}:\n{format_options(self, allowed)}")
        self.allowed, self.size, self._inside, self._members = allowed, size, inside, np.flatnonzero(inside)
        self._sets = [frozenset(options) for options in allowed]

    def __contains__(self, arch: Arch) -> bool:
        """Returns whether an architecture is, or is what is meant by, a combination of allowed options."""
        if all(value in options for value, options in zip(arch, self._sets, strict=True)):
            return True
        return self.whole.enumerable and bool(self._inside[self.whole.index([arch])[0]])

    def enumerate(self) -> NDArray[np.int64]:
        """Returns the architectures in the order of the whole space; an `InputError` where that cannot be listed."""
        every = self.whole.enumerate()
        return every[self._members]

    def index(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the row of each architecture in `enumerate()`; raises an `InputError` for one outside."""
        rows = self.whole.index(archs)
        if not self._inside[rows].all():
            raise InputError(f"an architecture has an option that is not allowed in this part of {self.name}")
        return np.searchsorted(self._members, rows)

    def as_array(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the architectures as an array; raises an `InputError` for one outside."""
        rows = self.whole.as_array(archs)
        if not all(tuple(row) in self for row in rows.tolist()):
            raise InputError(f"an architecture has an option that is not allowed in this part of {self.name}")
        return rows

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draws one architecture uniformly."""
        if not self.whole.enumerable:
            return tuple(options[rng.integers(len(options))] for options in self.allowed)
        row = self._members[rng.integers(self.size)]
        return tuple(self.whole.enumerate()[row].tolist())

    def project(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Returns the architecture with allowed options in place of the others; a sample where that is none."""
        if arch in self:
            return arch
        projected = tuple(
            value if value in options else options[rng.integers(len(options))]
            for value, options in zip(arch, self.allowed, strict=True)
        )
        meant = self.whole.meaning(projected)
        return meant if meant is not None and meant in self else self.sample(rng)

    def neighbours(self, arch: Arch) -> list[Arch]:
        """Returns the neighbours in the whole space that lie inside; of one outside, those with allowed changes."""
        near = self.whole.neighbours(arch)
        if arch in self:
            return [other for other in near if other in self]
        return [
            other
            for other in near
            if all(new == old or new in options for new, old, options in zip(other, arch, self._sets, strict=True))
        ]

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws one neighbour of the architecture's projection uniformly; a sample where there is none."""
        near = self.neighbours(self.project(arch, rng) if self.projects else arch)
        return near[rng.integers(len(near))] if near else self.sample(rng)

    def encode(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns the features of the whole space."""
        return self.whole.encode(archs)

    def format(self, arch: Arch) -> str:
        """Returns the architecture as the whole space writes it."""
        return self.whole.format(arch)

    def parse(self, text: str) -> Arch:
        """Reads an architecture of the whole space."""
        return self.whole.parse(text)

    def canonical(self, arch: Arch) -> Arch:
        """Returns the representative in the whole space."""
        return self.whole.canonical(arch)


def everything(space: Space) -> Allowed:
    """Returns all options of each decision."""
    return tuple(tuple(range(len(decision.options))) for decision in space.decisions)


def options_grammar(space: Space, most: int) -> str:
    """Returns EBNF (start rule `root`) of the texts that name, for each decision, one to `most` of its options.

    The options are in any order; one that is named twice counts once.
    """
    lines, rules = [], []
    for i, decision in enumerate(space.decisions):
        lines.append(f'"{decision.name}: " options{i} "\\n"')
        rules.append(f"options{i} ::= option{i}" + f' (", " option{i}' * (most - 1) + ")?" * (most - 1))
        rules.append(f"option{i} ::= " + " | ".join(f'"{option}"' for option in decision.options))
    return "\n".join([f"root ::= {' '.join(lines)}", *rules, ""])


def format_options(space: Space, allowed: Allowed) -> str:
    """Returns the allowed options as text, one line a decision: `0->1: skip_connect, nor_conv_3x3`."""
    return "".join(
        f"{decision.name}: {', '.join(decision.options[option] for option in sorted(options))}\n"
        for decision, options in zip(space.decisions, allowed, strict=True)
    )


def parse_options(space: Space, text: str, most: int | None = None) -> list[tuple[int, ...] | None]:
    """Reads allowed options from text that may come from anywhere.

    Args:
        space: The space.
        text: One line a decision, as `format_options` writes it; what else is in it is passed over.
        most: Options of a decision at most; None: all of them.

    Returns:
        The options of each decision, ascending; None where no line names the decision, several do, or its line names
        no option, too many, or one that does not exist.
    """
    found: list[tuple[int, ...] | None] = []
    for decision in space.decisions:
        lines = re.findall(rf"^{re.escape(decision.name)}: (.+)$", text, re.MULTILINE)
        named = {name.strip() for name in lines[0].split(",")} if len(lines) == 1 else set()
        good = 0 < len(named) <= (most or len(decision.options)) and named <= set(decision.options)
        found.append(tuple(sorted(map(decision.options.index, named))) if good else None)
    return found
