"""What every benchmark must do, those of other packages' entry points included."""

import re

import numpy as np
import pytest
from scipy.stats import percentileofscore

from surrogates.benchmark import Scores
from surrogates.benchmarks import benchmarks
from surrogates.errors import InputError
from surrogates.spaces import spaces

TASKS = [(name, task) for name in benchmarks.names() for task in benchmarks.get(name).tasks]


@pytest.fixture(params=benchmarks.names(), scope="module")
def benchmark_(request: pytest.FixtureRequest):
    return benchmarks.get(request.param)


@pytest.fixture(params=TASKS, ids="/".join, scope="module")
def case(request: pytest.FixtureRequest):
    name, task = request.param
    return benchmarks.get(name), task


LISTED = [case for case in TASKS if benchmarks.get(case[0]).space.enumerable]


@pytest.fixture(params=LISTED, ids="/".join, scope="module")
def listed(request: pytest.FixtureRequest):
    """A case all of whose architectures can be listed."""
    name, task = request.param
    return benchmarks.get(name), task


@pytest.fixture(scope="module")
def archs(case):
    """All architectures or, where they cannot be listed, some: shape (n, decisions)."""
    space, rng = case[0].space, np.random.default_rng(22)
    return space.enumerate() if space.enumerable else np.array([space.sample(rng) for _ in range(20)])


@pytest.fixture(scope="module")
def whole(case, archs):
    """The scores of `archs`."""
    benchmark, task = case
    return benchmark.query(archs, task)


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def test_describes_itself(benchmark_):
    assert benchmarks.get(benchmark_.name) is benchmark_
    assert benchmark_.kind in ("table", "surrogate", "training", "proxy")
    assert benchmark_.version
    assert benchmark_.source
    assert spaces.get(benchmark_.space.name) is benchmark_.space


def test_tasks_describe_themselves(case):
    benchmark, name = case
    task = benchmark.task(name)
    assert task.name == name
    assert task.metric
    assert task.unit in ("%", "1", "")
    assert task.splits in (("validation",), ("validation", "test"))
    assert task.reported == task.splits[-1]
    if task.splits == ("validation",):
        assert "no split" in benchmark.note


def test_checksum_is_hexadecimal_sha256(benchmark_):
    assert re.fullmatch("[0-9a-f]{64}", benchmark_.checksum)
    assert benchmark_.checksum == benchmark_.checksum


def test_answers_are_one_float_an_architecture(case, rng):
    benchmark, task = case
    for n in (0, 1, 7):
        answer = benchmark.query([benchmark.space.sample(rng) for _ in range(n)], task)
        assert isinstance(answer, Scores)
        for values in answer:
            assert values.shape == (n,)
            assert values.dtype == np.float64


def test_unknown_values_are_nan_and_known_ones_are_not(case, whole):
    benchmark, name = case
    task, answer = benchmark.task(name), whole
    scored = ~np.isnan(answer.validation)
    assert scored.any()
    expected = scored if "test" in task.splits else np.zeros_like(scored)
    np.testing.assert_array_equal(~np.isnan(answer.test), expected)
    np.testing.assert_array_equal(~np.isnan(answer.seconds), scored & task.seconds)
    for values in answer:
        assert not np.isinf(values).any()
    for values in (answer.validation, answer.test):
        known = values[~np.isnan(values)]
        assert task.unit == "" or ((known >= 0) & (known <= (100 if task.unit == "%" else 1))).all()
        assert not task.negated or (known <= 0).all()
    for values in (answer.seconds, answer.latency, answer.parameters, answer.flops):
        assert (values[~np.isnan(values)] >= 0).all()


def test_parts_are_answered_like_the_whole_in_the_order_asked(case, archs, whole, rng):
    benchmark, task = case
    rows = rng.integers(len(archs), size=min(len(archs), 300))
    for asked in (archs[rows], [tuple(arch) for arch in archs[rows].tolist()]):
        for part, every in zip(benchmark.query(asked, task), whole, strict=True):
            np.testing.assert_array_equal(part, every[rows])


def test_answers_are_the_callers_own(case, archs, whole):
    benchmark, task = case
    arch = archs[~np.isnan(whole.validation)][:1]
    before = benchmark.query(arch, task).validation.copy()
    benchmark.query(arch, task).validation[:] = -1
    np.testing.assert_array_equal(benchmark.query(arch, task).validation, before)


def test_scores_are_the_whole_query(listed):
    benchmark, task = listed
    whole = benchmark.query(benchmark.space.enumerate(), task)
    for split in benchmark.task(task).splits:
        np.testing.assert_array_equal(benchmark.scores(task, split), getattr(whole, split))


def test_validation_is_not_test(case, whole):
    benchmark, name = case
    answer = whole
    if "test" not in benchmark.task(name).splits:
        with pytest.raises(InputError, match="test"):
            benchmark.scores(name, "test")
        return
    known = ~np.isnan(answer.test)
    assert (answer.validation[known] != answer.test[known]).mean() > 0.9


def test_optimum_is_the_maximum(listed):
    benchmark, task = listed
    for split in benchmark.task(task).splits:
        arch, score = benchmark.optimum(task, split)
        scores = getattr(benchmark.query(benchmark.space.enumerate(), task), split)
        assert score == max(scores[~np.isnan(scores)])
        assert getattr(benchmark.query([arch], task), split) == [score]


@pytest.mark.parametrize("top", [1e-9, 0.001, 0.05, 1.0])
def test_threshold_is_the_score_of_the_last_within_the_top_share(listed, top):
    benchmark, task = listed
    for split in benchmark.task(task).splits:
        scores = benchmark.scores(task, split)
        scores = scores[~np.isnan(scores)]
        within = max(1, round(top * len(scores)))
        threshold = benchmark.threshold(task, split, top)
        assert (scores > threshold).sum() < within <= (scores >= threshold).sum()


def test_quantiles_agree_with_scipy(listed, rng):
    benchmark, task = listed
    for split in benchmark.task(task).splits:
        scores = benchmark.scores(task, split)
        known = scores[~np.isnan(scores)]
        asked = np.append(rng.choice(known, 20), [known.min() - 1, known.max(), known.max() + 1])
        expected = percentileofscore(known, asked, kind="weak") / 100
        np.testing.assert_allclose(benchmark.quantile(task, split, asked), expected, rtol=1e-12)
        assert np.isnan(benchmark.quantile(task, split, np.array([np.nan]))).all()


@pytest.mark.parametrize("case", [case for case in TASKS if case not in LISTED], ids="/".join)
def test_optimum_of_a_space_that_cannot_be_listed_is_one_clear_error(case):
    benchmark, task = benchmarks.get(case[0]), case[1]
    for ask in (benchmark.optimum, benchmark.threshold, benchmark.scores):
        with pytest.raises(InputError, match="too many to list"):
            ask(task, "validation")


def test_unknown_task_is_an_error_with_the_nearest_name(case):
    benchmark, task = case
    with pytest.raises(InputError, match=task):
        benchmark.query([], f"{task}x")


def test_unknown_fidelity_and_seed_are_errors(case, archs):
    benchmark, task = case
    arch = archs[:1]
    with pytest.raises(InputError, match="fidelity"):
        benchmark.query(arch, task, fidelity=-1)
    with pytest.raises(InputError, match="seed"):
        benchmark.query(arch, task, seed=-1)


def test_architectures_outside_the_space_are_errors(case, archs):
    benchmark, task = case
    arch = tuple(archs[0].tolist())
    for bad in (arch[:-1], (*arch, 0), (-1, *arch[1:]), (*arch[:-1], 10**6)):
        with pytest.raises(InputError):
            benchmark.query([arch, bad], task)
