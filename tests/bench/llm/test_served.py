"""What a real vLLM server of real weights does, and what the client and a study make of it.

All tests with a running server are in this file, which one worker runs: two servers on one CPU wait for each other.
"""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from bench.effects import Sampling
from bench.llm import models, weights
from bench.llm.client import Reply, Request, ask
from bench.llm.models import Model
from bench.llm.serving import HOST, Server
from surrogates.errors import InputError
from surrogates.spaces import spaces

pytestmark = [pytest.mark.llm, pytest.mark.usefixtures("setup_done")]

Complete = Callable[..., list[Reply]]
Members = Callable[[int], list[int]]


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
    assert [r.text for r in complete(server, cell_requests[:2], at_once=1)] == texts[:2]
    assert [r.text for r in complete(server, cell_requests[::-1], at_once=5)] == texts[::-1]


def test_another_seed_gives_another_text(server: Server, complete: Complete, cell_requests: list[Request]):
    same_prompt = [cell_requests[0]._replace(seed=seed) for seed in range(8)]
    assert len({r.text for r in complete(server, same_prompt)}) > 4


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


def test_a_prompt_may_go_to_the_model_without_its_chat_template(
    server: Server, complete: Complete, cell_requests: list[Request], tmp_path: Path
):
    space = spaces.get("nas_bench_201")
    base = Model(name="base", base_url=server.base_url, served_name="smollm2", chat=False)
    together = complete(Server(base, tmp_path / "log"), cell_requests[:3])
    alone = complete(Server(base, tmp_path / "log"), cell_requests[:1])
    assert [r.failure for r in together] == [None] * 3
    assert all(space.parse(r.text) for r in together)
    assert alone[0].text == together[0].text
    chatted = complete(server, cell_requests[:1])
    assert together[0].prompt_tokens < chatted[0].prompt_tokens


STUDY = """
name = "asking"
[[grid]]
methods = ["genius"]
models = ["smollm2"]
benchmarks = { nas-bench-graph = ["cora"] }
seeds = 2
budget = { evaluations = 7 }
"""

ANSWERS = 2 * 7

RUNNING_SERVER = """
[models.smollm2]
base_url = "{url}"
revision = "{revision}"
chat = true
"""


def start(study: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "nascent", "run", study, "--out", out]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(study: Path, out: Path) -> None:
    process = start(study, out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def trajectories(out: Path) -> pd.DataFrame:
    subprocess.run([sys.executable, "-m", "nascent", "export", out, "--parquet", out / "all.parquet"], check=True)
    return pd.read_parquet(out / "all.parquet")


def answers(out: Path) -> list[tuple[object, ...]]:
    """Returns the answers that are journalled so far, in the order they were written."""
    if (out / "journal.sqlite").exists():
        db = sqlite3.connect(out / "journal.sqlite")
        with suppress(sqlite3.OperationalError):  # before the tables are made
            return db.execute("SELECT * FROM completions").fetchall()
    return []


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < until, "nothing happened for 200 s"
        time.sleep(0.02)


def group_of_server(process: "subprocess.Popen[str]") -> int:
    """Returns the number of the process group of the server that a study has started."""
    (watchdog,) = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return int(watchdog)


@pytest.fixture(scope="module")
def uninterrupted(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Returns the study and the folder of its run on a server that was running already."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    study, out = folder / "study.toml", folder / "out"
    revision = weights.revision(models.get("smollm2"))
    study.write_text(STUDY + RUNNING_SERVER.format(url=server.base_url, revision=revision))
    finish(study, out)
    return study, out


def test_a_study_survives_the_death_of_its_server_and_its_own(
    uninterrupted: tuple[Path, Path], members: Members, tmp_path: Path
):
    study, killed = tmp_path / "study.toml", tmp_path / "killed"
    study.write_text(STUDY)
    process = start(study, killed)
    wait_for(lambda: len(answers(killed)) >= 3)
    first = answers(killed)
    group = group_of_server(process)
    for member in set(members(group)) - {group}:
        os.kill(member, signal.SIGKILL)
    wait_for(lambda: len(answers(killed)) >= len(first) + 4)
    assert members(group) == []

    group = group_of_server(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: members(group) == [])
    before = answers(killed)
    assert len(first) < len(before) < ANSWERS

    finish(uninterrupted[0], killed)  # The same study and weights, on a server that runs already.
    after = answers(killed)
    assert [row for row in after if row[:3] in {b[:3] for b in before}] == sorted(before)
    assert len({row[:3] for row in after}) == len(after) == ANSWERS
    pd.testing.assert_frame_equal(trajectories(uninterrupted[1]), trajectories(killed))


def test_what_variants_of_a_method_ask_alike_is_asked_once(uninterrupted: tuple[Path, Path], tmp_path: Path):
    study, out = tmp_path / "study.toml", tmp_path / "out"
    variants = '["genius", { name = "genius", history = 1 }]'
    text = uninterrupted[0].read_text().replace('["genius"]', variants)
    study.write_text(text.replace("seeds = 2", "seeds = 1").replace("evaluations = 7", "evaluations = 3"))
    finish(study, out)
    rows = pd.DataFrame(answers(out)).iloc[:, [0, 1, 6, 12]].set_axis(["run", "step", "prompt_hash", "seconds"], axis=1)
    asked = rows.groupby("prompt_hash")["seconds"]
    assert sorted(asked.size()) == [1, 1, 2, 2]  # the history of the third question is one of one, or of two
    assert (asked.nunique() == 1).all()


def test_a_variant_that_comes_later_is_given_the_answers_that_the_journal_holds(
    uninterrupted: tuple[Path, Path], tmp_path: Path
):
    study, out = tmp_path / "study.toml", shutil.copytree(uninterrupted[1], tmp_path / "out")
    variants = '["genius", { name = "genius", history = 100 }]'  # as long as the history of 7 evaluations ever is
    study.write_text(STUDY.replace('["genius"]', variants))
    finish(study, out)
    assert len(answers(out)) == 2 * ANSWERS
    assert not (out / "logs").exists()  # no server was started


def test_a_finished_study_is_replayed_without_a_model(uninterrupted: tuple[Path, Path], tmp_path: Path):
    _, whole = uninterrupted
    study, out = tmp_path / "study.toml", shutil.copytree(whole, tmp_path / "out")
    study.write_text(STUDY)
    db = sqlite3.connect(out / "journal.sqlite", isolation_level=None)
    db.execute("DELETE FROM evaluations")
    db.execute("UPDATE runs SET status='running'")
    db.close()
    finish(study, out)
    assert not (out / "logs").exists()
    pd.testing.assert_frame_equal(trajectories(out), trajectories(whole))


def test_a_stopped_server_leaves_no_process_and_no_port(server: Server, members: Members):
    # The last test of the file: it ends the server that the others share.
    group = server.process_group
    assert group is not None
    assert len(members(group)) >= 3
    server.stop()
    assert members(group) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, int(server.base_url.split(":")[2].split("/")[0])), timeout=5)
