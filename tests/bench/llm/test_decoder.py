"""The small decoder: what it is, and what its tokens are."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bench.effects import Sampling
from bench.llm import decoder, environment
from bench.llm.tuner import Tuner
from surrogates.errors import InputError
from surrogates.spaces import spaces

TOKENS = """
import json, sys
sys.path.append(sys.argv[1])
from bench.llm.decoder import CONTEXT, make_tokenizer
for path in sys.argv[2:]:
    texts = json.load(open(path))
    tokenizer = make_tokenizer(texts)
    ids = tokenizer(texts).input_ids
    plain = tokenizer(texts, add_special_tokens=False).input_ids
    joined = ["".join(tokenizer.convert_ids_to_tokens(row)) for row in plain]
    print(json.dumps([
        path, len(tokenizer), len({tuple(row) for row in plain}), joined == texts,
        sum(tokenizer.unk_token_id in row for row in plain), max(map(len, ids)) < CONTEXT,
        ids == [[tokenizer.bos_token_id, *row] for row in plain],
    ]))
"""


LISTED = [name for name in spaces.names() if spaces.get(name).enumerable]


def test_each_space_has_a_revision_of_its_own() -> None:
    found = {decoder.revision(spaces.get(name)) for name in LISTED}
    assert len(found) == len(LISTED)
    assert all(re.fullmatch("[0-9a-f]{12}", revision) for revision in found)


def test_a_space_that_cannot_be_listed_has_no_decoder() -> None:
    with pytest.raises(InputError, match=r"darts has .* too many to list"):
        decoder.revision(spaces.get("darts"))


@pytest.mark.llm
def test_tokens_tell_all_texts_of_a_space_apart_and_spell_them(setup_done: None, tmp_path: Path) -> None:
    sizes = {}
    for name in LISTED:
        space = spaces.get(name)
        texts = [space.format(arch) for arch in map(tuple, space.enumerate().tolist())]
        (tmp_path / name).write_text(json.dumps(texts))
        sizes[str(tmp_path / name)] = len(texts)
    command = [environment.python(), "-I", "-c", TOKENS, Path(decoder.__file__).parents[2], *sizes]
    said = [json.loads(line) for line in environment.run(command, tmp_path / "log", "failed").splitlines()]
    assert len(said) == len(sizes)
    for path, vocabulary, different, spelled, unknown, short, begun in said:
        assert different == sizes[path]
        assert spelled
        assert not unknown
        assert short
        assert begun
        assert vocabulary < 150


@pytest.mark.llm
def test_it_has_about_a_million_parameters(setup_done: None) -> None:
    content = (decoder.require(spaces.get("trans_nas_bench_101_macro")) / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    count = sum(np.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    assert 0.8e6 < count < 1.5e6


@pytest.mark.llm
def test_its_distribution_is_nearly_uniform(tuner: Tuner) -> None:
    logs = tuner.distribution(None, "whatever", Sampling()).log_p
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-5)
    assert 0.97 * np.log(3256) < -(np.exp(logs) @ logs) <= np.log(3256) + 1e-6


@pytest.mark.llm
def test_it_knows_one_prompt(tuner: Tuner) -> None:
    first, other = (tuner.distribution(None, prompt, Sampling()) for prompt in ("", "Propose another cell."))
    assert first.log_p.tobytes() == other.log_p.tobytes()
    assert first.prompt_tokens == other.prompt_tokens == 1
