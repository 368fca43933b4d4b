import json
import os

import numpy as np
import pytest

from surrogates import store
from surrogates.errors import InputError
from surrogates.formats import recognise
from surrogates.spaces import spaces
from surrogates.store import Column

METRICS = {
    "class_scene": ["top1", "top5", "loss"],
    "class_object": ["top1", "top5", "loss"],
    "room_layout": ["loss", "neg_loss"],
    "jigsaw": ["top1", "top5", "loss"],
    "segmentsemantic": ["loss", "acc", "mIoU"],
    "normal": ["ssim", "l1_loss"],
    "autoencoder": ["ssim", "l1_loss"],
}
EPOCHS = {"jigsaw": 10, "segmentsemantic": 30, "normal": 30, "autoencoder": 30}
PUBLISHED = {"room_layout": "neg_loss", "segmentsemantic": "mIoU", "normal": "ssim", "autoencoder": "ssim"}
INFO = ("inference_time", "encoder_params", "model_params", "model_FLOPs", "encoder_FLOPs")
KEYS = {"macro": ["64-1234-basic", "64-231313-basic"], "micro": ["64-41414-1_02_333", "64-41414-0_00_000"]}


def clock(seconds):
    return f"{seconds // 3600:0>2}:{seconds // 60 % 60:0>2}:{seconds % 60:0>2}"


@pytest.fixture
def content():
    """The content of an official file of four architectures."""
    rng = np.random.default_rng(2)

    def trained(task):
        epochs = EPOCHS.get(task, 25)
        metrics = {
            f"{split}_{name}": rng.uniform(0, 9, epochs).tolist()
            for split in ("train", "valid", "test")
            for name in METRICS[task]
        }
        metrics["time_elapsed"] = [clock(int(s)) for s in np.cumsum(rng.integers(900, 5000, epochs))]
        info = {name: float(rng.uniform(1, 9)) for name in INFO}
        return {"total_epochs": epochs, "model_info": info, "metrics": metrics}

    return {
        "metrics_dict": {
            task: [f"{split}_{name}" for split in ("train", "valid", "test") for name in names] + ["time_elapsed"]
            for task, names in METRICS.items()
        },
        "info_names": list(INFO),
        "task_list": list(METRICS),
        "data": {kind: {key: {task: trained(task) for task in METRICS} for key in keys} for kind, keys in KEYS.items()},
    }


def save(content, path, zipped=True):
    import torch

    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def place(kind, key):
    space = spaces.get(f"trans_nas_bench_101_{kind}")
    return int(space.index([space.parse(key)])[0])


@pytest.mark.parametrize("zipped", [True, False])
def test_every_published_value_is_in_the_tables_of_the_two_spaces(content, tmp_path, zipped):
    expected = json.loads(json.dumps(content))["data"]
    micro, macro = store.add(recognise(save(content, tmp_path / "any name", zipped)))
    for kind, table in (("micro", micro), ("macro", macro)):
        assert (table.benchmark, table.architectures) == (f"trans-nas-bench-101-{kind}", 2)
        there = []
        for key, tasks in expected[kind].items():
            for task, trained in tasks.items():
                metric = PUBLISHED.get(task, "top1")
                hours = [[int(part) for part in text.split(":")] for text in trained["metrics"]["time_elapsed"]]
                info = trained["model_info"]
                values = {Column(task, "latency"): info["inference_time"]}
                values[Column(task, "parameters")] = info["model_params"]
                values[Column(task, "flops")] = info["model_FLOPs"]
                for epoch, (h, m, s) in enumerate(hours):
                    values[Column(task, "validation", epoch + 1)] = trained["metrics"][f"valid_{metric}"][epoch]
                    values[Column(task, "test", epoch + 1)] = trained["metrics"][f"test_{metric}"][epoch]
                    values[Column(task, "seconds", epoch + 1)] = 3600 * h + 60 * m + s
                for column, value in values.items():
                    assert table.values[table.columns.index(column), place(kind, key)] == value
                there += values
        assert set(there) == set(table.columns)


def rows_of(path):
    return {(row.benchmark, row.arch): row.values for row in recognise(path).rows(lambda benchmark, arch: False)}


def of(source_rows, path, task, field, fidelity=0):
    columns = recognise(path).layouts[0].columns
    return source_rows["trans-nas-bench-101-micro", place("micro", KEYS["micro"][0])][
        columns.index(Column(task, field, fidelity))
    ]


def test_times_in_seconds_are_read_too(content, tmp_path):
    trained = content["data"]["micro"][KEYS["micro"][0]]["jigsaw"]
    trained["metrics"]["time_elapsed"] = [10.5 * (1 + epoch) for epoch in range(10)]
    path = save(content, tmp_path / "file")
    assert of(rows_of(path), path, "jigsaw", "seconds", 10) == 105


def test_times_that_do_not_grow_are_of_an_unknown_kind_and_missing(content, tmp_path):
    trained = content["data"]["micro"][KEYS["micro"][0]]["jigsaw"]
    trained["metrics"]["time_elapsed"] = [30.0] * 10
    path = save(content, tmp_path / "file")
    rows = rows_of(path)
    assert np.isnan(of(rows, path, "jigsaw", "seconds", 10))
    assert of(rows, path, "jigsaw", "validation", 10) == trained["metrics"]["valid_top1"][-1]


def test_missing_tasks_metrics_and_costs_are_missing(content, tmp_path):
    record = content["data"]["micro"][KEYS["micro"][0]]
    del record["normal"], record["jigsaw"]["metrics"]["test_top1"], record["class_scene"]["model_info"]["model_FLOPs"]
    record["class_scene"]["model_info"]["model_params"] = ""
    path = save(content, tmp_path / "file")
    rows = rows_of(path)
    missing = [("normal", "validation", 1), ("normal", "latency"), ("jigsaw", "test", 10), ("class_scene", "flops")]
    for column in [*missing, ("class_scene", "parameters")]:
        assert np.isnan(of(rows, path, *column))
    assert not np.isnan(of(rows, path, "class_scene", "latency"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda task: task.update(total_epochs=12), "12 epochs; expected 25"),
        (lambda task: task["metrics"]["valid_top1"].pop(), "24 values; expected 25"),
        (lambda task: task["metrics"].update(valid_top1=["x"] * 25), "could not convert"),
        (lambda task: task["metrics"].update(valid_top1=None), "NoneType"),
    ],
)
def test_a_record_that_is_not_as_it_should_be_is_one_clear_error(content, tmp_path, change, said):
    change(content["data"]["micro"][KEYS["micro"][0]]["class_scene"])
    with pytest.raises(InputError, match=rf"bad\.pth cannot be read.*{said}"):
        rows_of(save(content, tmp_path / "bad.pth"))


def test_an_architecture_of_neither_space_is_one_clear_error(content, tmp_path):
    content["data"]["micro"]["64-41414-9_00_000"] = content["data"]["micro"].pop(KEYS["micro"][0])
    with pytest.raises(InputError, match="64-41414-9_00_000"):
        rows_of(save(content, tmp_path / "file"))


def test_records_of_another_form_are_not_passed_over(content, tmp_path):
    content["data"]["micro"][KEYS["micro"][0]]["another task"] = {}
    with pytest.raises(InputError, match="3 of 4 records"):
        rows_of(save(content, tmp_path / "file"))


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_command_hidden_deep_inside_is_named_and_not_run(content, tmp_path, home):
    content["data"]["micro"][KEYS["micro"][1]]["normal"]["metrics"]["test_ssim"][3] = Evil(tmp_path / "marker")
    path = save(content, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"evil\.pth.*(posix|nt)\.system"):
        store.add(recognise(path))
    assert not (tmp_path / "marker").exists()
    assert [file.name for file in (home / "data").iterdir()] == [".lock"]
