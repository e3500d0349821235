"""A running deployment whose log lines and spans a test reads."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import SecretStr

from backends.monitoring.monitor import metrics_folder
from devstack.ports import free_ports
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.collector import Collector, ReceivedSpan, collector
from tests.support.gateway import SECRET
from tests.support.log_lines import LogLine
from tests.support.pipeline import SINKS, assigned_members, prepare
from tests.support.processes import running, wait_until
from tests.support.readiness import is_ready
from tests.support.servers import Servers
from tests.support.topics import is_caught_up
from tests.support.waiting import until

PROGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "sequencer": ("stream_processors",),
    "gateway": ("gateway",),
    **{f"sink-{name}": ("sinks", name) for name in (*SINKS, "push")},
    "webhooks": ("sinks", "webhooks"),
}
"""The arguments of ``python -m`` for each process, by its name in log lines."""

TRACED: Final = PROGRAMS.keys() - {"webhooks"}
"""The processes that make spans."""

SOURCES: Final = {
    "sequencer": Topic.MESSAGES,
    "sink-message": Topic.TIMELINE,
    "sink-search": Topic.TIMELINE,
    "sink-sync": Topic.SYNC,
}
SECONDS: Final = 180.0
_WEBHOOK_KEY: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class TracedDeployment(NamedTuple):
    """The settings, the folder of the logs, the receiver of the spans, and the process ids."""

    settings: Settings
    logs: Path
    received: Collector
    numbers: dict[str, int]

    def metrics_of(self, process: str) -> bytes:
        """The metrics that a process serves."""
        (file,) = metrics_folder(self.settings).glob(f"*-{self.numbers[process]}.json")
        ((address,),) = [each["targets"] for each in json.loads(file.read_bytes())]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as response:
            found: bytes = response.read()
            return found

    def text_of(self, process: str) -> str:
        """The whole log of a process so far."""
        return (self.logs / process).read_text(encoding="utf-8")

    def lines(self, process: str) -> list[LogLine]:
        """The lines of a process so far, each of which must be a JSON object."""
        return [json.loads(line) for line in self.text_of(process).splitlines()]

    async def line(self, process: str, **fields: Any) -> LogLine:
        """The first line of a process with these fields, as soon as it is there."""

        async def is_there() -> bool:
            return any(fields.items() <= line.items() for line in self.lines(process))

        await until(is_there, SECONDS)
        return next(line for line in self.lines(process) if fields.items() <= line.items())

    async def spans(self, trace: str, names: set[str]) -> dict[str, ReceivedSpan]:
        """The spans of a trace by their names, as soon as it has these and no others."""

        async def are_there() -> bool:
            return names <= {span.name for span in self.received.trace(trace)}

        await until(are_there, SECONDS)
        spans = self.received.trace(trace)
        assert sorted(span.name for span in spans) == sorted(names)
        return {span.name: span for span in spans}

    async def caught_up(self) -> None:
        """Returns when all stages have processed all records.

        The sequencer is the first to be asked: before its work, the others have nothing to do.
        """

        def is_done() -> bool:
            return all(is_caught_up(self.settings, *source) for source in SOURCES.items())

        await until(partial(asyncio.to_thread, is_done), SECONDS)


@contextmanager
def traced_deployment(servers: Servers, logs: Path) -> Iterator[TracedDeployment]:
    """All processes with JSON lines at the level ``debug``, and traces of their callers alone."""
    with collector() as received, ExitStack() as stack:
        settings = servers.settings(
            partitions=1, sync_partitions=1, jwt_secret=SecretStr(SECRET),
            gateway_port=free_ports(1)[0], log_format="json", log_level="debug",
            traces=received.url, traces_ratio=0,
            push_notifications=True, push_content="text", push_window=timedelta(seconds=1),
            push_webhook_secret=SecretStr(_WEBHOOK_KEY), outbound_allow="127.0.0.1",
            outbound_ports="any", outbound_http=True,
            write_wait="PT8S",  # for a busy machine: each command has its outcome in the answer
        )  # fmt: skip
        prepare(settings)
        numbers = {
            name: stack.enter_context(running(settings, *module, log=logs / name)).pid
            for name, module in PROGRAMS.items()
        }
        wait_until(lambda: is_ready(settings), "the gateway is ready")
        wait_until(lambda: assigned_members(settings, "sequencer") == 1, "the sequencer is ready")
        yield TracedDeployment(settings, logs, received, numbers)
