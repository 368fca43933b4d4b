import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from surrogates.benchmarks.analog_nasbench import analog_nasbench
from surrogates.errors import InputError
from surrogates.spaces.nas_bench_201 import nas_bench_201

PUBLISHED = Path("../shared/data/nb201_acc.parquet")
ATTRIBUTE = {"clean": "baseline_accuracy"} | {task: f"{task}_accuracy" for task in ("ptq", "qat", "noisy", "analog")}


class Record:
    pass


class Plain(pickle.Unpickler):
    def find_class(self, module, name):
        return Record


@pytest.fixture(scope="module")
def published():
    """The package's file, read without our code."""
    (path,) = analog_nasbench.sources()
    with path.open("rb") as file:
        return Plain(file).load()


def their_key(arch):
    """NASLib's tuple: edges 1-2, 1-3, 1-4, 2-3, 2-4, 3-4; 0 skip, 1 none, 2 conv 3x3, 3 conv 1x1, 4 pooling."""
    code = {"none": 1, "skip_connect": 0, "nor_conv_1x1": 3, "nor_conv_3x3": 2, "avg_pool_3x3": 4}
    node2, node3, node4 = nas_bench_201.format(arch).strip("|").split("|+|")
    ops = {
        (edge[-1], node): edge[:-2] for node, edges in ((2, node2), (3, node3), (4, node4)) for edge in edges.split("|")
    }
    return tuple(code[ops[edge]] for edge in (("0", 2), ("0", 3), ("0", 4), ("1", 3), ("1", 4), ("2", 4)))


def test_scores_are_the_files(published):
    archs = [tuple(arch) for arch in nas_bench_201.enumerate().tolist()]
    assert len(published) == len(archs)
    records = [vars(published[their_key(arch)]) for arch in archs]
    assert all(record["architecture"] == their_key(arch) for record, arch in zip(records, archs, strict=True))
    assert len(analog_nasbench.tasks) == 13
    for task in analog_nasbench.tasks:
        answer = analog_nasbench.query(archs, task).validation.tolist()
        uncertainty = analog_nasbench.uncertainty(archs, task)
        if task in ATTRIBUTE:
            assert answer == [record[ATTRIBUTE[task]] for record in records]
            assert np.isnan(uncertainty).all()
        else:
            assert answer == [record[task].value for record in records]
            assert uncertainty.tolist() == [record[task].uncertainty for record in records]


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"needs {PUBLISHED}")
def test_keys_mean_the_cells_they_are_read_as():
    """Digital accuracies rank the cells like NAS-Bench-201's own: .991, and at most .969 with any other reading."""
    published = pd.read_parquet(PUBLISHED, columns=["arch_str", "naslib_tuple", "c10_test_e200_lapt"])
    archs = [nas_bench_201.parse(text) for text in published["arch_str"]]
    assert [str(their_key(arch)) for arch in archs] == published["naslib_tuple"].tolist()
    ours = analog_nasbench.query(archs, "clean").validation
    assert pd.Series(ours).corr(published["c10_test_e200_lapt"], method="spearman") > 0.98


def test_says_that_it_has_no_split():
    assert all(task.splits == ("validation",) for task in analog_nasbench.tasks.values())
    assert all(task.reported == "validation" for task in analog_nasbench.tasks.values())
    assert "no split" in analog_nasbench.note
    assert analog_nasbench.note.count(".") == 1


def test_drift_loses_accuracy_over_time():
    """Mean accuracy falls from a minute to a month, and hardware-aware training loses less (the paper's finding)."""
    means = {task: analog_nasbench.scores(task, "validation").mean() for task in analog_nasbench.tasks}
    times = (60, 3600, 86400, 2592000)
    for network in ("baseline", "analog"):
        falling = [means[f"{network}_drift_{seconds}"] for seconds in times]
        assert falling == sorted(falling, reverse=True)
    assert all(means[f"analog_drift_{seconds}"] > means[f"baseline_drift_{seconds}"] for seconds in times)


def test_uncertainty_of_an_unknown_task_is_an_error():
    with pytest.raises(InputError, match="analog_drift_60"):
        analog_nasbench.uncertainty([], "analog_drift_6")


def test_package_is_not_imported():
    assert analog_nasbench.sources()
    assert "analognasbench" not in sys.modules


@pytest.mark.parametrize("content", [{}, [], {(0,) * 6: 1}, None])
def test_a_file_with_other_content_is_one_clear_error(tmp_path, monkeypatch, content):
    path = tmp_path / "data.anb"
    path.write_bytes(pickle.dumps(content))
    monkeypatch.setattr(analog_nasbench, "sources", lambda: [path])
    with pytest.raises(InputError, match=r"data\.anb.*pip install"):
        analog_nasbench.convert()
