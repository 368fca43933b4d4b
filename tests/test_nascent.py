"""The front door, as a user meets it."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

import nascent as front_door

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|"

STUDY = """
name = "small"
[[grid]]
methods = ["random_search"]
benchmarks = { nas-bench-graph = ["cora"] }
seeds = 2
budget = { evaluations = 5 }
"""


def nascent(*arguments, **options):
    command = [sys.executable, "-m", "nascent", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def here(monkeypatch, capsys):
    """Calls the front door without a process of its own, which would cost a second."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["nascent", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            front_door.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def results(study, tmp_path):
    assert nascent("run", study, "--out", tmp_path / "out").returncode == 0
    return tmp_path / "out"


def test_help_imports_neither_numpy_nor_torch_nor_vllm():
    code = "import sys, nascent; print([m for m in ('numpy', 'pandas', 'torch', 'vllm', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "module", ["analysis.report", "analysis.claims", "bench.driver", "bench.study", "surrogates.benchmarks"]
)
def test_the_core_pulls_in_neither_torch_nor_vllm_nor_openai(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'vllm', 'openai', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", ["methods", "benchmarks", "spaces", "models", "claims", "studies"])
def test_every_kind_is_listed_as_a_table_and_as_json(kind, here):
    listed = json.loads(here("ls", kind, "--json").stdout)
    assert all("name" in row for row in listed)
    table = here("ls", kind)
    assert table.returncode == 0
    assert listed[0]["name"] in table.stdout


def test_a_query_answers_what_the_benchmark_says(analog, here):
    (row,) = json.loads(here("query", "analog-nasbench", "clean", CELL, "--json").stdout)
    scores = analog.query([analog.space.parse(CELL)], "clean")
    assert row["validation"] == scores.validation[0]
    assert row["test"] is None
    assert row["kind"] == "table"
    assert "no split" in row["note"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "analog-nasbnch", "clean", CELL], "did you mean 'analog-nasbench'"),
        (["query", "analog-nasbench", "cleen", CELL], "did you mean 'clean'"),
        (["query", "analog-nasbench", "clean", CELL[:-3]], "expected the form"),
        (["query", "analog-nasbench", "clean", CELL, "--split", "test"], "no test scores"),
        (["query", "analog-nasbench", "clean", CELL, "--fidelity", "12"], "fidelity 12"),
        (["query", "analog-nasbench", "clean", CELL, "--seed", "7"], "seed 7"),
        (["data", "add", "none.pth"], "there is no file or folder none.pth"),
        (["data", "verify", "mine"], "unknown table 'mine'"),
        (["data", "remove", "mine"], "unknown table 'mine'"),
        (["landscape", "analog-nasbnch"], "did you mean 'analog-nasbench'"),
        (["landscape", "darts-zero-cost"], "darts has 9.1e+18 architectures, too many to list"),
        (["ls", "method"], "methods"),
        (["run", "nowhere.toml"], "nowhere.toml: No such file"),
        (["validate", "quikstart"], "did you mean 'quickstart'"),
        (["report", "nowhere"], "no journal here"),
        (["export", "nowhere", "--parquet", "x.parquet"], "no journal here"),
        (["llm", "ask", "smolm2", "hello"], "did you mean 'smollm2'"),
        (["llm", "setup", "smolm2"], "did you mean 'smollm2'"),
        (["check", "proxy-reliability", "--table", "none.csv", "--arch", "a", "--replicates", "b,c"], "none.csv"),
        (["check", "expected-quality", "--table", "none.csv"], "none.csv"),
        (["check", "expected-quality", "--table", "none.csv", "--column", "quality"], "expected NAME=COL"),
    ],
)
def test_bad_input_is_one_clear_error_with_exit_code_2(arguments, message, tmp_path, monkeypatch, here):
    monkeypatch.chdir(tmp_path)
    done = here(*arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_claim_is_checked_on_a_table(tmp_path, here):
    lines = ["seed,t,acc", *(f"{seed},{t},{0.5 + 0.1 * t}" for seed in range(3) for t in range(3))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    names = ["--column", "quality=acc", "--column", "cycle=t"]
    done = here("check", "expected-quality", "--table", tmp_path / "t.csv", *names, "--exact", "--json")
    (found,) = json.loads(done.stdout)
    assert (found["verdict"], found["n"], found["falls"]) == ("confirmed", 3, 0)


def test_a_table_is_added_listed_verified_asked_and_removed(tmp_path, monkeypatch, here):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    (tmp_path / "Mine.csv").write_text(f"space,arch,task,split,score\nnas_bench_201,{CELL},t,validation,3.5\n")
    (added,) = json.loads(here("data", "add", tmp_path / "Mine.csv", "--json").stdout)
    assert (added["benchmark"], added["architectures"]) == ("mine", 1)
    assert json.loads(here("data", "ls", "--json").stdout) == [added]
    assert "mine" in here("ls", "benchmarks").stdout
    assert here("data", "verify").stdout == f"mine: {added['SHA-256']} ok\n"
    (row,) = json.loads(here("query", "mine", "t", CELL, "--json").stdout)
    assert row["validation"] == 3.5
    (tmp_path / "home" / "data" / "mine" / "values.npy").write_bytes(b"")
    assert "damaged" in here("data", "ls", "--json").stdout
    assert "damaged" in nascent("ls", "benchmarks", "--json").stdout
    assert here("data", "verify").returncode == 2
    assert here("data", "remove", "mine").returncode == 0
    assert json.loads(here("data", "ls", "--json").stdout) == []


@pytest.mark.parametrize("arguments", [["--debug", "report", "nowhere"], ["report", "nowhere", "--debug"]])
def test_debug_shows_the_traceback(arguments):
    assert "Traceback" in nascent(*arguments).stderr


def test_the_version_is_told(here):
    assert here("--version").stdout.startswith("nascent ")


@pytest.mark.parametrize("executor", [["inline"], ["process", "--workers", "2"]])
def test_ctrl_c_is_told_and_the_run_goes_on(executor, study, tmp_path):
    study.write_text(STUDY.replace("evaluations = 5", "wall_seconds = 100"))
    command = [sys.executable, "-m", "nascent", "run", study, "--out", tmp_path / "out", "--executor", *executor]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        journal = tmp_path / "out" / "journal.sqlite-wal"
        until = time.monotonic() + 60
        while not (journal.exists() and journal.stat().st_size > 100_000) and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "interrupted; the same command goes on where it stopped\n")


@pytest.mark.parametrize("name", ["journal.sqlite", "manifest.json"])
def test_what_a_study_needs_is_never_exported_over(name, results, here):
    before = (results / name).read_bytes()
    done = here("export", results, "--parquet", results / name)
    assert done.returncode == 2
    assert "the study's own file" in done.stderr
    assert (results / name).read_bytes() == before


def test_a_study_with_an_error_starts_nothing(study, tmp_path):
    study.write_text(STUDY.replace("evaluations = 5", "evaluations = -5"))
    done = nascent("run", study, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert str(study) in done.stderr
    assert "-5" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_study_whose_model_is_not_there_starts_nothing(study, tmp_path, here):
    grid = STUDY.replace('"random_search"', '"random_search", "genius"').replace("seeds", 'models = ["mine"]\nseeds')
    study.write_text(f'{grid}\n[models.mine]\npath = "{tmp_path}/nothing"\n')
    done = here("run", study, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model 'mine': ")
    assert not (tmp_path / "out").exists()


def test_validation_counts_runs_without_running(study, tmp_path, here):
    (row,) = json.loads(here("validate", study, "--json").stdout)
    assert row == {
        "study": "small",
        "method": "random_search",
        "model": "",
        "benchmark": "nas-bench-graph",
        "task": "cora",
        "runs": 2,
    }
    assert list(tmp_path.iterdir()) == [study]


def test_a_second_run_does_nothing_again(study, results):
    done = nascent("run", study, "--out", results)
    assert "2 runs skipped, 0 runs done" in done.stdout


def test_the_pool_gives_what_inline_gives(study, results, tmp_path):
    done = nascent("run", study, "--out", tmp_path / "pool", "--executor", "process", "--workers", "2")
    assert done.returncode == 0, done.stderr
    for out in (results, tmp_path / "pool"):
        assert nascent("export", out, "--parquet", out / "all.parquet").returncode == 0
    assert (results / "all.parquet").read_bytes() == (tmp_path / "pool" / "all.parquet").read_bytes()


def test_a_manifest_says_what_ran(results):
    manifest = json.loads((results / "manifest.json").read_text())
    (session,) = manifest["sessions"]
    assert manifest["study"] == "small"
    assert (session["runs"], session["seeds"]) == (2, 2)
    assert len(manifest["benchmarks"]["nas-bench-graph"]["data"]) == 64
    assert {"command", "commit", "packages", "cpu", "python"} <= session.keys()


def test_a_manifest_keeps_what_ran_before(study, results):
    study.write_text(STUDY.replace("random_search", "regularized_evolution"))
    assert nascent("run", study, "--out", results).returncode == 0
    manifest = json.loads((results / "manifest.json").read_text())
    assert list(manifest["methods"]) == ["random_search", "regularized_evolution"]
    assert len(manifest["sessions"]) == 2


def test_a_damaged_journal_is_one_clear_error(study, results):
    (results / "journal.sqlite").write_bytes(b"garbage " * 1000)
    for command in (
        ["run", study, "--out", results],
        ["report", results],
        ["export", results, "--parquet", results / "x.parquet"],
    ):
        done = nascent(*command)
        assert done.returncode == 2
        assert "journal.sqlite" in done.stderr
        assert "damaged" in done.stderr
    assert not (results / "x.parquet").exists()


def test_a_full_disk_is_one_clear_error_and_the_study_goes_on_when_there_is_room(study, tmp_path):
    study.write_text(STUDY.replace("seeds = 2", "seeds = 40").replace("evaluations = 5", "evaluations = 200"))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = nascent("run", study, "--out", tmp_path / "out", preexec_fn=limit)
    assert done.returncode == 2
    assert "the disk is full or cannot be written" in done.stderr
    assert str(tmp_path / "out") in done.stderr
    done = nascent("run", study, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert nascent("run", study, "--out", tmp_path / "whole").returncode == 0
    for out in ("out", "whole"):
        nascent("export", tmp_path / out, "--parquet", tmp_path / f"{out}.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_results_that_cannot_be_written_can_be_read(results, tmp_path):
    results.chmod(0o500)
    assert nascent("export", results, "--parquet", tmp_path / "all.parquet").returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_clear_error(study, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    done = nascent("run", study, "--out", tmp_path / "closed" / "out")
    assert done.returncode == 2
    assert "closed" in done.stderr
