from pathlib import Path

import numpy as np
import pytest

from bench.study import load, shipped
from surrogates.errors import InputError

GOOD = """
name = "small"
[[grid]]
methods = ["random_search", {name = "regularized_evolution", population = 20}]
benchmarks = { nas-bench-graph = ["cora", "arxiv"] }
seeds = 3
budget = { evaluations = 10 }
"""


@pytest.fixture
def study(tmp_path):
    def write(text=GOOD):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


def test_a_grid_is_every_method_on_every_task_with_every_seed(study):
    runs = load(study()).runs()
    assert len(runs) == 2 * 2 * 3
    assert {tuple(r.parameters.items()) for r in runs} == {(), (("population", 20), ("tournament", 5))}


def test_a_run_that_two_grids_name_is_one_run(study):
    assert len(load(study(GOOD + GOOD[GOOD.index("[[grid]]") :])).runs()) == 12


def test_keys_depend_on_what_decides_the_trajectory_and_on_nothing_else(study):
    runs = load(study()).runs()
    again = load(study(GOOD.replace("small", "renamed"))).runs()
    longer = load(study(GOOD.replace("evaluations = 10", "evaluations = 11"))).runs()
    assert [r.key for r in runs] == [r.key for r in again]
    assert len({r.key for r in runs + longer}) == 24


def test_how_a_model_of_the_users_is_asked_decides_the_key(study):
    served = '[models.mine]\nbase_url = "http://127.0.0.1:9/v1"\nrevision = "r"\n'
    text = GOOD.replace('"random_search"', '"genius"').replace("seeds", 'models = ["mine"]\nseeds') + served
    asked = [load(study(text + more)).runs() for more in ("", "chat = true\n", "context = 512\n", "chat = false\n")]
    usual, chatting, short, again = (next(r for r in runs if r.model) for runs in asked)
    assert [r.revision for r in (usual, chatting, short)] == ["r", "r chat=True", "r context=512"]
    assert usual.key == again.key
    assert len({r.key for r in (usual, chatting, short)}) == 3


def test_every_run_has_its_own_random_numbers(study):
    runs = load(study()).runs()
    first = {r.rng().integers(2**62) for r in runs}
    assert len(first) == 12
    assert runs[0].rng().integers(2**62) in first
    assert 0 <= runs[0].sample_seed(1, 2) < 2**31
    assert runs[0].sample_seed(1, 2) != runs[0].sample_seed(2, 1)


def test_a_method_that_tunes_needs_a_space_that_can_be_listed(study, monkeypatch):
    monkeypatch.setattr("surrogates.space.MOST_LISTED", 26_205)
    load(study()).runs()
    with pytest.raises(InputError, match=r"grid\[0\].methods: eda .* nas_bench_graph.* 2.6e\+04, too many to list"):
        load(study(GOOD.replace("random_search", "eda"))).runs()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"random_search"',
            '{name = "operation_counts", source = "arxi"}',
            r"operation_counts.source: .*'arxi'.*'arxiv'",
        ),
        (
            '"random_search"',
            '{name = "operation_counts", source = "cora"}',
            "source: 'cora' is itself a task of this grid",
        ),
        (
            '"random_search"',
            '{name = "operation_counts", source = "arxiv", inner = "random_subspace"}',
            "operation_counts: inner: random_subspace cannot search in a part",
        ),
        ("random_search", "random_serch", r"unknown method 'random_serch'; did you mean 'random_search'\?"),
        ("nas-bench-graph", "nas-bench-grap", "did you mean 'nas-bench-graph'"),
        ('"cora"', '"corra"', "did you mean 'cora'"),
        ("population", "populaton", "did you mean 'population'"),
        ("seeds = 3", "sedes = 3", "unknown key 'sedes'; did you mean 'seeds'"),
        ("evaluations = 10", "evaluation = 10", "did you mean 'evaluations'"),
        ("evaluations = 10", "evaluations = -10", r"grid\[0\]\.budget\.evaluations.*greater than 0.*-10"),
        ("seeds = 3", "seeds = 0", r"grid\[0\]\.seeds"),
        ("seeds = 3", "seeds = '3'", r"grid\[0\]\.seeds: .*valid integer; it is '3'"),
        ("seeds = 3", "seeds = 100000000000", r"grid\[0\]\.seeds.*100000"),
        ("evaluations = 10", "wall_seconds = inf", r"grid\[0\]\.budget\.wall_seconds.*finite"),
        ('["cora", "arxiv"]', "[]", r"grid\[0\]\.benchmarks\.nas-bench-graph.*at least 1 item"),
        ('"random_search"', "{ population = 3 }", r"grid\[0\]\.methods\[0\]\.name: Field required"),
        ('"random_search"', '{ name = "regularized_evolution", population = 0 }', "population must be greater than 0"),
        ('"random_search"', '{ name = "eda", threshold = nan }', "eda.threshold must be finite"),
        ('"random_search"', '{ name = "eda", candidates = 99999999999999999999 }', "candidates .* at most 1,000,000"),
        ("[[grid]]", '[models.a]\nname = "b"\npath = "x"\n[[grid]]', "model 'a' calls itself 'b'"),
        ("seeds = 3", "", r"grid\[0\]\.seeds.*required"),
        ('"random_search"', '"genius"', 'models = \\["smollm2"\\]'),
        ("seeds = 3", 'seeds = 3\nmodels = ["smolm2"]', "did you mean 'smollm2'"),
        ("evaluations = 10", "simulated_seconds = 10", "simulated_seconds never ends"),
        ("evaluations = 10", "tokens = 10", "tokens never ends"),
        ("budget = { evaluations = 10 }", "budget = { }", "no limit never ends"),
        ('name = "small"', 'name = "../up"', "name"),
        ("[[grid]]", "[[grid", "not TOML"),
    ],
)
def test_bad_studies_are_one_clear_error_that_names_the_file(study, old, new, message):
    path = study(GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as error:
        load(path).runs(str(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("limit", ["tokens", "simulated_seconds"])
def test_a_method_that_may_stop_asking_needs_a_limit_that_it_reaches_all_the_same(study, limit):
    asking = GOOD.replace('"random_search"', '"genius"').replace("seeds", 'models = ["smollm2"]\nseeds')
    timed = asking.replace("nas-bench-graph", "nas-bench-201").replace('"cora", "arxiv"', '"cifar10"')
    with pytest.raises(InputError, match=f"{limit} may never end genius.*evaluations = 1000"):
        load(study(timed.replace("evaluations = 10", f"{limit} = 10"))).runs()
    assert load(study(timed.replace("= 10", f"= 10, {limit} = 10"))).runs()


def test_a_study_file_may_begin_with_a_byte_order_mark(study):
    path = study(GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path) == load(study(GOOD))


def test_a_folder_is_no_study(tmp_path):
    with pytest.raises(InputError, match="a directory"):
        load(tmp_path)


def test_a_missing_study_gets_the_nearest_name_of_those_that_come_with_nascent():
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        load(Path("quikstart"))


def test_shipped_studies_are_valid():
    for name in shipped():
        study = load(Path(name))
        assert study.name == name
        assert study.runs(name)


def test_wrong_types_of_a_grid_are_named(study):
    with pytest.raises(InputError, match="grid"):
        load(study('name = "x"\ngrid = 3\n'))


def test_generators_are_not_global(study):
    state = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    load(study()).runs()[0].rng().random()
    assert (np.random.get_state(legacy=False)["state"]["key"] == state).all()  # noqa: NPY002
