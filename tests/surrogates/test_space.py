import subprocess
import sys

import pytest

from surrogates.errors import InputError
from surrogates.spaces import spaces


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
