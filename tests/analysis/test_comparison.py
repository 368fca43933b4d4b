"""Which methods are compared with which controls."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import comparison, statistics
from bench.methods import methods


def kind(method, model=None, **given):
    parameters = json.dumps(methods.get(method).complete(given))
    return SimpleNamespace(method=method, model=model, method_parameters=parameters)


def own(method, **others):
    return comparison._own("method", {"method": method, **others})


@pytest.mark.parametrize(
    ("method", "control", "paired"),
    [
        (kind("lapt", "smollm2", source="s"), kind("operation_counts", source="s"), True),
        (kind("lapt", "smollm2", source="s"), kind("operation_counts", source="t"), False),
        (kind("lapt", "smollm2", source="s"), kind("operation_counts", source="s", archive="worst"), False),
        (kind("lapt", source="s", archive="worst"), kind("operation_counts", source="s", archive="worst"), False),
        (kind("lapt", "smollm2", source="s", strict=True), kind("operation_counts", source="s"), True),
        (kind("lapt", "smollm2", source="s", leak=True), kind("operation_counts", source="s"), False),
        (kind("lapt", "smollm2", source="s", leak=True), kind("operation_counts", source="s", leak=True), True),
        (kind("genius", "smollm2"), kind("genius_blind", "smollm2"), True),
        (kind("genius", "smollm2"), kind("genius_blind", "gemma3"), False),
        (kind("lapt", "smollm2"), kind("random_subspace"), False),
    ],
)
def test_a_control_differs_from_its_method_in_what_the_method_adds_alone(method, control, paired):
    assert own(method, control=control) == ({"control"} if paired else set())


def test_defaults_in_which_a_control_differs_by_design_do_not_part_it_from_its_method():
    held = [methods.get(name).complete({})["held_out"] for name in ("exact_ce", "eda")]
    assert held[0] != held[1]
    assert own(kind("exact_ce", "decoder"), eda=kind("eda"))
    assert not own(kind("exact_ce", "decoder", elite="share"), eda=kind("eda"))
    assert own(kind("exact_ce", "decoder", elite="share"), eda=kind("eda", elite="share"))


def test_how_a_model_is_tuned_does_not_part_a_method_from_a_control_without_a_model():
    tuned = kind("exact_ce", "smollm2", steps=4, precision="bfloat16")
    assert own(tuned, eda=kind("eda"))
    assert own(kind("exact_ce", steps=4), eda=kind("eda")) == set()
    assert own(kind("exact_ce", "smollm2", steps=4, smoothing=0.5), eda=kind("eda")) == set()


def test_a_control_with_the_very_parameters_comes_before_one_with_its_own_defaults():
    usual, equal = kind("regularized_evolution"), kind("regularized_evolution", population=5, tournament=2)
    assert own(kind("random_subspace"), usual=usual) == {"usual"}
    assert own(kind("random_subspace"), usual=usual, equal=equal) == {"equal"}


def headline(**runs):
    values = {label: pd.DataFrame({"t": made}) for label, made in runs.items()}
    rng = np.random.default_rng(0)
    overall = {label: statistics.iqm_interval(table, rng) for label, table in values.items()}
    return comparison._headline(10, overall, statistics.pairwise_tests(values, rng), 1)


def test_a_better_mean_is_not_said_to_be_undistinguished_from_what_is_more_often_better():
    often, steady, like = [0.0] * 28 + [1.0] * 12, [0.05] * 40, [0.045, 0.065] * 20
    said = headline(often=often, steady=steady)
    assert "steady has the lowest normalised regret" in said
    assert said.endswith("n = 40 runs; more often than not, a run of often is better than one of steady.")
    said = headline(often=often, steady=steady, like=like, bad=[2.0] * 40)
    assert said.endswith("ahead of bad, but more often than not, a run of often is better than one of steady, "
                         "but the tests do not set steady apart from like.")  # fmt: skip
    assert headline(steady=steady, like=like).endswith("; the tests do not set steady apart from like.")
    assert headline(steady=steady).endswith("no other method reaches that number.")


def test_a_method_whose_control_is_not_installed_has_none(monkeypatch):
    monkeypatch.setitem(methods._found, "orphan", replace(methods.get("lapt"), name="orphan", control="gone"))
    assert comparison._control("lapt") == "operation_counts"
    assert comparison._control("orphan") == comparison._control("gone") == ""
