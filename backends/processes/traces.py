"""Traces (OpenTelemetry) of single messages through the stages, off by default.

The gateway decides which requests begin a trace. Each later stage continues the trace of a record
whose header ``traceparent`` says that the trace is sampled, and makes no span for other records.

A process that has no `IM_TRACES` does not import OpenTelemetry. Spans that have ended wait in a
bounded queue for a thread that exports them; when the queue is full, spans are dropped. So a
collector that is slow or down costs spans, but no stage waits for it. A span has names of topics,
numbers and ids, and no text of a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from schemas.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span

MAX_QUEUED_SPANS: Final = 4_096
"""Ended spans that wait for the export, some 1 KB each."""

EXPORT_SECONDS: Final = 5.0
"""Time limit of one export, with its retries."""

EXPORT_INTERVAL_MS: Final = 1_000
END_SECONDS: Final = 3.0
"""How long the end of a process waits for the last export."""

_SAMPLED: Final = "01"

SpanRole: TypeAlias = Literal["server", "producer", "consumer", "internal"]
"""The part of a stage in a trace: OpenTelemetry's kind of a span."""

SpanFields: TypeAlias = Mapping[str, str | int]
"""The attributes of a span: names of topics, numbers and ids."""


class Traces:
    """Makes the spans of one process, and exports them.

    Args:
        settings: The settings of the deployment, with `traces`.
        process: The name of the process.
    """

    def __init__(self, settings: Settings, process: str) -> None:
        # The packages take a quarter of a second and 20 MB in each process that imports them.
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

        names = {"service.name": process, "service.namespace": settings.namespace}
        self._provider = TracerProvider(
            ALWAYS_ON,  # a span is made only for a sampled trace
            Resource(names),
            shutdown_on_exit=False,  # it would wait for half a minute, see `close`
        )
        exporter = trace_exporter.OTLPSpanExporter(settings.traces, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, MAX_QUEUED_SPANS, EXPORT_INTERVAL_MS)
        )
        self._tracer = self._provider.get_tracer("im-timeline")

    def begin(  # noqa: PLR0913 - the parts of a span
        self,
        name: str,
        parent: str | None,
        role: SpanRole,
        fields: SpanFields,
        *,
        started_ns: int | None = None,
        links: Sequence[Span] = (),
    ) -> Span:
        """Begins a span. The caller ends it by `Span.end`, from any thread.

        Args:
            name: The name of the span, one of a few.
            parent: The ``traceparent`` of the parent; None for the first span of a trace.
            role: The part of the stage.
            fields: The attributes.
            started_ns: The begin in nanoseconds since 1970, if it is not now.
            links: Spans of other traces that belong to the same work.
        """
        from opentelemetry.trace import Link, SpanKind  # noqa: PLC0415

        return self._tracer.start_span(
            name,
            context=_context(parent),
            kind=SpanKind[role.upper()],
            attributes=fields,
            links=[Link(each.get_span_context()) for each in links],
            start_time=started_ns,
        )

    def close(self) -> None:
        """Exports the remaining spans within `END_SECONDS`."""
        ending = Thread(target=self._provider.shutdown, daemon=True, name="traces-end")
        ending.start()
        ending.join(END_SECONDS)


def open_traces(settings: Settings, process: str) -> Traces | None:
    """The traces of a process; None if traces are off."""
    return Traces(settings, process) if settings.traces else None


def trace_parent_of(span: Span) -> str:
    """The ``traceparent`` that makes a later span the child of this span."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{_SAMPLED}"


def _context(parent: str | None) -> Any:
    """The context of a valid ``traceparent``, or an empty one."""
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import (  # noqa: PLC0415
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    if parent is None:
        return Context()
    _, trace_id, span_id, _ = parent.split("-")
    context = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(context), Context())
