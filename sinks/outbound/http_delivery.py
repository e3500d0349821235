"""POST requests to servers outside of the deployment, with bounds in time and size."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final, NamedTuple, Self

from aiohttp import (
    ClientConnectorDNSError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
)

from schemas.outbound_urls import OutboundPolicy, check_url
from sinks.outbound.guarded_connections import (
    ForbiddenPeer,
    OutboundResolver,
    outbound_connector,
)
from sinks.outbound.outcomes import (
    Delivered,
    DeliveryFailed,
    DeliveryOutcome,
    DeliveryRefused,
    Gone,
)
from sinks.outbound.retry_after import retry_after_seconds

POST_SECONDS: Final = 10.0
"""Timeout of one request, from name resolution to the end of the response's headers or body."""

_CONNECT_SECONDS: Final = 5.0
"""Timeout of a connection to one address."""

_USER_AGENT: Final = "im-timeline"

_TO_REPEAT: Final = frozenset({401, 403, 404, 407, 408, 409, 421, 423, 425, 429})
"""Client errors that a change of the server can end: credentials, routes, conflicts, limits."""


class PostAnswer(NamedTuple):
    """The response to a request.

    ``retry_after``: seconds. ``body``: at most the requested number of bytes; None if the body
    was longer, or was not received completely.
    """

    status: int
    retry_after: float | None
    body: bytes | None


class HttpDelivery:
    """Sends requests to permitted servers. Use as an async context manager.

    A request follows no redirect, sends no cookie, uses no proxy, and verifies the certificate of
    the server.

    Args:
        policy: The permitted servers.
        tls: The trusted certificates; by default those of the system.
        seconds: Timeout of one request.
    """

    def __init__(
        self,
        policy: OutboundPolicy,
        tls: ssl.SSLContext | None = None,
        seconds: float = POST_SECONDS,
    ) -> None:
        self._policy = policy
        self._tls = tls or ssl.create_default_context()
        self._seconds = seconds
        self._sessions: dict[bool, ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for is_trusted in (False, True):
            resolver = OutboundResolver(self._policy, is_trusted=is_trusted)
            self._stack.push_async_callback(resolver.close)
            connector = outbound_connector(
                self._policy, resolver, self._tls, is_trusted=is_trusted
            )
            self._sessions[is_trusted] = await self._stack.enter_async_context(
                ClientSession(
                    connector=connector,
                    timeout=ClientTimeout(total=self._seconds, sock_connect=_CONNECT_SECONDS),
                    cookie_jar=DummyCookieJar(),
                    auto_decompress=False,
                    headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
                )
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, max_answer: int = 0
    ) -> PostAnswer:
        """Sends one POST request.

        With ``max_answer`` 0, the call returns after the headers of the response: a body that
        is slow, endless or cut does not change the outcome.

        Args:
            url: The URL.
            body: The body.
            headers: The headers, with the content type.
            max_answer: Maximum size of the response's body in bytes.

        Raises:
            ForbiddenAddress: The URL is not permitted.
            DeliveryFailed: There is no response, or the host has a forbidden address.
        """
        host = check_url(url, self._policy)
        session = self._sessions[host in self._policy.hosts]
        try:
            async with asyncio.timeout(self._seconds):
                response = await session.post(
                    url, data=body, headers=headers, allow_redirects=False
                )
                try:
                    return await _answer(response, max_answer)
                finally:
                    response.close()  # a connection whose response ended is reused nevertheless
        except TimeoutError:
            raise DeliveryFailed("timeout of the request") from None
        except (ClientError, OSError, ValueError) as error:
            raise DeliveryFailed(_reason(error)) from None


def outcome_of(answer: PostAnswer) -> DeliveryOutcome:
    """The outcome of a response by its status.

    Raises:
        DeliveryFailed: A later attempt may succeed.
    """
    match answer.status:
        case status if 200 <= status < 300:  # noqa: PLR2004 - the class of the status
            return Delivered()
        case 410:
            return Gone()
        case status if 400 <= status < 500 and status not in _TO_REPEAT:  # noqa: PLR2004 - same
            return DeliveryRefused(f"status {status}")
        case status:
            raise DeliveryFailed(f"status {status}", answer.retry_after)


async def _answer(response: ClientResponse, max_answer: int) -> PostAnswer:
    wait = retry_after_seconds(response.headers.get("Retry-After"), time.time())
    body = await _body(response, max_answer) if max_answer else None
    return PostAnswer(response.status, wait, body)


async def _body(response: ClientResponse, most: int) -> bytes | None:
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                return None
    except (ClientError, OSError, TimeoutError):
        return None
    return bytes(body)


def _reason(error: Exception) -> str:
    """The kind of the failure. The text of an error may quote the response or the URL."""
    cause = error.os_error if isinstance(error, ClientConnectorDNSError) else error
    if isinstance(cause, ForbiddenPeer):
        return str(cause)
    return f"no response: {type(error).__name__}"
