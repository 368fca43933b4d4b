"""What the parts of a report are made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis import figures, trajectories
from analysis.tables import Table
from surrogates.benchmarks import benchmarks

SHOWN = 8
"""Methods that a figure can hold and still be read; with more, the tables tell."""

INTERVALS = "95% bootstrap intervals over seeds, stratified by task (2,000 resamples)"


class Exhibit(NamedTuple):
    """A figure in the page.

    Attributes:
        name: Name of its files and anchor.
        caption: What it shows, with n and the kind of interval.
        panels: SVG elements.
        legend: What the lines mean: an SVG line and a label each.
    """

    name: str
    caption: str
    panels: Sequence[Markup]
    legend: Sequence[tuple[Markup, str]] = ()


class Drawing(NamedTuple):
    """A figure to be drawn.

    Attributes:
        name: Name of its files.
        caption: The caption.
        draw: Draws panels, with or without a legend.
        panels: The panels' data, each with its description in words.
        labels: What to explain in the page's legend; empty: each SVG has its own legend.
    """

    name: str
    caption: str
    draw: Callable[[Sequence[Any], bool], Figure]
    panels: Sequence[tuple[Any, str]]
    labels: Sequence[str] = ()


@dataclass
class Section:
    """A part of the page."""

    title: str = ""
    notes: list[str] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Study:
    """What a report is made from.

    Attributes:
        folder: The study's folder.
        every: All its runs but the superseded, with their `label`.
        runs: Those that are compared.
        incumbents: Their evaluations, as `trajectories.incumbents` returns them.
        completions: The answers of language models.
        look: How each label is drawn.
        rng: Source of the bootstrap's randomness.
    """

    folder: Path
    every: pd.DataFrame
    runs: pd.DataFrame
    incumbents: pd.DataFrame
    completions: pd.DataFrame
    look: Mapping[str, figures.Look]
    rng: np.random.Generator

    @cached_property
    def places(self) -> list[tuple[str, str]]:
        """Benchmark and task of the runs, in order."""
        pairs = self.runs[["benchmark", "task"]].drop_duplicates().itertuples(index=False)
        return sorted((str(benchmark), str(task)) for benchmark, task in pairs)

    @property
    def notes(self) -> list[str]:
        """What every reader of a figure must know of the benchmarks."""
        return [note for note in dict.fromkeys(benchmarks.get(b).note for b, _ in self.places) if note]

    def tell_fitted(self, section: "Section") -> None:
        """Says in each figure and table of a section that surrogates or proxies answered, and how good they are."""
        kinds = {benchmark: benchmarks.get(benchmark).kind for benchmark, _ in self.places}
        told = [benchmarks.get(name).note for name, kind in kinds.items() if kind in ("surrogate", "proxy")]
        if not told:
            return

        def caption(text: str) -> str:
            return " ".join([text, *(note for note in told if note not in text)])

        def scores(row: "pd.Series[str]") -> str:
            if row.get("origin") == "published":
                return "as published"
            named = str(row.get("benchmark", row.get("task", ""))).partition(" / ")[0]
            return kinds.get(named) or " and ".join(sorted({*kinds.values()}))

        section.exhibits = [shown._replace(caption=caption(shown.caption)) for shown in section.exhibits]
        section.tables = [
            table._replace(
                caption=caption(table.caption), frame=table.frame.assign(scores=table.frame.apply(scores, axis=1))
            )
            if len(table.frame)
            else table
            for table in section.tables
        ]

    @cached_property
    def labels(self) -> list[str]:
        """The methods compared: first those without a language model."""
        kinds = self.runs[["label", "model"]].drop_duplicates("label")
        ordered = kinds.assign(asks=kinds["model"].notna()).sort_values(["asks", "label"])
        return [str(label) for label in ordered["label"]]

    def of(self, label: str, place: tuple[str, str] | None = None) -> pd.DataFrame:
        """Returns the runs of a method, on one benchmark and task or on all."""
        found = self._rows.get((label, *place) if place else label)
        return self.runs.iloc[:0] if found is None else self.runs.loc[found]

    @cached_property
    def _rows(self) -> dict[Any, pd.Index]:
        """Rows of `runs` by label, and by label, benchmark and task."""
        rows = self.runs.sort_values("seed", kind="stable")
        return {**rows.groupby("label").groups, **rows.groupby(["label", "benchmark", "task"]).groups}

    def shared(self, labels: Sequence[str]) -> list[tuple[str, str]]:
        """Returns the tasks on which all these methods have runs."""
        return [place for place in self.places if all((label, *place) in self._rows for label in labels)]

    def seeds(self, labels: Sequence[str]) -> str:
        """Returns the numbers of seeds a task in words."""
        counts: dict[str, list[str]] = {}
        for label in labels:
            sizes = self.of(label).groupby(["benchmark", "task"]).size()
            least, most = int(sizes.min()), int(sizes.max())
            counts.setdefault(f"{least}" if least == most else f"{least} to {most}", []).append(label)
        if len(counts) == 1:
            return f"n = {next(iter(counts))} seeds a task."
        return "Seeds a task: " + "; ".join(f"{n} for {listed(names)}" for n, names in counts.items()) + "."

    def reached(self, evaluations: int, column: str, wanted: Iterable[str]) -> dict[str, pd.DataFrame]:
        """Returns, by label, seeds by those tasks on which all wanted labels have runs, and some value is known."""
        chosen = list(wanted)
        found = trajectories.by_seed_and_task(self.incumbents, self.runs, evaluations, column)
        shared = [f"{benchmark}/{task}" for benchmark, task in self.shared(chosen)]
        tasks = [task for task in shared if all(found[label][task].notna().any() for label in chosen)]
        return {label: found[label][tasks] for label in chosen}


def exhibit(drawing: Drawing, folder: Path, look: Mapping[str, figures.Look]) -> Exhibit:
    """Writes a figure's files to the folder `figures`, and returns it for the page, there one SVG a panel.

    Args:
        drawing: The figure.
        folder: Where the page lies.
        look: How the drawing's labels are drawn.
    """
    figures.save(drawing.draw([data for data, _ in drawing.panels], True), folder / "figures", drawing.name)
    drawn = [
        Markup(figures.svg(drawing.draw([data], not drawing.labels), f"{drawing.name}-{i}", alt))  # its text escaped
        for i, (data, alt) in enumerate(drawing.panels)
    ]
    legend = [(Markup(figures.key(look[label])), label) for label in drawing.labels]
    return Exhibit(drawing.name, drawing.caption, drawn, legend)


def runs_a_line(sizes: Iterable[int]) -> str:
    """Returns in words how many runs the lines of a figure have."""
    return f"n = {listed([str(n) for n in sorted(set(sizes))])} runs a line."


def listed(names: Sequence[str]) -> str:
    """Returns names as a list in words."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def counted(n: int, noun: str) -> str:
    """Returns a number of things in words: "1 task", "4 tasks"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
