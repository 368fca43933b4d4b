import io
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from surrogates.errors import InputError
from surrogates.fitted import (
    NAS_BENCH_201,
    TRANS_NAS_BENCH_101_MACRO,
    TRANS_NAS_BENCH_101_MICRO,
    FittedBenchmark,
    ensemble,
    noise_mean,
    splitmix,
    standard_noise,
)
from surrogates.graph_features import connected, edge_tpu_supports
from surrogates.spaces.nas_bench_201 import nas_bench_201

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
BENCHMARKS = [NAS_BENCH_201, TRANS_NAS_BENCH_101_MICRO, TRANS_NAS_BENCH_101_MACRO]

with_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the extracts of the tables in ../shared/data")


@pytest.fixture(params=BENCHMARKS, ids=lambda b: b.name)
def fitted(request):
    return request.param


@pytest.fixture(params=NAS_BENCH_201.tasks)
def task(request):
    return request.param


def figures(benchmark, **key):
    return [row for row in benchmark.quality if key.items() <= row.items()]


@cache
def table(file):
    """The table's columns, in the order of the space's architectures."""
    spaces = {
        "nb201": NAS_BENCH_201,
        "tnb101_micro": TRANS_NAS_BENCH_101_MICRO,
        "tnb101_macro": TRANS_NAS_BENCH_101_MACRO,
    }
    space = next(benchmark.space for start, benchmark in spaces.items() if file.startswith(start))
    frame = pd.read_parquet(DATA / f"{file}.parquet")
    return frame.iloc[np.argsort(space.index([space.parse(text) for text in frame["arch_str"]]))]


def tau(one, other):
    return float(stats.kendalltau(one, other).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def test_import_and_answers_need_neither_torch_nor_scipy_nor_pandas():
    code = (
        "import sys; from surrogates.fitted import NAS_BENCH_201 as b; "
        "b.query(b.space.enumerate(), 'cifar10', seed=1); "
        "print(sorted({'torch', 'scipy', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_says_that_it_is_no_table_and_how_good_it_is_at_worst_and_at_best(fitted):
    assert fitted.kind == "surrogate"
    assert "not the table" in fitted.note
    values = []
    for task in fitted.tasks.values():
        key = {"task": task.name, "split": task.reported, "measure": "Kendall tau", "folds": "isomorphism"}
        values.append(figures(fitted, **key, fidelity=task.fidelities[-1] if task.fidelities else 0)[0]["value"])
    for value in (min(values), max(values)):
        assert f"{value:.2f}"[1:] in fitted.note


def test_quality_covers_every_task_split_and_fidelity_with_intervals(fitted):
    for task in fitted.tasks.values():
        for split in task.splits:
            for fidelity in task.fidelities or (0,):
                for folds in ("random", "isomorphism", "region"):
                    rows = figures(fitted, task=task.name, split=split, fidelity=fidelity, folds=folds)
                    assert {"Kendall tau", "R2", "top-1% recall"} <= {row["measure"] for row in rows}
    for row in fitted.quality:
        assert row["low"] <= row["high"]
        assert row["n"] > 0
        assert row["folds"] in fitted.about["folds"]


def test_rank_correlation_with_held_out_test_accuracy_is_at_least_090(task):
    for folds in ("random", "isomorphism"):
        key = {"task": task, "split": "test", "fidelity": 200, "folds": folds, "measure": "Kendall tau"}
        assert figures(NAS_BENCH_201, **key)[0]["low"] >= 0.90


def test_coverage_of_held_out_differences_is_close_to_the_level(task):
    for level in (0.5, 0.8, 0.95):
        (row,) = figures(NAS_BENCH_201, task=task, measure=f"coverage of the {level:.0%} interval")
        assert abs(row["value"] - level) < 0.02


def test_files_are_small_and_hold_no_table(fitted):
    assert len(fitted._content) < 2e6
    for values in fitted._parameters.values():
        assert fitted.space.size not in values.shape


def test_the_same_seed_gives_the_same_scores_in_any_company(task):
    rng = np.random.default_rng(1)
    archs = nas_bench_201.enumerate()[rng.integers(nas_bench_201.size, size=20)]
    for fidelity in (12, None):
        whole = NAS_BENCH_201.query(nas_bench_201.enumerate(), task, fidelity, seed=7)
        part = NAS_BENCH_201.query(archs, task, fidelity, seed=7)
        few = NAS_BENCH_201.query(archs[:3], task, fidelity, seed=7)
        for one, other, third in zip(part, whole, few, strict=True):
            np.testing.assert_array_equal(one, other[nas_bench_201.index(archs)])
            np.testing.assert_array_equal(one[:3], third)


def test_seeds_scatter_around_the_mean_as_the_noise_scale_says(task):
    archs = nas_bench_201.enumerate()[3::311]
    draws = np.array([NAS_BENCH_201.query(archs, task, seed=seed).validation for seed in range(400)])
    mean, scale = NAS_BENCH_201.query(archs, task).validation, NAS_BENCH_201.noise_scale(archs, task)
    trained = connected(archs) & (mean > 20)
    scores = (draws.mean(0) - mean)[trained] / (scale[trained] / np.sqrt(400))
    assert abs(scores.mean()) < 4 / np.sqrt(trained.sum())
    assert 0.8 < np.sqrt((scores**2).mean()) < 1.2
    np.testing.assert_allclose(np.median(draws.std(0)[trained] / scale[trained]), 1, atol=0.1)


def test_draws_of_seeds_tasks_fidelities_and_architectures_are_uncorrelated():
    archs = nas_bench_201.enumerate()[nas_bench_201.enumerate().min(1) > 0]

    def draw(task, fidelity, seed):
        query = NAS_BENCH_201.query
        noise = query(archs, task, fidelity, seed).validation - query(archs, task, fidelity).validation
        return stats.rankdata(noise / NAS_BENCH_201.noise_scale(archs, task, fidelity))

    draws = [draw("cifar10", 200, 1), draw("cifar10", 200, 2), draw("cifar10", 12, 1), draw("cifar100", 200, 1)]
    draws.append(np.roll(draws[0], 1))
    correlations = np.corrcoef(draws)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(len(archs))


def test_splits_of_one_network_share_noise_and_those_of_two_networks_do_not():
    archs = nas_bench_201.enumerate()
    archs = archs[connected(archs)]
    for task, shares in (("cifar10", False), ("cifar100", True), ("ImageNet16-120", True)):
        mean, drawn = NAS_BENCH_201.query(archs, task), NAS_BENCH_201.query(archs, task, seed=11)
        ranks = [stats.rankdata(d - m) for d, m in zip(drawn[:2], mean[:2], strict=True)]
        # In standard errors of a rank correlation of nothing.
        correlation = np.corrcoef(ranks)[0, 1] * np.sqrt(len(archs))
        assert correlation > 10 if shares else abs(correlation) < 4


def test_cells_whose_output_is_zero_are_at_chance_for_every_seed():
    archs = nas_bench_201.enumerate()
    archs = archs[~connected(archs)]
    for task, chance in (("cifar10", 10), ("cifar100", 1), ("ImageNet16-120", 100 / 120)):
        for seed in (None, 5):
            np.testing.assert_allclose(NAS_BENCH_201.query(archs, task, seed=seed).test, chance, atol=0.02)
        assert not NAS_BENCH_201.noise_scale(archs, task).any()


def test_twelve_epochs_cost_twelve_two_hundredths(task):
    archs = nas_bench_201.enumerate()[:50]
    short, long = (NAS_BENCH_201.query(archs, task, fidelity).seconds for fidelity in (12, 200))
    np.testing.assert_allclose(short, long * 12 / 200)


def test_parameters_and_flops_are_those_of_the_networks():
    """Fifteen cells of 16, 32 and 64 channels on 32, 16 and 8 pixels squared (Dong and Yang 2020, section 2.1)."""
    widths, pixels = np.array([16, 32, 64]), np.array([1024, 256, 64])
    cells = [(0,) * 6, (2,) * 6, (3,) * 6]
    answer = NAS_BENCH_201.query(cells, "cifar10")
    for place, kernel in ((1, 1), (2, 9)):
        parameters = 5 * 6 * (kernel * widths**2 + 2 * widths).sum()
        # Batch normalisation counts two operations a value, ReLU one.
        flops = 5 * 6 * ((kernel * widths**2 + 3 * widths) * pixels).sum()
        assert answer.parameters[place] - answer.parameters[0] == parameters
        assert answer.flops[place] - answer.flops[0] == flops
    # The largest network of NAS-Bench-201 has 1.53 million parameters.
    assert answer.parameters[2] == 1_531_546
    more = NAS_BENCH_201.query(cells, "cifar100").parameters - answer.parameters
    np.testing.assert_array_equal(more, 90 * 65)


def test_objectives_have_units_and_are_nan_only_where_the_edge_tpu_cannot():
    cells = nas_bench_201.enumerate()
    supported = edge_tpu_supports(cells)
    for task in NAS_BENCH_201.tasks:
        found = NAS_BENCH_201.objectives(cells, task)
        assert set(found) == set(NAS_BENCH_201.objective_units)
        for name, values in found.items():
            known = supported if name == "edgetpu_latency" else np.ones(len(cells), dtype=bool)
            np.testing.assert_array_equal(~np.isnan(values), known)
            assert (values[known] >= 0).all()
        part = NAS_BENCH_201.objectives(cells[5:7], task)
        np.testing.assert_array_equal(part["fpga_energy"], found["fpga_energy"][5:7])
    assert set(NAS_BENCH_201.objective_units.values()) == {"ms", "mJ"}


def test_a_space_without_objectives_and_seeds_says_so():
    benchmark = TRANS_NAS_BENCH_101_MICRO
    assert benchmark.objectives(benchmark.space.enumerate()[:3], "normal") == {}
    with pytest.raises(InputError, match="one training seed"):
        benchmark.query(benchmark.space.enumerate()[:3], "normal", seed=0)
    with pytest.raises(InputError, match="one training seed"):
        benchmark.noise_scale(benchmark.space.enumerate()[:3], "normal")


def test_seeds_and_fidelities_that_do_not_exist_are_errors():
    cell = [(1,) * 6]
    for bad in ({"seed": 1000}, {"seed": -1}, {"fidelity": 100}):
        with pytest.raises(InputError, match="known"):
            NAS_BENCH_201.query(cell, "cifar10", **bad)


@pytest.mark.parametrize("nu", [2.5, 4.0, 20.0])
def test_standard_noise_is_half_student_half_normal_with_mean_zero(nu):
    draws = standard_noise(np.random.default_rng(3).random((3, 40_000)), nu) + noise_mean(nu)
    for chosen, distribution in ((-draws[draws < 0], stats.t(nu)), (draws[draws > 0], stats.norm())):
        assert abs(len(chosen) / len(draws) - 0.5) < 0.01
        assert stats.kstest(chosen, lambda x, d=distribution: 2 * d.cdf(x) - 1).pvalue > 0.001


def test_splitmix_gives_the_published_numbers():
    """The first outputs from 0, as in the test of Vigna's reference implementation."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert splitmix(0, np.arange(3)).tolist() == expected


def test_mean_of_the_noise_is_that_of_its_halves():
    for nu in (2.5, 4.0, 20.0):
        halves = stats.t(nu).expect(lambda x: min(x, 0.0)) + stats.norm().expect(lambda x: max(x, 0.0))
        assert noise_mean(nu) == pytest.approx(halves, abs=1e-6)


def test_ensemble_is_the_mean_of_its_networks():
    rng = np.random.default_rng(4)
    shapes = {"weight0": (2, 3, 5), "bias0": (2, 5), "weight1": (2, 5, 1), "bias1": (2, 1)}
    parameters = {f"net/{name}": rng.normal(size=shape) for name, shape in shapes.items()}
    features = rng.normal(size=(700, 3))
    expected = []
    for member in range(2):
        w0, b0, w1, b1 = (parameters[f"net/{name}"][member] for name in shapes)
        hidden = features @ w0 + b0
        expected.append(hidden * special.expit(hidden) @ w1 + b1)
    np.testing.assert_allclose(ensemble(parameters, "net", features), np.mean(expected, axis=0), rtol=1e-12)


def broken_files():
    whole = NAS_BENCH_201._content
    yield "empty", b""
    yield "text", b"parameters"
    for share in (0.1, 0.5, 0.99):
        yield f"first {share:.0%}", whole[: int(share * len(whole))]
    for place in (0.2, 0.6, 0.9):
        at = int(place * len(whole))
        yield f"damage at {place:.0%}", whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
    for name, values in (("pickle", np.array([{}])), ("other", np.array("{}")), ("list", np.array("[]"))):
        buffer = io.BytesIO()
        np.savez(buffer, about=values)
        yield name, buffer.getvalue()
    yield "another benchmark's", TRANS_NAS_BENCH_101_MACRO._content


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in broken_files()])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, content):
    file = tmp_path / "broken.npz"
    file.write_bytes(content)
    benchmark = FittedBenchmark("nas-bench-201", nas_bench_201, list(NAS_BENCH_201.tasks.values()), "", file)
    with pytest.raises(InputError, match="broken"):
        benchmark.query([(0,) * 6], "cifar10")


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    benchmark = FittedBenchmark("none", nas_bench_201, [], "", tmp_path / "none.npz")
    with pytest.raises(InputError, match="none"):
        _ = benchmark.version


@with_data
@pytest.mark.parametrize(("task", "short"), [("cifar10", "c10"), ("cifar100", "c100"), ("ImageNet16-120", "in16")])
def test_predictions_agree_with_the_table_at_least_as_well_as_when_held_out(task, short):
    truth = table("nb201_acc")
    for split, fidelity, name in (("validation", 12, f"{short}_val_e12"), ("test", 200, f"{short}_test_e200_lapt")):
        predicted = getattr(NAS_BENCH_201.query(nas_bench_201.enumerate(), task, fidelity), split)
        key = {"task": task, "split": split, "fidelity": fidelity, "folds": "random", "measure": "Kendall tau"}
        assert tau(truth[name], predicted) > figures(NAS_BENCH_201, **key)[0]["low"]
    predicted = NAS_BENCH_201.query(nas_bench_201.enumerate(), task).seconds
    assert np.corrcoef(truth[f"train_time_{short}_s"], predicted)[0, 1] > 0.99


@with_data
@pytest.mark.parametrize("other", BENCHMARKS[1:], ids=lambda b: b.name)
def test_predictions_agree_with_the_transfer_tables_at_least_as_well_as_when_held_out(other):
    truth = table(f"tnb101_{other.name.rpartition('-')[2]}")
    for task in other.tasks:
        key = {"task": task, "folds": "random", "measure": "Kendall tau"}
        low = figures(other, **key)[0]["low"]
        assert tau(truth[f"{task}_val_final"], other.scores(task, "validation")) > low


@with_data
def test_differences_of_drawn_seeds_are_as_large_as_those_of_trained_ones():
    seeds = pd.read_parquet(DATA / "nb201_seeds_e200.parquet")
    seeds = seeds[seeds["seed"] < 999].set_index(["arch_str", "seed"])
    for task, name in zip(NAS_BENCH_201.tasks, ("c10_val_e200", "c100_valtest_e200", "in16_valtest_e200"), strict=True):
        pairs = seeds[name].unstack()
        archs = [nas_bench_201.parse(text) for text in pairs.index]
        one, other = (
            drawn.validation if task == "cifar10" else (drawn.validation + drawn.test) / 2
            for drawn in (NAS_BENCH_201.query(archs, task, seed=seed) for seed in (0, 1))
        )
        trained = connected(np.array(archs))
        theirs, ours = (np.abs(d)[trained] for d in ((pairs[777] - pairs[888]).to_numpy(), one - other))
        ratios = np.quantile(ours, (0.25, 0.5, 0.75, 0.95)) / np.quantile(theirs, (0.25, 0.5, 0.75, 0.95))
        np.testing.assert_allclose(ratios, 1, atol=0.12)
        level = NAS_BENCH_201.noise_scale(archs, task)[trained]
        quiet = level < np.median(level)
        for part in (quiet, ~quiet):
            np.testing.assert_allclose(np.median(ours[part]) / np.median(theirs[part]), 1, atol=0.12)


@with_data
def test_predicted_latencies_agree_with_the_table():
    for name, values in NAS_BENCH_201.objectives(nas_bench_201.enumerate(), "cifar10").items():
        truth = table("nb201_hwnasbench")[f"c10_{name}"].to_numpy()
        both = (truth >= 0) & ~np.isnan(values)
        assert tau(truth[both], values[both]) > 0.88
