from itertools import permutations

import numpy as np
import pytest

from surrogates.space import ArchitectureError
from surrogates.spaces.darts import NODES, OPERATIONS, PAIRS, darts

NORMAL, REDUCE = (
    "sep_conv_3x3~0|sep_conv_3x3~1+sep_conv_3x3~0|sep_conv_3x3~1+sep_conv_3x3~1|skip_connect~2"
    "+skip_connect~0|dil_conv_3x3~2",
    "max_pool_3x3~0|max_pool_3x3~1+max_pool_3x3~1|skip_connect~2+max_pool_3x3~0|skip_connect~2"
    "+skip_connect~2|max_pool_3x3~4",
)
TEXT = f"normal={NORMAL} reduce={REDUCE}"


def test_has_as_many_architectures_as_published():
    """LAPT, "search spaces": prod k(k+1)/2 x 8^2, k = 1 to 4, of each of the two cells, that is, (10^9)^2."""
    cell = np.prod([k * (k + 1) // 2 * 8**2 for k in (1, 2, 3, 4)])
    assert darts.size == int(cell) ** 2
    assert 9 < np.log10(cell) < 10
    assert not darts.enumerable


def test_operations_are_the_primitives_of_darts():
    assert len(OPERATIONS) == 8
    assert OPERATIONS[0] == "none"
    assert {name.rpartition("_")[0] for name in OPERATIONS[4:]} == {"sep_conv", "dil_conv"}


def test_text_says_what_each_node_reads():
    arch = darts.parse(TEXT)
    nodes = [arch[i : i + 3] for i in range(0, 24, 3)]
    read = [[(OPERATIONS[op], i) for op, i in zip(ops, PAIRS[n][p], strict=True)]
            for n, (p, *ops) in zip(NODES * 2, nodes, strict=True)]  # fmt: skip
    assert read[0] == [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)]
    assert read[3] == [("skip_connect", 0), ("dil_conv_3x3", 2)]
    assert read[7] == [("skip_connect", 2), ("max_pool_3x3", 4)]
    assert darts.format(arch) == TEXT


def test_example_of_the_description_is_an_architecture_as_format_writes_it():
    example = darts.description.rpartition("Example: ")[2]
    assert darts.format(darts.parse(example)) == example


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("skip_connect~0|dil", "skip_conect~0|dil", "normal, node 5: .*'skip_conect'; did you mean 'skip_connect'"),
        ("max_pool_3x3~4", "max_pool_3x3~5", "reduce, node 5 reads 2 and 5; it reads two different ones of 0 to 4"),
        ("~2|max_pool_3x3~4", "~4|max_pool_3x3~2", "reduce, node 5 reads 4 and 2.* smaller written first"),
        ("max_pool_3x3~4", "max_pool_3x3~2", "reduce, node 5 reads 2 and 2"),
        ("+skip_connect~2|max_pool_3x3~4", "", "expected the form normal="),
        ("~2|max_pool_3x3~4", "~2", "reduce, node 5: 'skip_connect~2'; expected op~i|op~j"),
        (" reduce", ", reduce", "reduce=|normal, node 5"),
    ],
)
def test_error_names_the_node_and_what_was_expected(old, new, says):
    assert old in TEXT
    with pytest.raises(ArchitectureError, match=says):
        darts.parse(TEXT.replace(old, new))


def test_neighbours_are_the_144_architectures_that_differ_in_one_decision():
    arch = darts.parse(TEXT)
    near = np.array(darts.neighbours(arch))
    # Of each cell: 8 operations with 7 others; pairs of sources with 0, 2, 5 and 9 others.
    assert len(near) == 2 * (8 * 7 + 0 + 2 + 5 + 9)
    assert ((near != arch).sum(axis=1) == 1).all()


def test_encoding_is_one_of_the_options_of_each_decision():
    features = darts.encode([darts.parse(TEXT)])[0]
    ends = np.cumsum([len(decision.options) for decision in darts.decisions])
    assert [part.argmax() for part in np.split(features, ends[:-1])] == list(darts.parse(TEXT))
    assert features.sum() == 24


def renamed(text: str, order: tuple[int, ...]) -> str | None:
    """Writes a cell with its nodes 2 to 5 called `order`; None where a node would read a later one."""
    name = dict(zip("012345", "01" + "".join(map(str, order)), strict=True))
    nodes = {}
    for node, written in zip("2345", text.split("+"), strict=True):
        read = sorted((name[part[-1]], part[:-1]) for part in written.split("|"))
        if read[-1][0] >= name[node]:
            return None
        nodes[name[node]] = "|".join(op + source for source, op in read)
    return "+".join(nodes[node] for node in sorted(nodes))


def test_canonical_form_does_not_depend_on_the_names_of_nodes():
    rng, changed = np.random.default_rng(4), 0
    for arch in [darts.sample(rng) for _ in range(100)]:
        text = darts.format(arch)
        normal, reduce = text.removeprefix("normal=").split(" reduce=")
        for order in permutations((2, 3, 4, 5)):
            other = renamed(normal, order)
            if other is not None:
                same = darts.parse(f"normal={other} reduce={reduce}")
                assert darts.canonical(same) == darts.canonical(arch)
                assert darts.canonical(arch) <= same
                changed += same != arch
    assert changed > 100


def test_canonical_form_does_not_depend_on_what_none_reads():
    forms = {
        darts.canonical(darts.parse(TEXT.replace("skip_connect~0|dil_conv_3x3~2", node)))
        for node in ("none~0|dil_conv_3x3~2", "none~1|dil_conv_3x3~2", "dil_conv_3x3~2|none~3", "dil_conv_3x3~2|none~4")
    }
    assert len(forms) == 1


def test_canonical_form_keeps_cells_that_differ_apart():
    others = [darts.canonical(arch) for arch in darts.neighbours(darts.parse(TEXT))]
    assert darts.canonical(darts.parse(TEXT)) not in others
    normal, reduce = TEXT.removeprefix("normal=").split(" reduce=")
    assert darts.canonical(darts.parse(f"normal={reduce} reduce={normal}")) != darts.canonical(darts.parse(TEXT))
