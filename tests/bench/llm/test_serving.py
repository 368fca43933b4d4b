"""Servers that cannot start, and what the weights are worth: nothing here needs a running server."""

import socket
from pathlib import Path

import pytest

from bench.llm import environment, models, weights
from bench.llm.models import Model
from bench.llm.serving import HOST, Server
from surrogates.errors import InputError

pytestmark = [pytest.mark.llm, pytest.mark.usefixtures("setup_done")]


def test_a_server_that_dies_at_once_names_its_log_and_is_not_tried_again(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "no_such_model"}')
    server = Server(Model(name="broken", path=tmp_path), tmp_path / "logs" / "broken.log")
    with pytest.raises(InputError, match=r"broken\.log") as raised:
        server.ensure()
    assert "no_such_model" in str(raised.value)
    assert server.process_group is None
    with pytest.raises(InputError) as again:
        server.ensure()
    assert again.value is raised.value


def test_a_taken_port_is_named(tmp_path: Path):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            Server(models.get("smollm2"), tmp_path / "log", port).start()


def test_gemma_reads_english_with_the_first_token_that_its_tokenizer_was_given_back(tmp_path: Path):
    # English carries 0.6 to 1.3 bits a character (Shannon 1951), so a good model needs 1.9 to 4 nats for a token of 4.5
    # characters; a uniform guess among 262,144 tokens costs 12.5 nats.
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import dequantise\n"
        "tokenizer = dequantise.AutoTokenizer.from_pretrained(sys.argv[2])\n"
        "print(tokenizer.convert_ids_to_tokens(tokenizer('a').input_ids)[0])\n"
        "print(dequantise.negative_log_likelihood(Path(sys.argv[2])))"
    )
    code, gemma = Path(weights.__file__).parent, weights.folder(models.get("gemma3"))
    said = environment.run([environment.python(), "-I", "-c", script, code, gemma], tmp_path / "log", "failed")
    first, nats = said.split()[-2:]
    assert first == "<bos>"
    assert 1.5 < float(nats) < 4.0
