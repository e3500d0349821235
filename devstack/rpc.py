"""XML-RPC over supervisord's Unix socket, with a timeout for every call.

`supervisor.xmlrpc.SupervisorTransport` has no timeout: a call of a stopped supervisord would never
end.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import tempfile
import xmlrpc.client
from pathlib import Path
from typing import Any, Final

from schemas.errors import ConfigurationError, ServerUnavailable

_ANSWER_SECONDS: Final = 10.0

_LONGEST_PATH: Final = 90
"""Kernels allow 104 to 108 bytes, and supervisord first appends its process id."""


def call(path: Path, method: str, *arguments: Any) -> Any:
    """Call a method of the ``supervisor`` namespace.

    Raises:
        ServerUnavailable: Nothing listens on the socket, or the answer is late or a fault.
    """
    transport = _UnixTransport(path)
    try:
        with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport) as server:
            return getattr(server.supervisor, method)(*arguments)
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        raise ServerUnavailable(f"supervisord did not {method}: {error}") from error


def socket_path(root: Path) -> Path:
    """Return the socket of a stack's supervisor: in its folder, unless the path is too long.

    Raises:
        ConfigurationError: Another user owns the folder for long paths.
    """
    path = root / "run" / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"im-{os.geteuid()}-{digest}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise ConfigurationError(f"{folder} belongs to another user: use a shorter IM_HOME")
    return folder / "supervisor.sock"


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # `close` closes this connection
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise
