"""All open connections of one gateway: how many there may be, and when one has to end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from gateway import bounds
from gateway.problems import too_many_connections


class Open(Protocol):
    """A connection, as its bounds see it."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is in hand."""

    def drop(self) -> None:
        """Closes it at once."""

    def check(self, now: float) -> None:
        """Ends it if one of its times is over. ``now`` is the time of the event loop."""


class Connections:
    """Counts connections by person and in all.

    Where a bound is reached, the connection that was opened first among the idle ones makes
    room. So connections that do nothing never keep out anybody.
    """

    def __init__(self) -> None:
        self._open: dict[Open, str | None] = {}
        self._of_user: defaultdict[str, dict[Open, None]] = defaultdict(dict)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def admit(self, connection: Open) -> bool:
        """Takes a new connection; False if there is no room for it."""
        if len(self._open) >= bounds.MAX_CONNECTIONS and not self._drop_idle(self._open):
            return False
        self._open[connection] = None
        return True

    def assign(self, connection: Open, user: str) -> None:
        """Counts a connection as one of ``user``, who has a request on it.

        Raises:
            Problem: 429, if the person has as many as they may, all of them in use.
        """
        if connection not in self._open or self._open[connection] == user:
            return
        own = self._of_user.get(user, {})
        if len(own) >= bounds.MAX_CONNECTIONS_OF_ONE and not self._drop_idle(own):
            raise too_many_connections()
        self._forget_owner(connection)
        self._open[connection] = user
        self._of_user[user][connection] = None

    def leave(self, connection: Open) -> None:
        """Forgets a connection. May be called again."""
        self._forget_owner(connection)
        self._open.pop(connection, None)

    def check(self) -> None:
        """Ends every connection one of whose times is over."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._open):
            connection.check(now)

    async def sweep(self) -> None:
        """Checks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(bounds.SWEEP_SECONDS)
            self.check()

    def _drop_idle(self, among: Iterable[Open]) -> bool:
        idle = next((each for each in among if each.is_idle), None)
        if idle is None:
            return False
        self.leave(idle)
        idle.drop()
        return True

    def _forget_owner(self, connection: Open) -> None:
        user = self._open.get(connection)
        if user is not None:
            del self._of_user[user][connection]
            if not self._of_user[user]:
                del self._of_user[user]
