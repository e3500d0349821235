"""Starts the process under measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from schemas.settings import Settings

_STOP_SECONDS: Final = 20.0


@contextmanager
def worker(settings: Settings, *module: str) -> Iterator[None]:
    """One process under measurement; ended when the block is left."""
    process = subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", *module],
        env=os.environ | {"IM_NAMESPACE": settings.namespace},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
