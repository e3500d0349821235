"""A program that the supervisor runs and restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Program:
    """How to run and stop a program.

    ``count``: number of instances; with several, each name has a number at the end.
    ``stop_seconds``: from SIGTERM to SIGKILL.
    ``start_seconds``: a process that ends earlier is restarted with growing pauses.
    ``environment``: added to the supervisor's environment.
    """

    name: str
    command: tuple[str, ...]
    count: int = 1
    stop_seconds: int = 15
    start_seconds: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
