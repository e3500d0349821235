"""The servers, started side by side, watched, and stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from devstack import ports
from devstack.artifacts import Report, fetch
from devstack.java import find_java
from devstack.layout import Layout
from devstack.processes import end, processes_of, wait_until
from devstack.program import Program
from devstack.servers import Server
from devstack.settings import DevstackSettings
from devstack.supervision import Supervisor
from schemas.errors import ServerUnavailable

READY_SECONDS: Final = 120.0
_LEFT_OVER_SECONDS: Final = 20.0
_LOG_LINES: Final = 5
_RESTARTS: Final = 2
"""A server that ends more often than this before it is ready will not be."""


def ignore(line: str) -> None:
    """A `Report` that nobody reads."""


class Stack:
    """Servers, and beside them other programs, under one supervisor.

    Args:
        settings: Where and how large.
        servers: Which of `devstack.servers.all_servers`.
        report: Told what takes time.
    """

    def __init__(
        self, settings: DevstackSettings, servers: Sequence[Server], report: Report = ignore
    ) -> None:
        self.servers = {server.name: server for server in servers}
        self.layout = Layout(settings.root)
        self.supervisor = Supervisor(self.layout)
        self.settings = settings
        self._report = report

    def up(
        self, programs: Sequence[Program] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """Fetches what is missing, starts the servers and waits until all are ready.

        What was started is stopped again if that fails.

        Args:
            programs: What the supervisor is to run later, when `Supervisor.start` is called.
            environment: What all of them see; our own unless given.

        Raises:
            ConfigurationError: There is no Java, or a port is taken.
            ServerUnavailable: A server did not come up; the message ends with its last words.
        """
        self.clear()
        try:
            self._start_all(programs, environment)
        except BaseException:
            self.down()
            raise

    def clear(self) -> None:
        """Ends what an earlier run left behind, its supervisor included, and says so."""
        left = processes_of(self.layout.root)
        if left:
            self._report(f"ending {len(left)} processes that an earlier run left behind")
            self.down()

    def start(self, name: str) -> None:
        """Starts a stopped server; `await_ready` tells when it works."""
        self.supervisor.start(name)

    def stop(self, name: str) -> None:
        """Stops a server in order; it stays down until `start`."""
        self.supervisor.stop(name)

    def kill(self, name: str) -> None:
        """Kills a server at once; the supervisor starts it again."""
        self.supervisor.signal(name, "KILL")

    def await_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Waits until a server does its work.

        Raises:
            ServerUnavailable: It did not in time; the message ends with its last words.
        """
        server, log = self.servers[name], self.layout.logs / f"{name}.log"

        patience = self._restarts(name) + _RESTARTS

        def settled() -> bool:
            return server.is_ready() or self._gave_up(name, patience)

        wait_until(settled, seconds)
        if not server.is_ready():
            hopeless = self._gave_up(name, patience)
            what = "ends again and again" if hopeless else f"is not ready after {seconds:.0f} s"
            raise ServerUnavailable(f"{name} {what}; {last_words(log)}")
        self._report(f"{name} is ready at {server.address}")

    def down(self) -> bool:
        """Stops everything, whatever state it is in.

        Returns:
            Whether there was anything to stop.
        """
        found = bool(processes_of(self.layout.root))
        if self.supervisor.is_running():
            names = {process.program for process in self.supervisor.processes()}
            self._try_to_stop(names - self.servers.keys())
            self._try_to_stop(names & self.servers.keys())
            self.supervisor.shutdown()
        end(processes_of(self.layout.root), _LEFT_OVER_SECONDS)
        return found

    def _start_all(
        self, programs: Sequence[Program], environment: Mapping[str, str] | None
    ) -> None:
        ports.check_free(
            {k: v for server in self.servers.values() for k, v in server.ports.items()}
        )
        prepared = self._prepare()
        self.supervisor.launch([*prepared, *programs], environment or os.environ)
        self.supervisor.start(*self.servers)
        for name in self.servers:
            self.await_ready(name)

    def _gave_up(self, name: str, most_restarts: int) -> bool:
        states = [p for p in self.supervisor.processes() if p.program == name]
        return any(p.is_down or p.restarts > most_restarts for p in states)

    def _restarts(self, name: str) -> int:
        return sum(p.restarts for p in self.supervisor.processes() if p.program == name)

    def _try_to_stop(self, names: Iterable[str]) -> None:
        try:
            self.supervisor.stop(*names)
        except ServerUnavailable as error:
            self._report(str(error))  # what is left is killed at the end of `down`

    def _prepare(self) -> list[Program]:
        if not self.servers:
            return []
        java = find_java()

        def prepare(server: Server) -> Program:
            installed = fetch(server.distribution, self.settings.artifacts, self._report)
            return server.prepare(installed, java, self.layout)

        with ThreadPoolExecutor(max_workers=len(self.servers)) as pool:
            return list(pool.map(prepare, self.servers.values()))


def last_words(log: Path) -> str:
    """Where a log is and how it ends, for an error message."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        lines = []
    return f"its log is {log}" + "".join(f"\n    {line}" for line in lines)
