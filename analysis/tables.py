"""Tables: numbers to CSV, the same numbers set with their intervals to LaTeX and to the page."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.results import write


class Table(NamedTuple):
    """A table.

    Attributes:
        name: Name of its files.
        caption: What it shows, with n and the kind of interval.
        frame: The numbers. A column `x` beside `x_low` and `x_high` is an estimate with its interval.
    """

    name: str
    caption: str
    frame: pd.DataFrame

    def typeset(self) -> pd.DataFrame:
        """Returns the table as text: an estimate with its interval in one cell, words as headings, "–" for nothing."""
        columns = {}
        for column in self.frame.columns:
            if column.endswith(("_low", "_high")):
                continue
            values = self.frame[column]
            if f"{column}_low" in self.frame:
                ends = (self.frame[f"{column}_low"], self.frame[f"{column}_high"])
                cells = [_estimate(*row) for row in zip(values, *ends, strict=True)]
            else:
                cells = [_cell(value, column) for value in values]
            columns[column.replace("_", " ")] = cells
        return pd.DataFrame(columns)

    def numeric(self) -> list[bool]:
        """Returns for each column of `typeset` whether it holds numbers."""
        shown = [column for column in self.frame.columns if not column.endswith(("_low", "_high"))]
        return [pd.api.types.is_numeric_dtype(self.frame[column]) for column in shown]

    def save(self, folder: Path) -> None:
        """Writes `name`.csv (the numbers in full) and `name`.tex (as typeset, for the package booktabs).

        Raises:
            InputError: They cannot be written.
        """
        write(folder / f"{self.name}.csv", lambda file: self.frame.to_csv(file, index=False))
        text = self.latex()
        write(folder / f"{self.name}.tex", lambda file: file.write_text(text, encoding="utf-8"))

    def latex(self) -> str:
        """Returns the table for LaTeX: its caption as a comment, its text escaped."""
        style = self.typeset().style.hide(axis="index")
        style = style.format(escape="latex").format_index(escape="latex", axis="columns")
        places = "".join("r" if number else "l" for number in self.numeric())
        text = style.to_latex(hrules=True, column_format=places)
        for sign, command in (("−", "$-$"), ("∞", r"$\infty$"), ("–", "--")):
            text = text.replace(sign, command)
        return f"% {' '.join(self.caption.split())}\n{text}"


def _estimate(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "–"
    if pd.isna(low):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def _cell(value: object, column: str) -> str:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):  # pyright: ignore[reportCallIssue, reportArgumentType]
        return "–"
    if isinstance(value, float):
        return f"{value:.2g}" if column == "p" or column.startswith("p_") else number(value)
    return f"{value:,}" if isinstance(value, int) and column != "seed" else str(value)


def number(value: float) -> str:
    """Returns a number with three significant digits; whole from 1,000 on."""
    if value == float("inf"):
        return "∞"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−", 1) if value < 0 else text
