import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.proxy_reliability import check_proxy_reliability
from surrogates.errors import InputError

NB201 = Path(__file__).parents[3] / "shared/data/nb201_seeds_e200.parquet"

KEYS = {
    "task", "share", "n", "replicates", "snr", "icc", "pearson", "spearman", "predicted", "interval", "assumptions",
    "verdict", "needed_n", "missing", "explanation",
}  # fmt: skip


def table(n=60, k=2, snr=4.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.sqrt(snr) * rng.normal(size=(n, 1)) + rng.normal(size=(n, k))
    return pd.DataFrame({"arch": [f"a{i}" for i in range(n)], **{f"s{j}": y[:, j] for j in range(k)}})


def check(frame, replicates=("s0", "s1"), **given):
    return check_proxy_reliability(frame, "arch", list(replicates), **{"top": [1.0], **given})


def test_one_object_per_task_and_share_ready_for_json():
    frame = pd.concat([table(seed=0).assign(task="x"), table(seed=1).assign(task="y")])
    found = check(frame, task="task", top=[1, 0.5, 0.1])
    assert [(f["task"], f["share"]) for f in found] == [(t, s) for t in "xy" for s in (1, 0.5, 0.1)]
    for one in found:
        assert one.keys() >= KEYS
        assert {"truth", "replicates", "general", "truncated"} == one["predicted"].keys()
        assert all(e.keys() == {"name", "holds", "evidence"} for e in one["assumptions"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found[2]["verdict"] == "undecided"
    assert found[2]["spearman"] is None


def test_numbers_are_those_of_independent_libraries():
    frame = table(200)
    one = check(frame)[0]
    assert one["spearman"] == pytest.approx(frame.s0.corr(frame.s1, method="spearman"))
    assert one["pearson"] == pytest.approx(frame.s0.corr(frame.s1))
    assert one["n"] == 200
    assert one["interval"][0] < one["spearman"] < one["interval"][1]


def test_wide_long_csv_and_parquet_agree(tmp_path):
    frame = table()
    long = frame.melt("arch", value_name="score")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    expected = check(frame)
    assert check(tmp_path / "t.parquet") == expected
    assert check(long, ["score"]) == expected
    assert check(str(tmp_path / "t.csv"))[0]["spearman"] == expected[0]["spearman"]


def test_missing_replicates_are_counted_and_never_filled_in():
    frame = table(80, 3)
    frame.loc[:9, "s1"] = np.nan
    frame.loc[:4, "s2"] = np.nan
    one = check(frame, ["s0", "s1", "s2"])[0]
    assert (one["missing"], one["left_out"], one["n"]) == (15, 5, 75)


def test_a_truth_is_taken_once_per_architecture():
    frame = table().assign(t=lambda f: (f.s0 + f.s1) / 2)
    long = frame.drop(columns="t").melt("arch", value_name="score").merge(frame[["arch", "t"]])
    assert check(long, ["score"], truth="t") == check(frame, truth="t")
    assert check(frame, truth="t")[0]["form"] == "truth"
    long.loc[0, "t"] = 99
    with pytest.raises(InputError, match="several values for architecture 'a0'"):
        check(long, ["score"], truth="t")


def test_the_table_given_stays_as_it_is():
    frame = table()
    frame["s0"] = frame.s0.astype(str)
    before = frame.copy()
    check(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_the_seed_decides_the_resampling():
    assert check(table(), seed=1) == check(table(), seed=1)
    assert check(table(), seed=1)[0]["difference_interval"] != check(table(), seed=2)[0]["difference_interval"]


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (lambda f: f, {"replicates": ["s0", "s_1"]}, "unknown column 's_1'; did you mean 's1'"),
        (lambda f: f, {"truth": "nope"}, "unknown column 'nope'"),
        (lambda f: f, {"task": "nope"}, "unknown column 'nope'"),
        (lambda f: f, {"replicates": []}, "name at least one column"),
        (lambda f: f, {"replicates": ["s0"]}, "fewer than 2 replicates"),
        (lambda f: f, {"replicates": ["s0", "s0"]}, "named twice"),
        (lambda f: f, {"top": [0]}, "at most 1"),
        (lambda f: f, {"top": [50]}, "at most 1"),
        (lambda f: f, {"top": [float("nan")]}, "at most 1"),
        (lambda f: f, {"top": []}, "at least one share"),
        (lambda f: f.head(9), {}, "at least 10 architectures"),
        (lambda f: f.head(0), {}, "at least 10 architectures"),
        (lambda f: f.assign(s1=np.nan), {}, "at least 10 architectures"),
        (lambda f: f.assign(s1="high"), {}, "must hold numbers, row 1 holds 'high'"),
        (lambda f: f.assign(s1=True), {}, "must hold numbers"),
        (lambda f: f.assign(s1=[np.inf, *f.s1[1:]]), {}, "finite numbers, row 1 holds"),
        (lambda f: pd.concat([f, f.head(1)]), {}, "'a0' has several rows"),
        (lambda f: f.assign(arch=[None, *f.arch[1:]]), {}, "'arch' is empty in row 1"),
        (lambda f: f.assign(arch=[[1, 2], *f.arch[1:]]), {}, "'arch' holds several values in row 1"),
    ],
)
def test_bad_input_is_one_clear_error(change, given, message):
    with pytest.raises(InputError, match=message) as error:
        check(change(table()), **given)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    for name, content in {"t.csv": b"", "t.parquet": b"no parquet", "u.csv": b"\xff\xfe\x00"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read|unknown column"):
            check(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        check(tmp_path / "missing.csv")
    with pytest.raises(InputError, match=r"\.parquet or \.csv"):
        check(tmp_path / "t.xlsx")


def test_an_error_names_the_task():
    frame = pd.concat([table().assign(task="x"), table(5).assign(task="y")])
    with pytest.raises(InputError, match="task 'y'"):
        check(frame, task="task")


def test_tasks_are_never_pooled():
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {"arch": range(100), "task": t, "s0": mean + rng.normal(size=100), "s1": mean + rng.normal(size=100)}
        )
        for t, mean in (("x", 0), ("y", 50))
    ]
    for one in check(pd.concat(parts), task="task"):
        # Four standard errors of a null correlation of 100.
        assert abs(one["spearman"]) < 0.4


@pytest.mark.skipif(not NB201.exists(), reason="../shared/data does not exist")
def test_nas_bench_201_seeds():
    found = check_proxy_reliability(NB201, "arch_str", ["c100_valtest_e200"], top=[1, 0.1, 0.01])
    assert [f["replicates"] for f in found] == [3, 3, 3]
    # 15,625 architectures, of which 8,169 have a third seed.
    assert [f["n"] for f in found] == [15_625, 817, 82]
    assert [f["left_out"] for f in found] == [0, 7_456, 7_456]
    assert found[0]["spearman"] > found[1]["spearman"]
    for one in found[1:]:
        truncated, plain = one["predicted"]["truncated"], one["predicted"]["replicates"]
        assert abs(one["spearman"] - truncated) < abs(one["spearman"] - plain)
