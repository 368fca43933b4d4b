"""The process that tunes, when it does not do what it should; a process that only reads stands for it."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.effects import Sampling
from bench.llm import models
from bench.llm.tuner import Tuner
from surrogates.errors import InputError
from surrogates.spaces import spaces

SILENT = "import sys; sys.stdin.buffer.read(1); print('RuntimeError: no more', file=sys.stderr, flush=True); "


@pytest.fixture
def tuner_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Tuner]:
    """Makes a tuner whose process runs a program."""
    monkeypatch.setattr("bench.llm.tuner.weights.require", lambda model: tmp_path)

    def make(program: str) -> Tuner:
        tuner = Tuner(models.get("smollm2"), spaces.get("trans_nas_bench_101_macro"))

        def start() -> subprocess.Popen[bytes]:
            tuner._log = tmp_path / "tuner.log"
            with tuner._log.open("wb") as log:
                pipe = subprocess.PIPE
                return subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=log)

        monkeypatch.setattr(tuner, "_start", start)
        return tuner

    return make


@pytest.mark.parametrize("then", ["sys.exit(1)", "print('no pickle at all', flush=True)"])
def test_a_process_that_ends_or_talks_nonsense_is_one_clear_error(tuner_of: Callable[[str], Tuner], then: str) -> None:
    tuner = tuner_of(SILENT + then)
    with pytest.raises(InputError, match=r"'smollm2' ended; the log \S+tuner\.log ends:\n +RuntimeError: no more"):
        tuner.distribution(None, "", Sampling())
    tuner.close()


def test_closing_does_not_wait_for_an_answer(tuner_of: Callable[[str], Tuner]) -> None:
    tuner = tuner_of(SILENT + "import time; time.sleep(60)")
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            tuner.distribution(None, "", Sampling())
        except InputError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while tuner._log is None or not tuner._log.exists() or not tuner._log.read_bytes():
        time.sleep(0.01)
    process = tuner._process
    assert process is not None
    rescue = threading.Timer(2, process.kill)
    rescue.start()
    began = time.monotonic()
    tuner.close()
    waited = time.monotonic() - began
    rescue.cancel()
    asking.join(timeout=5)
    assert waited < 1
    assert len(errors) == 1
