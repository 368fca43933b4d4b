"""Binds tables of measurements to the claims in `theory`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.measurements import Floats, Measurements, told
from surrogates.errors import InputError
from theory import (
    cross_entropy_update,
    delta_validity,
    elite_mass,
    expected_quality,
    novelty_filter,
    progress_certificate,
    proxy_reliability,
)
from theory.claim import Claim, Verdict
from theory.generated_programs import read_table

claims: tuple[Claim, ...] = (
    cross_entropy_update.CLAIM,
    expected_quality.CLAIM,
    progress_certificate.CLAIM,
    elite_mass.CLAIM,
    delta_validity.CLAIM,
    novelty_filter.CLAIM,
    proxy_reliability.CLAIM,
)

Found = list[tuple[dict[str, object], Verdict]]
"""Verdicts, each with what tells it from the others of the same rows."""


@dataclass(frozen=True)
class Check:
    """How a claim is checked on a table.

    Attributes:
        claim: The claim.
        required: Columns that the table must have.
        optional: Columns that are used if it has them; beside them "model" and "task", by which it is split.
        test: Tests one model and task; given all of them too, for the correction of many comparisons.
    """

    claim: Claim
    required: tuple[str, ...]
    optional: tuple[str, ...]
    test: Callable[[Measurements, Sequence[Measurements], np.random.Generator, bool], Found]


def check(
    name: str,
    table: pd.DataFrame | str | Path,
    columns: Mapping[str, str] | None = None,
    by: Sequence[str] | None = None,
    exact: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Checks one of the claims 1 to 5, or the progress certificate, on a table; the columns are those of `CHECKS`.

    Args:
        name: The claim.
        table: The table, or a Parquet or CSV file that holds it.
        columns: What the table calls columns that it does not call by their documented names.
        by: Columns whose values are tested apart; None: "model" and "task", as far as there are such columns.
        exact: Whether expectations were computed over the whole space, without sampling (claims 2 and 3).
        seed: Seed of all resampling.

    Returns:
        For each model and task an object, for claim 3 one for each reading, for claim 4 one for each model of errors
        (of programs of one length, the independent one alone),
        for the certificate one for each seed and cycle: the labels, `verdict`, `estimate`, `predicted`, `interval`,
        `n`, `assumptions` (name, holds, evidence), `needed_n`, `explanation`, and what else the claim's verdict tells
        (its class in `theory`). None where a number does not exist.

    Raises:
        InputError: A file that cannot be read, a column that is not there, or values that a claim cannot be about.
    """
    chosen = CHECKS[name]
    parts = Measurements.split(table, chosen.required, chosen.optional, columns, by)
    results = []
    for part in parts:
        try:
            found = chosen.test(part, parts, np.random.default_rng(seed), exact)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{part.place}: {error}") from error
        results += [{**part.labels, **told, **as_plain(verdict)} for told, verdict in found]
    return results


def as_plain(verdict: Verdict) -> dict[str, Any]:
    """Returns a verdict ready for JSON, its level called "verdict"; None in place of what is NaN or infinite."""
    values = asdict(verdict)
    return {"verdict": values.pop("level"), **{key: finite(value) for key, value in values.items()}}


def finite(value: Any) -> Any:
    """Returns None in place of a number, or of an interval with an end, that is NaN or infinite."""
    match value:
        case tuple() if value and all(isinstance(end, float) for end in value) and len(value) == 2:
            return [*value] if all(map(math.isfinite, value)) else None
        case tuple() | list():
            return [finite(item) for item in value]
        case dict():
            return {key: finite(item) for key, item in value.items()}
        case float():
            return value if math.isfinite(value) else None
    return value


def _cross_entropy_update(
    part: Measurements, parts: Sequence[Measurements], rng: np.random.Generator, exact: bool
) -> Found:
    least = part.series("least", low=0) if part.has("least") else None
    before, after = part.series("before", low=0), part.series("after", infinite=np.inf, low=0)
    return [({}, cross_entropy_update.test_table(before, after, least, tests=len(parts)))]


def _expected_quality(
    part: Measurements, parts: Sequence[Measurements], rng: np.random.Generator, exact: bool
) -> Found:
    others = [series for other in parts if other is not part if (series := _quality(other)).shape[1] > 1]
    found = expected_quality.test(
        _quality(part), rng, exact, thresholds=_thresholds(part), others=others, tests=len(parts)
    )
    return [({}, found)]


def _quality(part: Measurements) -> Floats:
    return part.series("quality", low=0, high=1)


def _elite_mass(part: Measurements, parts: Sequence[Measurements], rng: np.random.Generator, exact: bool) -> Found:
    counts, candidates = _counts(part, exact)
    others = [] if exact else [_counts(other, exact) for other in parts if other is not part]
    found: Found = []
    for reading in elite_mass.READINGS:
        if reading == "hit" and counts.shape[1] == 2:
            continue  # it compares cycles from the third on
        known = [(k, n) for k, n in others if n is not None and k.shape[1] > 1 + (reading == "hit")]
        verdict = elite_mass.test(counts, rng, candidates, reading, _thresholds(part), known, tests=len(parts))
        found.append(({"reading": reading}, verdict))
    return found


def _counts(part: Measurements, exact: bool) -> tuple[Floats, Floats | None]:
    """Returns the elites of each seed and cycle, and the number of candidates; or exact masses, and None.

    Raises:
        InputError: A seed's first cycle is not 0, that of the generator before tuning; or more elites than candidates.
    """
    if (first := part.numbers("cycle").min()) != 0:
        raise InputError(
            f"{part.place}: column 'cycle' must begin with 0, the generator before tuning; it begins with {first:g}"
        )
    if part.has("seed"):
        begun = set(part.rows.loc[(part.numbers("cycle") == 0) & part.rows["elite"].notna(), "seed"])
        if lacking := [seed for seed in part.rows["seed"].unique().tolist() if seed not in begun]:
            raise InputError(f"{part.place}: seed {lacking[0]!r} lacks cycle 0, the generator before tuning")
    if exact:
        return part.series("elite", low=0, high=1), None
    if part.has("candidates"):
        # A row that lacks one of the two says nothing of the other.
        whole = part.rows[["elite", "candidates"]].notna().all(axis=1)
        elites, candidates = part.series("elite", "sum", whole, low=0), part.series("candidates", "sum", whole, low=1)
        beyond = part.numbers("elite") > part.numbers("candidates")
        if beyond.any():
            row = int(beyond.argmax())
            raise InputError(
                f"{part.place}: column 'elite' must be at most 'candidates'; {told(part.rows['elite'], row)}"
            )
        return elites, candidates
    part.flags("elite")
    return part.series("elite", "sum"), part.series("elite", "count")


def _thresholds(part: Measurements) -> Floats | None:
    return part.series("threshold") if part.has("threshold") else None


def _delta_validity(part: Measurements, parts: Sequence[Measurements], rng: np.random.Generator, exact: bool) -> Found:
    unit = part.rows["unit"].to_numpy() if part.has("unit") else None
    matched = None
    if part.has("matched"):
        patches = (part.rows["kind"] == "delta").to_numpy()
        matched = np.ones(len(part.rows), dtype=bool)
        matched[patches] = Measurements(part.rows[patches], {}, part.place).flags("matched")
    full, deltas = read_table(
        part.numbers("valid"), part.numbers("length"), part.rows["kind"].to_numpy(), matched, unit
    )
    # Of programs of one length only a single error rate can be known.
    several = all(len(set(programs.length.tolist())) > 1 for programs in (full, deltas))
    models = delta_validity.MODELS if several else delta_validity.MODELS[:1]
    confidence = 1 - delta_validity.LEVEL / len(parts)
    return [({}, delta_validity.test(full, deltas, rng, model, confidence=confidence)) for model in models]


def _novelty_filter(part: Measurements, parts: Sequence[Measurements], rng: np.random.Generator, exact: bool) -> Found:
    on = pd.Series(part.flags("filter"), index=part.rows.index)
    runs = part.series("entropy", rows=on, low=0), part.series("entropy", rows=~on, low=0)
    # Up to the last cycle that both runs of some seed have, so that a longer run does no harm.
    both = ~np.isnan(runs).any(axis=0)
    last = int(np.flatnonzero(both.any(axis=0))[-1]) + 1 if both.any() else runs[0].shape[1]
    return [({}, novelty_filter.test(runs[0][:, :last], runs[1][:, :last], tests=len(parts)))]


def _progress_certificate(
    part: Measurements, parts: Sequence[Measurements], rng: np.random.Generator, exact: bool
) -> Found:
    found: Found = []
    keys = [column for column in ("seed", "cycle") if part.has(column)]
    groups = part.rows.groupby(keys, sort=False) if keys else [((), part.rows)]
    for values, rows in groups:
        group = Measurements(rows, {}, part.place)
        seen = int(group.flags("in_corpus").sum()) if group.has("in_corpus") else None
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        told: dict[str, object] = dict(zip(keys, plain, strict=True))
        found.append((told, progress_certificate.test(group.numbers("log_ratio", infinite=-np.inf), seen)))
    return found


CHECKS = {
    found.claim.name: found
    for found in (
        Check(cross_entropy_update.CLAIM, ("cycle", "before", "after"), ("seed", "least"), _cross_entropy_update),
        Check(expected_quality.CLAIM, ("cycle", "quality"), ("seed", "threshold"), _expected_quality),
        Check(progress_certificate.CLAIM, ("log_ratio",), ("seed", "cycle", "in_corpus"), _progress_certificate),
        Check(elite_mass.CLAIM, ("cycle", "elite"), ("seed", "candidates", "threshold"), _elite_mass),
        Check(delta_validity.CLAIM, ("valid", "length", "kind"), ("matched", "unit"), _delta_validity),
        Check(novelty_filter.CLAIM, ("seed", "cycle", "filter", "entropy"), (), _novelty_filter),
    )
}
"""The claims that `check` knows, by name; claim 6 is checked by `analysis.proxy_reliability`."""
