"""A process that the supervisor keeps running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run and how to stop it.

    ``count``: instances; more than one are told apart by a number after the name.
    ``stop_seconds``: from SIGTERM to SIGKILL.
    ``start_seconds``: one that ends earlier is started again with growing pauses.
    ``environment``: beside what the supervisor itself was started with.
    """

    name: str
    command: tuple[str, ...]
    count: int = 1
    stop_seconds: int = 15
    start_seconds: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
