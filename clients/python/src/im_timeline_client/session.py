"""The open connection of one person to the gateway, without any request of its own."""

from __future__ import annotations

import base64
import json
from types import TracebackType
from typing import Final, Self
from weakref import WeakSet

import aiohttp

from im_timeline_client.errors import ClientClosed, InvalidToken
from im_timeline_client.gateway import Gateway
from im_timeline_client.items import Items
from im_timeline_client.transport import GatewayHttp, Token

OUTCOME_SECONDS: Final = 30.0
"""How long a command waits for its outcome, unless the application chooses another time."""


class Session:
    """The parts that the methods of a client share. Arguments: see `connect`."""

    def __init__(
        self,
        address: str,
        token: Token,
        *,
        device_id: str | None = None,
        outcome_seconds: float = OUTCOME_SECONDS,
        http: aiohttp.ClientSession | None = None,
    ) -> None:
        self._address = address
        self._token = token
        self._device_id = device_id
        self._outcome_seconds = outcome_seconds
        self._given_http = http
        self._own_http: aiohttp.ClientSession | None = None
        self._gateway: Gateway | None = None
        self._user = ""
        self._iterations: WeakSet[Items] = WeakSet()

    async def __aenter__(self) -> Self:
        http = self._given_http
        if http is None:
            http = self._own_http = aiohttp.ClientSession()
        try:
            requests = GatewayHttp(self._address, self._token, http)
            self._user = user_of(await requests.bearer())
        except BaseException:
            await self.aclose()
            raise
        self._gateway = Gateway(requests)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all iterations and connections. May be called again."""
        for items in list(self._iterations):
            await items.aclose()
        self._gateway = None
        own, self._own_http = self._own_http, None
        if own is not None:
            await own.close()

    @property
    def user(self) -> str:
        """The person whom the token names."""
        return self._user

    def _open(self) -> Gateway:
        if self._gateway is None:
            raise ClientClosed("the client is not open: use it inside of `async with connect(…)`")
        return self._gateway


def user_of(token: str) -> str:
    """Return the person whom a token names. The gateway checks the token, not this function.

    Raises:
        InvalidToken: The token is not a JWT with the claim ``sub``.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["sub"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise InvalidToken("the token is not a JWT that names a person") from None
