"""The client before servers that answer badly, or not at all."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.llm import client
from bench.llm.client import Reply, Request
from bench.llm.models import Model
from bench.llm.serving import Server
from surrogates.errors import InputError

Complete = Callable[..., list[Reply]]
Answers = list[tuple[int, object]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What the server answers, one after another, the last one for ever: status and body."""
    monkeypatch.setattr(client, "PAUSE", 0.01)
    return []


@pytest.fixture
def server(answers: Answers, tmp_path: Path) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"object": "list", "data": [{"id": "m"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*(answers.pop(0) if len(answers) > 1 else answers[0]))

        def answer(self, status: int, body: object) -> None:
            if status == 0:
                self.connection.close()
                return
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}/v1"
        yield Server(Model(name="m", base_url=url), tmp_path / "log")
        http.shutdown()
        thread.join()


def answer(text: str | None, reason: str = "stop", usage: bool = True) -> tuple[int, object]:
    tokens = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
    body = {"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]}
    return 200, {**body, "usage": tokens if usage else None}


def test_an_answer_is_taken_with_its_tokens(server: Server, answers: Answers, complete: Complete):
    answers.append(answer("hi"))
    (reply,) = complete(server, [Request("p", 1)])
    assert reply[:3] == ("hi", 7, 3)
    assert reply.failure is None


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (answer(""), "empty"),
        (answer(None), "empty"),
        (answer("half", "length"), "cut after 96 tokens"),
        (answer("x", "abort"), r"gave up \(abort\)"),
        ((200, {"choices": []}), "empty"),
        ((400, {"message": "the prompt is too long", "code": 400}), "400: the prompt is too long"),
        ((404, b"<html>no such page</html>"), "404"),
        ((422, {}), "422"),
    ],
)
def test_a_refused_or_useless_answer_is_a_failed_reply(
    bad: tuple[int, object], says: str, server: Server, answers: Answers, complete: Complete
):
    answers.append(bad)
    (reply,) = complete(server, [Request("p", 1)])
    assert reply.failure is not None
    assert re.search(says, reply.failure)


@pytest.mark.parametrize("trouble", [(500, {}), (503, b"busy"), (429, {}), (0, None)])
def test_passing_trouble_is_waited_for(
    trouble: tuple[int, object], server: Server, answers: Answers, complete: Complete
):
    answers += [trouble, trouble, answer("hi", usage=False)]
    (reply,) = complete(server, [Request("p", 1)])
    assert (reply.text, reply.failure, reply.prompt_tokens) == ("hi", None, 0)


def test_a_request_that_breaks_a_server_that_lives_is_a_failed_reply(
    server: Server, answers: Answers, complete: Complete
):
    answers.append((500, {"message": "grammar rejected"}))
    (reply,) = complete(server, [Request("p", 1)])
    assert reply.failure is not None
    assert "500: grammar rejected" in reply.failure


def test_a_server_that_keeps_hanging_up_is_an_error_that_names_it(server: Server, answers: Answers, complete: Complete):
    answers.append((0, None))
    with pytest.raises(InputError, match=server.base_url):
        complete(server, [Request("p", 1)])


def test_a_server_of_the_users_that_is_away_for_a_while_is_waited_for(
    server: Server, answers: Answers, complete: Complete, monkeypatch: pytest.MonkeyPatch
):
    checks = iter([None, InputError("away"), InputError("away"), None])

    def ensure() -> None:
        if (problem := next(checks)) is not None:
            raise problem

    monkeypatch.setattr(server, "ensure", ensure)
    answers += [(0, None), answer("hi")]
    (reply,) = complete(server, [Request("p", 1)])
    assert (reply.text, reply.failure) == ("hi", None)
    assert list(checks) == []


def test_requests_share_the_check_of_a_server_that_is_away(
    server: Server, answers: Answers, complete: Complete, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(client, "PAUSE", 0.05)
    calls = []

    def ensure() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise InputError("away")

    monkeypatch.setattr(server, "ensure", ensure)
    answers.append((0, None))
    with pytest.raises(InputError, match="away"):
        complete(server, [Request("p", seed) for seed in range(5)])
    assert len(calls) <= client.ATTEMPTS


def test_a_server_of_the_users_that_does_not_come_back_is_an_error(
    server: Server, answers: Answers, complete: Complete, monkeypatch: pytest.MonkeyPatch
):
    checks = iter([None])

    def ensure() -> None:
        if next(checks, "gone") == "gone":
            raise InputError("it is gone")

    monkeypatch.setattr(server, "ensure", ensure)
    answers.append((0, None))
    with pytest.raises(InputError, match="it is gone"):
        complete(server, [Request("p", 1)])


def test_a_server_that_is_not_there_is_an_error_that_names_it(complete: Complete, tmp_path: Path):
    nobody = Server(Model(name="m", base_url="http://127.0.0.1:9/v1"), tmp_path / "log")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/v1"):
        complete(nobody, [Request("p", 1)])
