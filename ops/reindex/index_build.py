"""Builds a generation of the index from ``im.timeline``, and makes it the searched one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from elasticsearch import Elasticsearch
from msgspec import Struct

from audit.log import KafkaRecord
from audit.topic_readers import OffsetSpan, committed_spans, read
from backends.elasticsearch.index import create_index
from ops.reindex.generation_switch import GenerationSwitch
from ops.storing_again import deliver_now
from schemas.errors import ConfigurationError, Stalled
from schemas.number_types import Milliseconds, Offset
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.base.records import Record
from sinks.elasticsearch.index_writer import SearchWriter

BATCH_RECORDS: Final = 4_000
BATCH_BYTES: Final = 8 * 1024 * 1024

SHORT_RECORDS: Final = 2_000
"""Records of a round after which the switch begins. While they are indexed, new messages wait."""

MOST_ROUNDS: Final = 50
"""Each round reads what was written during the round before. More rounds: the log is too fast."""

OLD_INDEX_SECONDS: Final = 10.0
"""The old indices exist for this time after the switch: a search lasts at most half of it."""


class Reindexed(Struct, frozen=True, kw_only=True):
    """The result of `im reindex`.

    Attributes:
        generation: The generation that is searched now.
        records: Records of ``im.timeline`` that were read.
        refused: Records that the index refuses; the sink has put them aside as dead letters.
        was_interrupted: The command only completed the switch of a command that was killed.
        seconds: Duration.
        blocked_seconds: How long the sink could not write.
    """

    generation: int
    records: int = 0
    refused: int = 0
    was_interrupted: bool = False
    seconds: float = 0.0
    blocked_seconds: float = 0.0


def build_index(
    client: Elasticsearch,
    settings: Settings,
    report: Callable[[str], None],
    *,
    grace_seconds: float = OLD_INDEX_SECONDS,
) -> Reindexed:
    """Builds the index again. `docs/search.md` has the steps and their reasons.

    Args:
        client: A client.
        settings: The deployment.
        report: Receives each step as a line of text.
        grace_seconds: How long the old indices exist after the switch.

    Raises:
        ConfigurationError: The log does not have all entries, or another command has begun.
        ServerUnavailable: A server does not answer.
        TransientFailure: The index does not take documents within a minute.
        Stalled: The log grows faster than it is indexed.
    """
    begin = time.monotonic()
    switch = GenerationSwitch(client, settings)
    if switch.finish_interrupted():
        _delete_old(switch, report, grace_seconds)
        return Reindexed(generation=switch.number, was_interrupted=True)
    switch.begin()
    report(f"building generation {switch.number}")
    now = Milliseconds(time.time_ns() // 1_000_000)
    create_index(client, settings, now, switch.number, searched=False)
    copy = _Copy(client, settings, switch.number)
    copy.catch_up(report)
    report("switching")
    blocked_at = time.monotonic()
    with switch.old_is_blocked():
        copy.round()
    switch.search_new()
    switch.settle()
    blocked_seconds = time.monotonic() - blocked_at
    _delete_old(switch, report, grace_seconds)
    return Reindexed(
        generation=switch.number,
        records=copy.records,
        refused=copy.refused,
        seconds=round(time.monotonic() - begin, 1),
        blocked_seconds=round(blocked_seconds, 2),
    )


def _delete_old(
    switch: GenerationSwitch, report: Callable[[str], None], grace_seconds: float
) -> None:
    report(f"generation {switch.number} is searched; the old indices are deleted soon")
    time.sleep(grace_seconds)
    switch.delete_others()


class _Copy:
    """Reads ``im.timeline`` once and writes the documents to a generation."""

    def __init__(self, client: Elasticsearch, settings: Settings, generation: int) -> None:
        self._settings = settings
        self._writer = SearchWriter(client, settings, building=generation)
        self._next: dict[int, Offset] = {}
        self.records = self.refused = 0

    def catch_up(self, report: Callable[[str], None]) -> None:
        """Step 2: rounds until a round is short.

        Raises:
            Stalled: The rounds do not become short.
        """
        for _ in range(MOST_ROUNDS):
            before = self.records
            self.round()
            report(f"{self.records:,} records")
            if self.records - before <= SHORT_RECORDS:
                return
        raise Stalled(
            "im.timeline grows faster than the index is built: try again at a quiet time"
        )

    def round(self) -> None:
        """Writes the documents of all records from the last position up to the present end."""
        spans = committed_spans(self._settings, Topic.TIMELINE)
        for batch in _batches(read(self._settings, Topic.TIMELINE, self._left(spans))):
            self.refused += len(deliver_now(self._writer, batch))
            self.records += len(batch)
        self._next = {span.partition: span.end for span in spans}

    def _left(self, spans: Iterable[OffsetSpan]) -> list[OffsetSpan]:
        left = []
        for span in spans:
            low = self._next.get(span.partition, Offset(0))
            if span.low > low:
                raise ConfigurationError(
                    f"{self._settings.topic(Topic.TIMELINE)}[{span.partition}] begins at offset"
                    f" {span.low}: the log does not have all entries, so the index stays as it is"
                )
            left.append(span._replace(low=low))
        return left


def _batches(records: Iterable[KafkaRecord]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for partition, offset, key, value in records:
        batch.append(Record(partition, offset, key, value))
        size += len(value or b"")
        if len(batch) == BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
