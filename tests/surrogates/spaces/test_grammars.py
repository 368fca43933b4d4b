import re
from functools import cache

import numpy as np
import pytest

from surrogates.spaces import spaces


def language(grammar: str, start: str = "root") -> set[str]:
    """All texts of a grammar's rule without repetition, by the EBNF's meaning: literals, names, choices, groups."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.strip().splitlines())

    def choices(tokens: list[str]) -> set[str]:
        found = sequence(tokens)
        while tokens and tokens[0] == "|":
            tokens.pop(0)
            found |= sequence(tokens)
        return found

    def sequence(tokens: list[str]) -> set[str]:
        found = {""}
        while tokens and tokens[0] not in "|)":
            token = tokens.pop(0)
            if token == "(":
                part = choices(tokens)
                assert tokens.pop(0) == ")"
            else:
                part = {token[1:-1]} if token.startswith('"') else rule(token)
            found = {start + end for start in found for end in part}
        return found

    @cache
    def rule(name: str) -> set[str]:
        tokens = re.findall(r'"[^"]*"|\w+|[|()]', rules[name])
        assert "".join(tokens) == re.sub(r' (?=([^"]*"[^"]*")*[^"]*$)', "", rules[name])
        found = choices(tokens)
        assert not tokens
        return found

    return rule(start)


@pytest.mark.parametrize(
    "name", ["nas_bench_201", "nas_bench_graph", *(f"trans_nas_bench_101_{of}" for of in ("micro", "macro"))]
)
def test_grammar_describes_exactly_the_texts_that_format_writes(name):
    space = spaces.get(name)
    assert language(space.grammar) == {space.format(tuple(arch)) for arch in space.enumerate().tolist()}


def test_grammar_of_darts_joins_the_nodes_that_format_writes():
    space, rng = spaces.get("darts"), np.random.default_rng(0)
    assert space.grammar.startswith(
        'root ::= "normal=" cell " reduce=" cell\ncell ::= node2 "+" node3 "+" node4 "+" node5\n'
    )
    written = [space.format(space.sample(rng)).removeprefix("normal=").split(" reduce=") for _ in range(20_000)]
    for place, node in enumerate((2, 3, 4, 5)):
        nodes = {cell.split("+")[place] for text in written for cell in text}
        assert language(space.grammar, f"node{node}") == nodes
        assert len(nodes) == node * (node - 1) // 2 * 8**2
