"""Claim 6, proxy reliability, on a table of replicated scores."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.claims import finite
from analysis.measurements import check_labels, numbers, read
from surrogates.errors import InputError, unknown
from theory import proxy_reliability
from theory.proxy_reliability import ProxyReliability

SHARES = (1.0, 0.5, 0.1, 0.01)
"""Top shares of the architectures on which claim 6 is tested."""


def check_proxy_reliability(
    table: pd.DataFrame | str | Path,
    arch: str,
    replicates: Sequence[str],
    truth: str | None = None,
    task: str | None = None,
    top: Sequence[float] = SHARES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Tests claim 6, proxy reliability, on a table, within each task; see `theory.proxy_reliability` for the rule.

    The table is wide or long. Wide: one row per architecture (and task), two or more columns of replicates, e.g. seeds,
    or validation and test. Long: one column of replicates, and one row per architecture and replicate; the rows of an
    architecture count as its first, second, ... replicate in their order. Empty or NaN replicates are missing: they are
    counted, never filled in.

    Args:
        table: The table, or a Parquet or CSV file that holds it.
        arch: Column that names the architecture.
        replicates: Columns of repeated scores, in any unit.
        truth: Column of the score that the replicates stand for; None: replicates are compared with each other.
        task: Column that names the task; None: all rows are of one task.
        top: Shares of best architectures to compare, each in (0, 1].
        seed: Seed of the resampling.

    Returns:
        For each task and share, ready for JSON (None where a number does not exist):

        - task, share, form ("replicates" or "truth"), selection (what the share was selected on);
        - n: architectures compared; replicates: columns, or the most rows of an architecture; missing: empty replicate
          values; left_out: architectures without the scores that the comparison needs;
        - spearman with its 95% interval in `interval`, pearson with `pearson_interval`;
        - snr, icc: among the architectures compared; snr_all, icc_all with intervals: among all;
        - predicted: Spearman correlation by form, from snr_all and ignoring selection ("truth", "replicates",
          "general"), and that of the judged form among the top share ("truncated");
        - predicted_interval: the judged prediction at the ends of snr_all_interval; expected_interval: where
          `spearman` falls in 95% of samples if the claim holds;
        - difference (observed minus predicted, bias removed) and difference_interval, on which the verdict rests;
        - gain: how much nearer to the observed correlation the prediction for a top share is than the closed form
          without selection, with gain_interval; None for all architectures;
        - assumptions (name, holds, evidence), verdict, needed_n, explanation.

    Raises:
        InputError: A file that cannot be read, a column that is not there or not numeric, infinite scores, repeated
            architectures in a wide table, fewer than 2 replicates or 10 architectures, a share outside (0, 1].
    """
    frame, where = read(table)
    if not top:
        raise InputError("top: name at least one share, e.g. 1")
    for share in top:
        if not 0 < share <= 1:
            raise InputError(f"top: a share must be above 0 and at most 1 (0.1 is the best tenth), not {share:g}")
    named = [arch, *replicates, *(c for c in (truth, task) if c is not None)]
    for column in named:
        if column not in frame.columns:
            raise unknown("column", column, map(str, frame.columns), where)
        if named.count(column) > 1:
            raise InputError(f"{where}: column {column!r} is named twice; name each column once")
    if not replicates:
        raise InputError("replicates: name at least one column")
    check_labels(frame, (c for c in (arch, task) if c is not None), where)
    for column in (*replicates, *(() if truth is None else (truth,))):
        frame[column] = numbers(frame[column], where)

    results = []
    groups = [(None, frame)] if task is None else list(frame.groupby(task, sort=False, observed=True))
    for name, rows in groups:
        place = where if task is None else f"{where}, {task} {name!r}"
        scores, target = _matrix(rows, arch, list(replicates), truth, place)
        for share in top:
            try:
                found = proxy_reliability.test(
                    scores,
                    np.random.default_rng(seed),
                    truth=target,
                    share=share,
                    tasks=None if name is None else np.full(len(scores), str(name), dtype=object),
                )
            except ValueError as error:
                raise InputError(f"{place}: {error}") from error
            counts = {"replicates": scores.shape[1], "missing": int(rows[list(replicates)].isna().to_numpy().sum())}
            results.append({"task": None if name is None else str(name), **counts, **_plain(found)})
    return results


def _matrix(
    rows: pd.DataFrame, arch: str, replicates: list[str], truth: str | None, place: str
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Returns scores, shape (architectures, replicates), and the truth, shape (architectures,), of one task."""
    if len(replicates) > 1:
        if rows[arch].duplicated().any():
            name = rows[arch][rows[arch].duplicated()].iloc[0]
            raise InputError(
                f"{place}: architecture {name!r} has several rows; with several replicate columns each must have one. "
                "If they are of several tasks, name the task's column; if they are replicates, name a single column"
            )
        return rows[replicates].to_numpy(float), None if truth is None else rows[truth].to_numpy(float)
    by_arch = rows.groupby(arch, sort=False, observed=True)
    codes, order = by_arch.ngroup().to_numpy(), by_arch.cumcount().to_numpy()
    if order.max(initial=0) < 1:
        raise InputError(
            f"{place}: fewer than 2 replicates: column {replicates[0]!r} has one row per architecture; name a second "
            "column, or give a table with a row per replicate"
        )
    scores = np.full((codes.max() + 1, order.max() + 1), np.nan)
    scores[codes, order] = rows[replicates[0]].to_numpy(float)
    if truth is None:
        return scores, None
    values = by_arch[truth]
    if (values.nunique() > 1).any():
        name = values.nunique().idxmax()
        raise InputError(
            f"{place}: column {truth!r} has several values for architecture {name!r}; a truth must have one"
        )
    return scores, values.first().to_numpy(float)


def _plain(found: ProxyReliability) -> dict[str, Any]:
    components = found.components
    values = {
        "share": found.share,
        "form": found.form,
        "selection": found.selection,
        "n": found.n,
        "left_out": found.left_out,
        "spearman": found.estimate,
        "interval": found.estimate_interval,
        "pearson": found.pearson,
        "pearson_interval": found.pearson_interval,
        "snr": found.snr,
        "icc": found.icc,
        "snr_all": components.snr,
        "snr_all_interval": components.snr_interval,
        "icc_all": components.icc,
        "icc_all_interval": components.icc_interval,
        "predicted": found.predictions,
        "predicted_interval": found.prediction_interval,
        "expected_interval": found.interval,
        "difference": found.difference,
        "difference_interval": found.difference_interval,
        "gain": found.gain,
        "gain_interval": found.gain_interval,
        "assumptions": [asdict(evidence) for evidence in found.assumptions],
        "verdict": found.level,
        "needed_n": found.needed_n,
        "explanation": found.explanation,
    }
    return {key: finite(value) for key, value in values.items()}
