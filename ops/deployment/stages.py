"""The processes of the pipeline: the command of each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from backends.stages.stage_names import SEQUENCER, sources_of
from backends.stages.webhook_log import WEBHOOKS_STAGE, read_subscriptions
from devstack.program import Program
from schemas.settings import Settings

GATEWAY_PROGRAM: Final = "gateway"

_STOP_SECONDS: Final = 55
"""Longer than the longest shutdown of a process, which is that of a gateway with live connections
and `IM_DRAIN_NOTICE`."""


def programs(settings: Settings, secret: Path | None) -> list[Program]:
    """Every process of the pipeline. The settings are passed in the environment.

    Args:
        settings: The deployment.
        secret: The file that holds the secret of tokens, if their algorithm has one. Only the
            gateway receives its name.
    """
    sinks = [stage for stage in sources_of(settings) if stage != SEQUENCER]
    tokens = {} if secret is None else {"IM_JWT_SECRET_FILE": str(secret)}
    return [
        _program(SEQUENCER, "stream_processors", count=settings.workers),
        *(_program(sink, "sinks", sink.removeprefix("sink-")) for sink in sinks),
        _program(WEBHOOKS_STAGE, "sinks", WEBHOOKS_STAGE),
        _program(GATEWAY_PROGRAM, "gateway", environment=tokens),
    ]


def idle_programs(settings: Settings) -> set[str]:
    """The programs that have nothing to do, and are not started: webhooks without subscriptions.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    return set() if read_subscriptions(settings) else {WEBHOOKS_STAGE}


def _program(
    name: str,
    module: str,
    *arguments: str,
    count: int = 1,
    environment: Mapping[str, str] | None = None,
) -> Program:
    return Program(
        name=name,
        command=(sys.executable, "-m", module, *arguments),
        count=count,
        stop_seconds=_STOP_SECONDS,
        environment=environment or {},
    )
