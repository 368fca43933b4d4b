"""Weights: fetched once, whole or not there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.llm import environment, models, weights
from bench.llm.models import Model
from surrogates.cache import cache_dir
from surrogates.errors import InputError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, with what the real one has of vLLM and of fetched packages."""
    real = cache_dir()
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for name in ("vllm", "packages"):
        (tmp_path / "home" / name).symlink_to(real / name)
    return tmp_path / "home"


def a_model(folder: Path, weight: bytes = b"1234") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weight)
    return folder


@pytest.mark.llm
def test_setup_of_what_is_there_changes_nothing(setup_done: None):
    made = weights.folder(models.get("smollm2")) / "made.json"
    before, lines = made.stat().st_mtime_ns, []
    rows = weights.setup(["smollm2", "gemma3"], lines.append)
    assert lines == []
    assert made.stat().st_mtime_ns == before
    assert [row["ready"] for row in rows] == [True, True]
    assert all(row["revision"] and row["bytes"] for row in rows)


@pytest.mark.llm
def test_an_interrupted_conversion_leaves_nothing_half_made_and_is_made_up_for(setup_done: None, home: Path):
    model = models.get("smollm2")
    command = [sys.executable, "-c", "from bench.llm.weights import setup; setup(['smollm2'], print)"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    part = home / "models" / ".smollm2.part"
    until = time.monotonic() + 180
    while not part.exists():
        assert first.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert not weights.ready(model)
    assert not weights.folder(model).exists()
    lines: list[str] = []
    (row,) = weights.setup(["smollm2"], lines.append)
    assert row["ready"]
    assert any("Apache-2.0" in line for line in lines)
    assert [entry.name for entry in (home / "models").iterdir()] == ["smollm2"]
    real = (home / "vllm").resolve().parent / "models" / "smollm2"
    assert (home / "models" / "smollm2" / "made.json").read_text() == (real / "made.json").read_text()


@pytest.mark.llm
def test_the_weights_read_english_with_the_first_token_that_their_tokenizer_was_given_back(setup_done: None):
    # English carries 0.6 to 1.3 bits a character (Shannon 1951), so a good model needs 1.9 to 4 nats for a token of 4.5
    # characters; a uniform guess among Gemma's 262,144 tokens costs 12.5 nats.
    for name in ("smollm2", "gemma3"):
        made = json.loads((weights.folder(models.get(name)) / "made.json").read_text())
        assert 1.5 < made["nats_per_token"] < 4.0
    tokenizer = json.loads((weights.folder(models.get("gemma3")) / "tokenizer.json").read_text())
    assert tokenizer["post_processor"]["single"][0]["SpecialToken"]["id"] == "<bos>"


@pytest.mark.llm
def test_damaged_weights_are_noticed(setup_done: None, home: Path):
    model = models.get("smollm2")
    real = (home / "vllm").resolve().parent / "models" / "smollm2"
    shutil.copytree(real, weights.folder(model))
    assert weights.ready(model)
    with (weights.folder(model) / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    assert not weights.ready(model)
    with pytest.raises(InputError, match="nascent llm setup"):
        weights.require(model)


@pytest.mark.llm
def test_gemmas_terms_are_shown_before_its_weights_are_made(setup_done: None, home: Path):
    lines: list[str] = []
    weights._show_terms(models.get("gemma3"), home / "packages" / "gemma3", lines.append)
    assert "licence of gemma3: Gemma Terms of Use" in lines
    assert any(line.startswith("full text: ") and Path(line[len("full text: ") :]).is_file() for line in lines)


def test_a_package_with_other_contents_is_refused_and_removed(tmp_path: Path):
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "model.gguf").write_bytes(b"not the weights")
    with pytest.raises(InputError, match="are not those expected"):
        weights._join(models.get("smollm2"), tmp_path / "packages", tmp_path / "joined")
    assert not (tmp_path / "packages").exists()


def test_the_revision_of_a_folder_follows_its_contents_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    one = Model(name="one", path=a_model(tmp_path / "a"))
    same = Model(name="same", path=a_model(tmp_path / "b"))
    other = Model(name="other", path=a_model(tmp_path / "c", b"1235"))
    assert weights.revision(one) == weights.revision(one) == weights.revision(same) != weights.revision(other)
    (tmp_path / "a" / "model.safetensors").write_bytes(b"12345")
    assert weights.revision(one) != weights.revision(same)
    assert weights.revision(Model(name="told", path=tmp_path / "a", revision="v2")) == "v2"


def test_a_hub_model_is_found_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    repository, commit = tmp_path / "hub" / "models--owner--tiny", "0123456789abcdef0123456789abcdef01234567"
    model = Model(name="tiny", hub="owner/tiny")
    assert not weights.ready(model)
    with pytest.raises(InputError, match="hf download owner/tiny"):
        weights.require(model)
    a_model(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert weights.require(model) == repository / "snapshots" / commit
    assert weights.revision(model) == commit[:12]
    assert weights.ready(Model(name="tiny", hub="owner/tiny", revision=commit))


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    model = Model(name="empty", path=tmp_path)
    assert not weights.ready(model)
    with pytest.raises(InputError, match="holds no model"):
        weights.require(model)


def test_a_server_of_the_users_has_no_weights_here():
    model = Model(name="mine", base_url="http://127.0.0.1:9/v1")
    assert weights.revision(model) == "unstated"
    assert weights.row(model)["bytes"] is None
    with pytest.raises(InputError, match="not on this machine"):
        weights.folder(model)


def test_unknown_models_are_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    with pytest.raises(InputError, match="did you mean 'gemma3'"):
        weights.setup(["gema3"])
    assert not (tmp_path / "home").exists()


def test_the_listing_names_every_model_where_nothing_is_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path))
    rows = weights.listing()
    assert [row["name"] for row in rows] == ["smollm2", "gemma3", "decoder"]
    assert all(row["ready"] is False and row["revision"] is None and row["licence"] for row in rows)
    with pytest.raises(InputError, match="nascent llm setup"):
        environment.python()
