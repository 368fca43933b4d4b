import numpy as np
import pytest
from scipy import stats

from theory.demonstration import mean, rate, share


def test_a_share_breaks_only_when_its_interval_leaves_out_the_prediction():
    found = [True] * 8 + [False] * 92
    assert share("rejected", found, 0.05)["verdict"] == "holds"
    assert share("rejected", found * 20, 0.05)["verdict"] == "breaks"
    assert share("rejected", found * 20, 0.05, tolerance=0.03)["verdict"] == "holds"
    assert share("rejected", found)["verdict"] == "measured"


def test_one_exception_breaks_what_has_none():
    assert share("exceptions", [False] * 999 + [True], 0.0)["verdict"] == "breaks"
    assert share("exceptions", [False] * 1000, 0.0)["verdict"] == "holds"


def test_the_row_carries_share_interval_and_n():
    row = share("share", [True, False, True, True], 0.5)
    assert (row["measured"], row["n"], row["predicted"]) == (0.75, 4, 0.5)
    assert row["interval"] is not None
    assert row["interval"][0] < 0.75 < row["interval"][1]


def test_a_mean_has_students_interval():
    values = np.random.default_rng(0).normal(1, 1, 50)
    row = mean("mean", values, 1.0)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert row["interval"] == pytest.approx(tuple(expected))
    assert row["verdict"] == "holds"
    assert mean("mean", values, 3.0)["verdict"] == "breaks"
    assert mean("mean", values)["verdict"] == "measured"


def test_a_rate_holds_when_it_is_near_the_nominal_one():
    found = [True] * 6 + [False] * 94
    assert rate("rejected", found, 0.05, 0.015)["verdict"] == "holds"
    assert rate("rejected", found, 0.04, 0.015)["verdict"] == "breaks"
