"""The skeleton space of TransNAS-Bench-101: chains of four to six modules, each of one of four kinds."""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from surrogates.space import Arch, ArchitectureError, Decision, Space

KINDS = (1, 2, 3, 4)
DOUBLING, HALVING = (2, 4), (3, 4)
"""The kinds of module that double the channels, and those that halve the resolution."""

_LONGEST = 6
_LENGTHS, _DOUBLINGS, _HALVINGS = range(4, 7), range(1, 4), range(1, 5)
_PATTERN = re.compile("64-([1-4]{4,6})-basic")


def _count(modules: Arch, kinds: tuple[int, ...]) -> int:
    return sum(kind in kinds for kind in modules)


def _grammar() -> str:
    """Returns the grammar: one rule for each number of modules, doublings and halvings that may have been written."""
    states = [
        (n, doublings, halvings)
        for n, doublings, halvings in product(range(7), range(4), range(5))
        if max(doublings, halvings) <= n and (n < _LONGEST or min(doublings, halvings) > 0)
    ]
    rules = ['root ::= "64-" m000']
    for n, doublings, halvings in states:
        choices = []
        for kind in KINDS:
            after = (n + 1, doublings + (kind in DOUBLING), halvings + (kind in HALVING))
            if after in states:
                choices.append(f'"{kind}" m{"".join(map(str, after))}')
        if n in _LENGTHS and doublings in _DOUBLINGS and halvings in _HALVINGS:
            choices.append('"-basic"')
        rules.append(f"m{n}{doublings}{halvings} ::= {' | '.join(choices)}")
    return "\n".join([*rules, ""])


class TransNasBench101Macro(Space):
    """The 3,256 skeletons of TransNAS-Bench-101 (Duan et al. 2021, CVPR, arXiv:2105.11871, section 3, "macro-level").

    A skeleton is a chain of 4 to 6 modules of two residual blocks. A module is of kind 1 (keeps the shape of its
    input), 2 (doubles the channels), 3 (halves the resolution) or 4 (does both). The channels are doubled 1 to 3
    times, the resolution is halved 1 to 4 times; all such chains exist.

    An architecture is the kinds of its modules from the input to the output, filled up with zeros (no module) to a
    length of six: the official key `64-1234-basic` is (1, 2, 3, 4, 0, 0).
    """

    name = "trans_nas_bench_101_macro"
    size = 3_256
    description = (
        "An architecture is a convolutional network: a chain of 4 to 6 modules, each of which is two residual blocks. "
        "The input of the first module has 64 channels. "
        "Each module has one of four kinds, written as a digit: 1 keeps channels and resolution, 2 doubles the "
        "channels, 3 halves the resolution, 4 doubles the channels and halves the resolution. "
        "At least one and at most three modules double the channels (kinds 2 and 4 together); at least one and at "
        "most four modules halve the resolution (kinds 3 and 4 together).\n"
        "An architecture is written as 64-, then the digits of the modules from the input to the output without "
        "anything between them, then -basic.\n"
        "Example: 64-1234-basic"
    )
    grammar = _grammar()
    decisions = tuple(Decision(f"module {place + 1}", ("no module", *map(str, KINDS))) for place in range(_LONGEST))

    @cached_property
    def _all(self) -> NDArray[np.int64]:
        chains = (modules for length in _LENGTHS for modules in product(KINDS, repeat=length))
        archs = np.array(
            sorted(
                modules + (0,) * (_LONGEST - len(modules))
                for modules in chains
                if _count(modules, DOUBLING) in _DOUBLINGS and _count(modules, HALVING) in _HALVINGS
            )
        )
        archs.flags.writeable = False
        return archs

    def enumerate(self) -> NDArray[np.int64]:
        """Returns all skeletons in lexicographic order: shape (3256, 6), read-only; 0 stands for no module."""
        return self._all

    @cached_property
    def _near(self) -> list[list[Arch]]:
        """The neighbours of each skeleton, ascending."""
        near = []
        for arch in self._archs:
            modules = arch[: _LONGEST - arch.count(0)]
            places = range(len(modules))
            edited = {(*modules[:i], *modules[i + 1 :]) for i in places}
            edited |= {(*modules[:i], kind, *modules[i + 1 :]) for i in places for kind in KINDS}
            edited |= {(*modules[:i], kind, *modules[i:]) for i in range(len(modules) + 1) for kind in KINDS}
            filled = {other + (0,) * (_LONGEST - len(other)) for other in edited}
            near.append(sorted(filled & self._rows.keys() - {arch}))
        return near

    def neighbours(self, arch: Arch) -> list[Arch]:
        """Returns the skeletons that replacing, inserting or removing one module leads to, at any place of the chain.

        These are the mutations of layers by Real et al. 2017 ("Large-scale evolution of image classifiers", section
        3.2). NASLib's mutation of this space redraws the order of all modules whenever it changes one of the
        numbers of modules, doublings or halvings; it keeps so little of the parent that it is no neighbourhood.
        Symmetric: each change can be undone by one change.
        """
        return list(self._near[self.index([arch])[0]])

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws one neighbour uniformly."""
        near = self._near[self._rows[arch]]
        return near[rng.integers(len(near))]

    def encode(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns one-hot modules, shape (n, 30): five features a place, of which the first means no module."""
        return np.eye(1 + len(KINDS), dtype=np.float32)[self.as_array(archs)].reshape(-1, 30)

    def format(self, arch: Arch) -> str:
        """Returns the official key, e.g. `64-1234-basic`."""
        return f"64-{''.join(str(kind) for kind in arch if kind)}-basic"

    def parse(self, text: str) -> Arch:
        """Reads one official key; white space around it is allowed.

        Raises:
            ArchitectureError: The text is not exactly one such key, or its modules double the channels or halve the
                resolution too seldom or too often.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ArchitectureError(
                f"{text[:120]!r} is no architecture of {self.name}; expected the form 64-mmmm-basic "
                "with four to six m, each a digit from 1 to 4"
            )
        modules = tuple(map(int, match[1]))
        for effect, kinds, allowed in (
            ("double the channels", DOUBLING, _DOUBLINGS),
            ("halve the resolution", HALVING, _HALVINGS),
        ):
            if (count := _count(modules, kinds)) not in allowed:
                raise ArchitectureError(
                    f"{match[0]}: {count} modules {effect} (kinds {kinds[0]} and {kinds[1]}); "
                    f"expected {allowed[0]} to {allowed[-1]}"
                )
        return modules + (0,) * (_LONGEST - len(modules))

    def canonical(self, arch: Arch) -> Arch:
        """Returns `arch`: no two skeletons have weights of the same shapes, so no two compute the same function."""
        return arch


trans_nas_bench_101_macro = TransNasBench101Macro()
