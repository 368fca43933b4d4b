"""The watchdog, on processes that are cheap to start."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.llm import watchdog

Members = Callable[[int], list[int]]
TREE = "sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000' & touch {}; wait"


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def start(tmp_path: Path) -> subprocess.Popen[bytes]:
    """Starts, through a parent of its own, a watchdog over a server with a child that is deaf to SIGTERM."""
    script = (
        "import os, subprocess, sys\n"
        "dog = subprocess.Popen([sys.executable, sys.argv[1], str(os.getpid()), 'sh', '-c', sys.argv[2]],"
        " start_new_session=True)\n"
        "print(dog.pid, flush=True)\n"
        "dog.wait()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, watchdog.__file__, TREE.format(tmp_path / "up")], stdout=subprocess.PIPE
    )


@pytest.mark.parametrize("cause", ["parent killed", "told", "server ended"])
def test_all_processes_of_the_server_end_with_it(cause: str, members: Members, tmp_path: Path):
    with start(tmp_path) as parent:
        assert parent.stdout
        group = int(parent.stdout.readline())
        wait_for((tmp_path / "up").exists)
        wait_for(lambda: len(members(group)) >= 4)
        if cause == "parent killed":
            parent.kill()
        elif cause == "told":
            subprocess.run(["kill", "-TERM", str(group)], check=True)
        else:
            server = int(Path(f"/proc/{group}/task/{group}/children").read_text().split()[0])
            subprocess.run(["kill", f"-{signal.SIGKILL:d}", str(server)], check=True)
        wait_for(lambda: members(group) == [])
        parent.wait(10)
