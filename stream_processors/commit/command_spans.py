"""The spans of the sampled commands of one transaction.

A command has one span, from the begin of its transaction to the commit. Its parent is the span
that produced the command; the entry and the sync records of the command have the span as their
parent in their headers. The transaction has a span of its own, a trace by itself, to which the
spans of its commands are linked: a transaction may have thousands of commands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from backends.processes.request_context import REQUEST_ID_HEADER, TRACE_HEADER
from backends.processes.traces import Traces, trace_parent_of
from schemas.dead_letters import Headers
from stream_processors.sequencing.headerless_records import RecordOfRequest
from stream_processors.sequencing.record_writer import RecordWriter
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.sequencing.source_record import SourceRecord

if TYPE_CHECKING:
    from opentelemetry.trace import Span

MAX_SPANS: Final = 256
"""Maximum number of commands of one transaction that have a span."""


class CommandSpans:
    """The spans of one transaction.

    Args:
        traces: Makes the spans.
        place: The source topic and partition.
        with_headers: Returns a writer that adds these headers to entries and sync records.
    """

    def __init__(
        self,
        traces: Traces,
        place: tuple[str, int],
        with_headers: Callable[[Headers], RecordWriter],
    ) -> None:
        self._traces = traces
        self._topic, self._partition = place
        self._with_headers = with_headers
        self._begun_ns = time.time_ns()
        self._transaction: Span | None = None
        self._commands: list[Span] = []

    def process(self, sequencer: Sequencer, record: SourceRecord, writer: RecordWriter) -> int:
        """Processes a record, see `Sequencer.process`; a sampled command gets a span."""
        if not isinstance(record, RecordOfRequest) or record.trace_parent is None:
            return sequencer.process(record, writer)
        if len(self._commands) >= MAX_SPANS:
            return sequencer.process(record, writer)
        span = self._begin(record, record.trace_parent)
        headers: Headers = [(TRACE_HEADER, trace_parent_of(span))]
        if record.request_id is not None:
            headers.append((REQUEST_ID_HEADER, record.request_id))
        return sequencer.process(record, self._with_headers(headers))

    def end(self, commands: int) -> None:
        """Ends all spans, after the commit of this number of commands."""
        for span in self._commands:
            span.end()
        if self._transaction is not None:
            self._transaction.set_attribute("messaging.batch.message_count", commands)
            self._transaction.end()

    def _begin(self, record: RecordOfRequest, parent: str) -> Span:
        fields: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": self._topic,
            "messaging.destination.partition.id": str(self._partition),
        }
        if self._transaction is None:
            self._transaction = self._traces.begin(
                "transaction", None, "internal", fields, started_ns=self._begun_ns
            )
        span = self._traces.begin(
            "sequence", parent, "consumer", fields | {"messaging.kafka.offset": record.offset},
            started_ns=self._begun_ns, links=(self._transaction,),
        )  # fmt: skip
        self._commands.append(span)
        return span
