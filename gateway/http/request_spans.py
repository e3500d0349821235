"""The first span of a trace: a request over HTTP, or a frame of a live connection.

A request continues the trace of its header ``traceparent`` (W3C Trace Context) if that trace is
sampled. Other requests begin a trace with the probability `IM_TRACES_RATIO`. Anybody can send the
header, so a gateway traces at most `TRACES_PER_SECOND` requests.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from backends.processes.request_context import (
    current_request_id,
    current_trace_parent,
    sampled_trace,
)
from backends.processes.traces import Traces, trace_parent_of

TRACES_PER_SECOND: Final = 200
"""Maximum number of traced requests of one gateway: some 1,000 spans/s in all stages."""


class RequestSpans:
    """Makes the spans of requests.

    Args:
        traces: Makes the spans; None without traces.
        ratio: The share of requests that begin a trace.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, traces: Traces | None, ratio: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._traces = traces
        self._ratio = ratio
        self._clock = clock
        self._second = self._begun = 0

    @contextmanager
    def of(self, method: str, route: str, given: str | None = None) -> Iterator[None]:
        """A span around the handling of a request, if the request is traced.

        Args:
            method: The method.
            route: The path with placeholders.
            given: The header ``traceparent`` of the request.
        """
        parent = sampled_trace(given)
        if self._traces is None or not self._is_traced(parent):
            yield
            return
        fields = {"http.request.method": method, "http.route": route}
        request_id = current_request_id.get()
        if request_id is not None:
            fields["request_id"] = request_id
        span = self._traces.begin(f"{method} {route}", parent, "server", fields)
        of_task = current_trace_parent.set(trace_parent_of(span))
        try:
            yield
        finally:
            current_trace_parent.reset(of_task)
            span.end()

    def _is_traced(self, parent: str | None) -> bool:
        if parent is None and random.random() >= self._ratio:  # noqa: S311 - not a secret
            return False
        second = int(self._clock())
        if second != self._second:
            self._second, self._begun = second, 0
        self._begun += 1
        return self._begun <= TRACES_PER_SECOND


NO_REQUEST_SPANS: Final = RequestSpans(None, 0)
