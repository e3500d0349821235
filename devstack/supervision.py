"""Runs programs under supervisord and controls them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from backends.processes.polling import poll_until
from devstack import rpc, supervisor_config
from devstack.layout import Layout
from devstack.processes import STACK_VARIABLE
from devstack.program import Program
from schemas.errors import ServerUnavailable

_LAUNCH_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 60.0
"""More than the greatest `Program.stop_seconds`, after which supervisord kills."""

_DOWN: Final = frozenset({"STOPPED", "FATAL"})
"""Without EXITED: supervisord is about to restart a process that ended by itself."""

_UP: Final = frozenset({"RUNNING", "STARTING", "BACKOFF"})


class ProcessState(NamedTuple):
    """One supervised process. ``state`` is supervisord's state, such as RUNNING or BACKOFF.

    ``restarts``: number of restarts since the stack was started. ``detail``: supervisord's
    description, such as why a start failed. ``last_exit``: exit code of the last end that nobody
    requested; None if there was none.
    """

    program: str
    name: str
    state: str
    pid: int
    uptime_seconds: int
    restarts: int
    log: Path
    detail: str
    last_exit: int | None = None

    @property
    def is_down(self) -> bool:
        """Whether the process does not run, and supervisord will not restart it."""
        return self.state in _DOWN


class Supervisor:
    """The supervisord of one stack.

    Args:
        layout: The stack's folders.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._socket = rpc.socket_path(layout.root)

    def is_running(self) -> bool:
        """Return whether supervisord answers."""
        try:
            self._call("getState")
        except ServerUnavailable:
            return False
        return True

    def launch(self, programs: Sequence[Program], environment: Mapping[str, str]) -> None:
        """Start supervisord in the background; the programs wait for `start`.

        Args:
            programs: All programs of this stack.
            environment: The environment of all programs; each adds its own variables.

        Raises:
            ServerUnavailable: supervisord did not start.
        """
        config = self._layout.run / "supervisord.conf"
        config.write_text(
            supervisor_config.render(programs, layout=self._layout, socket=self._socket)
        )
        self._journal.unlink(missing_ok=True)
        _daemonize(config, {**environment, STACK_VARIABLE: str(self._layout.root)})
        if not poll_until(self.is_running, _LAUNCH_SECONDS):
            raise ServerUnavailable(f"supervisord does not answer, its log is {self._journal}")

    def processes(self) -> list[ProcessState]:
        """Return the state of every process, running or not.

        Raises:
            ServerUnavailable: supervisord does not answer.
        """
        journal = self._journal.read_text() if self._journal.exists() else ""
        return [_state(info, journal) for info in self._call("getAllProcessInfo")]

    def start(self, *programs: str) -> None:
        """Start the processes of the programs that are down; return at once."""
        for process in self.processes():
            if process.program in programs and process.is_down:
                self._call("startProcess", _target(process), False)  # noqa: FBT003 - do not wait

    def stop(self, *programs: str) -> None:
        """Stop programs in parallel: SIGTERM, then SIGKILL after each one's `stop_seconds`.

        Raises:
            ServerUnavailable: A process is still not down after that.
        """

        def all_down() -> bool:
            processes = [p for p in self.processes() if p.program in programs]
            for process in processes:
                if process.state in _UP:
                    with suppress(ServerUnavailable):  # it ended meanwhile: check again
                        self._call("stopProcess", _target(process), False)  # noqa: FBT003 - do not wait
            return all(process.is_down for process in processes)

        if not poll_until(all_down, _STOP_SECONDS):
            raise ServerUnavailable(f"{', '.join(programs)} did not stop in {_STOP_SECONDS:.0f} s")

    def signal(self, program: str, name: str) -> None:
        """Send a signal, such as ``KILL``, to all running processes of a program.

        Raises:
            ServerUnavailable: supervisord does not answer.
        """
        self._call("signalProcessGroup", program, name)

    def shutdown(self) -> None:
        """End supervisord and all its processes. Does nothing if supervisord is not running."""
        try:
            self._call("shutdown")
        except ServerUnavailable:
            return
        poll_until(lambda: not self.is_running(), _STOP_SECONDS)

    @property
    def _journal(self) -> Path:
        return self._layout.logs / supervisor_config.JOURNAL

    def _call(self, method: str, *arguments: Any) -> Any:
        return rpc.call(self._socket, method, *arguments)


def _daemonize(config: Path, environment: Mapping[str, str]) -> None:
    try:
        subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "supervisor.supervisord", "-c", config],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=_LAUNCH_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerUnavailable("supervisord does not start") from error
    except subprocess.CalledProcessError as error:
        raise ServerUnavailable(f"supervisord does not start: {error.stderr}") from error


def _target(process: ProcessState) -> str:
    return f"{process.program}:{process.name}"


def _state(info: dict[str, Any], journal: str) -> ProcessState:
    name = info["name"]
    spawned = journal.count(f"spawned: '{name}' ")
    codes = re.findall(rf"exited: {re.escape(name)} \(exit status (\d+);", journal)
    return ProcessState(
        program=info["group"],
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        uptime_seconds=info["now"] - info["start"] if info["statename"] == "RUNNING" else 0,
        restarts=max(0, spawned - 1),
        log=Path(info["stdout_logfile"]),
        detail=info["spawnerr"] or info["description"],
        last_exit=int(codes[-1]) if codes else None,
    )
