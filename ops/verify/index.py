"""The search index against the log: exactly the messages, as they were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from msgspec import Struct

from backends.elasticsearch import document_id, folded_or_none
from ops.verify.conversation import ABSENT, document_digest
from ops.verify.log import Log
from ops.verify.report import Report
from ops.verify.seen import Seen

_FIELDS: Final = frozenset({"conv_id", "seq", "sender", "at", "text", "folded"})


class Document(Struct, frozen=True):
    """One hit: where it lies, and its fields."""

    index: str
    id: str
    routing: str | None
    source: Mapping[str, Any]


def compare_documents(
    log: Log, documents: Iterable[Document], index_of: Callable[[int], str], report: Report
) -> None:
    """Compares all documents with the messages of the log.

    Args:
        log: All of ``im.timeline``.
        documents: Of all indices of the alias, in any order.
        index_of: The index that holds a message of that time (ms).
        report: Where differences go.
    """
    seen = Seen(log, lambda conversation: conversation.documents)
    counts = report.section("index").counts
    for document in documents:
        counts["documents"] += 1
        _compare(log, seen, document, index_of, report)
    for conv_id, seq in seen.missing():
        report.differ("index", "missing", conv_id=conv_id, seq=seq)


def _compare(
    log: Log, seen: Seen, document: Document, index_of: Callable[[int], str], report: Report
) -> None:
    source = document.source
    where = f"{document.index}, _id {document.id}"
    match source:
        case {
            "conv_id": str(conv_id),
            "seq": int(seq),
            "sender": str(sender),
            "at": int(at),
            "text": str(text),
        }:
            pass
        case _:
            report.differ("index", "undecodable", where=where)
            return
    place = {"conv_id": conv_id, "seq": seq, "where": where}
    right = (index_of(at), document_id(conv_id, seq), conv_id)
    if (document.index, document.id, document.routing) != right:
        report.differ("index", "misplaced", **place, detail="in the index, _id or routing")
    elif seq > log.head(conv_id):
        # Its digest is of other bytes than the log's: that it is an entry has to do.
        report.hold("index", partial(log.holds, conv_id, seq, None), **place)
    elif seen.due(conv_id, seq) == ABSENT:
        report.differ("index", "extra", **place)
    elif not seen.tick(conv_id, seq):
        report.differ("index", "double", **place)
    elif seen.due(conv_id, seq) != document_digest(sender, at, text):
        report.differ("index", "altered", **place, detail="not what was sent")
    elif set(source) - _FIELDS or source.get("folded") != folded_or_none(text):
        report.differ("index", "altered", **place, detail="fields beside the message's")
