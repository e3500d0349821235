"""Starts the servers in parallel, watches and stops them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from backends.processes.polling import poll_until
from devstack import ports
from devstack.artifacts import fetch
from devstack.java import find_java
from devstack.layout import Layout
from devstack.processes import end, processes_of
from devstack.program import Program
from devstack.progress import ReportStep
from devstack.servers import Server
from devstack.settings import DevstackSettings
from devstack.supervision import Supervisor
from schemas.errors import ServerUnavailable

READY_SECONDS: Final = 120.0
_LEFT_OVER_SECONDS: Final = 20.0
_LOG_LINES: Final = 5
_RESTARTS: Final = 2
"""A server that ends more often than this before it is ready is considered failed."""


def ignore(line: str) -> None:
    """Ignore a line: a `ReportStep` without a reader."""


class Stack:
    """The servers, and other programs, under one supervisor.

    Args:
        settings: Folders, ports and heap sizes.
        servers: The servers to run, from `devstack.servers.all_servers`.
        report: Receives the progress of slow steps.
    """

    def __init__(
        self, settings: DevstackSettings, servers: Sequence[Server], report: ReportStep = ignore
    ) -> None:
        self.servers = {server.name: server for server in servers}
        self.layout = Layout(settings.root)
        self.supervisor = Supervisor(self.layout)
        self.settings = settings
        self._report = report

    def up(
        self, programs: Sequence[Program] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """Fetch missing servers, start them, and wait until all are ready.

        A failure stops everything that was started.

        Args:
            programs: Further programs for the supervisor, which `Supervisor.start` starts later.
            environment: The environment of all processes; this process's own by default.

        Raises:
            ConfigurationError: There is no Java, or a port is taken.
            ServerUnavailable: A server did not start; the message ends with its last log lines.
        """
        self.clear()
        try:
            self._start_all(programs, environment)
        except BaseException:
            self.down()
            raise

    def clear(self) -> None:
        """End all processes of an earlier run, its supervisor included, and report them."""
        left = processes_of(self.layout.root)
        if left:
            self._report(f"ending {len(left)} processes that an earlier run left behind")
            self.down()

    def start(self, name: str) -> None:
        """Start a stopped server; `await_ready` waits until it is ready."""
        self.supervisor.start(name)

    def stop(self, name: str) -> None:
        """Stop a server gracefully; it stays down until `start`."""
        self.supervisor.stop(name)

    def kill(self, name: str) -> None:
        """Kill a server at once; the supervisor restarts it."""
        self.supervisor.signal(name, "KILL")

    def await_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Wait until a server is ready.

        Raises:
            ServerUnavailable: Not ready in time; the message ends with its last log lines.
        """
        server, log = self.servers[name], self.layout.logs / f"{name}.log"

        patience = self._restarts(name) + _RESTARTS

        def is_ready() -> bool | None:
            # None: not yet. False: never.
            return server.is_ready() or (False if self._gave_up(name, patience) else None)

        # The last reading decides: a busy server that was ready may miss the next probe.
        found = poll_until(is_ready, seconds, done=lambda ready: ready is not None)
        if not found:
            late = f"is not ready after {seconds:.0f} s"
            what = late if found is None else "ends again and again"
            raise ServerUnavailable(f"{name} {what}; {last_words(log)}")
        self._report(f"{name} is ready at {server.address}")

    def down(self) -> bool:
        """Stop everything, in whatever state.

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
            self._report(str(error))  # remaining processes are killed at the end of `down`

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
    """Return the path and the last lines of a log, for an error message."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        lines = []
    return f"its log is {log}" + "".join(f"\n    {line}" for line in lines)
