import re
from functools import cache

import pytest

from surrogates.spaces import spaces


def language(grammar: str) -> set[str]:
    """All texts of a grammar without repetition, by the EBNF's meaning: literals, names, choices, groups."""
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

    return rule("root")


@pytest.mark.parametrize(
    "name", ["nas_bench_201", "nas_bench_graph", *(f"trans_nas_bench_101_{of}" for of in ("micro", "macro"))]
)
def test_grammar_describes_exactly_the_texts_that_format_writes(name):
    space = spaces.get(name)
    assert language(space.grammar) == {space.format(tuple(arch)) for arch in space.enumerate().tolist()}
