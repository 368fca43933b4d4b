from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nas_bench_graph import architecture as published

from surrogates.errors import InputError
from surrogates.space import ArchitectureError
from surrogates.spaces.nas_bench_graph import OPERATIONS, nas_bench_graph

LINKS = list(product(range(1), range(2), range(3), range(4)))
descriptions = st.tuples(st.sampled_from(LINKS), st.tuples(*[st.integers(0, 8)] * 4)).map(lambda d: d[0] + d[1])


def test_operations_are_the_published_ones():
    assert list(OPERATIONS) == published.gnn_list


def test_canonical_form_of_every_description_is_the_published_one():
    """All 24 x 9^4 descriptions against the package's own hash, whose digits are the links' row and operations."""
    for links in LINKS:
        for ops in product(range(9), repeat=4):
            if ops == (8, 8, 8, 8):
                continue
            hashed = published.Arch(list(links), [OPERATIONS[op] for op in ops]).valid_hash()
            row, digits = divmod(hashed, 10**4)
            expected = (*published.link_list[row], *map(int, f"{digits:04d}"))
            assert nas_bench_graph.canonical(links + ops) == expected


def test_lists_exactly_the_canonical_forms():
    archs = nas_bench_graph.enumerate()
    assert archs.shape == (26_206, 8)
    assert [list(links) for links in np.unique(archs[:, :4], axis=0)] == sorted(published.link_list)
    assert all(nas_bench_graph.canonical(tuple(arch)) == tuple(arch) for arch in archs.tolist())
    # Distinct and in lexicographic order.
    assert archs.tolist() == sorted(map(list, set(map(tuple, archs.tolist()))))


@given(descriptions.filter(lambda d: d[4:] != (8, 8, 8, 8)))
def test_any_description_reads_as_its_canonical_form(description):
    text = nas_bench_graph.format(description)
    assert nas_bench_graph.parse(text) == nas_bench_graph.canonical(description)


@given(descriptions, st.permutations(range(4)))
def test_order_of_the_layers_does_not_matter(description, order):
    links, ops = description[:4], description[4:]
    if ops == (8, 8, 8, 8):
        return
    place = {0: 0} | {layer + 1: new + 1 for new, layer in enumerate(order)}
    moved = tuple(place[links[layer]] for layer in order)
    if moved not in LINKS:
        return
    renamed = moved + tuple(ops[layer] for layer in order)
    assert nas_bench_graph.canonical(renamed) == nas_bench_graph.canonical(description)


def test_neighbours_change_one_link_or_operation():
    rng = np.random.default_rng(1)
    for arch in [nas_bench_graph.sample(rng) for _ in range(100)]:
        raw = [links + arch[4:] for links in LINKS if sum(a != b for a, b in zip(links, arch, strict=False)) == 1]
        raw += [(*arch[:i], op, *arch[i + 1 :]) for i in range(4, 8) for op in range(9) if op != arch[i]]
        expected = {nas_bench_graph.canonical(other) for other in raw if other[4:] != (8, 8, 8, 8)} - {arch}
        assert nas_bench_graph.neighbours(arch) == sorted(expected)


def test_all_skip_is_no_architecture():
    for links in LINKS:
        with pytest.raises(InputError, match="skip"):
            nas_bench_graph.canonical((*links, 8, 8, 8, 8))
    with pytest.raises(ArchitectureError, match="skip"):
        nas_bench_graph.parse("links=0,0,0,0 ops=skip,skip,skip,skip")


@pytest.mark.parametrize("bad", [(), (0, 0, 0, 0), (0, 2, 0, 0, 1, 1, 1, 1), (0, 0, 0, 0, 1, 1, 1, 9), (0,) * 9])
def test_canonical_refuses_what_is_no_description(bad):
    with pytest.raises(InputError, match="nas_bench_graph"):
        nas_bench_graph.canonical(bad)


def test_index_asks_for_the_canonical_form():
    with pytest.raises(InputError, match="canonical"):
        nas_bench_graph.index([(0, 0, 0, 2, 1, 1, 1, 2)])


def test_errors_name_the_layer_and_the_nearest_operation():
    with pytest.raises(ArchitectureError, match="layer 2 reads 2"):
        nas_bench_graph.parse("links=0,2,1,2 ops=gcn,gcn,gcn,gcn")
    with pytest.raises(ArchitectureError, match=r"'gcnn'.*did you mean 'gcn'"):
        nas_bench_graph.parse("links=0,1,1,2 ops=gcn,gcnn,gcn,gcn")
    with pytest.raises(ArchitectureError, match="links=0,l,l,l ops=op,op,op,op"):
        nas_bench_graph.parse("links=0,1,1 ops=gcn,gcn,gcn")


def test_example_of_the_description_is_an_architecture_as_format_writes_it():
    example = nas_bench_graph.description.rpartition("Example: ")[2]
    assert nas_bench_graph.format(nas_bench_graph.parse(example)) == example


def test_encoding_is_one_hot():
    features = nas_bench_graph.encode([(0, 0, 1, 2, 0, 1, 2, 7)])[0]
    np.testing.assert_array_equal(np.flatnonzero(features), [0, 3, 7, 9, 19, 29, 43])
