"""What exact worlds, and real programs, show of each claim: one page, one figure and one table a claim."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from analysis import figures, program_deltas, program_novelty
from analysis.claims import claims
from analysis.page import render
from analysis.results import write as write_file
from analysis.sections import Exhibit, Section
from analysis.tables import Table
from surrogates.errors import InputError
from theory import delta_validity as deltas
from theory import novelty_filter as novelty
from theory.claim import Claim
from theory.demonstration import Demonstration
from theory.demonstrations import (
    cross_entropy_update,
    delta_validity,
    elite_mass,
    expected_quality,
    novelty_filter,
    progress_certificate,
    proxy_reliability,
)

SEED = 2026

WORLDS: dict[str, Callable[[np.random.Generator], Demonstration]] = {
    "claim 6": proxy_reliability.demonstrate,
    "claim 2": expected_quality.demonstrate,
    "claim 3": elite_mass.demonstrate,
    "claim 4": delta_validity.demonstrate,
    "claim 5": novelty_filter.demonstrate,
    "claim 1": cross_entropy_update.demonstrate,
    "progress certificate": progress_certificate.demonstrate,
    "claim 4, real programs": program_deltas.demonstrate,
    "claim 5, real programs": program_novelty.demonstrate,
}
"""What is computed, what takes longest first."""

REAL = {"claim 4, real programs": deltas.CLAIM.name, "claim 5, real programs": novelty.CLAIM.name}
"""The claims of those that need something from outside."""


class Part(NamedTuple):
    """A claim, and what was shown of it."""

    claim: Claim
    section: Section


def write(folder: Path, progress: Callable[[str], None] = lambda line: None) -> tuple[list[Demonstration], Path]:
    """Computes all worlds, on all cores, and writes `index.html`, `figures/` and `tables/`.

    Args:
        folder: The folder to write to.
        progress: Told what is being computed.

    Returns:
        What the worlds show, in the order of the claims, and the page.

    Raises:
        InputError: The folder cannot be written.
    """
    began = time.monotonic()
    found, missing = _compute(progress)
    parts = [
        _part(claim, [d for d in found if d.claim == claim.name], missing.get(claim.name, []), folder)
        for claim in claims
    ]
    page = render(
        "theory",
        title="The theory in exact worlds",
        parts=parts,
        seconds=round(time.monotonic() - began),
        seed=SEED,
        version=version("nascent"),
        levels=("holds", "breaks", "measured", "confirmed", "direction", "refuted", "undecided", "vacuous"),
    )
    index = folder / "index.html"
    write_file(index, lambda file: file.write_text(page, encoding="utf-8"))
    return [d for claim in claims for d in found if d.claim == claim.name], index


def _compute(progress: Callable[[str], None]) -> tuple[list[Demonstration], dict[str, list[str]]]:
    """Returns what the worlds show, and by claim why some could not be computed: real programs need to be there."""
    # Threads of a BLAS would only wait for each other: the arrays are small, and there is a process a core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = {name: pool.submit(_one, name) for name in WORLDS}
        found, missing = [], {}
        for name, future in futures.items():
            progress(name)
            try:
                found.append(future.result())
            except InputError as error:
                missing.setdefault(REAL[name], []).append(f"{name}: not computed: {error}")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return found, missing


def _one(name: str) -> Demonstration:
    place = list(WORLDS).index(name)
    return WORLDS[name](np.random.default_rng([SEED, place]))


def _part(claim: Claim, shown: Sequence[Demonstration], missing: Sequence[str], folder: Path) -> Part:
    section = Section(title=claim.title, notes=list(missing))
    panels = [figures.Series(d.x_label, d.y_label, d.series) for d in shown]
    figures.save(figures.series(panels), folder / "figures", claim.name)
    drawn = [
        Markup(figures.svg(figures.series([panel]), f"{claim.name}-{i}", d.caption))  # our own markup, its text escaped
        for i, (panel, d) in enumerate(zip(panels, shown, strict=True))
    ]
    section.exhibits.append(Exhibit(claim.name, " ".join(d.caption for d in shown), drawn))
    rows = [
        {
            "quantity": row["quantity"],
            "verdict": row["verdict"],
            "predicted": row["predicted"],
            "measured": row["measured"],
            "measured_low": row["interval"][0] if row["interval"] else None,
            "measured_high": row["interval"][1] if row["interval"] else None,
            "n": row["n"],
        }
        for d in shown
        for row in d.rows
    ]
    frame = pd.DataFrame(rows)
    numbers = ["predicted", "measured", "measured_low", "measured_high"]
    frame[numbers] = frame[numbers].apply(pd.to_numeric)
    caption = f"{claim.title}: what is predicted and what was measured, with 95% intervals where it was sampled."
    table = Table(claim.name, caption, frame)
    table.save(folder / "tables")
    section.tables.append(table)
    return Part(claim, section)
