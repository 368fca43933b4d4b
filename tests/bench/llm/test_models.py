"""The models, built-in and the user's."""

import pytest
from pydantic import ValidationError

from bench.llm import models
from bench.llm.models import Model
from surrogates.errors import InputError


def test_built_in_models_are_pinned_to_their_bytes_or_trained_here():
    for name, model in models.BUILT_IN.items():
        assert model.name == name
        if model.decoder:
            continue
        assert all("==" in package for package in model.packages)
        assert len(model.gguf_sha256 or "") == 64


def test_an_unknown_model_gets_the_nearest_name_and_the_place():
    with pytest.raises(InputError, match=r"study.toml: unknown model 'smollm'; did you mean 'smollm2'\?"):
        models.get("smollm", where="study.toml")


def test_the_users_model_comes_before_a_built_in_one():
    mine = Model(name="smollm2", path="/models/mine", chat=True)  # pyright: ignore[reportArgumentType]
    assert models.get("smollm2", {"smollm2": mine}) is mine


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "none"},
        {"name": "two", "path": "/a", "base_url": "http://127.0.0.1/v1"},
        {"name": "a b", "path": "/a"},
        {"name": "../up", "path": "/a"},
        {"name": "url", "base_url": "file:///etc/passwd"},
        {"name": "named", "path": "/a", "served_name": "b"},
        {"name": "key", "path": "/a", "temperature": 1},
        {"name": "short", "path": "/a", "context": 0},
    ],
)
def test_a_model_that_cannot_be_is_refused(fields: dict[str, object]):
    with pytest.raises(ValidationError):
        Model.model_validate(fields)
