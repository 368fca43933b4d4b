import numpy as np
import pytest
from scipy.stats import norm

from bench.methods import gaussian_process as module
from surrogates.spaces.trans_nas_bench_101_micro import trans_nas_bench_101_micro as space


def covariance(a, b, scales):
    return np.exp(-((a[:, None] != b) / scales).mean(axis=2))


def known(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.choice(space.size, count, replace=False)
    return rows, space.enumerate()[rows], rng.normal(size=count)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_process_is_the_textbook_one_with_the_kernel_that_is_documented():
    import torch

    _, archs, scores = known(12)
    others = space.enumerate()[::97]
    model = module.process(torch.tensor(archs).double(), torch.tensor(scores))
    scales = model.covar_module.lengthscale.detach().numpy().ravel()  # pyright: ignore[reportCallIssue]
    assert scales == pytest.approx(np.exp(2**0.5 - 3))  # the mode of a log-normal is exp(μ - σ²)
    noise = model.likelihood.noise.item()  # pyright: ignore[reportCallIssue]
    with torch.no_grad():
        posterior = model.posterior(torch.tensor(others).double().unsqueeze(1))  # pyright: ignore[reportCallIssue]
    gain = np.linalg.solve(covariance(archs, archs, scales) + noise * np.eye(12), covariance(archs, others, scales)).T
    np.testing.assert_allclose(posterior.mean.ravel(), gain @ scores, atol=1e-6)
    variance = 1 - (gain * covariance(others, archs, scales)).sum(axis=1)
    np.testing.assert_allclose(posterior.variance.ravel(), variance, atol=1e-6)


def test_it_evaluates_what_has_the_highest_expected_improvement(search, monkeypatch):
    monkeypatch.setattr(module, "fit", lambda *_: None)  # all parameters stay where they start
    rng = np.random.default_rng(3)
    table = {tuple(arch): score for arch, score in zip(space.enumerate().tolist(), rng.normal(size=4096), strict=True)}
    found = search("gaussian_process", table.__getitem__, 14, space=space)
    scales, noise = np.exp(2**0.5 - 3), np.exp(-4 - 1)  # modes of the priors
    for n in range(10, 14):
        archs, scores = np.array([a for a, _ in found[:n]]), np.array([s for _, s in found[:n]])
        scores = (scores - scores.mean()) / scores.std()
        left = np.array([a for a in table if a not in dict(found[:n])])
        across = covariance(left, archs, scales)
        gain = np.linalg.solve(covariance(archs, archs, scales) + noise * np.eye(n), across.T).T
        mean, deviation = gain @ scores, np.sqrt(1 - (gain * across).sum(axis=1))
        z = (mean - scores.max()) / deviation
        improvement = deviation * (norm.pdf(z) + z * norm.cdf(z))
        best = {tuple(arch) for arch in left[improvement > improvement.max() * (1 - 1e-4)].tolist()}
        assert found[n][0] in best


def test_length_scales_tell_which_decisions_matter(monkeypatch, search):
    models, fit = [], module.fit
    monkeypatch.setattr(module, "fit", lambda model, seed: (fit(model, seed), models.append(model)))
    search("gaussian_process", lambda arch: float(arch[3] % 2), 31, space=space, initial=30)
    (model,) = models
    scales = model.covar_module.lengthscale.detach().numpy().ravel()
    assert scales.argmin() == 3
    assert scales[3] < np.delete(scales, 3).min() / 2


@pytest.mark.parametrize(("refit", "fits"), [(1, [10, 11, 12, 13, 14]), (3, [10, 13]), (100, [10])])
def test_length_scales_are_fitted_as_often_as_asked(refit, fits, monkeypatch, search):
    counts = []
    monkeypatch.setattr(module, "fit", lambda model, seed: counts.append(len(model.train_targets)))
    search("gaussian_process", lambda arch: float(sum(arch)), 15, space=space, refit=refit)
    assert counts == fits
