"""All open connections of one gateway: bounds on their number, and checks of their timeouts."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Protocol

from aiohttp import web

from gateway import bounds
from gateway.http.load_problems import too_many_connections

_FINISH_CHECK_SECONDS: Final = 0.02


class OpenConnection(Protocol):
    """A connection as `Connections` uses it."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is in flight."""

    def drop(self) -> None:
        """Closes the connection at once."""

    def hang_up(self) -> None:
        """Closes an idle connection, after the peer has read the last response."""

    def check(self, now: float) -> None:
        """Ends the connection if a timeout has passed. ``now`` is the time of the event loop."""


class Connections:
    """Counts connections by person and in all.

    When a bound is reached, the oldest idle connection is closed. So idle connections never block
    new ones.
    """

    def __init__(self) -> None:
        self._open: dict[OpenConnection, str | None] = {}
        self._of_user: defaultdict[str, dict[OpenConnection, None]] = defaultdict(dict)

    def __len__(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def admit(self, connection: OpenConnection) -> bool:
        """Adds a new connection; False if the maximum is reached and no connection is idle."""
        if len(self._open) >= bounds.MAX_CONNECTIONS and not self._drop_idle(self._open):
            return False
        self._open[connection] = None
        return True

    def assign(self, connection: OpenConnection, user: str) -> None:
        """Counts a connection for ``user``, who has a request on it.

        Raises:
            Problem: 429, if the person has the maximum number of connections, all of them in use.
        """
        if connection not in self._open or self._open[connection] == user:
            return
        own = self._of_user.get(user, {})
        if len(own) >= bounds.MAX_CONNECTIONS_OF_ONE and not self._drop_idle(own):
            raise too_many_connections()
        self._forget_owner(connection)
        self._open[connection] = user
        self._of_user[user][connection] = None

    def leave(self, connection: OpenConnection) -> None:
        """Removes a connection. Idempotent."""
        self._forget_owner(connection)
        self._open.pop(connection, None)

    def check(self) -> None:
        """Ends every connection with a passed timeout."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._open):
            connection.check(now)

    async def sweep(self) -> None:
        """Checks every `SWEEP_SECONDS` until cancelled."""
        while True:
            await asyncio.sleep(bounds.SWEEP_SECONDS)
            self.check()

    async def finish(self, seconds: float) -> None:
        """Closes each connection when it is idle, and returns when all are closed.

        Returns after ``seconds`` if requests are still in progress.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    for connection in [each for each in self._open if each.is_idle]:
                        connection.hang_up()
                    await asyncio.sleep(_FINISH_CHECK_SECONDS)

    def _drop_idle(self, among: Iterable[OpenConnection]) -> bool:
        idle = next((each for each in among if each.is_idle), None)
        if idle is None:
            return False
        self.leave(idle)
        idle.drop()
        return True

    def _forget_owner(self, connection: OpenConnection) -> None:
        user = self._open.get(connection)
        if user is not None:
            del self._of_user[user][connection]
            if not self._of_user[user]:
                del self._of_user[user]


CONNECTIONS: Final = web.AppKey("connections", Connections)
