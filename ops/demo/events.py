"""What the demonstration tells, one struct each. ``ok`` is whether it was as it has to be."""

from __future__ import annotations

from msgspec import Raw, Struct


class Event(Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened, or that was looked at."""

    ok: bool = True


class Sequenced(Event, frozen=True, kw_only=True, tag="sequenced"):
    """A command got its SeqId. ``text`` is None where a conversation was made."""

    conv_id: str
    seq: int
    sender: str
    text: str | None = None


class SyncHeld(Event, frozen=True, kw_only=True, tag="sync"):
    """What a person's sync timeline got, as SeqIds by conversation in the order of arrival."""

    user: str
    seqs: dict[str, list[int]]


class HistoryRead(Event, frozen=True, kw_only=True, tag="history"):
    """A conversation as the gateway gave it to one of its members."""

    conv_id: str
    reader: str
    items: list[Raw]


class Found(Event, frozen=True, kw_only=True, tag="search"):
    """What a search found in these conversations."""

    query: str
    reader: str
    hits: list[Raw]


class Reachable(Event, frozen=True, kw_only=True, tag="gateway"):
    """Where the gateway is, and a command that reads from it."""

    address: str
    command: str
