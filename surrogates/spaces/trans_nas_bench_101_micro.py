"""The cell space of TransNAS-Bench-101: four nodes and one of four operations on each of six edges."""

import re
from functools import cached_property
from itertools import permutations

from surrogates.cell_space import EDGES, CellSpace
from surrogates.space import Arch, ArchitectureError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
NONE, SKIP = 0, 1

_FORM = "64-41414-a_bc_def"
_PATTERN = re.compile("64-41414-([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")


def _computation(arch: Arch) -> tuple[tuple[int, ...], ...]:
    """Returns what a cell computes: its operations with weights, and what each of them reads.

    A node is the multiset of the operations whose results it adds up, and an operation is known by its edge. Each
    operation that the output depends on gives one row: its code (`NONE`: it gives a constant), which node it reads
    (0: the input), and how often each of the nodes, the output last, adds up its result. The rows are the same for
    two cells exactly if renaming the edges and nodes of one gives the other. `canonical` says which simplifications
    are made.
    """
    nodes: list[Arch] = [(), (), (), ()]
    operations: dict[int, tuple[int, Arch]] = {}
    for edge, ((source, target), op) in enumerate(zip(EDGES, arch, strict=True)):
        if op == SKIP and source > 0:
            nodes[target] += nodes[source]
        elif op != NONE:
            nodes[target] += (edge,)
            constant = source > 0 and all(operations[other][0] == NONE for other in nodes[source])
            operations[edge] = (NONE, ()) if constant else (op, tuple(sorted(nodes[source])))
    output = nodes[3]
    needed, reached = set(), list(output)
    while reached:
        edge = reached.pop()
        if edge not in needed:
            needed.add(edge)
            reached += operations[edge][1]
    # The input adds up nothing: it is the empty tuple. At most two other nodes are read.
    read = {operations[edge][1] for edge in needed} - {()}
    orders = [((), *order, output) for order in permutations(read)]
    return min(
        tuple(
            sorted(
                (operations[edge][0], order.index(operations[edge][1]), *(node.count(edge) for node in order))
                for edge in needed
            )
        )
        for order in orders
    )


class TransNasBench101Micro(CellSpace):
    """All 4,096 cells of TransNAS-Bench-101 (Duan et al. 2021, CVPR, arXiv:2105.11871, section 3, "cell-level").

    An architecture is the six operations, as indices into `OPERATIONS`, in the order of the official key
    `64-41414-a_bc_def`, that is, of `EDGES` of NAS-Bench-201. The key's other digits are those of the network that
    all cells share: 64 channels, and five modules of two cells, of which the first, third and fifth double the
    channels and halve the resolution in their first cell.
    """

    name = "trans_nas_bench_101_micro"
    size = len(OPERATIONS) ** len(EDGES)
    operations = OPERATIONS
    description = (
        "An architecture is a cell: a small graph with four nodes, numbered 0 to 3. Node 0 is the input, node 3 the "
        "output. Each node receives the results of all earlier nodes, each through one operation, and adds them up. "
        "The operations are written as digits: 0 is none (no connection), 1 is skip_connect (passes its input on "
        "unchanged), 2 is nor_conv_1x1 (1x1 convolution with ReLU and batch normalisation), "
        "3 is nor_conv_3x3 (3x3 convolution with ReLU and batch normalisation). "
        "The network stacks ten copies of the cell; in three of them the operations that read node 0 also double "
        "the channels and halve the resolution.\n"
        f"A cell is written as {_FORM}, where each of the six letters is the digit of one operation: "
        "a feeds node 1 from node 0; b and c feed node 2 from nodes 0 and 1; d, e and f feed node 3 from nodes 0, 1 "
        "and 2. The beginning, 64-41414-, is always the same.\n"
        "Example: 64-41414-1_02_333"
    )
    grammar = (
        'root ::= "64-41414-" op "_" op op "_" op op op\n'
        'op ::= "' + '" | "'.join(map(str, range(len(OPERATIONS)))) + '"\n'
    )

    def format(self, arch: Arch) -> str:
        """Returns the official key, e.g. `64-41414-1_02_333`."""
        a, b, c, d, e, f = arch
        return f"64-41414-{a}_{b}{c}_{d}{e}{f}"

    def parse(self, text: str) -> Arch:
        """Reads one official key; white space around it is allowed.

        Raises:
            ArchitectureError: The text is not exactly one such key.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ArchitectureError(
                f"{text[:120]!r} is no cell of {self.name}; expected the form {_FORM}, each letter a digit from 0 to 3"
            )
        return tuple(map(int, match.groups()))

    @cached_property
    def _canonical(self) -> list[Arch]:
        smallest: dict[tuple[tuple[int, ...], ...], Arch] = {}
        computations = [_computation(arch) for arch in self._archs]
        for arch, computation in zip(self._archs, computations, strict=True):
            smallest.setdefault(computation, arch)
        return [smallest[computation] for computation in computations]

    def canonical(self, arch: Arch) -> Arch:
        """Returns the lexicographically smallest cell that computes the same function for every weight.

        There are 1,468 classes. Two cells are of one class if one becomes the other by renaming nodes after these
        simplifications: sums commute and are flattened; zeros are dropped, as are operations that the output does not
        depend on; `skip_connect` is the identity, except from node 0, because in a cell that halves the resolution it
        is there a convolution with weights of its own; and a convolution of zero or of a constant is a constant,
        namely the offset of its batch normalisation. Two edges that read one node are told from edges that read two
        nodes of the same operations, which have twice the weights.

        For a constant other than zero, the last would not be exact (a 3x3 convolution sees the border, and running
        statistics lag behind). But a constant that only a convolution reads is zero at the start of training and
        stays so, as the ReLU between them passes no gradient there.

        NAS-Bench-201 publishes another rule, which neither flattens sums nor tells shared nodes from equal ones, and
        in whose networks `skip_connect` never has weights.
        """
        return self._canonical[self.index([arch])[0]]


trans_nas_bench_101_micro = TransNasBench101Micro()
