"""Starts the process under measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from schemas.settings import Settings

_SET: Final = (
    "namespace", "partitions", "sync_partitions", "sync_layout", "sync_topics_limit",
    "skip_inactive",
)  # fmt: skip
"""Settings that the benchmarks choose; all others come from the environment."""

_STOP_SECONDS: Final = 20.0
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})


@contextmanager
def worker(
    settings: Settings, *module: str, environment: Mapping[str, str] = NO_VARIABLES
) -> Iterator[subprocess.Popen[bytes]]:
    """One process under measurement, with further variables; ended at the end of the block."""
    process = subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", *module],
        env=os.environ
        | {f"IM_{name.upper()}": str(getattr(settings, name)) for name in _SET}
        | dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
