import csv
import os

import numpy as np
import pandas as pd
import pytest

from analysis.tables import Table, number
from surrogates.errors import InputError

FRAME = pd.DataFrame(
    {
        "method": ["genius_blind (a & b)", "50% #1"],
        "regret": [0.123456, np.nan],
        "regret_low": [0.1, np.nan],
        "regret_high": [0.2, np.nan],
        "p_holm": [0.00012345, 1.0],
        "predicted": [0.605, -2.302],
        "n": [1234, 5],
        "needed": pd.array([None, 7], dtype="Int64"),
    }
)
TABLE = Table("regret", "What it shows,\nin two lines.", FRAME)


def test_estimates_are_set_with_their_intervals():
    text = TABLE.typeset()
    assert list(text.columns) == ["method", "regret", "p holm", "predicted", "n", "needed"]
    assert text.iloc[0].tolist() == ["genius_blind (a & b)", "0.123 [0.100, 0.200]", "0.00012", "0.605", "1,234", "–"]
    assert text.iloc[1].tolist() == ["50% #1", "–", "1", "−2.30", "5", "7"]
    assert TABLE.numeric() == [False, True, True, True, True, True]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (1.0, "1.00"), (0.00512345, "0.00512"), (-0.25, "−0.250"), (123.4, "123"), (98765.4, "98,765"),
     (np.inf, "∞"), (1e-7, "1.00e-07")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_the_csv_file_holds_the_numbers_in_full(tmp_path):
    TABLE.save(tmp_path)
    with (tmp_path / "regret.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["regret"]) == 0.123456
    assert float(rows[0]["regret_high"]) == 0.2
    assert rows[1]["regret"] == ""


def test_latex_is_booktabs_with_escaped_text(tmp_path):
    TABLE.save(tmp_path)
    text = (tmp_path / "regret.tex").read_text(encoding="utf-8")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrrrrr}"):
        assert rule in text
    assert r"genius\_blind (a \& b)" in text
    assert r"50\% \#1" in text
    assert text.startswith("% What it shows, in two lines.\n")
    assert not set("−∞–") & set(text)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "tables").write_text("in the way")
    with pytest.raises(InputError, match=r"regret\.csv"):
        TABLE.save(tmp_path / "tables")
    assert os.listdir(tmp_path) == ["tables"]
