"""Holds the processes of a server, and ends them all when it is told to, or when the process that started it is gone.

Runs as a script in a session of its own: `python watchdog.py PARENT COMMAND...`, where PARENT is the process number of
the one who starts it. SIGTERM tells it to end the server. It uses nothing but the standard library.
"""

import os
import signal
import subprocess
import sys
import time

GRACE = 10.0
"""Seconds a server has to end by itself before it is killed."""

TIDY = 1.0
"""Seconds its helpers have after it, to remove shared memory and sockets, before they are killed."""

TICK = 0.1
"""Seconds between looks."""


def hold(parent: int, command: list[str]) -> None:
    """Runs the command until it ends, SIGTERM comes or the parent is gone; then kills what is left of its group.

    Args:
        parent: Process number of the parent.
        command: The server's command line.
    """
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while server.poll() is None and not told and os.getppid() == parent:
        time.sleep(TICK)
    if server.returncode is not None:
        sys.stderr.write(f"the server ended by itself with exit code {server.returncode}\n")
        sys.stderr.flush()
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while server.poll() is None and time.monotonic() < until:
        time.sleep(TICK)
    time.sleep(TIDY)
    os.killpg(0, signal.SIGKILL)  # This process as well: it leads the group.


if __name__ == "__main__":
    hold(int(sys.argv[1]), sys.argv[2:])
