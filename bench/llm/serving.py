"""Starts, watches and stops a vLLM server; or uses an OpenAI-compatible server of the user's."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from bench.llm import environment, weights
from bench.llm.models import Model
from surrogates.errors import InputError

HOST = "127.0.0.1"

DEFAULT_PORT = 8000
"""Where `nascent llm serve` listens, and where `nascent llm ask` looks first."""

RUNNING = 32
"""Requests that the server works on at once on a CPU."""

RESTARTS = 3
"""How often a server that died is started again."""

API_SERVER = "from vllm.entrypoints.launchers.api_server.entry import main; main()"
"""Starts vLLM's server; as a command, because a module would be imported again by each of its child processes."""

CPU_FLAGS = (
    "--enforce-eager",
    "--max-num-seqs",
    str(RUNNING),
    # bfloat16 is a quarter faster, but there the text of a seeded request depends on what it is batched with.
    "--dtype",
    "float32",
    # A seeded request whose prompt is read in chunks kills vLLM's CPU engine ("CPU Generator does not use offset").
    "--no-enable-chunked-prefill",
    # The smallest that vLLM's CPU attention takes: prompts that begin alike are read once, in whole blocks.
    "--block-size",
    "32",
    # The engine computes in its own process: a worker of its own would import vLLM once more, ten seconds.
    "--distributed-executor-backend",
    "uni",
)
"""Flags of vLLM on a CPU."""

CPU_VARIABLES = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    # Without this, vLLM gives the engine a worker all the same.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": str(os.cpu_count()),
}
"""Environment variables of vLLM on a CPU: GB for keys and values, who computes, and with how many threads."""

PREFILL = 8192
"""Prompt tokens that are read in one step; without chunks, at least the longest prompt."""

START_SECONDS = 1200.0
"""After this long without an answer a starting server counts as stuck."""

STOP_SECONDS = 15.0
"""After this long a server that should stop is killed; longer than the watchdog's patience."""


class Server:
    """A server of one model: vLLM on this machine, or the user's own (a model with a `base_url`), which is only asked.

    It can be used as a context manager. A vLLM server ends with this process, even if that is killed.

    Args:
        model: The model.
        log: File that the server's output is appended to.
        port: Port to listen on; None: a free one.

    Attributes:
        folder: Folder of the weights that `load` put in place of the model's own; None: there was no such call.
    """

    def __init__(self, model: Model, log: Path, port: int | None = None) -> None:
        self.model, self.log = model, Path(log)
        self.folder: Path | None = None
        self._wanted_port, self._port = port, port
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._failure: InputError | None = None
        self._log_start = 0
        self._lock, self._stopping = threading.Lock(), threading.Event()

    @property
    def base_url(self) -> str:
        """Address of the OpenAI interface; it may change with a restart."""
        return self.model.base_url or f"http://{HOST}:{self._port}/v1"

    @property
    def served_name(self) -> str:
        """What the server calls the model."""
        return self.model.served_name or self.model.name

    @property
    def process_group(self) -> int | None:
        """Number of the group that all processes of the server are in; None: nothing was started."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises:
            InputError: The model is not set up, the port is taken, the server ended (the message names the log), or
                the user's server does not answer or does not serve the model.
        """
        with self._lock:
            self._start()

    def ensure(self) -> None:
        """Makes sure that the server answers: starts it if it does not, up to `RESTARTS` times again.

        Raises:
            InputError: It cannot be started, or was started again too often; the message names the log. Once raised,
                each further call raises it at once.
        """
        with self._lock:
            if self.model.base_url:
                self._check_own()
                return
            if self._failure:
                raise self._failure
            if self.healthy():
                return
            try:
                if self._process:
                    self._restart()
                else:
                    self._start()
            except InputError as error:
                if not self._stopping.is_set():
                    self._failure = error
                raise

    def load(self, folder: Path) -> None:
        """Serves the weights of a folder from now on; call it while no request is under way.

        A server that runs reads them in place, in a second. If it cannot, it is stopped, and `ensure` starts it anew.

        Args:
            folder: Folder of a model that differs in its weights alone; it must stay there while it is served.

        Raises:
            InputError: The server is the user's own.
        """
        if self.model.base_url:
            raise InputError(
                f"model {self.model.name!r}: the server at {self.base_url} is yours and cannot be given tuned weights; "
                "name the model by `path` or `hub`"
            )
        with self._lock:
            self.folder = folder
            if self._process and not self._reload(folder):
                self._stop()

    def stop(self) -> None:
        """Ends the server and all its processes, also while it starts; a server of the user's is left alone."""
        self._stopping.set()  # a start under way, which has the lock, gives up
        with self._lock:
            self._stopping.clear()
            self._stop()

    def wait(self) -> None:
        """Waits until the server ends."""
        if self._process:
            self._process.wait()

    def healthy(self) -> bool:
        """Returns whether the vLLM server runs and says that it is well."""
        if self._process is None or self._process.poll() is not None:
            return False
        try:
            return self._put("GET", "/health", timeout=60)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _put(self, verb: str, path: str, body: str = "", timeout: float = START_SECONDS) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=timeout)
        try:
            connection.request(verb, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _reload(self, folder: Path) -> bool:
        """Makes the running server read weights in place; returns whether it did."""
        call = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        try:
            if self._put("POST", "/collective_rpc", json.dumps(call))[0] != 200:
                return False
            # What is remembered of prompts was computed with the weights before.
            status, answer = self._put("POST", "/reset_prefix_cache")
            return status == 200 and json.loads(answer) == {"success": True}
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def _start(self) -> None:
        if self.model.base_url:
            self._check_own()
            return
        if self._process and self._process.poll() is None:
            return
        self._port = _check_port(self._wanted_port)
        command, variables = command_line(self.model, self._port, self.folder)
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                log.write(f"$ {' '.join(command)}\n".encode())
                log.flush()
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    [sys.executable, "-I", str(Path(__file__).with_name("watchdog.py")), str(os.getpid()), *command],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=variables,
                    cwd=self.log.parent, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise InputError(f"{self.log}: {error.strerror}; the server writes its log there") from error
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._stop()
            raise

    def _restart(self) -> None:
        self._stop()
        if self._restarts >= RESTARTS:
            raise InputError(
                f"the server of {self.model.name!r} died after {RESTARTS} restarts; the log {self.log} ends:\n"
                f"{environment.log_tail(self.log, self._log_start)}"
            )
        self._restarts += 1
        self._start()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        while not self.healthy():
            if process.poll() is not None:
                problem = "ended while it started"
            elif time.monotonic() > until:
                problem = f"did not answer within {START_SECONDS:.0f} s"
            elif self._stopping.is_set():
                problem = "was stopped while it started"
            else:
                time.sleep(0.1)
                continue
            raise InputError(
                f"the server of {self.model.name!r} {problem}; the log {self.log} ends:\n"
                f"{environment.log_tail(self.log, self._log_start)}"
            )

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            # The watchdog kills its whole group; this is for the case that somebody killed the watchdog.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _check_own(self) -> None:
        try:
            with urllib.request.urlopen(f"{self.base_url.rstrip('/')}/models", timeout=30) as answer:
                served = [str(model["id"]) for model in json.load(answer)["data"]]
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
            raise InputError(
                f"model {self.model.name!r}: no OpenAI-compatible server answers at base_url {self.base_url} ({error})"
            ) from error
        if self.served_name not in served:
            raise InputError(
                f"model {self.model.name!r}: the server at {self.base_url} serves {', '.join(served) or 'nothing'}, "
                f"not {self.served_name!r}; set served_name"
            )


def command_line(model: Model, port: int, folder: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Returns vLLM's command line and environment variables for a model.

    Args:
        model: The model; its weights are on this machine.
        port: Port to listen on.
        folder: Folder of its weights, which the server can be told to replace; None: the model's own, for good.

    Raises:
        InputError: vLLM's environment or the model is not set up.
    """
    command = [
        str(environment.python()), "-I", "-c", API_SERVER,
        "--model", str(folder or weights.require(model)), "--served-model-name", model.name,
        "--host", HOST, "--port", str(port), "--max-model-len", str(model.context),
        # Sampling is what the request says, whatever the model's folder recommends.
        "--generation-config", "vllm",
        # One grammar engine from the start: by default vLLM may choose another one, for good, after a refused grammar.
        "--structured-outputs-config", '{"backend": "xgrammar"}',
    ]  # fmt: skip
    variables = environment.clean_environment()
    variables |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if folder:
        # Only with this does the server offer to reload weights; it listens on this machine alone.
        variables["VLLM_SERVER_DEV_MODE"] = "1"
    if environment.device() == "cpu":
        command += [*CPU_FLAGS, "--max-num-batched-tokens", str(max(model.context, PREFILL))]
        variables = CPU_VARIABLES | variables
    else:
        variables = {"VLLM_BATCH_INVARIANT": "1"} | variables
    return command, variables


def serve(
    model: Model, log: Path, port: int = DEFAULT_PORT, progress: Callable[[str], None] = lambda line: None
) -> None:
    """Serves a model until Ctrl-C.

    Args:
        model: The model; its weights are on this machine.
        log: File that the server's output is appended to.
        port: Port to listen on.
        progress: Told the address once the server answers.

    Raises:
        InputError: The server cannot start, or ends by itself; the message names the log.
    """
    if model.base_url:
        raise InputError(f"model {model.name!r} is served already, at {model.base_url}")
    with Server(model, log, port) as server:
        progress(f"{model.name} is served at {server.base_url}; Ctrl-C ends it (log: {log})")
        try:
            server.wait()
        except KeyboardInterrupt:
            return
        raise InputError(f"the server of {model.name!r} ended; the log {log} ends:\n{environment.log_tail(log)}")


def _check_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used ({error}); choose another, or none for a free one") from error
        return probe.getsockname()[1]
