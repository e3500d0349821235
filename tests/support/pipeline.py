"""The whole pipeline in a separate namespace, and the `im` commands for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from backends.kafka.clients import admin_client
from backends.stages.stage_health import members_if_assigned
from ops.deployment.prepare_servers import prepare_all
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from tests.support.processes import ROOT, environment, running

COMMAND_SECONDS: Final = 400.0
VERIFY_WAIT_SECONDS: Final = 300
"""How long `im verify` waits for a sink that is behind, on a busy machine."""

SINKS: Final = ("message", "sync", "search")
"""The sinks that store records. Few tests run the sink ``push``."""
_IM: Final = Path(sys.executable).with_name("im")


def prepare(settings: Settings) -> None:
    """Creates topics, tables and index, as `im prepare` does."""
    prepare_all(settings, lambda _: None)


@contextmanager
def sinks(settings: Settings) -> Iterator[None]:
    """All sinks, running."""
    with ExitStack() as stack:
        for name in SINKS:
            stack.enter_context(running(settings, "sinks", name))
        yield


def assigned_members(settings: Settings, stage: str) -> int:
    """The processes of a stage; 0 while a partition has none, or the broker does not answer."""
    try:
        return members_if_assigned(admin_client(settings), settings, stage)
    except ServerUnavailable:
        return 0


@contextmanager
def im_under_way(settings: Settings, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A running `im` command with ``--json``; ended at the end of the block."""
    command = subprocess.Popen(
        [_IM, *map(str, arguments), "--json"], cwd=ROOT, env=environment(settings), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with command:
        try:
            yield command
        finally:
            command.kill()


def finish(command: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """The objects that a command printed; the command must have succeeded."""
    out, err = command.communicate(timeout=COMMAND_SECONDS)
    assert command.returncode == 0, f"{command.args!r}: exit {command.returncode}\n{out}\n{err}"
    return [json.loads(line) for line in out.splitlines()]


def im(settings: Settings, *arguments: object) -> list[dict[str, Any]]:
    """Runs an `im` command with ``--json`` to its end."""
    with im_under_way(settings, *arguments) as command:
        return finish(command)


def assert_verified(settings: Settings) -> None:
    """Asserts that `im verify` finds no difference, and that it compared something."""
    im(settings, "verify", "--wait", VERIFY_WAIT_SECONDS)
