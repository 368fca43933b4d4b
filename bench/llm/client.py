"""Asks a served language model, many prompts at once, and gets every prompt answered although the server may die."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.effects import Sampling
from bench.llm.models import Model
from bench.llm.serving import DEFAULT_PORT, HOST, RUNNING, Server
from surrogates.cache import cache_dir
from surrogates.errors import InputError

if TYPE_CHECKING:
    import openai

IN_FLIGHT = 2 * RUNNING
"""Requests given to the server at once: enough to keep it full, few enough that none waits there past its time."""

TIMEOUT = 600.0
"""Seconds a server has for one request."""

ATTEMPTS = 5
"""How often a request is put, if the server does not answer it."""

PAUSE = 1.0
"""Seconds before a request is put again."""

LONGER = 4.0
"""How many times longer each pause is while nothing answers at the address of a server of the user's."""


class Request(NamedTuple):
    """One prompt to a model.

    Attributes:
        prompt: The text; for a model that chats, the user's message.
        seed: Seed of the draw, in [0, 2**63).
        sampling: How tokens are drawn.
        constraint: EBNF grammar that the answer must follow; None: free text.
    """

    prompt: str
    seed: int
    sampling: Sampling = Sampling()
    constraint: str | None = None


class Reply(NamedTuple):
    """A model's answer. It may not follow the constraint: a server may have ignored it, so the caller parses.

    Attributes:
        text: The answer; "" when there is none.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        seconds: From the request to the answer, waiting on the server and its restarts included.
        finish_reason: Why the model stopped, in the server's words: "stop", "length", ...; "" when it did not answer.
        failure: Why there is no usable answer; None when there is one.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    finish_reason: str
    failure: str | None = None


class Client:
    """Puts requests to a server; belongs to the event loop it is first used in.

    Args:
        server: The server; it is started by the first request if it does not run.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._ensuring = asyncio.Lock()
        self._clients: dict[str, openai.AsyncOpenAI] = {}
        self._away: tuple[float, InputError] | None = None

    async def complete(self, request: Request) -> Reply:
        """Returns the model's answer.

        A request that the server refuses (a prompt too long, a grammar it cannot read) is a failed reply, as is an
        answer that was cut. A request whose server died or keeps silent is put again, with the same seed, to the
        restarted server; one of the user's has a minute or more to come back.

        Args:
            request: The prompt and how to answer it.

        Raises:
            InputError: The server cannot be started, died too often, or does not answer.
        """
        import openai

        async with self._slots:
            began, problem, refused, pause = time.perf_counter(), "", False, PAUSE
            for attempt in range(ATTEMPTS):
                if attempt:
                    await asyncio.sleep(pause)
                try:
                    async with self._ensuring:
                        client = await self._connect(check=attempt > 0)
                except InputError:
                    # A server of the user's that answered before may be about to come back.
                    if not self.server.model.base_url or attempt in (0, ATTEMPTS - 1):
                        raise
                    pause *= LONGER
                    continue
                try:
                    return await self._ask(client, request, began)
                except (openai.APITimeoutError, openai.APIConnectionError) as error:
                    problem, refused = f"{type(error).__name__}: {error}", False
                except openai.APIStatusError as error:
                    problem, refused = f"the server answered {error.status_code}: {_said(error)}", True
                    if error.status_code < 500 and error.status_code not in (408, 409, 429):
                        return Reply("", 0, 0, time.perf_counter() - began, "", problem)
            if refused:
                return Reply("", 0, 0, time.perf_counter() - began, "", f"{problem} ({ATTEMPTS} times)")
            raise InputError(
                f"the server of {self.server.model.name!r} at {self.server.base_url} did not answer a request in "
                f"{ATTEMPTS} attempts ({problem}); its log is {self.server.log}"
            )

    async def close(self) -> None:
        """Closes the connections; the server runs on."""
        while self._clients:
            await self._clients.popitem()[1].close()

    async def _connect(self, check: bool) -> "openai.AsyncOpenAI":
        """Returns the connections to where the server is now, after making sure of it at first and when told to.

        Requests that waited for another one's check share what it found.
        """
        import openai

        if check or not self._clients:
            if self._away and time.monotonic() < self._away[0] + PAUSE:
                raise self._away[1]
            try:
                await asyncio.to_thread(self.server.ensure)
            except InputError as error:
                self._away = time.monotonic(), error
                raise
        url = self.server.base_url
        for gone in [other for other in self._clients if other != url]:
            await self._clients.pop(gone).close()
        if url not in self._clients:
            # No key of the user's is sent to an address that a study names; no proxy is asked for our own server.
            own = openai.DefaultAsyncHttpxClient(trust_env=self.server.model.base_url is not None)
            self._clients[url] = openai.AsyncOpenAI(
                base_url=url, api_key="none", max_retries=0, timeout=TIMEOUT, http_client=own
            )
        return self._clients[url]

    async def _ask(self, client: "openai.AsyncOpenAI", request: Request, began: float) -> Reply:
        how: dict[str, Any] = {
            "model": self.server.served_name,
            "seed": request.seed,
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "max_tokens": request.sampling.max_tokens,
        }
        extra: dict[str, Any] = {"top_k": request.sampling.top_k} if request.sampling.top_k else {}
        if request.constraint is not None:
            extra["structured_outputs"] = {"grammar": request.constraint}
        if extra:
            how["extra_body"] = extra
        if self.server.model.chat:
            answer = await client.chat.completions.create(messages=[{"role": "user", "content": request.prompt}], **how)
            text = answer.choices[0].message.content if answer.choices else None
        else:
            answer = await client.completions.create(prompt=request.prompt, **how)
            text = answer.choices[0].text if answer.choices else None
        reason = (answer.choices[0].finish_reason or "") if answer.choices else ""
        failure = None
        if reason == "length":
            failure = f"the answer was cut after {request.sampling.max_tokens} tokens"
        elif not text:
            failure = "the answer is empty"
        elif reason != "stop":
            failure = f"the server gave up ({reason or 'no reason'})"
        usage = answer.usage
        return Reply(
            text or "",
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            time.perf_counter() - began,
            reason,
            failure,
        )


def ask(model: Model, request: Request, log: Path | None = None, port: int = DEFAULT_PORT) -> Reply:
    """Puts one request to a model: to the server that `nascent llm serve` runs at the port, else to one started for it.

    Args:
        model: The model.
        request: The prompt and how to answer it.
        log: Log of a server that is started; None: in the cache folder.
        port: Where a running server is looked for.

    Raises:
        InputError: The server cannot be started or does not answer.
    """
    log = log or cache_dir() / "logs" / f"{model.name}.log"
    if model.base_url:
        return asyncio.run(_ask_once(Server(model, log), request))
    running = Server(Model(name=model.name, base_url=f"http://{HOST}:{port}/v1", chat=model.chat), log)
    try:
        running.start()
    except InputError:
        with Server(model, log) as server:
            return asyncio.run(_ask_once(server, request))
    return asyncio.run(_ask_once(running, request))


async def _ask_once(server: Server, request: Request) -> Reply:
    client = Client(server)
    try:
        return await client.complete(request)
    finally:
        await client.close()


def _said(error: "openai.APIStatusError") -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)[:500]
