"""The space of DARTS: a normal and a reduction cell, each of four nodes that read two earlier ones."""

import re
from collections.abc import Sequence
from itertools import combinations, permutations
from math import prod

import numpy as np
from numpy.typing import NDArray

from surrogates.errors import InputError, unknown
from surrogates.space import Arch, ArchitectureError, Decision, Space

OPERATIONS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
NONE = 0
CELLS = ("normal", "reduce")
NODES = (2, 3, 4, 5)
"""The numbers of a cell's nodes; 0 and 1 are its inputs."""

PAIRS = {node: tuple(combinations(range(node), 2)) for node in NODES}
"""The pairs of different sources that each node can read."""

_OPTIONS = tuple(n for _ in CELLS for node in NODES for n in (len(PAIRS[node]), len(OPERATIONS), len(OPERATIONS)))
_CHANGES = tuple((place, step) for place, n in enumerate(_OPTIONS) for step in range(1, n))
_FORM = "normal=n+n+n+n reduce=n+n+n+n with op~i|op~j for each node n"
_PATTERN = re.compile("normal=([^ =]+) reduce=([^ =]+)")
_NODE = re.compile(r"([a-z0-9_]+)~([0-9])\|([a-z0-9_]+)~([0-9])")


def _grammar() -> str:
    nodes = {f"node{node}": " | ".join(f'op "~{i}|" op "~{j}"' for i, j in PAIRS[node]) for node in NODES}
    rules = {
        "root": '"normal=" cell " reduce=" cell',
        "cell": ' "+" '.join(nodes),
        **nodes,
        "op": " | ".join(f'"{op}"' for op in OPERATIONS),
    }
    return "".join(f"{name} ::= {choices}\n" for name, choices in rules.items())


def _is_below(option: object, options: int) -> bool:
    return isinstance(option, int | np.integer) and 0 <= int(option) < options


def genotype(arch: Arch) -> list[list[list[tuple[str, int]]]]:
    """Returns, for each cell and each of its nodes, the two operations, by name, with what each reads."""
    nodes = []
    for node, (pair, *ops) in zip(NODES * len(CELLS), zip(*[iter(arch)] * 3, strict=True), strict=True):
        nodes.append([(OPERATIONS[op], source) for op, source in zip(ops, PAIRS[node][pair], strict=True)])
    return [nodes[: len(NODES)], nodes[len(NODES) :]]


def _canonical_cell(nodes: list[list[tuple[str, int]]]) -> Arch:
    """Returns the smallest of the cells that renaming nodes and the sources of `none` leads to."""
    reads = {
        node: {source: OPERATIONS.index(op) for op, source in read if op != OPERATIONS[NONE]}
        for node, read in zip(NODES, nodes, strict=True)
    }
    found = []
    for order in permutations(NODES):
        name = {0: 0, 1: 1} | dict(zip(order, NODES, strict=True))
        if any(name[source] > name[node] for node in NODES for source in reads[node]):
            continue
        renamed: Arch = ()
        for node in order:
            ops = {name[source]: op for source, op in reads[node].items()}
            for source in (0, 1):
                if len(ops) < 2:
                    ops.setdefault(source, NONE)
            first, second = sorted(ops)
            renamed += (PAIRS[name[node]].index((first, second)), ops[first], ops[second])
        found.append(renamed)
    return min(found)


class Darts(Space):
    """The space of DARTS (Liu, Simonyan and Yang 2019, ICLR, arXiv:1806.09055, section 2.1): 9.1e18 architectures.

    A cell has two inputs, numbered 0 and 1 (the results of the two cells before), and four nodes, numbered 2 to 5. A
    node adds up the results of two operations, which read two different ones of what comes before the node. The
    cell's result is the four nodes, joined.

    An architecture is 24 integers: for the normal cell, then the reduction cell, for each node, the pair of its
    sources (an index into `PAIRS[node]`) and the operations on the first and second of them (indices into
    `OPERATIONS`). All combinations are architectures: prod k(k+1)/2 x 8^2, k = 1 to 4, of each cell. The search of
    DARTS itself drops `none` from its result; like LAPT (arXiv:2408.11330) this space keeps it, so that no operation
    need be there.
    """

    name = "darts"
    size = prod(_OPTIONS)
    description = (
        "An architecture is two cells: a normal cell, which keeps the resolution, and a reduction cell, which halves "
        "it. The network stacks many normal cells and, after a third and two thirds of them, a reduction cell. Each "
        "cell is a small graph: 0 and 1 are its inputs (the results of the cell before the last and of the last "
        "cell), 2 to 5 are its nodes. Each node reads two different results among the inputs and the nodes before it, "
        "each through one operation, and adds them up. The result of the cell is its four nodes, joined. "
        "The operations are: none (no connection), max_pool_3x3 and avg_pool_3x3 (3x3 pooling), skip_connect (passes "
        "its input on unchanged), sep_conv_3x3 and sep_conv_5x5 (separable convolutions of this size, applied twice), "
        "dil_conv_3x3 and dil_conv_5x5 (dilated separable convolutions of this size).\n"
        "A node is written as op~i|op~j, where each op is one of the eight operations and i < j are what it reads. "
        "A cell is its nodes 2, 3, 4 and 5 with + between them. An architecture is written as normal=cell reduce=cell."
        "\nExample: normal=sep_conv_3x3~0|sep_conv_3x3~1+sep_conv_3x3~0|sep_conv_3x3~1+"
        "sep_conv_3x3~1|skip_connect~2+skip_connect~0|dil_conv_3x3~2 "
        "reduce=max_pool_3x3~0|max_pool_3x3~1+max_pool_3x3~1|skip_connect~2+"
        "max_pool_3x3~0|skip_connect~2+max_pool_3x3~1|skip_connect~2"
    )
    grammar = _grammar()
    decisions = tuple(
        decision
        for cell in CELLS
        for node in NODES
        for decision in (
            Decision(f"{cell} node {node} sources", tuple(f"{i}+{j}" for i, j in PAIRS[node])),
            Decision(f"{cell} node {node} first operation", OPERATIONS),
            Decision(f"{cell} node {node} second operation", OPERATIONS),
        )
    )

    def as_array(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the architectures as an array, shape (n, 24); see `Space.as_array`."""
        if isinstance(archs, np.ndarray):
            archs = [tuple(arch) for arch in np.atleast_2d(archs).tolist()]
        for arch in archs:
            if not (isinstance(arch, tuple) and len(arch) == len(_OPTIONS) and all(map(_is_below, arch, _OPTIONS))):
                raise InputError(
                    f"{repr(arch)[:120]} is no architecture of {self.name}; "
                    f"expected {len(_OPTIONS)} integers from 0, each below its number of options: {_OPTIONS}"
                )
        return np.array(archs, dtype=np.int64).reshape(-1, len(_OPTIONS))

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draws one architecture uniformly: every decision by itself."""
        return tuple(rng.integers(_OPTIONS).tolist())

    def neighbours(self, arch: Arch) -> list[Arch]:
        """Returns the 144 architectures that differ in one decision: one operation, or the sources of one node."""
        return [self._change(arch, change) for change in _CHANGES]

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws one of the neighbours uniformly."""
        return self._change(arch, _CHANGES[rng.integers(len(_CHANGES))])

    def _change(self, arch: Arch, change: tuple[int, int]) -> Arch:
        place, step = change
        return (*arch[:place], (arch[place] + step) % _OPTIONS[place], *arch[place + 1 :])

    def encode(self, archs: Sequence[Arch] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Returns one-hot decisions, shape (n, 168)."""
        columns = zip(self.as_array(archs).T, _OPTIONS, strict=True)
        return np.hstack([np.eye(n, dtype=np.float32)[column] for column, n in columns])

    def format(self, arch: Arch) -> str:
        """Returns the architecture as text, e.g. `normal=sep_conv_3x3~0|skip_connect~1+... reduce=...`."""
        cells = ("+".join("|".join(f"{op}~{i}" for op, i in node) for node in cell) for cell in genotype(arch))
        return " ".join(f"{name}={cell}" for name, cell in zip(CELLS, cells, strict=True))

    def parse(self, text: str) -> Arch:
        """Reads one architecture; white space around it is allowed.

        Raises:
            ArchitectureError: The text is not exactly what `format` writes of some architecture.
        """
        match = _PATTERN.fullmatch(text.strip())
        cells = [cell.split("+") for cell in match.groups()] if match else []
        if match is None or any(len(cell) != len(NODES) for cell in cells):
            raise ArchitectureError(f"{text[:120]!r} is no architecture of {self.name}; expected the form {_FORM}")
        arch: Arch = ()
        for cell, nodes in zip(CELLS, cells, strict=True):
            for node, written in zip(NODES, nodes, strict=True):
                arch += self._parse_node(f"{cell}, node {node}", node, written)
        return arch

    def _parse_node(self, where: str, node: int, written: str) -> Arch:
        match = _NODE.fullmatch(written)
        if match is None:
            raise ArchitectureError(f"{where}: {written[:60]!r}; expected op~i|op~j")
        ops, sources = (match[1], match[3]), (int(match[2]), int(match[4]))
        for op in ops:
            if op not in OPERATIONS:
                raise ArchitectureError(f"{where}: {unknown(f'operation of {self.name}', op[:40], OPERATIONS)}")
        if sources not in PAIRS[node]:
            raise ArchitectureError(
                f"{where} reads {sources[0]} and {sources[1]}; it reads two different ones of 0 to {node - 1}, "
                "the smaller written first"
            )
        return (PAIRS[node].index(sources), *map(OPERATIONS.index, ops))

    def canonical(self, arch: Arch) -> Arch:
        """Returns the lexicographically smallest architecture that names the same two graphs.

        Two cells are the same graph if one becomes the other by renaming nodes, or by changing what `none` reads. That
        the nodes of a cell are joined in another order only permutes the channels that the next cells read. Nothing
        is simplified further: a node that another passes on unchanged, or that reads nothing, stays.
        """
        normal, reduce = map(_canonical_cell, genotype(arch))
        return normal + reduce


darts = Darts()
