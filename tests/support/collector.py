"""A collector of traces: receives OTLP over HTTP, and decodes the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue


class ReceivedSpan(NamedTuple):
    """One span. Ids are hexadecimal; ``parent`` is empty for the first span of a trace."""

    process: str
    name: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    fields: dict[str, str]
    began_ns: int
    ended_ns: int


class Collector:
    """The received spans, and the bodies of the requests. Thread-safe."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.bodies: list[bytes] = []
        self.url = ""

    def take(self, body: bytes) -> None:
        """Takes the body of one request."""
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = _fields(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        ReceivedSpan(
                            process,
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            tuple(link.span_id.hex() for link in span.links),
                            _fields(span.attributes),
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                        )
                    )

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace so far."""
        return [span for span in self.spans if span.trace == trace_id]


def _fields(attributes: Iterator[KeyValue]) -> dict[str, str]:
    return {each.key: each.value.string_value or str(each.value.int_value) for each in attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector."""
    received = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received.url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
