from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates.benchmark import Task
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from surrogates.formats.tidy import recognise
from surrogates.spaces.nas_bench_201 import nas_bench_201 as space
from surrogates.store import Column, Table, add, open_stored
from surrogates.stored_benchmark import StoredBenchmark

SEEDS = (777, 888, 999)


def table(columns, values):
    return Table(
        "mine", space.name, "tidy table", "/mine.csv", "0" * 64, "", "", 0, {}, "f" * 64, tuple(columns), values
    )


@pytest.fixture(scope="module")
def values():
    """Scores of task a by split, epoch and seed, and of task b; some trials are missing."""
    rng = np.random.default_rng(5)
    values = rng.uniform(0, 100, (13, space.size))
    values[:12][rng.random((12, space.size)) < 0.3] = np.nan
    return values


@pytest.fixture(scope="module")
def stored(values):
    of_a = [Column("a", split, epoch, s) for split, epoch, s in product(("validation", "test"), (1, 200), SEEDS)]
    declared = {"a": Task("a", metric="accuracy", unit="%", splits=("validation",))}
    return StoredBenchmark(table([*of_a, Column("b", "validation")], values), declared)


def test_tasks_are_what_the_columns_say(stored):
    assert stored.tasks["a"] == Task("a", "accuracy", "%", ("validation", "test"), False, (1, 200), SEEDS)
    assert stored.tasks["b"] == Task("b", "score", "", ("validation",))


@given(st.lists(st.integers(0, space.size - 1), max_size=5), st.sampled_from(SEEDS), st.sampled_from((1, 200)))
def test_a_seed_gives_its_own_trial(stored, values, rows, seed, fidelity):
    answer = stored.query(space.enumerate()[rows], "a", fidelity, seed)
    place = 3 * (fidelity == 200) + SEEDS.index(seed)
    np.testing.assert_array_equal(answer.validation, values[place, rows])
    np.testing.assert_array_equal(answer.test, values[6 + place, rows])


def test_without_seed_the_mean_is_over_known_trials(stored, values):
    trials = values[:12].reshape(4, 3, -1)
    known = ~np.isnan(trials).all(axis=1)
    expected = np.full(known.shape, np.nan)
    expected[known] = np.nanmean(trials.swapaxes(1, 2)[known], axis=1)
    for fidelity, place in ((1, 0), (200, 1), (None, 1)):
        answer = stored.query(space.enumerate(), "a", fidelity)
        np.testing.assert_allclose(answer.validation, expected[place], rtol=1e-14)
        np.testing.assert_allclose(answer.test, expected[2 + place], rtol=1e-14)


def test_scores_are_the_means_at_the_last_fidelity(stored):
    whole = stored.query(space.enumerate(), "a")
    np.testing.assert_array_equal(stored.scores("a", "validation"), whole.validation)
    np.testing.assert_array_equal(stored.scores("a", "test"), whole.test)
    assert not stored.scores("a", "test").flags.writeable


def test_the_note_says_what_has_no_split_and_what_is_unknown(stored, values):
    assert "no split on b" in stored.note
    assert f"a {np.isnan(values[3:6]).all(axis=0).sum():,}" in stored.note


@pytest.mark.parametrize(("fidelity", "seed", "told"), [(12, None, "1, 200"), (None, 1, "777, 888, 999")])
def test_an_unknown_fidelity_or_seed_is_an_error_that_lists_the_known(stored, fidelity, seed, told):
    with pytest.raises(InputError, match=told):
        stored.query([], "a", fidelity, seed)
    with pytest.raises(InputError, match="one result only"):
        stored.query([], "b", fidelity, seed)


def test_every_column_is_there_as_it_was_stored(stored, values):
    np.testing.assert_array_equal(stored.values(Column("a", "test", 1, 999)), values[8])
    with pytest.raises(InputError, match="no values of"):
        stored.values(Column("a", "test", 2, 999))


def test_a_table_that_was_added_is_a_benchmark(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))
    (tmp_path / "My Table.csv").write_text(
        f"space,arch,task,split,score\nnas_bench_201,{space.format((0,) * 6)},t,validation,3.5\n"
    )
    source = recognise(tmp_path / "My Table.csv")
    assert source
    add(source)
    assert "my-table" in benchmarks.names()
    added = benchmarks.get("my-table")
    assert added.kind == "table"
    assert added.optimum("t", "validation") == ((0,) * 6, 3.5)
    assert added.checksum == open_stored("my-table").sha256
