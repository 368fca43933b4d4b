import re
from functools import partial

import numpy as np
import pandas as pd
import pytest

from analysis import theory_report
from surrogates.errors import InputError

SMALL = {
    "claim 1": {"worlds": 20, "sets": 4},
    "claim 2": {"worlds": 20, "sets": 4},
    "progress certificate": {"pairs": 300, "worlds": 20},
    "claim 3": {"worlds": 40, "sets": 4},
    "claim 4": {"sets": 4},
    "claim 5": {"sets": 4, "pairs": 20},
    "claim 6": {"samples": 4, "sets": 8},
    "claim 4, real programs": {"programs": 10},
    "claim 5, real programs": {"programs": 10, "filtered": 30},
}


@pytest.fixture(scope="module")
def shown():
    """Everything that is shown, of smaller worlds, and why some is not."""
    found, missing = [], {}
    for name, world in theory_report.WORLDS.items():
        try:
            found.append(partial(world, **SMALL[name])(np.random.default_rng(0)))
        except InputError as error:
            missing[theory_report.REAL[name]] = [str(error)]
    return found, missing


@pytest.fixture(scope="module")
def written(shown, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theory_report, "_compute", lambda progress: shown)
        found, page = theory_report.write(folder)
    return found, page


def test_every_claim_has_a_figure_a_table_and_a_place_in_the_page(written):
    found, page = written
    names = {claim.name for claim in theory_report.claims}
    assert {d.claim for d in found} == names
    text = page.read_text()
    for name in names:
        for file in (f"figures/{name}.svg", f"figures/{name}.pdf", f"tables/{name}.csv", f"tables/{name}.tex"):
            assert (page.parent / file).stat().st_size > 0
        assert f'<section id="{name}">' in text
    assert not re.search(r"https?://(?!www\.w3\.org)", text)


def test_a_table_holds_each_comparison_with_its_interval_and_n(written):
    found, page = written
    table = pd.read_csv(page.parent / "tables" / "elite-mass.csv")
    rows = [row for d in found if d.claim == "elite-mass" for row in d.rows]
    assert table["quantity"].tolist() == [row["quantity"] for row in rows]
    assert table.columns.tolist() == [
        "quantity",
        "verdict",
        "predicted",
        "measured",
        "measured_low",
        "measured_high",
        "n",
    ]
    sampled = table.dropna(subset="measured_low")
    assert ((sampled["measured_low"] <= sampled["measured"]) & (sampled["measured"] <= sampled["measured_high"])).all()


def test_a_folder_that_cannot_be_written_is_one_clear_error(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(theory_report, "_compute", lambda progress: shown)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        theory_report.write(tmp_path / "file")


def test_what_could_not_be_computed_is_said(shown, tmp_path, monkeypatch):
    without = [d for d in shown[0] if "real deltas" not in d.caption]
    monkeypatch.setattr(theory_report, "_compute", lambda progress: (without, {"delta-validity": ["no model files"]}))
    assert "no model files" in theory_report.write(tmp_path)[1].read_text()


def test_worlds_are_seeded_each_by_its_place(monkeypatch):
    assert set(SMALL) == set(theory_report.WORLDS) >= set(theory_report.REAL)
    small = {name: partial(theory_report.WORLDS[name], **SMALL[name]) for name in ("claim 1", "claim 2")}
    monkeypatch.setattr(theory_report, "WORLDS", small)
    assert theory_report._one("claim 2") == theory_report._one("claim 2")
