"""Ensembles of networks, and least squares, that surrogates are fitted with."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from surrogates.held_out import SEED, Array
from theory.one_thread import one_thread

# A network: width, hidden layers, members of the ensemble, passes over the data, architectures a step, learning rate.
WIDTH, DEPTH, MEMBERS, EPOCHS, BATCH, RATE = 64, 3, 3, 40, 256, 1e-2


@one_thread()
def fit_ensemble(name: str, features: Array, targets: Array, seed: int = SEED) -> dict[str, NDArray[np.float32]]:
    """Fits an ensemble of multilayer perceptrons by least squares on standardised targets.

    Args:
        name: Name of the ensemble.
        features: Shape (n, features).
        targets: Shape (n, outputs); NaN where one is unknown.
        seed: Of initialisation and order.

    Returns:
        Parameters as `surrogates.fitted.ensemble` takes them.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    centre, mean, spread = features.mean(0), np.nanmean(targets, 0), np.nanstd(targets, 0)
    inputs = torch.tensor(features - centre, dtype=torch.float32)
    outputs = torch.tensor((targets - mean) / spread, dtype=torch.float32)
    sizes = [features.shape[1], *(WIDTH,) * DEPTH, targets.shape[1]]
    weights = [
        (1.5 if fan_out == WIDTH else 0.5) / fan_in**0.5 * torch.randn(MEMBERS, fan_in, fan_out, generator=generator)
        for fan_in, fan_out in pairwise(sizes)
    ]
    biases = [torch.zeros(MEMBERS, 1, size) for size in sizes[1:]]
    for parameter in (*weights, *biases):
        parameter.requires_grad_()
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.01}, {"params": biases, "weight_decay": 0.0}], lr=RATE, fused=True
    )
    steps = max(1, len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        order = torch.stack([torch.randperm(len(inputs), generator=generator) for _ in range(MEMBERS)])
        for chosen in order[:, : steps * BATCH].split(BATCH, dim=1):
            hidden, wanted = inputs[chosen], outputs[chosen]
            for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                hidden = torch.baddbmm(bias, hidden, weight)
                if layer < DEPTH:
                    hidden = torch.nn.functional.silu(hidden)
            errors = torch.where(wanted.isnan(), 0.0, hidden - wanted.nan_to_num())
            optimizer.zero_grad(set_to_none=True)
            (errors**2).mean((1, 2)).sum().backward()
            optimizer.step()
            schedule.step()
    # The standardisation is folded into the first and the last layer.
    found = [
        (w.detach().double().numpy(), b.detach().double().numpy()[:, 0]) for w, b in zip(weights, biases, strict=True)
    ]
    found[0] = found[0][0], found[0][1] - centre @ found[0][0]
    found[-1] = found[-1][0] * spread, found[-1][1] * spread + mean
    return {
        f"{name}/{kind}{layer}": values.astype(np.float32)
        for layer, pair in enumerate(found)
        for kind, values in zip(("weight", "bias"), pair, strict=True)
    }


def normal_scores(scores: Array) -> Array:
    """Returns the normal quantile of each score's mid-rank in its column."""
    return np.asarray(norm.ppf((rankdata(scores, axis=0) - 0.5) / len(scores)), dtype=np.float64)


def fit_scores(features: Array, scores: Array) -> dict[str, NDArray[Any]]:
    """Fits the normal scores of the columns, and the curves that lead from these back to scores.

    The curves are 65 quantiles a column, evenly spaced in the normal score.
    """
    grid = np.linspace(-1, 1, 65) * norm.ppf(1 - 0.5 / len(scores))
    knots = np.quantile(scores, norm.cdf(grid), axis=0, method="hazen").T
    return {**fit_ensemble("scores", features, normal_scores(scores)), "scores/grid": grid, "scores/knots": knots}


def least_squares(features: Array, targets: Array) -> Array:
    """Returns the weights of a constant and of the features: shape (targets, 1 + features)."""
    design = np.column_stack([np.ones(len(features)), features])
    return np.asarray(np.linalg.lstsq(design, targets, rcond=None)[0].T, dtype=np.float64)
