"""Entries and sync records as lines of text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Raw
from rich.cells import cell_len

from schemas.http.answers import ConversationShown
from schemas.number_types import SyncSeqId

_SEQ_WIDTH: Final = 7
_NAME_WIDTH: Final = 16
_MAX_NAMES: Final = 8
"""Number of members shown from a long list."""

_HOLES: Final = {
    "hidden": "hidden: outside your membership",
    "not_yet": "nothing there yet",
    "recalled": "recalled",
}
_HAPPENED: Final = {
    "conversation_created": ("created it with", "members"),
    "members_added": ("added", "members"),
    "members_removed": ("removed", "members"),
    "fanout_changed": ("fan-out from here on:", "mode"),
    "rejected": ("rejected:", "code"),
    "duplicate": ("duplicate of entry", "seq"),
    "message_recalled": ("recalled message", "target"),
    "retracted": ("recalled since: message", "target"),
    "recalled": ("recalled", ""),
    "read_marked": ("has read up to entry", "seq"),
    "conversation_muted": ("has muted the conversation until", "until"),
}
"""By kind of entry: the text, and the name of the field whose value follows the text."""


def entry_line(entry: dict[str, Any]) -> str:
    """An entry as SeqId, time, sender and content."""
    return f"{entry['seq']:>{_SEQ_WIDTH}}  {_time_and_words(entry)}"


def history_line(item: Raw) -> str:
    """An entry, or a hole with its reason."""
    decoded = msgspec.json.decode(item)
    if "hole" not in decoded:
        return entry_line(decoded)
    first, last = decoded["from"], decoded["to"]
    seqs = str(first) if first == last else f"{first}-{last}"
    return f"{seqs:>{_SEQ_WIDTH}}  ({_HOLES.get(decoded['hole'], decoded['hole'])})"


def sync_line(sync_seq: SyncSeqId, record: Raw) -> str:
    """A record of a sync timeline, with sync SeqId and conversation."""
    decoded = msgspec.json.decode(record)
    return f"{sync_seq:>{_SEQ_WIDTH}}  {_place(decoded)}  {_time_and_words(decoded)}"


def conversation_line(shown: ConversationShown) -> str:
    """A conversation of one person: head, read mark, number of unread messages."""
    places = f"head {shown.head:>{_SEQ_WIDTH}}  read {shown.read:>{_SEQ_WIDTH}}"
    left = "" if shown.periods[-1].last is None else "  (left)"
    return f"{places}  unread {shown.unread:>{_SEQ_WIDTH}}  {printable(shown.conv_id)}{left}"


def hit_line(hit: Raw) -> str:
    """A search hit, with its conversation."""
    decoded = msgspec.json.decode(hit)
    return f"{_place(decoded)}  {_time_and_words(decoded)}"


def printable(text: str) -> str:
    """The text without characters that move the cursor or change the state of a terminal."""
    return "".join(character if character.isprintable() else "·" for character in text)


def _place(record: dict[str, Any]) -> str:
    seq = record.get("seq", "-")
    return _padded(f"{printable(record['conv_id'])}#{seq}", _NAME_WIDTH)


def _time_and_words(record: dict[str, Any]) -> str:
    if "at" not in record:  # the hole that a recalled entry leaves has no time
        return _words(record)
    at = datetime.fromtimestamp(record["at"] / 1000, UTC)
    sender = _padded(printable(record.get("sender", "-")), _NAME_WIDTH)
    return f"{at:%Y-%m-%d %H:%M:%S}  {sender}  {_words(record)}"


def _words(record: dict[str, Any]) -> str:
    kind = record["kind"]
    if kind == "message_sent":
        return _text(record) + (" (edited)" if "edited" in record else "")
    if kind == "message_edited":
        return f"* edited message {record['target']}: {_text(record)}"
    words, field = _HAPPENED.get(kind, (printable(kind), ""))
    value = record.get(field, "")
    return f"* {words} {_names(value) if isinstance(value, list) else value}".rstrip()


def _text(record: dict[str, Any]) -> str:
    return printable(record["content"].get("text", ""))


def _names(members: list[str]) -> str:
    shown = ", ".join(printable(member) for member in members[:_MAX_NAMES])
    more = len(members) - _MAX_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _padded(text: str, width: int) -> str:
    """The text, padded by terminal cells: a Chinese character takes two."""
    return text + " " * (width - cell_len(text))
