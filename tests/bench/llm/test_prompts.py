"""Prompts are files, filled in strictly."""

import hashlib
from importlib.resources import files

import pytest
from jinja2.sandbox import SandboxedEnvironment

from bench.llm import prompts
from surrogates.errors import InputError

VALUES = {
    "space": "cells",
    "metric": "accuracy",
    "task": "clean",
    "benchmark": "b",
    "unit": "%",
    "history": [],
    "scores": True,
}


def test_the_hash_is_that_of_the_file():
    text, digest = prompts.render("genius", VALUES)
    assert "cells" in text
    assert digest == hashlib.sha256((files("bench.llm") / "prompts" / "genius.md").read_bytes()).hexdigest()
    assert digest == prompts.template_hash("genius")


def test_values_are_text_and_never_code():
    text, _ = prompts.render("genius", {**VALUES, "space": "{{ 7 * 7 }}{% raw %}"})
    assert "{{ 7 * 7 }}{% raw %}" in text


def test_a_missing_value_is_named():
    with pytest.raises(InputError, match=r"genius\.md: 'space' is undefined"):
        prompts.render("genius", {})


@pytest.mark.parametrize("name", ["genuis", "../prompts/genius", "genius.md", "", "/etc/passwd", "a\nb"])
def test_an_unknown_template_is_refused(name: str):
    with pytest.raises(InputError, match="unknown prompt template"):
        prompts.render(name, {})
    with pytest.raises(InputError, match="unknown prompt template"):
        prompts.template_hash(name)


def test_templates_run_in_a_sandbox():
    prompts.render("genius", VALUES)
    assert isinstance(prompts._load("genius")[0].environment, SandboxedEnvironment)
