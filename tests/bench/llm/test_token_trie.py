"""The trie of token sequences against sets of prefixes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.effects import Sampling
from bench.llm.token_trie import TokenTrie
from surrogates.errors import InputError

END = 5
Sequences = list[tuple[int, ...]]
sequences = st.lists(
    st.lists(st.integers(0, 3), max_size=6).map(lambda tokens: (*tokens, END)), min_size=1, max_size=25, unique=True
)


def prefixes_of(trie: TokenTrie) -> Sequences:
    """Returns the prefix that each node stands for."""
    found: Sequences = [()]
    for token, parent in zip(trie.tokens[1:].tolist(), trie.parents[1:].tolist(), strict=True):
        found.append((*found[parent], token))
    return found


@given(sequences)
def test_there_is_one_node_for_each_prefix_in_depth_first_order(given: Sequences):
    trie = TokenTrie.build(given)
    found = prefixes_of(trie)
    assert found == sorted({sequence[:length] for sequence in given for length in range(len(sequence) + 1)})
    assert trie.depths.tolist() == [len(prefix) for prefix in found]
    for sequence, path in zip(given, trie.paths.tolist(), strict=True):
        assert [found[node] for node in path if node] == [sequence[: n + 1] for n in range(len(sequence))]


@given(sequences, st.data())
def test_ancestors_and_subtrees_are_those_of_the_prefixes(given: Sequences, data: st.DataObject):
    trie = TokenTrie.build(given)
    found = prefixes_of(trie)
    everything = np.arange(trie.size)
    expected = [[prefix[: len(root)] == root for root in found] for prefix in found]
    assert trie.within(everything, everything).tolist() == expected
    for node, prefix in enumerate(found):
        assert [found[a] for a in trie.ancestors(node)] == [prefix[:n] for n in range(1, len(prefix))]
    marked = np.array(data.draw(st.lists(st.booleans(), min_size=trie.size, max_size=trie.size)))
    assert trie.leading_to(marked).tolist() == [
        node for node in everything if any(marked[below] and expected[below][node] for below in everything)
    ]


@given(sequences, st.integers(0, 2**32))
def test_probabilities_are_products_of_softmaxes_over_the_tokens_that_may_follow(given: Sequences, seed: int):
    trie = TokenTrie.build(given)
    found = prefixes_of(trie)
    logits = np.random.default_rng(seed).normal(scale=20, size=trie.size)
    logit = dict(zip(found, logits.tolist(), strict=True))
    logs = trie.sums(trie.log_probabilities(logits, Sampling()))
    assert math.fsum(np.exp(logs)) == pytest.approx(1)
    for sequence, log in zip(given, logs.tolist(), strict=True):
        expected = 0.0
        for length in range(len(sequence)):
            allowed = {other[: length + 1] for other in given if other[:length] == sequence[:length]}
            expected += logit[sequence[: length + 1]] - np.logaddexp.reduce([logit[prefix] for prefix in allowed])
        assert log == pytest.approx(expected, abs=1e-9)


@given(sequences)
def test_a_token_without_alternative_costs_nothing(given: Sequences):
    trie = TokenTrie.build(given)
    logs = trie.log_probabilities(np.linspace(-9, 9, trie.size), Sampling())
    assert (logs[1:][trie.children[trie.parents[1:]] == 1] == 0).all()


@pytest.mark.parametrize("bad", [[], [()], [(1, 2), (1, 2)], [(1, 2), (1, 2, 3)]])
def test_sequences_that_cannot_be_told_apart_are_refused(bad: Sequences):
    with pytest.raises(InputError, match="token sequences"):
        TokenTrie.build(bad)
