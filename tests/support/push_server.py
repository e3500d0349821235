"""An HTTP server that gets notifications, in a thread: the path of a URL decides what it does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Final, NamedTuple

SLOW_SECONDS: Final = 300.0
"""Longer than the timeout of a request, and than a test needs: `PushServer.end` ends the wait."""


class Request(NamedTuple):
    """A request. ``at``: the monotonic time of the response, in seconds."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    at: float

    @property
    def data(self) -> dict[str, Any]:
        """The data of a notification of the provider ``webhook``."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data

    @property
    def about(self) -> tuple[str, str, str, int]:
        """The person, the device, the conversation and the SeqId."""
        data = self.data
        return data["user_id"], data["device_id"], data["conv_id"], data["seq"]


class PushServer:
    """The requests of a server, and the status of each path: 200 if none is set.

    A status below 0 means that the server responds after `SLOW_SECONDS`; ``stuck`` has the times
    at which such requests arrived.
    """

    def __init__(self) -> None:
        self.url = ""
        self.statuses: dict[str, int] = {}
        self.stuck: list[float] = []
        self._requests: list[Request] = []
        self._lock = Lock()
        self._ending = Event()

    def requests(self, path: str | None = None) -> list[Request]:
        """The requests so far, of one path or of all."""
        with self._lock:
            return [each for each in self._requests if path is None or each.path == path]

    def paths(self) -> set[str]:
        """The paths of the requests so far."""
        return {each.path for each in self.requests()}

    def acknowledged(self, path: str | None = None) -> list[Request]:
        """The requests with a status of success, of one path or of all."""
        return [each for each in self.requests(path) if each.status < 300]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Respond to one request."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        status = self.statuses.get(handler.path, 200)
        if status < 0:
            self.stuck.append(time.monotonic())
            self._ending.wait(SLOW_SECONDS)
            status = 200
        # The request counts before the client can see the response.
        with self._lock:
            headers = {name.lower(): value for name, value in handler.headers.items()}
            at = time.monotonic()
            self._requests.append(Request(handler.path, headers, body, status, at))
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def end(self) -> None:
        """Let the slow responses end."""
        self._ending.set()


@contextmanager
def push_server() -> Iterator[PushServer]:
    """A running server on a free port."""
    server = PushServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                server.answer(self)
            except ConnectionError:
                self.close_connection = True  # the client was killed

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.end()
            http.shutdown()
            thread.join()
