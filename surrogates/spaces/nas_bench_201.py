"""The space of NAS-Bench-201: cells with four nodes and one of five operations on each of six edges."""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import product

from surrogates.cell_space import EDGES, CellSpace
from surrogates.errors import unknown
from surrogates.space import Arch, ArchitectureError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
_PATTERN = re.compile(re.escape(_FORM).replace("op", "([a-z0-9_]+)"))


class NasBench201(CellSpace):
    """All 15,625 cells of NAS-Bench-201 (Dong and Yang 2020, "NAS-Bench-201", ICLR, section 2).

    An architecture is the six operations, as indices into `OPERATIONS`, in the order of the official string
    `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, that is, of `EDGES`.
    """

    name = "nas_bench_201"
    size = len(OPERATIONS) ** len(EDGES)
    operations = OPERATIONS
    description = (
        "An architecture is a cell: a small graph with four nodes, numbered 0 to 3. Node 0 is the input, node 3 the "
        "output. Each node receives the results of all earlier nodes, each through one operation, and adds them up. "
        "The operations are: none (no connection), skip_connect (passes its input on unchanged), "
        "nor_conv_1x1 (1x1 convolution with ReLU and batch normalisation), "
        "nor_conv_3x3 (3x3 convolution with ReLU and batch normalisation), avg_pool_3x3 (3x3 average pooling). "
        "The network stacks many copies of the cell.\n"
        f"A cell is written as {_FORM}, where each op is one of the five operations and the number "
        "after ~ is the node it reads from. The first group feeds node 1, the second node 2, the third node 3.\n"
        "Example: |nor_conv_1x1~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"
    )
    grammar = (
        'root ::= "|" op "~0|+|" op "~0|" op "~1|+|" op "~0|" op "~1|" op "~2|"\n'
        'op ::= "' + '" | "'.join(OPERATIONS) + '"\n'
    )

    def format(self, arch: Arch) -> str:
        """Returns the official string, e.g. `|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|`."""
        a, b, c, d, e, f = (OPERATIONS[op] for op in arch)
        return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"

    def parse(self, text: str) -> Arch:
        """Reads one official string; white space around it is allowed.

        Raises:
            ArchitectureError: The text is not exactly one such string.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ArchitectureError(f"{text[:120]!r} is no cell of {self.name}; expected the form {_FORM}")
        try:
            return tuple(map(OPERATIONS.index, match.groups()))
        except ValueError:
            op = next(op for op in match.groups() if op not in OPERATIONS)
            raise ArchitectureError(
                f"{unknown(f'operation of {self.name}', op[:40], OPERATIONS)}; a cell has the form {_FORM}"
            ) from None

    @cached_property
    def _canonical(self) -> list[Arch]:
        def summand(op: str, node: str) -> str:
            if op == "none" or node == "#":
                return "#"
            return node if op == "skip_connect" else f"({node})@{op}"

        def node(ops: Sequence[str], *inputs: str) -> str:
            return "+".join(sorted(map(summand, ops, inputs)))

        smallest: dict[str, Arch] = {}
        classes = []
        for first in product(OPERATIONS, repeat=1):
            one = node(first, "0")
            for second in product(OPERATIONS, repeat=2):
                two = node(second, "0", one)
                classes += [node(third, "0", one, two) for third in product(OPERATIONS, repeat=3)]
        for arch, expression in zip(self._archs, classes, strict=True):
            smallest.setdefault(expression, arch)
        return [smallest[expression] for expression in classes]

    def canonical(self, arch: Arch) -> Arch:
        """Returns the lexicographically smallest cell of the isomorphism class.

        The 6,466 classes are those that NAS-Bench-201 publishes (section 2.1): cells with the same expression of the
        output node, where `skip_connect` is the identity, sums commute, `none` and whatever reads a node without
        input is zero ("#"). The published rule does not simplify further (it keeps zeros within sums and does not
        flatten nested sums), so some cells of different classes compute the same function.
        """
        return self._canonical[self.index([arch])[0]]


nas_bench_201 = NasBench201()
