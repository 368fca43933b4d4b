"""What every search space offers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from surrogates.errors import InputError

Arch = tuple[int, ...]
"""An architecture: one small integer a decision. Hashable, and comparable only within its space."""


class ArchitectureError(InputError):
    """A text that is no architecture of the space; the message says why."""


class Space(ABC):
    """A finite search space, in which every architecture is a tuple of integers.

    Attributes:
        name: Name of the space, equal to its file's.
        size: Number of architectures.
        description: The space in words, for a reader or a language model: decisions, operations, how one is written.
        grammar: EBNF (the dialect of xgrammar, start rule `root`) of exactly the texts that `format` writes.
    """

    name: str
    size: int
    description: str
    grammar: str

    @abstractmethod
    def enumerate(self) -> NDArray[np.int64]:
        """Returns all architectures, one a row, in the order of `index`: shape (size, decisions)."""

    @abstractmethod
    def index(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the row of each architecture in `enumerate()`: shape (n,)."""

    @abstractmethod
    def neighbours(self, arch: Arch) -> list[Arch]:
        """Returns the architectures that one change of a decision leads to, each once, without `arch`."""

    @abstractmethod
    def encode(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns one-hot features, shape (n, features)."""

    @abstractmethod
    def format(self, arch: Arch) -> str:
        """Returns the architecture as text."""

    @abstractmethod
    def parse(self, text: str) -> Arch:
        """Reads one architecture from text; the text may come from anywhere.

        Raises:
            ArchitectureError: The text is not exactly one architecture of this space.
        """

    @abstractmethod
    def canonical(self, arch: Arch) -> Arch:
        """Returns the representative of the architectures that compute the same function for every weight."""

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draws one architecture uniformly."""
        return tuple(self.enumerate()[rng.integers(self.size)].tolist())

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws one neighbour uniformly."""
        near = self.neighbours(arch)
        return near[rng.integers(len(near))]
