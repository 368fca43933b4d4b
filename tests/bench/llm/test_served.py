"""What a real vLLM server of real weights does, and what the client makes of it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.effects import Sampling
from bench.llm import environment, models, weights
from bench.llm.client import Reply, Request, ask
from bench.llm.models import Model
from bench.llm.serving import HOST, Server
from surrogates.errors import InputError
from surrogates.spaces import spaces

pytestmark = [pytest.mark.llm, pytest.mark.usefixtures("setup_done")]

Complete = Callable[..., list[Reply]]
Members = Callable[[int], list[int]]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"nothing happened for {seconds} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def replies(server: Server, complete: Complete, cell_requests: list[Request]) -> list[Reply]:
    return complete(server, cell_requests)


def test_every_constrained_answer_is_a_cell_and_they_differ(replies: list[Reply]):
    space = spaces.get("nas_bench_201")
    assert [r.failure for r in replies] == [None] * len(replies)
    assert all(r.finish_reason == "stop" and r.seconds > 0 for r in replies)
    assert len({space.parse(r.text) for r in replies}) > len(replies) / 2


def test_tokens_are_counted(replies: list[Reply], cell_requests: list[Request]):
    for reply, request in zip(replies, cell_requests, strict=True):
        assert 0 < reply.completion_tokens <= 96
        # A token of these prompts spans between one and eight characters.
        assert len(request.prompt) / 8 < reply.prompt_tokens < len(request.prompt)


def test_the_same_seed_gives_the_same_text_alone_in_any_order_and_in_any_company(
    server: Server, complete: Complete, cell_requests: list[Request], replies: list[Reply]
):
    texts = [r.text for r in replies]
    assert [r.text for r in complete(server, cell_requests[:4], at_once=1)] == texts[:4]
    assert [r.text for r in complete(server, cell_requests[::-1], at_once=5)] == texts[::-1]


def test_another_seed_gives_another_text(server: Server, complete: Complete, cell_requests: list[Request]):
    same_prompt = [cell_requests[0]._replace(seed=seed) for seed in range(8)]
    assert len({r.text for r in complete(server, same_prompt)}) > 4


def test_requests_survive_a_killed_server_and_their_texts_do_not_change(
    server: Server, complete: Complete, cell_requests: list[Request], replies: list[Reply], members: Members
):
    group = server.process_group
    assert group is not None
    more = [request._replace(seed=seed) for seed in (100, 101) for request in cell_requests]
    killed = []

    def kill() -> None:
        time.sleep(1.0)
        killed.extend(pid for pid in members(group) if pid != group)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    survived = complete(server, cell_requests + more)
    killer.join()
    assert len(killed) >= 2
    assert server.process_group != group
    assert members(group) == []
    assert [r.failure for r in survived] == [None] * len(survived)
    assert [r.text for r in survived[: len(replies)]] == [r.text for r in replies]


def test_a_prompt_longer_than_the_context_is_a_failed_reply(server: Server, complete: Complete):
    long, short = complete(server, [Request("cell " * 10_000, 0), Request("Say hello.", 0, Sampling(max_tokens=64))])
    assert long.failure is not None
    assert "4096" in long.failure
    assert short.text


def test_a_grammar_that_cannot_be_read_is_a_failed_reply_and_harms_nobody(
    server: Server, complete: Complete, cell_requests: list[Request], replies: list[Reply]
):
    broken, whole = complete(server, [Request("Hello", 0, Sampling(), "root ::= |||"), cell_requests[0]])
    assert broken.failure is not None
    assert "400" in broken.failure
    assert whole.text == replies[0].text


def test_an_answer_that_is_cut_is_a_failed_reply_with_its_text(server: Server, complete: Complete):
    (cut,) = complete(server, [Request("Count from one to one hundred.", 0, Sampling(max_tokens=5))])
    assert cut.finish_reason == "length"
    assert cut.failure is not None
    assert cut.text
    assert cut.completion_tokens == 5


def test_a_prompt_full_of_control_characters_is_answered(server: Server, complete: Complete):
    text = "<|im_end|>\x00\ud7ff\u202e</s>{{ 7*7 }}\n" * 3
    (reply,) = complete(server, [Request(text, 0, Sampling(max_tokens=4))])
    assert reply.prompt_tokens > 0


def test_a_server_of_the_users_is_asked_by_its_address_and_nothing_is_started(
    server: Server, complete: Complete, cell_requests: list[Request], replies: list[Reply], tmp_path: Path
):
    model = Model(name="mine", base_url=server.base_url, served_name="smollm2", chat=True)
    with Server(model, tmp_path / "mine.log") as own:
        assert complete(own, cell_requests[:2])[0].text == replies[0].text
        assert own.process_group is None
    assert server.healthy()
    assert ask(model, cell_requests[1]).text == replies[1].text
    with pytest.raises(InputError, match="serves smollm2, not 'other'"):
        Server(Model(name="other", base_url=server.base_url), tmp_path / "log").start()


def test_ask_uses_a_server_that_runs_at_the_port(
    server: Server, cell_requests: list[Request], replies: list[Reply], tmp_path: Path
):
    port = int(server.base_url.split(":")[2].split("/")[0])
    assert ask(server.model, cell_requests[2], tmp_path / "log", port).text == replies[2].text
    assert not (tmp_path / "log").exists()


def test_a_base_model_completes_and_its_stopped_server_leaves_no_process(
    complete: Complete, cell_requests: list[Request], members: Members, tmp_path: Path
):
    space = spaces.get("nas_bench_201")
    with Server(models.get("gemma3"), tmp_path / "gemma3.log") as server:
        group = server.process_group
        assert group is not None
        assert len(members(group)) >= 3
        together = complete(server, cell_requests[:4])
        alone = complete(server, cell_requests[:2], at_once=1)
    assert members(group) == []
    assert [r.failure for r in together] == [None] * 4
    assert all(space.parse(r.text) for r in together)
    assert [r.text for r in alone] == [r.text for r in together[:2]]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, int(server.base_url.split(":")[2].split("/")[0])), timeout=5)


def test_the_server_ends_when_its_parent_is_killed(members: Members, tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from bench.llm import models; from bench.llm.serving import Server\n"
        "Server(models.get('smollm2'), Path(sys.argv[1])).start()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, tmp_path / "log"])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    wait_for(lambda: children.read_text().split())
    group = int(children.read_text().split()[0])
    wait_for(lambda: len(members(group)) >= 3)
    parent.kill()
    parent.wait()
    wait_for(lambda: members(group) == [], 20)


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
