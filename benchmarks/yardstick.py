"""Another program for the sequencer's work, measured between the rounds of this project.

``BENCH_YARDSTICK`` is a command, in which ``{bootstrap}``, ``{fan_out}`` and ``{messages}`` are
replaced. Its last line of output is JSON with the rate under ``warm``, in messages/s.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import Final

VARIABLE: Final = "BENCH_YARDSTICK"
NAME: Final = "yardstick"

_SECONDS: Final = 300.0


def is_given() -> bool:
    """Whether the environment names such a program."""
    return bool(os.environ.get(VARIABLE))


def measure(bootstrap: str, fan_out: int, messages: int) -> float:
    """Messages/s of one run.

    Raises:
        subprocess.CalledProcessError: The program failed.
        subprocess.TimeoutExpired: The program did not end in time.
    """
    values = {"bootstrap": bootstrap, "fan_out": fan_out, "messages": messages}
    command = [part.format_map(values) for part in shlex.split(os.environ[VARIABLE])]
    done = subprocess.run(  # noqa: S603 - a command of the benchmark's user
        command, check=True, capture_output=True, text=True, timeout=_SECONDS
    )
    return float(json.loads(done.stdout.splitlines()[-1])["warm"])
