"""Runs the `im` command as a person does: as a process, with an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

IM: Final = Path(sys.executable).parent / "im"
COMMAND_SECONDS: Final = 600.0
ATTEMPTS: Final = 3
"""How often a command is started that gives up after a time."""


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process with these IM_ variables and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("IM_")}
    return others | dict(variables)


def im(
    variables: Mapping[str, str], *arguments: str, seconds: float = COMMAND_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [IM, *arguments],
        env=environment(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def im_attempts(
    variables: Mapping[str, str], *arguments: str
) -> list[subprocess.CompletedProcess[str]]:
    """Runs a command until it succeeds, a few times; the last run decides.

    For commands that give up after a time that a loaded machine exceeds, and that leave nothing
    behind: a failed `im up` stops what it started, each `im run --once` has a new conversation.
    """
    done = [im(variables, *arguments)]
    while done[-1].returncode != 0 and len(done) < ATTEMPTS:
        done.append(im(variables, *arguments))
    return done


def im_json(variables: Mapping[str, str], *arguments: str) -> Any:
    """The single object that a command prints with ``--json``; the command must succeed."""
    done = im(variables, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)
