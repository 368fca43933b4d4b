"""Prompts are files: `prompts/NAME.md`, rendered by jinja2."""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from surrogates.errors import InputError, unknown


def names() -> list[str]:
    """Returns the names of all templates, sorted."""
    return sorted(f.name.removesuffix(".md") for f in _folder().iterdir() if f.name.endswith(".md"))


def render(template: str, values: Mapping[str, object]) -> tuple[str, str]:
    """Fills in a template.

    Args:
        template: Name of the template.
        values: What is filled in.

    Returns:
        The prompt, and the SHA-256 of the template's file.

    Raises:
        InputError: No such template, a value that it needs is missing, or it is no valid template.
    """
    _known(template)
    try:
        compiled, digest = _load(template)
        return compiled.render(values), digest
    except TemplateError as error:
        given = ", ".join(sorted(values)) or "nothing"
        raise InputError(f"prompts/{template}.md: {error} (given: {given})") from error


def template_hash(template: str) -> str:
    """Returns the SHA-256 of a template's file, or raises an `InputError` if there is none."""
    return _load(_known(template))[1]


def _known(template: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", template) or not (_folder() / f"{template}.md").is_file():
        raise unknown("prompt template", template, names())
    return template


@cache
def _load(template: str) -> tuple[Template, str]:
    source = (_folder() / f"{template}.md").read_bytes()
    environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source.decode()), hashlib.sha256(source).hexdigest()


def _folder():  # noqa: ANN202
    return files("bench.llm") / "prompts"
