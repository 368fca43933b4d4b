"""Which methods are compared with which controls."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from analysis import comparison
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


def test_a_control_with_the_very_parameters_comes_before_one_with_its_own_defaults():
    usual, equal = kind("regularized_evolution"), kind("regularized_evolution", population=5, tournament=2)
    assert own(kind("random_subspace"), usual=usual) == {"usual"}
    assert own(kind("random_subspace"), usual=usual, equal=equal) == {"equal"}


def test_a_method_whose_control_is_not_installed_has_none(monkeypatch):
    monkeypatch.setitem(methods._found, "orphan", replace(methods.get("lapt"), name="orphan", control="gone"))
    assert comparison._control("lapt") == "operation_counts"
    assert comparison._control("orphan") == comparison._control("gone") == ""
