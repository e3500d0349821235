"""The search index against the log: exactly the messages, with their present text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from msgspec import Struct

from audit.digests import ABSENT, document_digest
from audit.log import Log
from audit.report import AuditReport
from audit.seen import Seen
from backends.elasticsearch.index import document_id
from backends.search_text import readings_of
from schemas.number_types import Milliseconds, SeqId

_FIELDS: Final = frozenset({"conv_id", "seq", "sender", "at", "text", "tokens"})


class IndexedDocument(Struct, frozen=True):
    """One hit: its place in the index, its version, and its fields."""

    index: str
    id: str
    routing: str | None
    source: Mapping[str, Any]
    version: SeqId


def compare_documents(
    log: Log,
    documents: Iterable[IndexedDocument],
    index_of: Callable[[Milliseconds], str],
    report: AuditReport,
) -> None:
    """Compare all documents with the messages of the log.

    Args:
        log: All of ``im.timeline``.
        documents: The documents of all indices of the alias, in any order.
        index_of: Returns the index for a message of a time (ms).
        report: Receives the differences.
    """
    seen = Seen(log, lambda conversation: conversation.documents)
    counts = report.section("index").counts
    for document in documents:
        counts["documents"] += 1
        _compare(log, seen, document, index_of, report)
    for conv_id, seq in seen.missing():
        report.differ("index", "missing", conv_id=conv_id, seq=seq)


def _compare(
    log: Log,
    seen: Seen,
    document: IndexedDocument,
    index_of: Callable[[Milliseconds], str],
    report: AuditReport,
) -> None:
    source = document.source
    where = f"{document.index}, _id {document.id}"
    match source:
        case {
            "conv_id": str(conv_id),
            "seq": int(number),
            "at": int(time),
        }:
            seq, at = SeqId(number), Milliseconds(time)
            sender, text = source.get("sender", ""), source.get("text", "")
        case _:
            report.differ("index", "undecodable", where=where)
            return
    place: dict[str, Any] = {"conv_id": conv_id, "seq": seq, "where": where}
    right = (index_of(at), document_id(conv_id, seq), conv_id)
    if (document.index, document.id, document.routing) != right:
        report.differ("index", "misplaced", **place, detail="wrong index, _id or routing")
    elif seq > log.head(conv_id):
        newer = partial(_is_right, log, document, document_digest(sender, at, text))
        report.hold("index", newer, **place)
    elif seen.due(conv_id, seq) == ABSENT:
        report.differ("index", "extra", **place)
    elif not seen.tick(conv_id, seq):
        report.differ("index", "double", **place)
    elif not _is_right(log, document, digest := document_digest(sender, at, text)):
        detail = "not the latest text, or text after the recall"
        if document.version > log.head(conv_id):
            newer = partial(_is_right, log, document, digest)
            report.hold("index", newer, "altered", **place, detail=detail)
        else:
            report.differ("index", "altered", **place, detail=detail)


def _is_right(log: Log, document: IndexedDocument, digest: int) -> bool:
    """Whether a document has the content that the log gives its message, and no other field."""
    source = document.source
    conv_id, seq = source["conv_id"], source["seq"]
    conversation = log.conversations.get(conv_id)
    if conversation is None or not 0 < seq <= conversation.head:
        return False
    return (
        conversation.documents[seq - 1] == digest
        and document.version == conversation.altered_by(seq)
        and not set(source) - _FIELDS
        and tuple(source.get("tokens", ())) == readings_of(source.get("text", ""))
    )
