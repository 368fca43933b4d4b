import subprocess

import numpy as np
import pytest

from analysis import program_deltas
from analysis.program_deltas import Delta, apply_deltas, corrupted_deltas
from surrogates.errors import InputError
from theory.demonstration import resampled


def test_git_rebuilds_the_program_from_its_parent_and_the_delta(pool):
    rng = np.random.default_rng(0)
    deltas = [d for p in pool if (d := Delta.draw(p, rng, 20)) is not None][:60]
    none = [np.zeros(len(d.program.spans), dtype=bool) for d in deltas]
    matched, valid = corrupted_deltas(deltas, none, rng)
    assert len(deltas) == 60
    assert matched.all()
    assert valid.all()


def test_a_wrong_context_token_keeps_the_delta_from_applying(pool):
    rng = np.random.default_rng(0)
    deltas = [d for p in pool if (d := Delta.draw(p, rng, 20)) is not None and d.parts()[0].any()][:40]
    wrong = []
    for delta in deltas:
        errors = np.zeros(len(delta.program.spans), dtype=bool)
        errors[rng.choice(np.flatnonzero(delta.parts()[0]))] = True
        wrong.append(errors)
    matched, valid = corrupted_deltas(deltas, wrong, rng)
    assert not matched.any()
    assert not valid.any()


def test_a_crossing_is_where_the_line_between_two_points_is_zero():
    x = np.array([0.01, 0.02, 0.04])
    assert program_deltas._crossing(x, np.array([3.0, -1.0, -2.0])) == pytest.approx(0.0175)
    assert program_deltas._crossing(x, np.array([-1.0, 1.0, 1.0])) == 0.01
    assert program_deltas._crossing(x, np.ones(3)) == np.inf


def test_a_boundary_holds_where_its_interval_meets_the_prediction():
    drawn = np.linspace(0.01, 0.02, 10_001)
    found = {p: resampled("b", p, 0.015, drawn, 7) for p in (0.009, 0.0101, 0.021)}
    assert [row["verdict"] for row in found.values()] == ["breaks", "holds", "breaks"]
    assert found[0.009]["interval"] == pytest.approx((0.01025, 0.01975), abs=1e-5)
    beyond = resampled("b", 0.5, np.inf, np.r_[drawn, np.full(1000, np.inf)], 7)
    assert beyond["verdict"] == "holds"


def test_one_bad_delta_does_not_stop_the_others():
    parent = "".join(f"line{i} = {i}\n" for i in range(8))
    diff = (
        "diff --git a/{0}.py b/{0}.py\n--- a/{0}.py\n+++ b/{0}.py\n@@ -9,9 +9,9 @@\n"
        " line2 = {1}\n line3 = 3\n+added = 1\n line4 = 4\n line5 = 5\n"
    )
    found = apply_deltas([parent] * 3, [diff.format(0, 2), diff.format(1, 99), diff.format(2, 2)])
    expected = parent.replace("line4", "added = 1\nline4")
    assert found == [expected, None, expected]


def test_deltas_apply_inside_another_repository(monkeypatch, tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setattr(program_deltas.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    test_one_bad_delta_does_not_stop_the_others()


def test_a_diff_that_git_cannot_read_is_an_error():
    with pytest.raises(InputError, match="git apply failed"):
        apply_deltas(["x\n"], ["no diff at all\n"])


def test_deltas_and_full_programs_follow_the_models_that_know_context_and_breaking_share(pool):
    found = program_deltas.demonstrate(np.random.default_rng(0), programs=15)
    rows = [r for r in found.rows if r["quantity"].endswith("context and breaking share")]
    assert len(rows) == 6
    for row in rows:
        predicted, measured = row["predicted"], row["measured"]
        assert predicted is not None
        assert measured is not None
        # Four standard errors, those of the breaking share included.
        assert abs(measured - predicted) < 4 * np.sqrt(max(predicted * (1 - predicted), 0.05) / row["n"]) + 0.1
    assert set(found.series) == {"predicted", "published model", "full programs", "measured"}
    assert all(len(curve["x"]) == len(curve["y"]) for curve in found.series.values())
