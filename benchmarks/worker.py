"""Starts the process under measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from schemas.settings import Settings

_SET: Final = ("namespace", "partitions", "sync_layout", "sync_topics_limit", "skip_inactive")
"""Settings that the benchmarks choose; all others come from the environment."""

_STOP_SECONDS: Final = 20.0


@contextmanager
def worker(settings: Settings, *module: str) -> Iterator[subprocess.Popen[bytes]]:
    """One process under measurement; ended at the end of the block."""
    process = subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", *module],
        env=os.environ | {f"IM_{name.upper()}": str(getattr(settings, name)) for name in _SET},
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
