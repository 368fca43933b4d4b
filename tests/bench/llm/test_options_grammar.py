"""The grammar of allowed options, in the engine that a served model's answers are constrained by."""

import json

import numpy as np
import pytest

from bench.llm import environment
from surrogates.spaces import spaces
from surrogates.subspace import format_options, options_grammar, parse_options

ACCEPTED = """
import json, sys
from xgrammar.testing import _is_grammar_accept_string
grammar, texts = json.loads(sys.argv[1])
print(json.dumps([_is_grammar_accept_string(grammar, text) for text in texts]))
"""


@pytest.mark.llm
@pytest.mark.parametrize("name", spaces.names())
def test_the_grammar_allows_texts_that_can_be_read_alone(name, setup_done, tmp_path):
    space, rng = spaces.get(name), np.random.default_rng(0)
    texts = []
    for most in (1, 2, 2, 3, 3, 4):
        chosen = tuple(tuple(sorted({int(rng.integers(len(d.options))) for _ in range(most)})) for d in space.decisions)
        texts.append(format_options(space, chosen))
    whole = texts[2]
    texts += [whole[:-1], whole * 2, whole.replace(": ", ":", 1), whole.replace("\n", ", 7\n", 1), ""]
    asked = json.dumps([options_grammar(space, 2), texts])
    said = environment.run([environment.python(), "-I", "-c", ACCEPTED, asked], tmp_path / "log", "failed")
    readable = [None not in parse_options(space, text, 2) for text in texts[:6]]
    assert json.loads(said.splitlines()[-1]) == [*readable, *[False] * 5]
    assert True in readable
    assert False in readable or name == "darts"
