import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.generated_programs import Process, Programs, read_table, simulate_errors

ragged = st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=8)


@given(ragged)
def test_counts_are_those_of_a_token_by_token_reading(rows):
    errors = Programs.from_errors([np.array(row) for row in rows]).errors
    assert errors is not None
    for i, row in enumerate(rows):
        ok = ok_wrong = early_ok = early_wrong = before_ok = before_wrong = 0
        for t in range(1, len(row)):
            if not row[t - 1]:
                early, before = t < len(row) / 2, not any(row[:t])
                ok, ok_wrong = ok + 1, ok_wrong + row[t]
                early_ok, early_wrong = early_ok + early, early_wrong + (early and row[t])
                before_ok, before_wrong = before_ok + before, before_wrong + (before and row[t])
        expected = [sum(row), int(row[0]), ok, ok_wrong, early_ok, early_wrong, before_ok, before_wrong]
        assert [counts[i] for counts in vars(errors).values()] == expected


@given(ragged)
def test_a_program_is_valid_when_no_token_is_wrong(rows):
    programs = Programs.from_errors([np.array(row) for row in rows])
    assert programs.valid.tolist() == [not any(row) for row in rows]
    assert programs.length.tolist() == [len(row) for row in rows]


def test_rows_of_an_array_and_a_list_of_rows_are_read_alike():
    wrong = np.random.default_rng(0).random((20, 15)) < 0.1
    a, b = Programs.from_errors(wrong), Programs.from_errors(list(wrong))
    assert a.errors is not None
    assert b.errors is not None
    for x, y in zip(vars(a.errors).values(), vars(b.errors).values(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_table_is_split_by_kind_and_unknown_values_are_left_out_and_counted():
    full, deltas = read_table(
        [1, 0, np.nan, 1], [200, 210, 190, 40], ["full", "full", "full", "delta"], unit=["s1", "s2", "s2", "s1"]
    )
    assert full.valid.tolist() == [True, False]
    assert full.left_out == 1
    assert full.unit.tolist() == ["s1", "s2"]
    assert deltas.length.tolist() == [40]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([2, 0], [10, 10], ["full", "delta"]), "valid must hold 0 and 1"),
        (([1, 0], [10, 0], ["full", "delta"]), "length must hold whole numbers"),
        (([1, 0], [10, 9.5], ["full", "delta"]), "length must hold whole numbers"),
        (([1, 0], [10, 9], ["full", "diff"]), "not 'diff'"),
        (([1, 0], [10, 9], ["full"]), "kind must have shape"),
    ],
)
def test_bad_tables_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        read_table(*columns)


def test_a_program_without_tokens_is_refused():
    with pytest.raises(ValueError, match="program 1 has no token"):
        Programs.from_errors([np.array([True]), np.array([], dtype=bool)])


def test_simulated_errors_follow_their_process():
    process = Process(0.9, 0.8, 0.5)
    wrong = simulate_errors(process, 40_000, 10, np.random.default_rng(0))
    after_ok, after_wrong = wrong[:, 1:][~wrong[:, :-1]], wrong[:, 1:][wrong[:, :-1]]
    # Four standard errors.
    assert wrong[:, 0].mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 40_000))
    assert after_ok.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / len(after_ok)))
    assert after_wrong.mean() == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / len(after_wrong)))
