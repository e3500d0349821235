"""One set of servers for all workers of a test run.

The leading process (pytest-xdist's controller, or the only process) starts the servers when a test
first requests them, and stops them at the end of the run. A worker requests the servers over a
socket. So no worker has to outlive another, and all workers are informed of a failed start.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any, Final

import msgspec
import pytest

from tests.support.containers import container_servers, docker_answers
from tests.support.servers import Servers, devstack_servers, given_servers

_KEY: Final = "servers_socket"
_ASK_SECONDS: Final = 600.0
"""Longer than the download and the start of the servers may take."""


class _Answer(msgspec.Struct):
    """The addresses of the servers, or the reason for their absence."""

    home: str = ""
    addresses: dict[str, str] = {}
    error: str = ""


class SharedServers:
    """The servers of this run, managed by the leading process. A pytest plugin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = ExitStack()
        self._servers: Servers | None = None
        self._failure: Exception | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="im-tests-")
        self._server: _Socket | None = None

    def get(self) -> Servers:
        """Returns the servers; the first call starts them. Thread-safe.

        Raises:
            Exception: The servers did not start; every call raises the same error.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._servers is None:
                try:
                    self._servers = self._started.enter_context(_start())
                except Exception as error:
                    self._failure = error
                    raise
            return self._servers

    @pytest.hookimpl(optionalhook=True)  # pytest-xdist's hook
    def pytest_configure_node(self, node: Any) -> None:
        """Passes the address of the socket to a new worker."""
        if self._server is None:
            self._server = _Socket(str(Path(self._folder.name) / "socket"), self)
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
        node.workerinput[_KEY] = self._server.server_address

    def pytest_unconfigure(self) -> None:
        """Stops the servers."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        with self._lock:
            self._started.close()
        self._folder.cleanup()


def ask(config: pytest.Config) -> Servers:
    """The servers of this run, from the leading process.

    Raises:
        AssertionError: The servers did not start.
    """
    plugin = config.pluginmanager.get_plugin(SharedServers.__name__)
    if isinstance(plugin, SharedServers):
        return plugin.get()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ASK_SECONDS)
        connection.connect(config.workerinput[_KEY])  # type: ignore[attr-defined]  # pytest-xdist's
        with connection.makefile("rb") as stream:
            answer = msgspec.json.decode(stream.read(), type=_Answer)
    assert not answer.error, answer.error
    return Servers(Path(answer.home), answer.addresses)


def is_worker(config: pytest.Config) -> bool:
    """Whether another process leads this run."""
    return hasattr(config, "workerinput")


class _Socket(ThreadingUnixStreamServer):
    """Answers each connection."""

    daemon_threads = True

    def __init__(self, path: str, shared: SharedServers) -> None:
        super().__init__(path, _Asked)
        self.shared = shared


class _Asked(StreamRequestHandler):
    """The request of one worker."""

    server: _Socket

    def handle(self) -> None:
        """Answers when the servers have started, or have failed to start."""
        try:
            servers = self.server.shared.get()
        except Exception as error:  # noqa: BLE001 - sent to the worker
            answer = _Answer(error=f"the servers did not start: {error}")
        else:
            answer = _Answer(home=str(servers.home), addresses=servers.addresses)
        self.wfile.write(msgspec.json.encode(answer))


def _start() -> AbstractContextManager[Servers]:
    """The servers in the environment, or containers, or the development stack."""
    if given := given_servers():
        return nullcontext(given)
    return container_servers() if docker_answers() else devstack_servers()
