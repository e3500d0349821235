"""What `im status` asks the processes of `im up`: their readiness, push and webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.monitoring.monitor import Monitor, metrics_folder, monitored
from backends.monitoring.outbound_catalog import PUSH_RECEIVERS, WEBHOOK_RECEIVER
from devstack.ports import free_ports
from devstack.supervision import ProcessState
from ops.deployment.deployment_status import unready
from ops.deployment.process_readings import (
    OutboundState,
    ProcessReading,
    outbound_states,
    read_processes,
)
from schemas.settings import Settings
from sinks.outbound.outbound_metrics import OutboundMetrics, ReceiverMetrics
from tests.support.processes import wait_until


def state_of(program: str, state: str = "RUNNING") -> ProcessState:
    """A supervised process."""
    return ProcessState(program, program, state, 1, 1, 0, Path("log"), "")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A deployment in its own folder."""
    return Settings(home=tmp_path)


@pytest.fixture
def push(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    """A served process, as the supervisor starts it."""
    monkeypatch.setenv("SUPERVISOR_PROCESS_NAME", "sink-push")
    with monitored(settings, "sink-push") as monitor:
        yield monitor


def test_a_running_process_that_is_not_ready_says_why(settings: Settings, push: Monitor) -> None:
    """The reasons are those of `/readyz`, at the start and later; then there is none."""
    trouble: list[str | None] = ["Kafka does not answer"]
    assert read_processes(settings, [state_of("sink-push")])["sink-push"].not_ready == (
        "it has not reached its servers yet"
    )
    push.health.ready_while(kafka=lambda: trouble[0], store=lambda: None)
    push.health.begun()
    assert read_processes(settings, [state_of("sink-push")])["sink-push"].not_ready == (
        "Kafka does not answer"
    )
    trouble[0] = None

    def is_ready() -> bool:
        return read_processes(settings, [state_of("sink-push")])["sink-push"].not_ready is None

    wait_until(is_ready, "the answer of the last second is not used any more")


def test_a_process_whose_address_is_not_known_is_not_judged(
    settings: Settings, push: Monitor
) -> None:
    """A server has no address of this kind, and a process that does not run is not asked."""
    push.health.begun()
    processes = [state_of("kafka"), state_of("sink-push"), state_of("gateway", "BACKOFF")]
    readings = read_processes(settings, processes)
    assert readings.keys() == {"sink-push"}
    assert readings["sink-push"].not_ready is None
    assert read_processes(settings, []) == {}


def test_a_process_that_does_not_answer_is_not_ready(settings: Settings) -> None:
    """A killed process leaves the file of its address, and a file may be damaged."""
    (port,) = free_ports(1)
    file = metrics_folder(settings) / "sink-sync.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": {}}]))
    file.with_name("sink-search.json").write_text("[{")
    readings = read_processes(settings, [state_of("sink-sync"), state_of("sink-search")])
    assert readings == {
        "sink-sync": ProcessReading(f"it does not answer at 127.0.0.1:{port}"),
    }


def test_the_deliveries_of_several_processes_are_summed(settings: Settings, push: Monitor) -> None:
    """Repeated deliveries and dead letters are those of the metrics, by receiver."""
    push.health.begun()
    metrics = ReceiverMetrics(OutboundMetrics(push.registry, PUSH_RECEIVERS), "push_matrix")
    metrics.dead_letter()
    with metrics.retrying():
        (reading,) = read_processes(settings, [state_of("sink-push")]).values()
    other = 'im_outbound_retries{receiver="webhook"} 4.0\nim_ready{stage="webhooks"} 1.0\n'
    states = outbound_states([reading, reading, ProcessReading(), ProcessReading(None, other)])
    assert states == {
        "push_webhook": OutboundState(),
        "push_matrix": OutboundState(retries=2, dead_letters=2),
        "push_web_push": OutboundState(),
        WEBHOOK_RECEIVER: OutboundState(retries=4),
    }


def test_each_reason_is_one_line() -> None:
    """A server that is down is named once, with all processes that wait for it."""
    down = ProcessReading("Kafka does not answer")
    readings = {
        "sink-sync": down, "sink-push": down, "webhooks": ProcessReading(),
        "gateway": ProcessReading("the gateway ends"),
    }  # fmt: skip
    assert unready(readings) == [
        "sink-sync, sink-push not ready: Kafka does not answer",
        "gateway not ready: the gateway ends",
    ]
