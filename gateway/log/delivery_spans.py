"""The spans of live delivery: from the arrival of a sync record on the log until it is sent.

The thread that follows the log notes the sync records of sampled traces for the people with a live
connection. A connection that sends a noted record makes the span, whether the record comes from
the log or from the store.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, NamedTuple

from confluent_kafka import Message
from msgspec import Struct

from backends.processes.request_context import known_headers
from backends.processes.traces import Traces
from schemas.http.live_messages import LiveRecords
from schemas.number_types import SyncSeqId

MAX_ARRIVALS: Final = 10_000
"""Maximum number of noted records and people. The oldest is forgotten first."""


class _Arrival(NamedTuple):
    trace_parent: str
    at_ns: int


class DeliverySpans:
    """Makes the spans of all live connections of a gateway.

    One thread notes the records; the event loop looks them up.

    Args:
        traces: Makes the spans.
    """

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._arrivals: dict[tuple[str, SyncSeqId], _Arrival] = {}

    def note(
        self,
        records: Iterable[tuple[bytes, SyncSeqId, Message]],
        listeners_of: Callable[[bytes], Collection[str]],
    ) -> None:
        """Notes the sync records of sampled traces.

        Args:
            records: The key, the sync SeqId and the record.
            listeners_of: The people of a key who have a live connection. Only the keys of sampled
                records are passed, because the look-up costs more than the check of the headers.
        """
        for key, sync_seq, message in records:
            headers = message.headers()
            parent = known_headers(headers)[1] if headers else None
            if parent is not None:
                arrival = _Arrival(parent, time.time_ns())
                for user in listeners_of(key):
                    self._arrivals[user, sync_seq] = arrival
        while len(self._arrivals) > MAX_ARRIVALS:
            self._arrivals.pop(next(iter(self._arrivals)))

    def sending(
        self, user: str, send: Callable[[Struct], Awaitable[None]]
    ) -> Callable[[Struct], Awaitable[None]]:
        """The same sending of one connection, with a span for each noted record."""

        async def send_traced(answer: Struct) -> None:
            sent = (
                [item.sync_seq for item in answer.records]
                if self._arrivals and isinstance(answer, LiveRecords)
                else []
            )
            await send(answer)
            self._end(user, sent)

        return send_traced

    def _end(self, user: str, sent: Iterable[SyncSeqId]) -> None:
        for sync_seq in sent:
            # Another device of the person may receive the record as well.
            arrival = self._arrivals.get((user, sync_seq))
            if arrival is not None:
                self._traces.begin(
                    "live delivery", arrival.trace_parent, "producer", {"sync_seq": sync_seq},
                    started_ns=arrival.at_ns,
                ).end()  # fmt: skip
