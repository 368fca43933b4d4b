import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogates import store
from surrogates.errors import InputError
from surrogates.formats import tidy
from surrogates.formats.tidy import TidyTable, recognise
from surrogates.spaces.darts import darts
from surrogates.spaces.nas_bench_201 import nas_bench_201 as space
from surrogates.store import Column

ARCHS = [tuple(arch) for arch in space.enumerate()[[0, 7, 4242]].tolist()]


def frame(**changed):
    rows = [
        {
            "arch": space.format(arch),
            "task": "t",
            "split": split,
            "fidelity": epoch,
            "seed": seed,
            "seconds": 10.0 * epoch,
        }
        for arch in ARCHS
        for split in ("validation", "test")
        for epoch in (1, 12)
        for seed in (0, 3)
    ]
    return pd.DataFrame(rows).assign(space=space.name, score=np.arange(len(rows)) / 7, **changed)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCENT_HOME", str(tmp_path / "home"))


def found(path) -> TidyTable:
    source = recognise(path)
    assert source
    return source


def written(table, path):
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return found(path)


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_every_score_comes_back(tmp_path, name):
    table = frame()
    (stored,) = store.add(written(table, tmp_path / name))
    for row in table.to_dict("records"):
        arch = space.index([space.parse(row["arch"])])[0]
        column = Column(row["task"], row["split"], row["fidelity"], row["seed"])
        assert stored.values[stored.columns.index(column), arch] == row["score"]
        assert stored.values[stored.columns.index(column._replace(field="seconds")), arch] == row["seconds"]
    assert stored.architectures == len(ARCHS)
    assert len(stored.columns) == 2 * 2 * 3


def test_a_file_is_recognised_by_its_content(tmp_path):
    frame().to_parquet(tmp_path / "a.csv")
    frame().to_csv(tmp_path / "a.parquet", index=False)
    (tmp_path / "else.csv").write_text("x,y\n1,2\n")
    assert found(tmp_path / "a.csv").layouts[0].columns == found(tmp_path / "a.parquet").layouts[0].columns
    assert recognise(tmp_path / "else.csv") is None
    assert recognise(tmp_path) is None


def test_fidelity_seed_and_seconds_may_be_left_out(tmp_path):
    table = frame().query("fidelity == 12 and seed == 3").drop(columns=["fidelity", "seed", "seconds"])
    (stored,) = store.add(written(table, tmp_path / "t.csv"))
    assert stored.columns == (Column("t", "test"), Column("t", "validation"))


def test_a_missing_score_is_nan_and_counted(tmp_path):
    table = frame()
    table.loc[0, "score"] = np.nan
    (stored,) = store.add(written(table, tmp_path / "t.csv"))
    arch = space.index([ARCHS[0]])[0]
    assert np.isnan(stored.values[stored.columns.index(Column("t", "validation", 1, 0)), arch])
    assert stored.missing["t/validation"] == 4 * (space.size - len(ARCHS)) + 1


@settings(max_examples=10)
@given(st.permutations(range(24)))
def test_the_order_of_rows_does_not_matter(order):
    shuffled, expected = (
        TidyTable(Path("t.csv"), lambda _, rows=rows: frame().take(rows)) for rows in (order, range(24))
    )
    assert shuffled.layouts == expected.layouts
    for one, other in zip(shuffled.rows(lambda *_: False), expected.rows(lambda *_: False), strict=True):
        assert one.arch == other.arch
        np.testing.assert_array_equal(one.values, other.values)


BAD = [
    ({"split": "train"}, "row 1: split is 'train'; expected validation or test"),
    ({"score": "high"}, "row 1: score is 'high'; expected a finite number"),
    ({"score": np.inf}, "row 1: score is inf"),
    ({"fidelity": 0}, "row 1: fidelity is 0; expected a whole number from 1"),
    ({"fidelity": 1.5}, "row 1: fidelity is 1.5"),
    ({"seed": -1}, "row 1: seed is -1; expected a whole number from 0"),
    ({"space": "nas_bench_20"}, "column space: unknown space 'nas_bench_20'; did you mean 'nas_bench_201'"),
    ({"space": "darts", "arch": darts.format((0,) * 24)}, "darts has .* too many to list"),
    ({"space": [space.name] * 23 + ["nas_bench_graph"]}, "row 24: space is 'nas_bench_graph'; expected the same"),
    ({"arch": "|none~0|"}, "column arch: .*no cell"),
    ({"arch": space.format(ARCHS[0])}, "row 9: arch is .*expected one score"),
    # Rows 1 to 4 are the first architecture's validation, rows 5 to 8 its test; 5 to 7 agree, 8 does not.
    ({"seconds": [1, 1, 2, 2, 1, 1, 2, 3] + [1] * 16}, "row 8: seconds is 3.0; expected the same in validation"),
    ({"seconds": -5}, "row 1: seconds is -5; expected a finite number from 0"),
    ({"fidelity": 1e300}, "row 1: fidelity is 1e\\+300; expected a whole number from 1 to 2147483647"),
    ({"seed": 9007199254740993}, "row 1: seed is 9007199254740993; expected a whole number from 0 to 2147483647"),
    ({"task": "a\x01"}, r"row 1: task is 'a\\x01'; expected a name without @ and control characters"),
    ({"arch": None}, "row 1: arch is nan; expected an architecture"),
    ({"fidelity": [None] + [1] * 23}, "task t: some rows state a fidelity and others do not"),
    ({"seed": [None] + [1] * 23}, "task t, validation: some rows state a seed and others do not"),
    (
        {"seed": [None if split == "test" else 1 for split in frame()["split"]]},
        "task t: some rows state a seed and others do not",
    ),
    ({"task": "a@12"}, "row 1: task is 'a@12'; expected a name without @"),
    ({"split": "test", "fidelity": range(1, 25)}, "task t has no rows of the split validation"),
    ({"scores": 1}, "unknown column 'scores'; did you mean 'score'"),
]


@pytest.mark.parametrize(("changed", "told"), BAD)
def test_bad_content_is_one_clear_error_and_leaves_nothing(tmp_path, changed, told):
    table = frame()
    for name, content in changed.items():
        table[name] = content
    with pytest.raises(InputError, match=told) as error:
        store.add(written(table, tmp_path / "t.csv"))
    assert str(tmp_path / "t.csv") in str(error.value)
    assert store.names() == []


def test_missing_columns_are_named(tmp_path):
    with pytest.raises(InputError, match=r"lacks the columns arch, task.*space, arch, task, split, score, fidelity"):
        store.add(written(frame().drop(columns=["arch", "task"]), tmp_path / "t.csv"))


@pytest.mark.parametrize("name", ["a.zip", "b.csv.xz", "c.tar", "d.zst"])
def test_the_name_of_a_text_does_not_matter(tmp_path, name):
    frame().to_csv(tmp_path / "t", index=False)
    path = (tmp_path / "t").rename(tmp_path / name)
    assert len(found(path).layouts[0].columns) == 2 * 2 * 3


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_table_with_too_many_rows_is_refused(tmp_path, monkeypatch, name):
    source = written(frame(), tmp_path / name)
    monkeypatch.setattr(tidy, "_MOST_ROWS", 23)
    with pytest.raises(InputError, match=r"t\.\w+ has more than 23 rows.*; split it into a file a task"):
        _ = source.layouts
    monkeypatch.setattr(tidy, "_MOST_ROWS", 24)
    assert source.layouts


def test_flipped_bytes_are_one_clear_error_or_none(tmp_path):
    path, rng = tmp_path / "t.parquet", np.random.default_rng(0)
    frame().to_parquet(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
        damaged = whole.copy()
        damaged[rng.integers(4, len(whole), 8)] ^= rng.integers(1, 256, 8, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(InputError):
            _ = found(path).layouts


def test_a_name_that_is_taken_is_an_error(tmp_path):
    with pytest.raises(InputError, match="'nas-bench-graph' is taken; rename it"):
        store.add(written(frame(), tmp_path / "NAS Bench Graph.csv"))


def test_damaged_files_are_one_clear_error(tmp_path):
    path = tmp_path / "t.parquet"
    frame().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        store.add(found(path))
    path.write_text('space,arch\n\0,"')
    with pytest.raises(InputError):
        store.add(found(path))
    path.write_text("space,arch,task,split,score\n")
    with pytest.raises(InputError, match="has no rows"):
        store.add(found(path))
