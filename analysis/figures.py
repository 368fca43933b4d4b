"""Figures from plain numbers: matplotlib in, SVG and PDF out."""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from analysis.results import write
from analysis.statistics import Band, Estimate

INK, RULE, PAPER = "#232221", "#d9d6d0", "#fefefe"
"""Colours of text, of grid lines and of the ground; in a page they become its own."""

TITLE = 9.5
"""Points of a title, where it fits."""

LETTERS = 12
"""Letters of a legend in an inch, about."""

# Okabe and Ito's colours, told apart with every kind of colour vision; without black, yellow and the light blue that a
# dark or a light page would swallow, in an order that keeps neighbours far apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#8C8C8C")
Line = Literal["-", "--", ":", "-."]
LINES: tuple[Line, ...] = ("-", "--", ":", "-.")

STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": TITLE,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "nascent",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}

WIDTH, HEIGHT = 3.8, 2.7
"""Inches of one panel: at this width its text stays readable on a phone."""

REM = 7.2
"""Width in a page, in its unit of type size, of an inch of a figure."""


class Look(NamedTuple):
    """How a method is drawn, everywhere the same."""

    colour: str
    line: Line


class Curve(NamedTuple):
    """A method in a panel: estimates at points of the horizontal axis."""

    label: str
    x: NDArray[np.float64]
    y: Band


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]


class Row(NamedTuple):
    """A line of a figure of estimates.

    Attributes:
        title: What the line is about.
        points: The estimates, each with its name and colour.
    """

    title: str
    points: Sequence[tuple[str, str, Estimate]]


class Series(NamedTuple):
    """Curves in one pair of axes.

    Attributes:
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        curves: By label, "x" and "y", and "low" and "high" where there is an interval.
    """

    x: str
    y: str
    curves: Mapping[str, Mapping[str, Sequence[float]]]


class Agreement(NamedTuple):
    """Pairs of estimates of the same thing, in one pair of axes.

    Attributes:
        title: What is compared.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        points: Label and the two estimates.
    """

    title: str
    x: str
    y: str
    points: Sequence[tuple[str, Estimate, Estimate]]


class Trace(NamedTuple):
    """What a small panel shows of one split.

    Attributes:
        label: The split, or whatever has a look.
        x: Points of the horizontal axis.
        y: Values there.
        low: Lower ends of intervals, or of a spread; empty: none.
        high: Upper ends.
        line: Whether a line with a band is drawn, or points with bars.
    """

    label: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    low: Sequence[float] | NDArray[Any] = ()
    high: Sequence[float] | NDArray[Any] = ()
    line: bool = True


class Small(NamedTuple):
    """One pair of axes among many.

    Attributes:
        title: The task.
        x: Title of the horizontal axis.
        y: Title of the vertical axis, which all panels share.
        traces: What is drawn.
    """

    title: str
    x: str
    y: str
    traces: Sequence[Trace]


class HeatMap(NamedTuple):
    """A matrix of numbers.

    Attributes:
        rows: Names of the rows.
        columns: Names of the columns.
        values: Numbers in [-1, 1], shape (rows, columns); NaN leaves a cell empty.
        y: Title of the rows.
        x: Title of the columns.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: NDArray[np.float64]
    y: str = ""
    x: str = ""


class Reliability(NamedTuple):
    """Claim 6 on one task, at several top shares.

    Attributes:
        title: The task.
        shares: Top shares.
        observed: Spearman correlation at each share.
        predicted: For each form of the claim the prediction at each share, NaN where it has none.
    """

    title: str
    shares: Sequence[float]
    observed: Sequence[Estimate]
    predicted: Mapping[str, Sequence[float]]


def looks(runs: pd.DataFrame) -> dict[str, Look]:
    """Returns how each label is drawn: the colour says the method with its parameters, the line the language model.

    Args:
        runs: Runs with their `label`, `method`, `method_parameters` and `model`.
    """
    models = sorted(runs["model"].dropna().unique())
    kinds = runs[["label", "method", "method_parameters", "model"]].drop_duplicates("label").sort_values("label")
    kinds["method"] += " " + kinds["method_parameters"]
    methods = sorted(kinds["method"].unique())
    found: dict[str, Look] = {}
    for kind in kinds.itertuples():
        place = methods.index(kind.method)
        line = models.index(kind.model) if isinstance(kind.model, str) else 0
        line += place // len(COLOURS)
        while (look := Look(COLOURS[place % len(COLOURS)], LINES[line % len(LINES)])) in found.values():
            line += 1
            if line >= 3 * len(LINES):
                break
        found[str(kind.label)] = look
    return found


@rc_context(STYLE)
def anytime(panels: Sequence[Panel], look: Mapping[str, Look], legend: bool = True) -> Figure:
    """Draws regret, on a logarithmic scale, against what was spent; bands are intervals.

    A line that reaches the lower edge has found the optimum. What was spent has a logarithmic scale, too, where the
    longest line is more than ten times as long as the shortest.

    Args:
        panels: At most two stand side by side.
        look: How each label is drawn.
        legend: Whether the figure has its own legend.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _panels(rows, columns, 0.5 * legend)
    for ax, panel in zip(axes, panels, strict=False):
        shown = np.concatenate([[], *(curve.y.value for curve in panel.curves)])
        shown = shown[np.isfinite(shown) & (shown > 0)]
        lowest, highest = (shown.min(), shown.max()) if len(shown) else (1, 1)  # all optimal, or nothing yet
        ax.set_yscale("log", nonpositive="clip")
        ax.set_ylim(lowest / 1.6, highest * 1.3)
        for curve in panel.curves:
            drawn = np.isfinite(curve.y.value)
            value, low, high = (part[drawn] for part in curve.y[:3])
            x, style = curve.x[drawn], look[curve.label]
            ax.plot(x, value, style.line, color=style.colour, linewidth=1.5, drawstyle="steps-post")
            high = np.where(np.isfinite(high), high, value)
            ax.fill_between(x, low, high, step="post", color=style.colour, alpha=0.15, linewidth=0)
        _plain_log(ax)
        ends = [curve.x.max() for curve in panel.curves if len(curve.x)]
        if ends and max(ends) > 10 * min(ends) > 0:
            ax.set_xscale("log", nonpositive="clip")
            ax.xaxis.set_major_formatter(_plain)
        if ax.get_xlim()[1] >= 10_000:  # "14 k", for long numbers run into each other
            ax.xaxis.set_major_formatter(EngFormatter())
        ax.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        ax.grid(axis="y")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if legend:
        names = {curve.label: look[curve.label] for panel in panels for curve in panel.curves}
        lines = [Line2D([], [], color=s.colour, linestyle=s.line, label=name) for name, s in names.items()]
        figure.legend(handles=lines, loc="lower center", ncols=min(len(lines), 2 * columns))
    return figure


@rc_context(STYLE)
def critical_difference(ranks: Mapping[str, float], p: pd.DataFrame, look: Mapping[str, Look]) -> Figure:
    """Draws a critical-difference diagram: bars join methods that the test cannot tell apart.

    Args:
        ranks: Average rank of each method.
        p: P-values of every pair.
        look: How each label is drawn.
    """
    from scikit_posthocs import critical_difference_diagram

    labels = max(map(len, ranks)) / LETTERS
    figure, ax = _figure(max(1.1 * WIDTH, 2.5 + labels), 0.7 + 0.24 * len(ranks))
    # By number, since the library keeps what it is given in sets, whose order of strings changes with each process.
    names = sorted(ranks, key=lambda name: ranks[name])
    numbers = range(len(names))
    drawn = critical_difference_diagram(
        {i: ranks[names[i]] for i in numbers},
        p.loc[names, names].set_axis(numbers).set_axis(numbers, axis="columns"),
        ax=ax,
        label_fmt_left="{label}",
        left_only=True,
        text_h_margin=0.04 * (max(ranks.values()) - min(ranks.values())),
        label_props={"bbox": {"facecolor": "none", "edgecolor": "none", "pad": 2.5}},
        crossbar_props={"color": INK, "linewidth": 2.5},
        marker_props={"s": 18},
        elbow_props={"linewidth": 1},
        color_palette={i: look[names[i]].colour for i in numbers},  # pyright: ignore[reportArgumentType]
    )
    for label in drawn["labels"]:
        name = names[int(label.get_text())]  # pyright: ignore[reportAttributeAccessIssue]
        label.set(text=f"{name} ({ranks[name]:.2f})", color=INK)
    return figure


@rc_context(STYLE)
def estimates(rows: Sequence[Row], x: str, reference: float | None = None, legend: bool = True) -> Figure:
    """Draws estimates with their intervals, one line each, its title above it.

    Args:
        rows: The lines, from the top.
        x: Title of the horizontal axis, which runs from 0, or the lowest end of an interval, to 1.
        reference: Where a vertical line stands.
        legend: Whether the names of the points are explained.
    """
    step = 0.068  # inches between the points of a line
    most = max([2, *(len(row.points) for row in rows)])
    height = 0.4 + step * (most - 2)
    names = {name for row in rows for name, _, _ in row.points}
    width = max(1.1 * WIDTH, 0.6 + max((len(row.title) for row in rows), default=0) / LETTERS)
    figure, ax = _figure(width, 0.8 + height * len(rows))
    named: dict[str, Line2D] = {}
    for i, row in enumerate(rows):
        ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
        ax.text(0, i - 0.08 / height, row.title, va="bottom", ha="left", bbox=ground)
        for j, (name, colour, estimate) in enumerate(row.points):
            y = i + step / height * j
            ax.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt")
            marker: Any = {"markerfacecolor": PAPER if j else colour, "markeredgecolor": colour}
            (point,) = ax.plot([estimate.value], [y], "o", markersize=5, label=name, **marker)
            named.setdefault(name, point)
    if reference is not None:
        ax.axvline(reference, color=INK, linewidth=0.7, zorder=0)
    lowest = np.fmin.reduce([0, *(estimate.low for row in rows for _, _, estimate in row.points)])
    ax.set(
        xlim=(lowest - 0.02, 1.02),
        ylim=(len(rows) - 1 + (step * most + 0.08) / height, -0.34 / height),
        xlabel=x,
        yticks=[],
    )
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    if legend and len(named) > 1:
        abreast = 2 if 2 * max(map(len, names)) < width * LETTERS else 1
        figure.legend(handles=list(named.values()), loc="outside lower center", ncols=abreast)
    return figure


@rc_context(STYLE)
def reliability(panels: Sequence[Reliability], legend: bool = True) -> Figure:
    """Draws observed against predicted Spearman correlations over top shares.

    Args:
        panels: At most two stand side by side.
        legend: Whether the figure has its own legend.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _panels(rows, columns, 0.4 * legend)
    handles: dict[str, Any] = {}
    for ax, panel in zip(axes, panels, strict=False):
        x = np.arange(len(panel.shares), dtype=float)
        for (form, values), colour, marker in zip(panel.predicted.items(), COLOURS[:4], "_x+D", strict=False):
            size = 15 if marker == "_" else 6
            (drawn,) = ax.plot(
                x, values, marker, color=colour, markersize=size, markeredgewidth=1.6, label=f"predicted, {form}"
            )
            handles.setdefault(form, drawn)
        value, low, high = (np.array([getattr(e, name) for e in panel.observed]) for name in ("value", "low", "high"))
        ax.vlines(x, low, high, color=INK, linewidth=1.4)
        (drawn,) = ax.plot(x, value, "o", color=INK, markersize=4.5, label="observed")
        handles.setdefault("observed", drawn)
        ax.set_xticks(x, [f"top {share:.0%}" if share < 1 else "all" for share in panel.shares])
        ax.set(title=panel.title, xlim=(-0.5, len(x) - 0.5), ylabel="Spearman correlation")
        ax.grid(axis="y")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if legend:
        figure.legend(handles=list(handles.values()), loc="lower center", ncols=2 * columns)
    return figure


MANY = 15
"""From so many points on, intervals are drawn as a band; without one, points that go back and forth as a cloud."""


@rc_context(STYLE)
def series(panels: Sequence[Series]) -> Figure:
    """Draws curves, side by side, each panel with its legend below it.

    Args:
        panels: The panels.
    """
    tallest = max(len(panel.curves) for panel in panels)
    figure = Figure(figsize=(1.25 * WIDTH * len(panels), HEIGHT + 0.5 + 0.19 * tallest), layout="constrained")
    parts = figure.subfigures(1, len(panels), squeeze=False)[0]
    for part, panel in zip(parts, panels, strict=True):
        ax = part.subplots()
        for i, (label, curve) in enumerate(panel.curves.items()):
            colour, line = COLOURS[i % len(COLOURS)], LINES[i // len(COLOURS) % len(LINES)]
            x, y = np.array(curve["x"]), np.array(curve["y"])
            style: Any = {"color": colour, "label": label}
            if "low" not in curve:
                cloud = len(x) >= MANY and bool((np.diff(x) < 0).any())
                marker = "o" if cloud or len(x) == 1 else ""
                ax.plot(x, y, linestyle="" if cloud else line, marker=marker, markersize=2.5 if cloud else 5, **style)
            elif len(x) < MANY:
                ends = np.abs([y - curve["low"], np.array(curve["high"]) - y])
                ax.errorbar(x, y, ends, linestyle="", marker="o", markersize=4, linewidth=1.2, **style)
            else:
                ax.plot(x, y, line, **style)
                ax.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
        ax.set(xlabel=panel.x, ylabel=panel.y)
        ax.grid(axis="y")
        part.legend(loc="outside lower center", ncols=1)
    return figure


@rc_context(STYLE)
def agreement(panels: Sequence[Agreement], look: Mapping[str, Look], legend: bool = True) -> Figure:
    """Draws pairs of estimates from 0 on, with their intervals, side by side; on the line they are equal.

    Args:
        panels: The panels.
        look: How each label is drawn.
        legend: Whether the figure has its own legend.
    """
    figure, axes = _panels(1, len(panels), 0.4 * legend, (WIDTH, WIDTH - 0.07))
    for ax, panel in zip(axes, panels, strict=True):
        highest = 1.05 * max(estimate.high for _, *pair in panel.points for estimate in pair)
        ax.plot([0, highest], [0, highest], color=INK, linewidth=0.7, zorder=0)
        for label, x, y in panel.points:
            colour = look[label].colour
            ends = [[[e.value - e.low], [e.high - e.value]] for e in (x, y)]
            ax.errorbar(x.value, y.value, ends[1], ends[0], "o", color=colour, markersize=4.5, elinewidth=1)
        ax.set(title=panel.title, xlabel=panel.x, ylabel=panel.y, xlim=(0, highest), ylim=(0, highest), aspect="equal")
        ax.grid()
    if legend:
        names = dict.fromkeys(label for panel in panels for label, _, _ in panel.points)
        marks = [Line2D([], [], color=look[n].colour, marker="o", markersize=4.5, linestyle="", label=n) for n in names]
        figure.legend(handles=marks, loc="lower center", ncols=len(marks))
    return figure


@rc_context(STYLE)
def small_multiples(
    panels: Sequence[Small],
    look: Mapping[str, Look],
    log: bool = False,
    y: tuple[float, float] | None = None,
    legend: bool = True,
) -> Figure:
    """Draws the same of many tasks: three stand side by side at two thirds of a panel's size, one alone in full size.

    Args:
        panels: The panels.
        look: How each label is drawn.
        log: Whether both axes are logarithmic.
        y: Ends of the vertical axis; None: each panel has its own.
        legend: Whether the figure has its own legend, where there is more than one label.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    labels = list(dict.fromkeys(trace.label for panel in panels for trace in panel.traces))
    size = (WIDTH, HEIGHT) if columns == 1 else (0.69 * WIDTH, 0.72 * HEIGHT)
    legend = legend and len(labels) > 1
    abreast = max(1, min(len(labels), int(columns * size[0] * LETTERS / (max(map(len, labels), default=1) + 6))))
    figure, axes = _panels(rows, columns, legend * (0.13 + 0.17 * -(-len(labels) // abreast)), size)
    longest = max(len(panel.title) for panel in panels) / ((size[0] - 0.7) * LETTERS)
    title_size = TITLE / max(1.0, longest)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        for trace in panel.traces:
            style = look[trace.label]
            if trace.line:
                ax.plot(trace.x, trace.y, style.line, color=style.colour, linewidth=1.4)
                if len(trace.low):
                    ax.fill_between(trace.x, trace.low, trace.high, color=style.colour, alpha=0.15, linewidth=0)
            else:
                ends = np.abs([np.subtract(trace.y, e) for e in (trace.low, trace.high)]) if len(trace.low) else None
                marker: Any = {"markersize": 3.2, "markerfacecolor": PAPER, "elinewidth": 1.1}
                ax.errorbar(trace.x, trace.y, ends, linestyle="", marker="o", color=style.colour, **marker)
        if log:
            ax.set(xscale="log", yscale="log")
            for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                subs = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)
                axis.set_major_locator(LogLocator(subs=subs, numticks=4 if axis is ax.xaxis else 6))
                axis.set_major_formatter(_plain)
                axis.set_minor_locator(NullLocator())
        else:
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if y:
            ax.set_ylim(y)
        ax.set_title(panel.title, fontsize=title_size)
        ax.set(xlabel=panel.x, ylabel="" if i % columns else panel.y)
        ax.grid(axis="y")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if legend:
        lines = [Line2D([], [], color=look[name].colour, linestyle=look[name].line, label=name) for name in labels]
        figure.legend(handles=lines, loc="lower center", ncols=abreast)
    return figure


@rc_context(STYLE)
def heat_map(panel: HeatMap) -> Figure:
    """Draws a matrix, each number written in its cell: blue above 0, orange below."""
    rows, columns = panel.values.shape
    figure, ax = _figure(1.5 + 0.34 * columns, 1.4 + 0.34 * rows)
    # No colour of the page's own: the numbers must stand out from their cells, not from the page.
    shades = LinearSegmentedColormap.from_list("signed", [COLOURS[1], "#f4f1eb", COLOURS[0]])
    ax.pcolormesh(np.ma.masked_invalid(panel.values), cmap=shades, vmin=-1, vmax=1, edgecolors=PAPER, linewidth=0.8)
    for (row, column), value in np.ndenumerate(panel.values):
        if np.isfinite(value):
            text = f"{value:.2f}".replace("0.", ".", 1).replace("-", "−")
            colour = "#ffffff" if value > 0.9 else "#000000"
            ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, fontsize=7.5)
    ax.set_xticks(np.arange(columns) + 0.5, panel.columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(np.arange(rows) + 0.5, panel.rows)
    ax.set(xlabel=panel.x, ylabel=panel.y, aspect="equal")
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


def svg(figure: Figure, name: str, alt: str) -> str:
    """Returns the figure as an SVG element for a page, in the page's own text colour and font.

    Args:
        figure: The figure.
        name: Makes its identifiers unique in the page.
        alt: What it shows, for those who cannot see it.
    """
    out = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace(INK, "currentColor").replace(RULE, "var(--rule)").replace(PAPER, "var(--paper)")
    # As wide as there is room for, but no larger than its text needs to be read.
    most = f"max-width: {figure.get_figwidth() * REM:.1f}rem"
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(alt, quote=True)}" style="{most}" ', 1)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes `name`.svg and `name`.pdf; the same figure gives the same files.

    Raises:
        InputError: They cannot be written.
    """
    with rc_context({**STYLE, "svg.hashsalt": name}):
        write(folder / f"{name}.svg", lambda f: figure.savefig(f, format="svg", metadata={"Date": None}))
        figure.set_layout_engine("none")  # it is found
        write(folder / f"{name}.pdf", lambda f: figure.savefig(f, format="pdf", metadata={"CreationDate": None}))


def key(look: Look) -> str:
    """Returns a short SVG line that shows a look, for a page's legend."""
    dashes = {"-": "", "--": "5 3", ":": "1.5 2.5", "-.": "6 2 1.5 2"}[look.line]
    line = f'<line x1="0" y1="5" x2="26" y2="5" stroke="{look.colour}" stroke-width="2.5" stroke-dasharray="{dashes}"/>'
    return f'<svg class="key" viewBox="0 0 26 10" width="26" height="10" aria-hidden="true">{line}</svg>'


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _panels(
    rows: int, columns: int, foot: float, size: tuple[float, float] = (WIDTH, HEIGHT)
) -> tuple[Figure, Sequence[Axes]]:
    """Returns axes of equal size; margins in inches, since finding them takes half the time of a figure."""
    left, right, bottom, top = 0.7, 0.1, 0.45, 0.28
    width, height = size[0] * columns, size[1] * rows + foot
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=(bottom + foot) / height,
        top=1 - top / height,
        wspace=(left + right) / (size[0] - left - right),
        hspace=(bottom + top) / (size[1] - bottom - top),
    )
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _plain_log(ax: Axes) -> None:
    """Labels a logarithmic axis without powers of ten, also where it spans less than one."""
    low, high = ax.get_ylim()
    subs = (1.0, 2.0, 5.0) if high < 2000 * low else (1.0,)
    ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9) if high > 8 * low else MaxNLocator(4, prune="both"))
    ax.yaxis.set_major_formatter(_plain)
    ax.yaxis.set_minor_locator(NullLocator())


def _plain(value: float, _: object) -> str:
    """Writes a number on an axis."""
    return f"{value:g}"
