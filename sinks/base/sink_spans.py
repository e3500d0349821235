"""The spans of a sink: one for each record of a sampled trace, from its read until it is durable.

The consumer notes the records with a ``traceparent``; after the delivery of a batch, the noted
records of the batch get their spans. Records of other traces cost the check of their headers, and
nothing without `IM_TRACES`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from threading import Event
from typing import Any, Final, NamedTuple, TypeAlias

from confluent_kafka import Consumer, Message

from backends.processes.request_context import NO_HEADERS, known_headers
from backends.processes.traces import Traces
from sinks.base.counts import CountsOf
from sinks.base.loop import Deliver
from sinks.base.records import Record
from sinks.base.source import SinkSource

MAX_NOTED: Final = 10_000
"""Maximum number of noted records that are not durable. The oldest is forgotten first."""

_Place: TypeAlias = tuple[str | None, int | None, int | None]
"""Topic, partition and offset."""


class _Read(NamedTuple):
    trace_parent: str
    request_id: str | None
    at_ns: int


class SinkSpans:
    """Makes the spans of one sink.

    Args:
        traces: Makes the spans.
        stage: The name of the stage, which is the name of the spans.
        source: Maps the number of a record's partition to its topic and partition.
    """

    def __init__(self, traces: Traces, stage: str, source: SinkSource) -> None:
        self._traces = traces
        self._stage = stage
        self._source = source
        self._noted: dict[_Place, _Read] = {}

    def note(self, messages: Iterable[Message]) -> None:
        """Notes the messages of sampled traces. Called by the thread of the loop."""
        for message in messages:
            headers = message.headers()
            request_id, parent = known_headers(headers) if headers else NO_HEADERS
            if parent is not None:
                place = message.topic(), message.partition(), message.offset()
                self._noted[place] = _Read(parent, request_id, time.time_ns())
                if len(self._noted) > MAX_NOTED:
                    self._noted.pop(next(iter(self._noted)), None)

    def delivering(self, deliver: Deliver) -> Deliver:
        """The same delivery, with spans for the noted records."""

        def deliver_traced(records: Sequence[Record], abandon: Event) -> CountsOf:
            counts = deliver(records, abandon)
            if self._noted:
                self._end(records)
            return counts

        return deliver_traced

    def request_id(self, record: Record) -> str | None:
        """The id of the request that caused a record of a sampled trace; otherwise None."""
        read = self._noted.get(self._place(record))
        return None if read is None else read.request_id

    def _place(self, record: Record) -> _Place:
        place = self._source.place(record.partition)
        return place.topic, place.partition, record.offset

    def _end(self, records: Sequence[Record]) -> None:
        for record in records:
            place = self._place(record)
            read = self._noted.pop(place, None)
            if read is not None:
                fields: dict[str, str | int] = {
                    "messaging.system": "kafka",
                    "messaging.destination.name": place[0] or "",
                    "messaging.destination.partition.id": str(place[1]),
                    "messaging.kafka.offset": record.offset,
                }
                self._traces.begin(
                    self._stage, read.trace_parent, "consumer", fields, started_ns=read.at_ns
                ).end()


class NotingConsumer(Consumer):
    """A consumer whose messages are noted.

    Args:
        config: The settings of the client.
        spans: Notes the messages.
    """

    def __init__(self, config: dict[str, Any], spans: SinkSpans) -> None:
        super().__init__(config)
        self._spans = spans

    def poll(self, timeout: float = -1) -> Message | None:
        """See `Consumer.poll`."""
        message = super().poll(timeout)
        if message is not None:
            self._spans.note((message,))
        return message

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """See `Consumer.consume`."""
        messages = super().consume(num_messages, timeout)
        self._spans.note(messages)
        return messages
