"""Generates the configuration file of supervisord."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from devstack.layout import Layout
from devstack.program import Program

JOURNAL: Final = "supervisord.log"
"""The log of supervisord itself, with every start and end of a process."""

_LOG_BYTES: Final = 20 * 1024 * 1024
_LOG_BACKUPS: Final = 3

_RETRIES: Final = 60
"""The pause grows by one second with each retry: half an hour in all."""

_SUPERVISOR: Final = """\
[supervisord]
logfile = {journal}
logfile_maxbytes = {log_bytes}
logfile_backups = 1
pidfile = {run}/supervisord.pid
directory = {directory}
umask = 077
{user}
[unix_http_server]
file = {socket}
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM: Final = """
[program:{name}]
command = {command}
environment = {environment}
process_name = {process_name}
numprocs = {count}
autostart = false
autorestart = true
startsecs = {start_seconds}
startretries = {retries}
stopwaitsecs = {stop_seconds}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {logs}/%(program_name)s{number}.log
stdout_logfile_maxbytes = {log_bytes}
stdout_logfile_backups = {backups}
"""


def render(programs: Iterable[Program], *, layout: Layout, socket: Path) -> str:
    """Return a ``supervisord.conf`` with these programs, none of which starts automatically."""
    head = _SUPERVISOR.format(
        journal=_escaped(str(layout.logs / JOURNAL)),
        run=_escaped(str(layout.run)),
        socket=_escaped(str(socket)),
        directory=_escaped(str(layout.root)),
        log_bytes=_LOG_BYTES,
        # Without `user`, supervisord warns when it runs as root.
        user="user = root\n" if os.geteuid() == 0 else "",
    )
    return head + "".join(_program(program, layout.logs) for program in programs)


def _program(program: Program, logs: Path) -> str:
    number = "-%(process_num)d" if program.count > 1 else ""
    return _PROGRAM.format(
        name=program.name,
        command=_escaped(shlex.join(program.command)),
        environment=_environment(program.environment),
        process_name=f"%(program_name)s{number}",
        number=number,
        count=program.count,
        start_seconds=program.start_seconds,
        stop_seconds=program.stop_seconds,
        retries=_RETRIES,
        logs=_escaped(str(logs)),
        log_bytes=_LOG_BYTES,
        backups=_LOG_BACKUPS,
    )


def _environment(variables: Mapping[str, str]) -> str:
    return ",".join(f"{name}={_escaped(shlex.quote(value))}" for name, value in variables.items())


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
