"""Messages that are written and searched all the time while the index is built again."""

from __future__ import annotations

import asyncio
from threading import Event, Thread
from typing import Final, Self
from unittest import mock

from confluent_kafka import Producer
from elasticsearch import Elasticsearch

from backends.kafka.clients import partition_of, producer_config
from gateway.reads.search_terms import parse_query
from gateway.store import elastic_index
from gateway.store.elastic_index import ElasticIndex
from gateway.store.index_port import SearchRequest
from schemas.codec import encode
from schemas.number_types import SeqId
from schemas.records import AnyEntry
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.visibility import Period
from tests.support.processes import WAIT_SECONDS
from tests.support.sink_stores import AT, NEXT_MONTH, Conversation

CHAT: Final = "c"
"""The conversation of all messages."""

PAUSE_SECONDS: Final = 0.02
"""Pause between two searches, so that they do not take all processors."""

SLOW_SEARCH_SECONDS: Final = 60.0


def message_indices(client: Elasticsearch, settings: Settings) -> set[str]:
    """The existing indices of messages."""
    return set(client.indices.get(index=f"{settings.index_alias}-*", allow_no_indices=True).body)


class Writing:
    """Appends messages to ``im.timeline``, as the sequencer does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(producer_config(settings))
        self._chat = Conversation(CHAT)
        self.written = 0

    def append(self, number: int) -> None:
        """Appends messages; every third is of the next month."""
        topic = self._settings.topic(Topic.TIMELINE)
        for _ in range(number):
            self.written += 1
            at = NEXT_MONTH if self.written % 3 == 0 else AT
            entry: AnyEntry = self._chat.said(self.written, f"word number {self.written}", at=at)
            partition = partition_of(CHAT, self._settings.partitions)
            self._producer.produce(topic, encode(entry), CHAT.encode(), partition)
        assert self._producer.flush(60) == 0


class Searching:
    """Searches all messages all the time, as a gateway does.

    On a busy machine a search may take longer than a gateway waits. That is no failure here, so
    the time for a search is longer meanwhile.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._run()))
        self._slow = mock.patch.object(elastic_index, "SEARCH_SECONDS", SLOW_SEARCH_SECONDS)
        self.failures: list[str] = []
        self.searches = 0
        self.found = 0

    def __enter__(self) -> Self:
        self._slow.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_SECONDS)
        self._slow.stop()

    async def _run(self) -> None:
        index = ElasticIndex(self._settings)
        request = SearchRequest(parse_query("word"), None, None, None, 10_000)
        try:
            while not self._stop.is_set():
                await asyncio.sleep(PAUSE_SECONDS)
                try:
                    hits = await index.newest(request, {CHAT: [Period(SeqId(1))]}, None, 10_000)
                except Exception as error:  # noqa: BLE001 - any failure is the finding
                    self.failures.append(repr(error))
                    continue
                self.searches += 1
                if len({hit.place for hit in hits}) < len(hits):
                    self.failures.append("a message was found twice")
                if len(hits) < self.found:
                    self.failures.append(f"{len(hits)} hits after {self.found}")
                self.found = len(hits)
        finally:
            await index.stop()


def searchable(client: Elasticsearch, settings: Settings) -> int:
    """The number of messages that a search can find now."""
    client.indices.refresh(index=settings.index_alias)
    return int(client.count(index=settings.index_alias)["count"])
