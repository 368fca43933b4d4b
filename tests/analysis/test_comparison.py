"""Which methods are compared with which controls."""

import json
from dataclasses import replace
from types import SimpleNamespace

from analysis import comparison
from bench.methods import methods


def kind(method, model=None, **given):
    parameters = json.dumps(methods.get(method).complete(given))
    return SimpleNamespace(method=method, model=model, method_parameters=parameters)


def test_a_control_differs_from_its_method_in_the_model_alone():
    method, bare = kind("lapt", "smollm2", source="s"), kind("operation_counts", source="s")
    assert comparison._alike(method, bare)
    assert not comparison._alike(method, kind("operation_counts", source="t"))
    assert not comparison._alike(method, kind("operation_counts", source="s", archive="worst"))
    assert comparison._alike(kind("lapt", "smollm2", source="s", strict=True), bare)
    assert comparison._alike(kind("genius", "smollm2"), kind("genius_blind", "smollm2"))
    assert not comparison._alike(kind("genius", "smollm2"), kind("genius_blind", "gemma3"))


def test_defaults_in_which_a_control_differs_by_design_do_not_part_it_from_its_method():
    held = [methods.get(name).complete({})["held_out"] for name in ("exact_ce", "eda")]
    assert held[0] != held[1]
    assert comparison._alike(kind("exact_ce", "decoder"), kind("eda"))
    assert not comparison._alike(kind("exact_ce", "decoder", elite="share"), kind("eda"))
    assert comparison._alike(kind("exact_ce", "decoder", elite="share"), kind("eda", elite="share"))


def test_a_method_whose_control_is_not_installed_has_none(monkeypatch):
    monkeypatch.setitem(methods._found, "orphan", replace(methods.get("lapt"), name="orphan", control="gone"))
    assert comparison._control("lapt") == "operation_counts"
    assert comparison._control("orphan") == comparison._control("gone") == ""
