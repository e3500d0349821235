"""A TLS server in front of Elasticsearch that checks API keys, as a secured cluster does."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final

from aiohttp import ClientSession, web

_KEPT: Final = frozenset({"content-type", "accept", "x-elastic-client-meta"})
_MAX_BODY: Final = 64 * 1024 * 1024
_JOIN_SECONDS: Final = 10.0


class KeyedFront:
    """Forwards a request with a valid ``Authorization: ApiKey …``; any other gets 401.

    Args:
        backend: The URL of the server behind it.
        keys: The valid keys.

    Attributes:
        url: The URL of this server.
        answered: The number of requests by key; refused ones by the empty text.
    """

    def __init__(self, backend: str, keys: set[str]) -> None:
        self.url = ""
        self.answered: Counter[str] = Counter()
        self._backend = backend
        self._keys = keys

    async def answer(self, request: web.Request) -> web.Response:
        """Forwards or refuses a request."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "ApiKey" or key not in self._keys:
            self.answered[""] += 1
            error = {"error": {"type": "security_exception", "reason": "unable to authenticate"}}
            headers = {"X-Elastic-Product": "Elasticsearch"}
            return web.json_response(error | {"status": 401}, status=401, headers=headers)
        self.answered[key] += 1
        kept = {name: value for name, value in request.headers.items() if name.lower() in _KEPT}
        async with (
            ClientSession() as http,
            http.request(
                request.method, f"{self._backend}{request.path_qs}",
                data=await request.read(), headers=kept,
            ) as response,
        ):  # fmt: skip
            body = await response.read()
            passed = {
                name: value
                for name, value in response.headers.items()
                if name.lower() in {"x-elastic-product", "content-type"}
            }
            return web.Response(status=response.status, body=body, headers=passed)


@contextmanager
def keyed_front(backend: str, identity: tuple[Path, Path], keys: set[str]) -> Iterator[KeyedFront]:
    """A running front on a free port of 127.0.0.1, in a thread.

    Args:
        backend: The URL of the server behind it.
        identity: The files of its certificate and key.
        keys: The valid keys.
    """
    front = KeyedFront(backend, keys)
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="keyed-front")
    thread.start()

    def run(step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, loop).result(_JOIN_SECONDS)

    runner = run(_started(front, identity))
    try:
        yield front
    finally:
        run(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_JOIN_SECONDS)
        loop.close()


async def _started(front: KeyedFront, identity: tuple[Path, Path]) -> web.AppRunner:
    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_route("*", "/{path:.*}", front.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*identity)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    front.url = f"https://127.0.0.1:{port}"
    return runner
