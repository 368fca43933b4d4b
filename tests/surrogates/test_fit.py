import numpy as np
import pandas as pd
import pytest
from scipy import stats

from surrogates import fit
from surrogates.benchmark import Task
from surrogates.errors import InputError
from surrogates.fitted import FittedBenchmark, ensemble, noise_features, standard_noise
from surrogates.spaces.nas_bench_201 import nas_bench_201
from surrogates.spaces.trans_nas_bench_101_macro import trans_nas_bench_101_macro
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro


@pytest.fixture
def rng():
    return np.random.default_rng(31)


def pairs_of(rng, scale, nu, seeds=3):
    """Pairs of trainings with known noise; every second architecture lacks the last seed."""
    scores = rng.normal(50, 10, (len(scale), 1)) + scale[:, None] * np.stack(
        [standard_noise(rng.random((3, len(scale))), nu) for _ in range(seeds)], axis=1
    )
    scores[::2, -1] = np.nan
    return fit.seed_pairs(scores, resolution=1e-9)


def test_ensemble_recovers_a_known_function(rng, monkeypatch):
    monkeypatch.setattr(fit, "BATCH", 64)
    features = rng.uniform(-1, 1, (1200, 3))
    truth = np.column_stack([features[:, 0] * features[:, 1], 100 + 5 * features[:, 2]])
    seen, targets = slice(0, 800), truth.copy()
    targets[:300, 1] = np.nan
    parameters = fit.fit_ensemble("net", features[seen], targets[seen])
    predicted = ensemble(parameters, "net", features[800:])
    for j in range(2):
        assert fit.r2(truth[800:, j], predicted[:, j]) > 0.97


def test_ensemble_is_the_same_from_the_same_data(rng, monkeypatch):
    monkeypatch.setattr(fit, "EPOCHS", 2)
    features, targets = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    one, other = (fit.fit_ensemble("net", features, targets) for _ in range(2))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def test_noise_fit_recovers_known_scale_and_tail(rng):
    x = rng.normal(size=4000)
    design = noise_features(x[:, None], np.zeros(4000))
    for nu in (3.0, 12.0):
        noise = fit.fit_noise(pairs_of(rng, np.exp(-1 + 0.7 * x), nu), design, choices=(3.0, 12.0))
        assert noise.degrees_of_freedom == nu
        np.testing.assert_allclose(noise.weights, [-1, 0, 0, 0.7], atol=0.06)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_noise_fit_is_not_biased_by_the_number_of_seeds(rng, seeds):
    scores = 0.5 * np.stack([standard_noise(rng.random((3, 4000)), 4.0) for _ in range(seeds)], axis=1)
    noise = fit.fit_noise(fit.seed_pairs(scores, 1e-9), np.ones((4000, 1)), choices=(4.0,))
    assert np.exp(noise.weights[0]) == pytest.approx(0.5, rel=0.05)


def test_density_of_differences_is_one_of_differences_of_normals_without_a_tail():
    with np.errstate(divide="ignore"):
        density = np.exp(fit.log_density(1e7))
    np.testing.assert_allclose(density, 2 * stats.norm.pdf(np.exp(fit._GRID), scale=np.sqrt(2)), atol=1e-5)


@pytest.mark.parametrize("nu", [3.0, 8.0])
def test_density_and_quantiles_of_differences_are_those_of_draws(rng, nu):
    mass = np.exp(fit.log_density(nu) + fit._GRID)
    assert np.trapezoid(mass, fit._GRID) == pytest.approx(1, abs=1e-3)
    one, other = standard_noise(rng.random((2, 3, 200_000)).transpose(1, 0, 2), nu)
    levels = (0.1, 0.5, 0.8, 0.95, 0.99)
    quantiles = fit.difference_quantiles(nu, levels)
    np.testing.assert_allclose([(np.abs(one - other) < q).mean() for q in quantiles], levels, atol=0.005)


def test_pairs_of_seeds_weigh_as_many_as_there_are_degrees_of_freedom():
    scores = np.array([[1.0, 2.0, 4.0], [5.0, 5.0, np.nan]])
    pairs = fit.seed_pairs(scores, resolution=0.2)
    assert sorted(zip(pairs.rows, pairs.distances, strict=True)) == [(0, 1.0), (0, 2.0), (0, 3.0), (1, 0.1)]
    np.testing.assert_allclose(np.bincount(pairs.rows, pairs.weights), [2, 1])


def test_isomorphic_pairs_stay_in_their_class_and_weigh_its_degrees_of_freedom(rng):
    kind = rng.integers(30, size=100)
    scores = 1000.0 * kind + rng.uniform(0, 1, 100)
    seeds = np.where(kind % 2, 1, 4)
    pairs = fit.isomorphic_pairs(scores, kind, seeds, resolution=0)
    assert pairs.distances.max() < 1
    sizes = np.bincount(kind, minlength=30)
    np.testing.assert_allclose(
        np.bincount(kind[pairs.rows], pairs.weights, minlength=30), np.maximum(sizes - 1, 0) * (sizes > 1)
    )
    # A mean over four seeds scatters half as much.
    np.testing.assert_allclose(pairs.offsets, np.where(kind[pairs.rows] % 2, 0, np.log(0.5)))


def test_half_difference_of_splits_is_recovered(rng):
    kind = np.repeat(np.arange(500), 4)
    seeds, share = np.where(np.arange(2000) % 3, 3, 2), np.repeat(rng.uniform(0.2, 0.8, 500), 4)
    offset = np.repeat(rng.normal(0, 3, 500), 4)
    half = 100 * np.sqrt(5e-5 * share * (1 - share) / seeds) * rng.normal(size=2000)
    pairs = fit.isomorphic_pairs(offset + 2 * half, kind, seeds, resolution=0)
    assert fit.fit_half_difference(pairs, 100 * share) == pytest.approx(5e-5, rel=0.12)


def test_recall_and_r2_of_examples_worked_out_by_hand():
    truth = np.arange(300.0)
    predicted = truth.copy()
    predicted[299] = -1
    # The best three are 297 to 299; predicted 296 to 298.
    assert fit.recall(truth, predicted) == pytest.approx(2 / 3)
    assert fit.r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0])) == pytest.approx(1 - 4 / 2)


def test_bootstrap_resamples_whole_clusters_within_strata(rng, monkeypatch):
    monkeypatch.setattr(fit, "RESAMPLES", 20)
    truth = rng.normal(size=(60, 1))
    predicted = truth + rng.normal(size=(60, 1))
    strata = np.repeat([0, 1], 30)
    for value, low, high in fit.measure(truth, predicted, clusters=strata, strata=strata).values():
        assert value[0] == pytest.approx(low[0])
        assert value[0] == pytest.approx(high[0])
    halves = [fit.tau(truth[strata == k, 0], predicted[strata == k, 0]) for k in (0, 1)]
    measured = fit.measure(truth, predicted, np.arange(60), strata)["Kendall tau"][:, 0]
    assert measured[0] == pytest.approx(np.mean(halves))
    assert measured[1] < measured[0] < measured[2]


def test_folds_keep_isomorphism_classes_together_and_leave_out_whole_regions():
    space = trans_nas_bench_101_micro
    folds, kind = fit.folds(space), fit.classes(space)
    for k in range(kind.max() + 1):
        assert len(set(folds["isomorphism"][kind == k])) == 1
    np.testing.assert_array_equal(folds["region"], space.enumerate()[:, 3])
    assert np.ptp(np.bincount(folds["random"])) <= 1
    lengths = (trans_nas_bench_101_macro.enumerate() > 0).sum(1)
    np.testing.assert_array_equal(fit.folds(trans_nas_bench_101_macro)["region"], lengths - 4)


def test_held_out_predictions_never_saw_their_own_fold():
    fold = np.arange(20) % 4
    predicted = fit.held_out(fold, lambda seen: np.tile(seen[:, None].astype(float), 2))
    np.testing.assert_array_equal(predicted, np.zeros((20, 2)))


def test_least_squares_recovers_a_sum(rng):
    features = rng.normal(size=(30, 2))
    weights = fit.least_squares(features, 3 + features @ np.array([[1.0], [-2.0]]))
    np.testing.assert_allclose(weights, [[3, 1, -2]], atol=1e-12)


def test_a_fitted_file_answers_and_knows_its_quality(rng, tmp_path, monkeypatch):
    for name, value in {"EPOCHS": 8, "RESAMPLES": 2, "MEMBERS": 1, "WIDTH": 16}.items():
        monkeypatch.setattr(fit, name, value)
    space = trans_nas_bench_101_macro
    benchmark = FittedBenchmark("test", space, [Task("size", "score", "", ("validation",))], "", tmp_path / "test.npz")
    scores = (space.enumerate() @ np.arange(1.0, 7.0))[:, None]
    table = fit.Table(benchmark, [("size", "validation", 0)], scores)
    parameters, quality, levels = fit.fit_means(table)
    assert levels.shape == scores.shape
    about = {"columns": table.columns, "noise": [], "additive": [], "objectives": [], "quality": quality}
    fit.write(benchmark, {**parameters, "noise/weights": np.empty((0, 0))}, about, tmp_path)
    first = (tmp_path / "test.npz").read_bytes()
    fit.write(benchmark, {**parameters, "noise/weights": np.empty((0, 0))}, about, tmp_path)
    assert (tmp_path / "test.npz").read_bytes() == first
    predicted = benchmark.scores("size", "validation")
    assert fit.tau(scores[:, 0], predicted) > 0.9
    (row,) = [r for r in benchmark.quality if r["folds"] == "random" and r["measure"] == "Kendall tau"]
    assert 0.9 < row["value"] < 1
    assert row["n"] == space.size


def test_a_missing_or_incomplete_table_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match="absent"):
        fit.read(tmp_path / "absent.parquet", nas_bench_201, ["x"])
    file = tmp_path / "part.parquet"
    cells = [nas_bench_201.format(tuple(arch)) for arch in nas_bench_201.enumerate()[:3].tolist()]
    pd.DataFrame({"arch_str": cells, "x": [1.0, 2.0, 3.0]}).to_parquet(file)
    with pytest.raises(InputError, match="part"):
        fit.whole(file, nas_bench_201, ["x"])
    with pytest.raises(InputError, match="part"):
        fit.read(file, nas_bench_201, ["y"])
