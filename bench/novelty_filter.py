"""The novelty filter: admits texts that are not similar to one admitted before."""

import re
from collections.abc import Iterable, Sequence

from rensa import RMinHash, RMinHashDeduplicator  # pyright: ignore[reportAttributeAccessIssue]

from surrogates.space import Arch, Space
from theory.minhash import jaccard, shingles

BANDS = 16
"""Bands of the filter's LSH index. With 256 permutations it misses 4% of pairs with J = .9 and .8% with J = .92, far
fewer than the estimate errs on (50% and 12.5%); twice as many bands cost four times as much among similar programs."""

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


class JaccardFilter:
    """Admits programs whose exact Jaccard similarity to each one admitted before is below the threshold.

    Args:
        threshold: Similarity from which on a program is rejected.
        size: Lexemes of a shingle.
    """

    def __init__(self, threshold: float = 0.9, size: int = 10) -> None:
        self.threshold, self.size = threshold, size
        self._admitted: list[frozenset[str]] = []

    def admit(self, programs: Iterable[str]) -> list[bool]:
        """Returns which of the programs are admitted, in their order."""
        found = []
        for program in programs:
            new = frozenset(shingles(lexemes(program), self.size))
            found.append(all(jaccard(new, old) < self.threshold for old in self._admitted))
            if found[-1]:
                self._admitted.append(new)
        return found


class CanonicalFilter:
    """Admits architectures that compute another function than each one admitted before.

    Args:
        space: Their space.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._admitted: set[Arch] = set()

    def admit(self, programs: Iterable[str]) -> list[bool]:
        """Returns which of the architectures, given as texts, are admitted, in their order."""
        forms = [self._space.canonical(self._space.parse(program)) for program in programs]
        found = []
        for form in forms:
            found.append(form not in self._admitted)
            self._admitted.add(form)
        return found
