"""Keys from a JWKS URL, which the gateway follows without a wait for known keys.

- The gateway fetches the keys at its start and every `REFRESH_SECONDS`. A key that its issuer
  removes is therefore refused after that time.
- An unknown ``kid`` begins a fetch, at most one in `COOLDOWN_SECONDS`.
- A fetch has bounds in time and size, follows no redirect, and does not block the event loop.
- A failed fetch changes nothing: the keys of the last good answer stay in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar

from gateway.token_keys.key_source import NamedKeys
from gateway.token_keys.public_keys import PublicKey, UnusableKeys, read_jwks
from schemas.errors import ServerUnavailable
from schemas.token_settings import TokenAlgorithm

log = logging.getLogger(__name__)

REFRESH_SECONDS: float = 300.0
"""Interval of fetches. The lifespan of a set in PyJWT's client is the same."""

COOLDOWN_SECONDS: float = 10.0
"""Minimum interval of two fetches, counted from their beginnings."""

FETCH_SECONDS: float = 5.0
"""Timeout of a whole fetch. A request with an unknown ``kid`` waits for at most this time."""

MAX_JWKS_BYTES: Final = 65_536
"""Maximum size of an answer: about 150 RSA keys of 2,048 bits."""

_OK: Final = 200


class RotatingKeys:
    """The keys of a JWKS URL.

    Args:
        url: The URL. The log does not contain it.
        algorithm: The algorithm of the keys to use.
        clock: The time in seconds, from any origin.
    """

    def __init__(
        self,
        url: str,
        algorithm: TokenAlgorithm,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = NamedKeys({})
        self._url = url
        self._algorithm = algorithm
        self._clock = clock
        self._fetching: asyncio.Task[None] | None = None
        self._begun = float("-inf")
        self._is_failing = True

    async def refresh(self) -> None:
        """See `gateway.token_keys.key_source.KeySource`."""
        if self._fetching is not None or self._clock() - self._begun >= COOLDOWN_SECONDS:
            await self._fetch()
        if self._is_failing:
            raise ServerUnavailable("the server of IM_JWT_JWKS_URL does not answer with keys")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `gateway.token_keys.key_source.KeySource`."""
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            tasks = [task for task in (following, self._fetching) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._fetch()
            await asyncio.sleep(COOLDOWN_SECONDS if self._is_failing else REFRESH_SECONDS)

    async def _fetch(self) -> None:
        """Fetches, or waits for the fetch that runs. A cancelled caller does not end the fetch."""
        if self._fetching is None:
            self._begun = self._clock()
            self._fetching = asyncio.create_task(self._renew())
        await asyncio.shield(self._fetching)

    async def _renew(self) -> None:
        try:
            self._use(await self._download())
        except Exception as error:  # noqa: BLE001 - no answer of a server ends the gateway
            self._is_failing = True
            why = str(error) if isinstance(error, UnusableKeys) else type(error).__name__
            log.warning("IM_JWT_JWKS_URL: no new keys (%s), the known keys stay in use", why)
        finally:
            self._fetching = None

    def _use(self, keys: dict[str | None, PublicKey]) -> None:
        self._is_failing = False
        if keys != self.keys.keys:
            self.keys = NamedKeys(keys)
            log.info("IM_JWT_JWKS_URL: %d keys", len(keys))

    async def _download(self) -> dict[str | None, PublicKey]:
        async with (
            ClientSession(
                timeout=ClientTimeout(total=FETCH_SECONDS),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            ) as session,
            session.get(self._url, allow_redirects=False) as response,
        ):
            if response.status != _OK:
                raise UnusableKeys(f"status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_JWKS_BYTES:
                    raise UnusableKeys(f"the answer is longer than {MAX_JWKS_BYTES} bytes")
        return await asyncio.to_thread(read_jwks, bytes(body), self._algorithm)
