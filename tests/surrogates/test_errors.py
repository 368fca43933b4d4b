from pathlib import Path

import pytest

from surrogates.benchmarks import benchmarks
from surrogates.cache import cache_dir
from surrogates.errors import InputError, unknown
from surrogates.spaces import spaces


def test_unknown_name_is_answered_with_the_nearest():
    assert str(unknown("method", "randm_search", ["random_search", "genius"])) == (
        "unknown method 'randm_search'; did you mean 'random_search'?"
    )


def test_name_unlike_all_is_answered_with_all():
    error = unknown("task", "zzz", ["cora", "arxiv"], where="study.toml")
    assert str(error) == "study.toml: unknown task 'zzz'; known: arxiv, cora."


def test_registries_find_one_object_a_file():
    assert {"nas_bench_201", "nas_bench_graph"} <= set(spaces.names())
    assert {"analog-nasbench", "nas-bench-graph"} <= set(benchmarks.names())
    with pytest.raises(InputError, match=r"unknown space 'nas_bench_202'; did you mean 'nas_bench_201'"):
        spaces.get("nas_bench_202")
    with pytest.raises(InputError, match=r"study\.toml: unknown benchmark 'nas_bench_graph'.*'nas-bench-graph'"):
        benchmarks.get("nas_bench_graph", where="study.toml")


def test_cache_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.setenv("NASCENT_HOME", "~/nascent")
    assert cache_dir() == Path.home() / "nascent"
    monkeypatch.delenv("NASCENT_HOME")
    assert cache_dir().name == "nascent"
