"""The spans of a process: exported with their parents, and never a reason to wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from random import Random

import pytest
from opentelemetry.exporter.otlp.common import http

from backends.processes.traces import (
    EXPORT_SECONDS,
    MAX_QUEUED_SPANS,
    Traces,
    open_traces,
    trace_parent_of,
)
from devstack.ports import free_ports
from gateway.http.request_spans import TRACES_PER_SECOND, RequestSpans
from schemas.settings import Settings
from tests.support.clock import Clock
from tests.support.collector import collector
from tests.support.running_time import running_time

PARENT = f"00-{'a1' * 16}-{'b2' * 8}-01"


def test_without_a_collector_there_are_no_traces() -> None:
    """Traces are off by default."""
    assert open_traces(Settings(), "gateway") is None


def test_a_span_continues_its_trace() -> None:
    """A span has its parent, its fields and its links; without a parent it begins a trace."""
    with collector() as received:
        traces = Traces(Settings(traces=received.url), "sink-sync")
        first = traces.begin("first", None, "internal", {})
        child = traces.begin("child", PARENT, "consumer", {"n": 5}, started_ns=1, links=(first,))
        grandchild = traces.begin("grandchild", trace_parent_of(child), "producer", {})
        for span in (grandchild, child, first):
            span.end()
        traces.close()
    spans = {span.name: span for span in received.spans}
    assert spans["first"].parent == ""
    assert (spans["child"].trace, spans["child"].parent) == ("a1" * 16, "b2" * 8)
    assert (spans["child"].fields, spans["child"].began_ns) == ({"n": "5"}, 1)
    assert spans["child"].links == (spans["first"].id,)
    assert (spans["grandchild"].trace, spans["grandchild"].parent) == (
        "a1" * 16,
        spans["child"].id,
    )
    assert {span.process for span in received.spans} == {"sink-sync"}


@pytest.fixture(params=["refuses", "hangs"])
def broken_collector(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a collector that refuses connections, or accepts them and never answers.

    The exporter repeats its requests for half a minute after the test. Hypothesis refuses a thread
    that uses the shared random generator meanwhile, so the exporter gets a generator of its own.
    """
    http.__dict__["random"] = Random(0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1] if request.param == "hangs" else free_ports(1)[0]
        yield f"http://127.0.0.1:{port}/v1/traces"


def test_a_broken_collector_holds_nothing_up(
    broken_collector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More spans than the queue has room for end at once, and so does the process."""
    monkeypatch.setattr("backends.processes.traces.END_SECONDS", 0.5)
    traces = Traces(Settings(traces=broken_collector), "gateway")
    slowest = 0.0
    with running_time() as clock:
        for _ in range(2 * MAX_QUEUED_SPANS):
            before = clock()
            traces.begin("span", PARENT, "internal", {}).end()
            slowest = max(slowest, clock() - before)
        assert slowest < EXPORT_SECONDS - 1, "a span waited for its export"
        assert clock() < 30
        before = clock()
        traces.close()
        assert clock() - before < 3, "the end waited for the last export"


def test_a_request_is_traced_by_its_caller_or_by_chance() -> None:
    """The ratio decides about requests without a trace, and a limit about the number of traces."""
    clock = Clock()
    with collector() as received:
        traces = Traces(Settings(traces=received.url), "gateway")
        never, always = (RequestSpans(traces, ratio, clock) for ratio in (0, 1))
        for spans, given in ((never, None), (never, PARENT[:-1] + "0"), (never, PARENT)):
            with spans.of("GET", "/a", given):
                pass
        for _ in range(2 * TRACES_PER_SECOND):
            with always.of("GET", "/b"):
                pass
        traces.close()
    assert [span.trace for span in received.spans if span.name == "GET /a"] == ["a1" * 16]
    begun = [span.trace for span in received.spans if span.name == "GET /b"]
    assert len(begun) == len(set(begun)) == TRACES_PER_SECOND
