import subprocess
import sys

import pytest

from surrogates.errors import InputError
from surrogates.spaces import spaces
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.spaces.nas_bench_graph import OPERATIONS, SKIP, nas_bench_graph
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro


def test_neither_spaces_nor_their_code_need_torch():
    code = (
        "import sys; sys.modules['torch'] = None; from surrogates.spaces import spaces;"
        "assert all(spaces.get(name).code for name in ('darts', 'nas_bench_201', 'nas_bench_graph'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_package_is_an_error_that_names_the_extra(monkeypatch):
    space = spaces.get("nas_bench_201")
    for module in ("surrogates.networks.nas_bench_201", "surrogates.networks.layers"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"need the package torch: pip install 'nascent\[train\]'"):
        space.build((0,) * 6)


def test_a_space_without_networks_says_so():
    space = spaces.get("trans_nas_bench_101_macro")
    assert space.code == ""
    with pytest.raises(InputError, match="trans_nas_bench_101_macro has scores, but no networks"):
        space.build((1, 2, 3, 4, 0, 0))


def test_what_is_no_architecture_is_not_built():
    with pytest.raises(InputError, match="no architecture of nas_bench_201"):
        spaces.get("nas_bench_201").build((9,) * 6)


def test_a_combination_of_decisions_means_the_architecture_that_the_space_lists():
    gcn, fc = OPERATIONS.index("gcn"), OPERATIONS.index("fc")
    # Two layers that read the input, in either order, are the same network.
    either = [nas_bench_graph.meaning((0, 0, 1, 2, gcn, fc, a, b)) for a, b in ((gcn, fc), (fc, gcn))]
    other = nas_bench_graph.meaning((0, 0, 1, 2, fc, gcn, gcn, fc))
    assert either[1] == other != either[0]
    # An architecture that is listed is itself, even if an equivalent one stands for its class.
    skip = nas_bench_201.parse("|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|")
    assert nas_bench_201.canonical(skip) != skip
    assert nas_bench_201.meaning(skip) == skip


@pytest.mark.parametrize(
    ("space", "description"),
    [
        (nas_bench_graph, (0, 0, 0, 0, SKIP, SKIP, SKIP, SKIP)),
        (trans_nas_bench_101_macro, (1, 2, 0, 3, 4, 1)),  # a gap in the chain
        (trans_nas_bench_101_macro, (1, 1, 1, 1, 1, 1)),  # never doubles the channels
    ],
)
def test_some_combinations_mean_no_architecture(space, description):
    assert space.meaning(description) is None
