"""Metrics, liveness and readiness of a process, over HTTP."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from prometheus_client import CollectorRegistry

from backends.monitoring import metric_catalog as catalog
from backends.monitoring import outbound_catalog
from backends.monitoring.instruments import MOST_SAMPLES, DelayHistogram, ReadGauge, new_counter
from backends.monitoring.monitor import Monitor, metrics_folder, monitored
from backends.monitoring.operators_server import (
    IDLE_PEER_SECONDS,
    MAX_OPERATOR_CONNECTIONS,
    operators_server,
)
from backends.monitoring.process_health import REUSED_SECONDS, ProcessHealth
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from tests.support.clock import Clock
from tests.support.processes import wait_until


def get(port: int, path: str) -> tuple[int, str]:
    """The status and the body of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Served:
    """A served process with a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.health = ProcessHealth(self.clock)
        self.registry = CollectorRegistry()
        self.port = 0

    def ready(self) -> tuple[int, dict[str, str]]:
        """The status of `/readyz`, and its parts."""
        status, body = get(self.port, "/readyz")
        parts: dict[str, str] = json.loads(body)["parts"]
        return status, parts

    def live(self) -> tuple[int, str | None]:
        """The status of `/livez`, and its reason."""
        status, body = get(self.port, "/livez")
        reason: str | None = json.loads(body)["reason"]
        return status, reason


@pytest.fixture
def served() -> Iterator[Served]:
    """A process on a free port."""
    process = Served()
    with operators_server("127.0.0.1", 0, process.registry, process.health) as process.port:
        yield process


def test_a_process_is_ready_when_it_has_begun_and_all_parts_work(served: Served) -> None:
    """Before the begin, and while one part does not work, `/readyz` answers 503 with the part."""
    reason: list[str | None] = ["Cassandra does not answer"]
    served.health.ready_while(kafka=lambda: None, store=lambda: reason[0])
    assert served.ready() == (503, {"start": "it has not reached its servers yet"})

    served.health.begun()
    assert served.ready() == (503, {"kafka": "ok", "store": "Cassandra does not answer"})

    reason[0] = None
    served.clock.now += REUSED_SECONDS
    assert served.ready() == (200, {"kafka": "ok", "store": "ok"})


def test_frequent_requests_check_once(served: Served) -> None:
    """The result of a check is used again for a second, so requests load no server."""
    checks = []
    served.health.ready_while(kafka=lambda: checks.append(1))
    served.health.begun()
    for _ in range(5):
        served.ready()
    assert len(checks) == 1

    served.clock.now += REUSED_SECONDS
    served.ready()
    assert len(checks) == 2


def test_a_process_that_waits_for_servers_is_live(served: Served) -> None:
    """Liveness does not depend on readiness: a restart does not help against a missing server."""
    served.health.ready_while(kafka=lambda: "Kafka does not answer")
    served.health.begun()
    assert served.ready()[0] == 503
    assert served.live() == (200, None)


def test_a_process_that_hangs_is_not_live(served: Served) -> None:
    """`/livez` answers 503 with the reason of the first check that fails."""
    served.health.live_while(lambda: None)
    served.health.live_while(lambda: "the loop has not run for 120 s")
    assert served.live() == (503, "the loop has not run for 120 s")


def test_metrics_and_unknown_paths(served: Served) -> None:
    """`/metrics` has the registry of the process alone; other paths answer 404."""
    new_counter(served.registry, catalog.COMMANDS).labels("accepted").inc(3)
    status, body = get(served.port, "/metrics")
    assert status == 200
    assert 'im_commands_total{outcome="accepted"} 3.0' in body
    assert 'im_commands_total{outcome="rejected"} 0.0' in body
    assert "python_info" not in body
    assert get(served.port, "/")[0] == 404
    assert get(served.port, "/metrics/x")[0] == 404


def test_the_connections_are_bounded(served: Served) -> None:
    """Peers that send nothing hold the maximum of connections; a place is free when they leave."""
    idle = [
        socket.create_connection(("127.0.0.1", served.port))
        for _ in range(MAX_OPERATOR_CONNECTIONS)
    ]

    def is_answered() -> bool:
        try:
            return get(served.port, "/livez")[0] == 200
        except (ConnectionError, http.client.HTTPException):
            return False

    wait_until(lambda: not is_answered(), "a refusal", IDLE_PEER_SECONDS / 2)
    for each in idle:
        each.close()
    wait_until(is_answered, "a free place")


def test_a_slow_check_does_not_delay_the_liveness(served: Served) -> None:
    """`/livez` answers while a check of the readiness waits for its server."""
    checking, finish = Event(), Event()

    def check() -> None:
        checking.set()
        finish.wait(20)

    served.health.ready_while(kafka=check)
    served.health.begun()
    with socket.create_connection(("127.0.0.1", served.port)) as slow:
        slow.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert checking.wait(20)
        assert served.live() == (200, None)
        finish.set()
        assert b"200 OK" in slow.recv(100)


def test_a_free_port_is_named_in_a_file(tmp_path: Path) -> None:
    """With port 0, a file in the format of Prometheus names the address until the end."""
    settings = Settings(home=tmp_path)
    with monitored(settings, "sink-sync") as monitor:
        assert isinstance(monitor, Monitor)
        (file,) = metrics_folder(settings).iterdir()
        (target,) = json.loads(file.read_text())
        (address,) = target["targets"]
        status, body = get(int(address.rpartition(":")[2]), "/metrics")
        assert status == 200
        assert 'im_ready{stage="sink-sync"} 0.0' in body
        assert "process_resident_memory_bytes" in body
        assert "_created" not in body
    assert list(metrics_folder(settings).iterdir()) == []


def test_a_port_in_use_is_a_wrong_setting(tmp_path: Path) -> None:
    """The error names the variables."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(home=tmp_path, metrics_port=other.getsockname()[1])
        with (
            pytest.raises(ConfigurationError, match="IM_METRICS_PORT"),
            monitored(settings, "sink-sync"),
        ):
            pass


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """The values by name and label ``le``."""
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


@pytest.mark.parametrize("size", [1, MOST_SAMPLES, MOST_SAMPLES + 1, 1_000, 25_000])
def test_a_histogram_of_delays_counts_each_record(size: int) -> None:
    """The count is the number of records, in batches of any size."""
    registry = CollectorRegistry()
    delays = DelayHistogram(registry, catalog.DELAY, {"until": "stored"})
    delays.observe(range(size), lambda _: 1_000, now_ms=1_200)
    values = samples(registry)
    assert values["im_delay_seconds_count", ""] == size
    assert values["im_delay_seconds_bucket", "0.1"] == 0
    assert values["im_delay_seconds_bucket", "0.25"] == size
    assert values["im_delay_seconds_sum", ""] == pytest.approx(0.2 * size)


def test_a_histogram_of_delays_measures_large_batches_closely() -> None:
    """Of a batch whose delays fall evenly from 100 s to 0, a tenth is in each tenth."""
    registry = CollectorRegistry()
    delays = DelayHistogram(registry, catalog.DELAY, {"until": "stored"})
    delays.observe(range(100_000), lambda at: at, now_ms=100_000)
    values = samples(registry)
    assert values["im_delay_seconds_bucket", "10.0"] == pytest.approx(10_000, abs=3_200)
    assert values["im_delay_seconds_bucket", "60.0"] == pytest.approx(60_000, abs=3_200)
    assert values["im_delay_seconds_sum", ""] == pytest.approx(5_000_000, rel=0.04)


def test_a_record_without_a_time_does_not_count() -> None:
    """A clock that is behind the broker's gives a delay of 0; without a time there is no delay."""
    registry = CollectorRegistry()
    delays = DelayHistogram(registry, catalog.DELAY, {"until": "stored"})
    delays.observe([None, 5_000, 900], lambda at: at, now_ms=1_000)
    values = samples(registry)
    assert values["im_delay_seconds_count", ""] == 2
    assert values["im_delay_seconds_sum", ""] == pytest.approx(0.1)


def test_a_process_has_the_series_of_its_own_labels() -> None:
    """Of a label with several values, the series of the given ones begin at 0, and no others."""
    registry = CollectorRegistry()
    new_counter(registry, outbound_catalog.ATTEMPTS, {"receiver": ("webhook",), "outcome": "gone"})
    names = {(s.name, *s.labels.values()) for f in registry.collect() for s in f.samples}
    assert names == {("im_outbound_attempts_total", "webhook", "gone")}


def test_a_gauge_without_a_value_is_absent() -> None:
    """A lag that is not known is not shown as 0."""
    registry = CollectorRegistry()
    value: list[float | None] = [None]
    ReadGauge(registry, catalog.LAG, lambda: value[0], {"stage": "sink-sync"})
    assert samples(registry) == {}
    value[0] = 7
    assert samples(registry) == {("im_stage_lag_offsets", ""): 7}
