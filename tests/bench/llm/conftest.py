"""A server of SmolLM2, and a decoder that is tuned, which the tests of this folder share."""

import asyncio
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from bench.effects import Sampling
from bench.llm import environment, models, weights
from bench.llm.client import Client, Reply, Request
from bench.llm.serving import Server
from bench.llm.tuner import Tuner
from surrogates.spaces import spaces


@pytest.fixture(scope="session")
def setup_done() -> None:
    if os.environ.get("NASCENT_REQUIRE_LLM") == "1":
        return
    if not environment.ready() or not all(weights.ready(model) for model in models.BUILT_IN.values()):
        pytest.skip("needs vLLM and the model weights: nascent llm setup")


@pytest.fixture(scope="session")
def server(setup_done: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(models.get("smollm2"), tmp_path_factory.mktemp("llm") / "smollm2.log") as running:
        yield running


@pytest.fixture(scope="session")
def complete() -> Callable[..., list[Reply]]:
    """Puts requests to a server, so many at a time."""

    def do(server: Server, requests: Sequence[Request], at_once: int = 32) -> list[Reply]:
        async def put() -> list[Reply]:
            client, slots = Client(server), asyncio.Semaphore(at_once)

            async def one(request: Request) -> Reply:
                async with slots:
                    return await client.complete(request)

            try:
                return await asyncio.gather(*map(one, requests))
            finally:
                await client.close()

        return asyncio.run(put())

    return do


@pytest.fixture(scope="session")
def cell_requests() -> list[Request]:
    """Requests for NAS-Bench-201 cells with prompts of some hundred tokens, each with its seed."""
    space, rng = spaces.get("nas_bench_201"), random.Random(5)
    archs = [tuple(row) for row in space.enumerate()[::400].tolist()]
    requests = []
    for seed in range(8):
        history = "\n".join(f"{space.format(arch)} {rng.uniform(60, 94):.2f}" for arch in rng.sample(archs, 6))
        prompt = f"{space.description}\nTried, with accuracy:\n{history}\nPropose a better cell. Answer with it alone."
        requests.append(Request(prompt, seed, Sampling(temperature=1.0, max_tokens=96), space.grammar))
    return requests


@pytest.fixture(scope="session")
def members() -> Callable[[int], list[int]]:
    """Lists the processes of a group that have not ended."""

    def find(group: int) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                state, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(of) == group and state not in "ZX":
                    found.append(int(entry.name))
        return found

    return find


@pytest.fixture(scope="session")
def tuner(setup_done: None) -> Iterator[Tuner]:
    """Tunes the decoder of a space of 3,256 architectures."""
    with Tuner(models.get("decoder"), spaces.get("trans_nas_bench_101_macro"), threads=1) as running:
        yield running
