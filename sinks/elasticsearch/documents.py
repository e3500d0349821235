"""Converts records of ``im.timeline`` to documents of bulk requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from backends.elasticsearch.index import document_id, index_name
from backends.search_text import readings_of
from schemas.codec import decode_entry, encode
from schemas.errors import PoisonRecord, UndecodableRecord
from schemas.number_types import Milliseconds, SeqId
from schemas.records import MessageEdited, MessageRecalled, MessageSent
from schemas.settings import Settings
from sinks.base.records import Record

BULK_DOCUMENTS: Final = 2_000
"""Documents in one request; with fewer than 1,000 the server is slower, above 3,000 no faster."""

BULK_BYTES: Final = 5 * 1024 * 1024
"""Bytes in one request, unless a single document is larger."""

_MAX_VERSION: Final = (1 << 63) - 1


class SearchDocument(NamedTuple):
    """A message after an entry, as two lines of a bulk request.

    ``origin`` is the position of the source record.

    ``at``: the message's time in milliseconds, which determines the index.
    """

    origin: int
    index_name: str
    at: Milliseconds
    action: bytes
    source: bytes


class _Target(Struct):
    """The target of a document. An older version never replaces a newer one; the same may."""

    _index: str
    _id: str
    routing: str
    version: SeqId
    version_type: str = "external_gte"


class _Action(Struct):
    index: _Target


class _Source(Struct, omit_defaults=True):
    conv_id: str
    seq: SeqId
    at: Milliseconds
    sender: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    tokens: tuple[str, ...] = ()


def documents_of(
    settings: Settings, records: Sequence[Record], generation: int = 0
) -> tuple[list[SearchDocument], list[PoisonRecord]]:
    """The documents of a batch for a generation of the index, and the records that are no entries.

    Entries that change no message have no document.
    """
    documents: list[SearchDocument] = []
    poison: list[PoisonRecord] = []
    for origin, record in enumerate(records):
        try:
            entry = decode_entry(record.value)
            if isinstance(entry, MessageSent | MessageEdited | MessageRecalled):
                documents.append(_document(settings, origin, entry, generation))
        except UndecodableRecord as error:
            poison.append(PoisonRecord(origin, str(error)))
    return documents, poison


def _document(
    settings: Settings,
    origin: int,
    entry: MessageSent | MessageEdited | MessageRecalled,
    generation: int,
) -> SearchDocument:
    """The document of a message after this entry.

    Its index and id are those of the message, and its version is the SeqId of the entry. So the
    last alteration of a message wins, in any order of writes. The document of a recalled message
    remains without sender and text, because the server forgets the version of a deleted document.
    """
    seq, at = (
        (entry.seq, entry.at)
        if isinstance(entry, MessageSent)
        else (entry.target, entry.target_at)
    )
    if not 0 < seq <= entry.seq <= _MAX_VERSION:
        raise UndecodableRecord("the SeqId is out of its range")
    try:
        index = index_name(settings, at, generation)
    except (ValueError, OverflowError, OSError):
        raise UndecodableRecord("the time is out of its range") from None
    target = _Target(index, document_id(entry.conv_id, seq), entry.conv_id, entry.seq)
    source = _Source(entry.conv_id, seq, at)
    if not isinstance(entry, MessageRecalled):
        source.sender, source.text = entry.sender, entry.content.text
        source.tokens = readings_of(entry.content.text)
    return SearchDocument(origin, index, at, encode(_Action(target)), encode(source))


def bulks_of(documents: Iterable[SearchDocument]) -> Iterator[list[SearchDocument]]:
    """Cuts documents into requests."""
    bulk: list[SearchDocument] = []
    size = 0
    for document in documents:
        grown = size + len(document.action) + len(document.source)
        if bulk and (len(bulk) == BULK_DOCUMENTS or grown > BULK_BYTES):
            yield bulk
            bulk, size = [], 0
        bulk.append(document)
        size += len(document.action) + len(document.source)
    if bulk:
        yield bulk
