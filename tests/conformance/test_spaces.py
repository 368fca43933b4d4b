"""What every search space must do, those of other packages' entry points included."""

import ast
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from surrogates.errors import InputError
from surrogates.space import ArchitectureError, Space
from surrogates.spaces import spaces

LISTED = [name for name in spaces.names() if spaces.get(name).enumerable]


@pytest.fixture(params=spaces.names(), scope="module")
def space(request: pytest.FixtureRequest) -> Space:
    return spaces.get(request.param)


@pytest.fixture(scope="module")
def archs(space):
    """All architectures or, where they cannot be listed, many."""
    if space.enumerable:
        return [tuple(arch) for arch in space.enumerate().tolist()]
    rng = np.random.default_rng(19)
    return list(dict.fromkeys(space.sample(rng) for _ in range(5_000)))


@pytest.fixture(params=LISTED, scope="module")
def listed(request: pytest.FixtureRequest) -> Space:
    return spaces.get(request.param)


@pytest.fixture(params=[name for name in spaces.names() if name not in LISTED])
def unlisted(request: pytest.FixtureRequest) -> Space:
    return spaces.get(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def some(archs, rng, n=200):
    return [archs[row] for row in rng.choice(len(archs), min(n, len(archs)), replace=False)]


def test_name_is_the_registered_one(space):
    assert spaces.get(space.name) is space


def test_enumerates_each_architecture_once(listed):
    archs = listed.enumerate()
    assert archs.shape == (listed.size, len(listed.decisions))
    assert np.issubdtype(archs.dtype, np.integer)
    assert len(np.unique(archs, axis=0)) == listed.size


def test_what_needs_all_architectures_is_one_clear_error_where_there_are_too_many(unlisted):
    arch = unlisted.sample(np.random.default_rng(0))
    for ask in (unlisted.enumerate, lambda: unlisted.index([arch]), lambda: unlisted.texts):
        with pytest.raises(InputError, match=f"{unlisted.name} has .* architectures, too many to list"):
            ask()


def test_every_decision_has_named_options(space, archs):
    assert len({decision.name for decision in space.decisions}) == len(space.decisions)
    for decision, values in zip(space.decisions, np.array(archs).T, strict=True):
        assert set(values.tolist()) <= set(range(len(decision.options)))
        assert len(set(decision.options)) == len(decision.options)
        assert not any("," in option or "\n" in option or option != option.strip() for option in decision.options)


def test_index_is_the_inverse_of_enumerate(listed):
    archs = [tuple(arch) for arch in listed.enumerate().tolist()]
    np.testing.assert_array_equal(listed.index(archs), np.arange(listed.size))
    np.testing.assert_array_equal(listed.index(listed.enumerate()), np.arange(listed.size))


def test_index_keeps_the_order_asked_for(listed, rng):
    rows = rng.integers(listed.size, size=500)
    np.testing.assert_array_equal(listed.index(listed.enumerate()[rows]), rows)


def test_index_of_nothing_is_empty(listed):
    assert listed.index([]).shape == (0,)
    assert listed.index(np.empty((0, len(listed.decisions)), int)).shape == (0,)


def test_array_holds_the_architectures_in_the_order_given(space, archs, rng):
    chosen = [*some(archs, rng, 50), archs[3], archs[3]]
    for asked in (chosen, np.array(chosen)):
        np.testing.assert_array_equal(space.as_array(asked), chosen)
    assert space.as_array([]).shape == (0, len(space.decisions))
    assert space.as_array(np.empty((0, len(space.decisions)), int)).shape == (0, len(space.decisions))


def test_what_is_no_architecture_is_refused(space, archs):
    arch = archs[-1]
    wrong = [
        arch[:-1],
        (*arch, 0),
        (-1, *arch[1:]),
        (*arch[:-1], 10**6),
        (*arch[:-1], 0.5),
        (),
        None,
        "text",
        list(arch),
    ]
    for bad in wrong:
        with pytest.raises(InputError, match=space.name):
            space.as_array([archs[0], bad])
    with pytest.raises(InputError, match=space.name):
        space.as_array(np.array([arch[:-1]]))
    # The total number of decisions is right, the single lengths are not.
    with pytest.raises(InputError, match=space.name):
        space.as_array([arch[:-1], (*arch, arch[-1])])


def test_text_of_every_architecture_reads_back(space, archs):
    texts = [space.format(arch) for arch in archs]
    assert len(set(texts)) == len(archs)
    assert [space.parse(text) for text in texts] == archs


def test_white_space_around_a_text_is_allowed(space, archs):
    assert space.parse(f"\n  {space.format(archs[7])} \t\r\n") == archs[7]


def test_samples_are_uniform(space, archs, rng):
    drawn = [space.sample(rng) for _ in range(5 * len(archs))]
    if space.enumerable:
        tables = [np.bincount(space.index(drawn), minlength=space.size)]
    else:  # of a space of which every combination of options is an architecture
        options = [len(decision.options) for decision in space.decisions]
        tables = [np.bincount(values, minlength=n) for values, n in zip(np.array(drawn).T, options, strict=True)]
    assert all(chisquare(counts).pvalue > 1e-4 for counts in tables if len(counts) > 1)


def test_samples_are_reproducible(space):
    one, two, other = (np.random.default_rng(seed) for seed in (1, 1, 2))
    first = [space.sample(one) for _ in range(50)]
    assert first == [space.sample(two) for _ in range(50)]
    assert first != [space.sample(other) for _ in range(50)]


def test_architectures_are_tuples_of_python_integers(space, archs, rng):
    arch = space.sample(rng)
    for found in (arch, space.mutate(arch, rng), space.canonical(arch), *space.neighbours(arch)):
        assert type(found) is tuple
        assert {type(decision) for decision in found} == {int}


def test_neighbours_are_others_each_once_within_the_space(space, archs, rng):
    for arch in some(archs, rng):
        near = space.neighbours(arch)
        assert near
        assert arch not in near
        assert len(set(near)) == len(near)
        space.as_array(near)


def test_mutation_draws_neighbours_uniformly(space, archs, rng):
    for arch in some(archs, rng, 5):
        near = space.neighbours(arch)
        drawn = [space.mutate(arch, rng) for _ in range(50 * len(near))]
        assert set(drawn) <= set(near)
        if len(near) > 1:
            assert chisquare([drawn.count(other) for other in near]).pvalue > 1e-4


def test_mutations_are_reproducible(space, archs):
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    assert [space.mutate(a, one) for a in archs[:50]] == [space.mutate(a, two) for a in archs[:50]]


def test_mutations_lead_everywhere(listed):
    """No architecture is out of reach from the first."""
    first = tuple(listed.enumerate()[0].tolist())
    seen, edge = {first}, [first]
    while edge:
        edge = [other for arch in edge for other in listed.neighbours(arch) if other not in seen]
        edge = list(dict.fromkeys(edge))
        seen.update(edge)
    assert len(seen) == listed.size


def test_mutations_lead_from_any_architecture_to_any_other(unlisted, rng):
    """In as many steps as there are decisions, at most."""
    for _ in range(20):
        arch, goal = unlisted.sample(rng), unlisted.sample(rng)
        for _ in unlisted.decisions:
            near = [arch, *unlisted.neighbours(arch)]
            arch = min(near, key=lambda other: sum(a != b for a, b in zip(other, goal, strict=True)))
        assert arch == goal


def test_encoding_is_injective_and_float32(space, archs):
    features = space.encode(archs)
    assert features.dtype == np.float32
    assert features.shape[0] == len(archs)
    assert len(np.unique(features, axis=0)) == len(archs)
    np.testing.assert_array_equal(features[[5, 2]], space.encode([archs[5], archs[2]]))
    assert space.encode([]).shape == (0, features.shape[1])


def test_canonical_forms_are_their_own(space, archs):
    canonical = [space.canonical(arch) for arch in archs]
    space.as_array(canonical)
    assert all(space.canonical(form) == form for form in set(canonical))


def test_grammar_has_a_root_and_the_description_says_something(space):
    assert space.grammar.startswith("root ::=")
    assert space.grammar.isascii()
    assert len(space.description) > 100


def test_code_is_one_short_class_or_nothing(space):
    assert len(space.code) < 2_500
    if space.code:
        (cell,) = ast.parse(space.code).body
        assert isinstance(cell, ast.ClassDef)
        assert ast.get_docstring(cell)


def test_hostile_texts_are_refused(space, archs, rng):
    for arch in some(archs, rng, 20):
        text = space.format(arch)
        # ord + 0xFEE0 is the full-width form of a character.
        alike = [text[:i] + chr(ord(text[i]) + 0xFEE0) + text[i + 1 :] for i in range(len(text)) if text[i] > " "]
        wrong = [
            text * 2,
            text + text[-1],
            f"{text} {text}",
            f"{text}\n{text}",
            f"'{text}'",
            f"{text}.",
            *({text.swapcase()} - {text}),
        ]
        for bad in (*alike, *wrong, f"{text}\0", "\0", "", " ", text * 10_000, "é" * 100_000, "\ud800"):
            with pytest.raises(ArchitectureError) as caught:
                space.parse(bad)
            assert 10 < len(str(caught.value)) < 1000


def test_truncated_texts_are_refused(space, archs, rng):
    for arch in some(archs, rng, 20):
        text = space.format(arch)
        for end in range(len(text)):
            with pytest.raises(ArchitectureError):
                space.parse(text[:end])


@pytest.mark.parametrize("name", spaces.names())
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_text_is_an_architecture_or_an_architecture_error(name, data):
    space = spaces.get(name)
    text = space.format(space.sample(np.random.default_rng(data.draw(st.integers(0, 2**32)))))
    start, end = sorted(data.draw(st.tuples(*itertools.repeat(st.integers(0, len(text)), 2))))
    bad = data.draw(st.one_of(st.text(), st.text().map(lambda middle: text[:start] + middle + text[end:])))
    try:
        arch = space.parse(bad)
    except ArchitectureError:
        return
    space.as_array([arch])
