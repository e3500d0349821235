"""The HTTP server for operators: `/metrics`, `/livez` and `/readyz` of one process.

It has an address of its own (`IM_METRICS_HOST`, `IM_METRICS_PORT`), apart from the gateway's
public port, so that the network decides who may read. It has no tokens: Prometheus, an
orchestrator and a health check of Docker send none. Nothing in the answers identifies a person or
a conversation.

Threads serve the requests, so an event loop or a lane that hangs does not prevent an answer.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

from backends.monitoring.process_health import ProcessHealth

MAX_OPERATOR_CONNECTIONS: Final = 16
"""Connections at a time; others are closed. A few programs ask, every few seconds."""

IDLE_PEER_SECONDS: Final = 5.0
"""Timeout of a peer that sends or takes nothing."""


def operators_app(registry: CollectorRegistry, health: ProcessHealth) -> WSGIApplication:
    """The WSGI application."""
    metrics = make_wsgi_app(registry, disable_compression=True)
    answers: dict[str, Callable[[], tuple[HTTPStatus, object]]] = {
        "/livez": lambda: _liveness(health),
        "/readyz": lambda: _readiness(health),
    }

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Any:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start)
        if path not in answers:
            return _json(start, HTTPStatus.NOT_FOUND, {"paths": ["/metrics", *answers]})
        return _json(start, *answers[path]())

    return answer


def _liveness(health: ProcessHealth) -> tuple[HTTPStatus, object]:
    reason = health.not_live()
    status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
    return status, {"live": reason is None, "reason": reason}


def _readiness(health: ProcessHealth) -> tuple[HTTPStatus, object]:
    readiness = health.readiness()
    status = HTTPStatus.OK if readiness.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    parts = {name: reason or "ok" for name, reason in readiness.parts.items()}
    return status, {"ready": readiness.is_ready, "parts": parts}


def _json(start: StartResponse, status: HTTPStatus, body: object) -> list[bytes]:
    content = msgspec.json.encode(body)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start(f"{status.value} {status.phrase}", [*headers, ("Cache-Control", "no-store")])
    return [content]


class _Handler(WSGIRequestHandler):
    """Serves one connection, without a log line."""

    timeout = IDLE_PEER_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Logs nothing: a request comes every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, up to the maximum."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self._places = BoundedSemaphore(MAX_OPERATOR_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a peer that went away."""

    def server_bind(self) -> None:
        """Binds without the base's reverse lookup of the host name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


@contextlib.contextmanager
def operators_server(
    host: str, port: int, registry: CollectorRegistry, health: ProcessHealth
) -> Iterator[int]:
    """Serves in threads until the end of the block; yields the port.

    Args:
        host: The address to listen on.
        port: The port; 0 for any free port.
        registry: The metrics.
        health: Liveness and readiness.

    Raises:
        OSError: The server cannot listen on the address.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    server = _Server((str(address[0]), port), socket.AddressFamily(family))
    server.set_app(operators_app(registry, health))
    thread = Thread(target=server.serve_forever, args=(0.1,), name="operators-server", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
