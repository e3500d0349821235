"""Liveness and readiness of one process.

A process is live while it makes progress or waits for a server; a process that is not live needs a
restart. A process is ready while it can do its work: it has its state, it reaches its servers, and
its consumer group has given it its partitions, if any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Final, NamedTuple, TypeAlias

HealthCheck: TypeAlias = Callable[[], str | None]
"""Returns the reason why a part does not work; None if it works.

The reason has no text of a message. Called by several threads. Takes at most
`HEALTH_CHECK_SECONDS`.
"""

HEALTH_CHECK_SECONDS: Final = 3.0
"""Maximum duration of one check, such as a request to a server."""

REUSED_SECONDS: Final = 1.0
"""Time for which a result is used again, so that requests for the readiness load no server."""

_STARTING: Final = "it has not reached its servers yet"


class Readiness(NamedTuple):
    """The result of all checks: the reason of each part that does not work, otherwise None."""

    parts: Mapping[str, str | None]

    @property
    def is_ready(self) -> bool:
        """Whether all parts work."""
        return not any(self.parts.values())


class ProcessHealth:
    """The checks of one process. Not ready before `begun`.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._live: list[HealthCheck] = []
        self._ready: dict[str, HealthCheck] = {}
        self._has_begun = False
        self._checking = Lock()
        self._last: tuple[float, Readiness] | None = None

    def live_while(self, check: HealthCheck) -> None:
        """Adds a check of the liveness."""
        self._live.append(check)

    def ready_while(self, **checks: HealthCheck) -> None:
        """Adds checks of the readiness, by the name of the part."""
        self._ready |= checks

    def begun(self) -> None:
        """Notes that the process has reached its servers, and that all checks are added."""
        self._has_begun = True

    def not_live(self) -> str | None:
        """The reason why the process is not live; None if it is live."""
        return next((reason for check in self._live if (reason := check())), None)

    def readiness(self) -> Readiness:
        """The readiness, at most `REUSED_SECONDS` ago. Takes `HEALTH_CHECK_SECONDS` at most."""
        if not self._has_begun:
            return Readiness({"start": _STARTING})
        with self._checking:
            if self._last is None or self._clock() - self._last[0] >= REUSED_SECONDS:
                self._last = self._clock(), self._asked()
            return self._last[1]

    def _asked(self) -> Readiness:
        if not self._ready:
            return Readiness({})
        with ThreadPoolExecutor(len(self._ready)) as pool:
            asked = {name: pool.submit(check) for name, check in self._ready.items()}
            return Readiness({name: answer.result() for name, answer in asked.items()})
