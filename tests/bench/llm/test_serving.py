"""Servers that cannot start."""

import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.llm import models, serving
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


def test_a_server_can_be_stopped_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "command_line", lambda *_: ([sys.executable, "-c", "import time; time.sleep(99)"], {}))
    server = Server(models.get("smollm2"), tmp_path / "log")
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(server.ensure)
        while server.process_group is None:
            time.sleep(0.01)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < serving.START_SECONDS / 10
        with pytest.raises(InputError, match="stopped while it started"):
            starting.result()
    assert server.process_group is None
    assert server._failure is None  # it can be started again


def test_a_taken_port_is_named(tmp_path: Path):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            Server(models.get("smollm2"), tmp_path / "log", port).start()
