"""A command log that makes a span for each command of a traced request."""

from __future__ import annotations

import asyncio

from backends.processes.request_context import current_trace_parent
from backends.processes.traces import Traces, trace_parent_of
from gateway.writes.command_producer import CommandLog
from schemas.number_types import Milliseconds


class TracedCommands:
    """A `CommandLog`. The span ends with the broker's acknowledgement, and is in the headers.

    Args:
        log: Appends the commands.
        traces: Makes the spans.
        topic: The topic of the commands.
    """

    def __init__(self, log: CommandLog, traces: Traces, topic: str) -> None:
        self._log = log
        self._traces = traces
        self._fields = {"messaging.system": "kafka", "messaging.destination.name": topic}

    def append(self, conv_id: str, value: bytes) -> asyncio.Future[Milliseconds | None]:
        """See `CommandLog`."""
        parent = current_trace_parent.get()
        if parent is None:
            return self._log.append(conv_id, value)
        span = self._traces.begin("produce", parent, "producer", self._fields)
        of_task = current_trace_parent.set(trace_parent_of(span))
        try:
            sending = self._log.append(conv_id, value)
        except BaseException:
            span.end()
            raise
        finally:
            current_trace_parent.reset(of_task)
        sending.add_done_callback(lambda _: span.end())
        return sending
