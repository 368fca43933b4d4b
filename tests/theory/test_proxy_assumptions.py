import numpy as np
import pytest

from theory import proxy_assumptions as assume
from theory.proxy_reliability import CLAIM
from theory.replicates import Replicates


def sample(arch, noise, **given):
    return Replicates.read(arch[:, None] + noise, **given)


@pytest.mark.parametrize("n", [10, 15_625])
@pytest.mark.parametrize("k", [2, 3])
def test_all_hold_for_normal_scores_at_any_size(n, k):
    rng = np.random.default_rng(n + k)
    found = [a.check(sample(2 * rng.normal(size=n), rng.normal(size=(n, k)))) for a in CLAIM.assumptions]
    assert all(e.holds for e in found), found
    assert [e.name for e in found] == [a.name for a in CLAIM.assumptions]
    assert all(f"n = {n}" in e.evidence or "n = " in e.evidence for e in found)


def test_a_deviation_that_does_not_matter_is_not_held_against_large_data():
    rng = np.random.default_rng(0)
    # Gamma with shape 32: skewness 2 / sqrt(32) = .35, far from normal in a test with n = 15,625, but below the bound.
    found = assume.normal_architectures(sample(rng.gamma(32, size=15_625), 0.1 * rng.normal(size=(15_625, 2))))
    assert found.holds
    assert float(found.evidence.split("p = ")[1].split()[0]) < 1e-10


def test_false_alarms_are_rare_at_small_n():
    rng = np.random.default_rng(1)
    alarms = sum(
        not assume.normal_architectures(sample(rng.normal(size=15), rng.normal(size=(15, 2)))).holds for _ in range(300)
    )
    # The test's own level is .2%; its p-value is approximate at n = 15.
    assert alarms <= 9


@pytest.mark.parametrize("n", [100, 2000])
def test_each_broken_assumption_is_named(n):
    rng = np.random.default_rng(2)
    arch, noise = 2 * rng.normal(size=n), rng.normal(size=(n, 3))
    assert not assume.normal_architectures(sample(rng.exponential(4, size=n), noise)).holds
    assert not assume.normal_noise(sample(arch, rng.standard_t(2.5, size=(n, 3)))).holds
    assert not assume.equal_noise(sample(arch, noise * np.where(arch > 0, 0.2, 1)[:, None])).holds
    assert not assume.equally_noisy_replicates(sample(arch, noise * [1, 1, 4])).holds
    assert not assume.continuous_scores(sample(np.round(arch / 4), np.zeros((n, 3)))).holds
    assert not assume.one_task(sample(arch, noise, tasks=np.arange(n) % 2)).holds
    assert not assume.noise_free_truth(sample(arch, noise, truth=rng.normal(size=n))).holds


def test_noise_of_the_top_share_is_compared_with_the_rest():
    rng = np.random.default_rng(3)
    arch = rng.normal(size=5000)
    quiet = np.where(arch > 1.2816, 0.1, 0.5)[:, None] * rng.normal(size=(5000, 3))
    found = assume.equal_noise(sample(arch, quiet, share=0.1))
    assert not found.holds
    assert "top 0.1 " in found.evidence
