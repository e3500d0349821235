"""The index of the search sink, with its expected content."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import msgspec
from elasticsearch import Elasticsearch

from backends.search_text import readings_of
from schemas.codec import decode_entry
from schemas.number_types import Offset
from schemas.records import (
    MessageEdited,
    MessageRecalled,
    MessageSent,
)
from schemas.settings import Settings
from sinks.base.records import Record
from sinks.elasticsearch.index_writer import SearchWriter
from tests.support.sink_stores import (
    NEXT_MONTH,
    TOO_LONG_FOR_A_KEY,
    Contents,
    Conversation,
    on_log,
)


class SearchStore:
    """Documents in Elasticsearch."""

    def __init__(self, client: Elasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._conversation = Conversation(f"{secrets.token_hex(4)} 你/?#")

    def writer(self) -> SearchWriter:
        return SearchWriter(self._client, self._settings)

    def good(self) -> list[Record]:
        entries = [*self._conversation.history(), self._conversation.said(20_000, "\uff21 B")]
        return [on_log(entry, offset) for offset, entry in enumerate(entries)]

    def bad(self) -> list[Record]:
        said = self._conversation.said
        return [
            Record(3, Offset(900), b"key", None),
            Record(3, Offset(901), b"key", b"[]"),
            on_log(said(0, "hush"), 902),
            on_log(said(5, "hush", at=1 << 61), 903),
            on_log(msgspec.structs.replace(said(6, "hush"), sender=TOO_LONG_FOR_A_KEY), 904),
        ]

    def expected(self, records: Iterable[Record]) -> Contents:
        entries = [decode_entry(record.value) for record in records]
        found: Contents = {}
        for entry in sorted(entries, key=lambda entry: entry.seq):
            if isinstance(entry, MessageSent):
                found |= self._document(entry, entry.seq, entry.at)
            elif isinstance(entry, MessageEdited | MessageRecalled):
                found |= self._document(entry, entry.target, entry.target_at)
        return found

    def _document(
        self, entry: MessageSent | MessageEdited | MessageRecalled, seq: int, at: int
    ) -> Contents:
        index = f"{self._settings.index_alias}-{'2023.11' if at < NEXT_MONTH else '2023.12'}"
        source: Contents = {"conv_id": entry.conv_id, "seq": seq, "at": at}
        if not isinstance(entry, MessageRecalled):
            text = entry.content.text
            source |= {"sender": entry.sender, "text": text}
            source |= {"tokens": list(readings)} if (readings := readings_of(text)) else {}
        return {f"{entry.conv_id}:{seq}": (index, entry.conv_id, entry.seq, source)}

    def contents(self) -> Contents:
        alias = self._settings.index_alias
        self._client.indices.refresh(index=f"{alias}*")
        query = {"term": {"conv_id": self._conversation.conv_id}}
        found = self._client.search(index=alias, query=query, size=1_000, version=True)
        return {
            hit["_id"]: (hit["_index"], hit["_routing"], hit["_version"], hit["_source"])
            for hit in found["hits"]["hits"]
        }
