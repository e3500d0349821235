"""Liveness and readiness while Kafka is away."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from functools import partial
from typing import Final

import pytest

from devstack.stack import Stack
from schemas.settings import Settings
from tests.support.operators_paths import WatchedProcess
from tests.support.pipeline import prepare
from tests.support.processes import running, wait_until
from tests.support.servers import addresses

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0


def misses_kafka(process: WatchedProcess) -> bool:
    """Whether `/readyz` says that Kafka does not answer."""
    return bool(process.parts().get("kafka") == "Kafka does not answer")


def test_without_kafka_a_stage_is_live_and_not_ready(stack: Stack) -> None:
    """The sequencer and a sink stay live while Kafka is away, and are ready again after it.

    The lag of a stage is not known meanwhile, so it is missing rather than 0.
    """
    values = {"namespace": f"t-{secrets.token_hex(4)}", "home": stack.settings.home}
    settings = Settings.model_validate(values | addresses(stack) | {"partitions": 2})
    prepare(settings)
    modules = {"sequencer": ("stream_processors",), "sink-message": ("sinks", "message")}
    with ExitStack() as started:
        processes = [
            WatchedProcess(settings, stage, started.enter_context(running(settings, *module)))
            for stage, module in modules.items()
        ]

        def are_ready() -> bool:
            return all(process.is_ready() for process in processes)

        wait_until(are_ready, "ready", PATIENCE)
        assert all(each.metrics().has("im_stage_lag_offsets") for each in processes)

        stack.stop("kafka")
        for process in processes:
            wait_until(partial(misses_kafka, process), "not ready", PATIENCE)
            assert process.is_live()
            metrics = process.metrics()
            assert metrics("im_ready", stage=process.stage) == 0
            assert not metrics.has("im_stage_lag_offsets")

        stack.start("kafka")
        stack.await_ready("kafka", seconds=300)
        wait_until(are_ready, "ready again", PATIENCE)
        assert all(process.is_live() for process in processes)
