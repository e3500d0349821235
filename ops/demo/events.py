"""The events of the demonstration. ``ok``: whether the event is as expected."""

from __future__ import annotations

from msgspec import Raw, Struct


class Event(Struct, frozen=True, kw_only=True, tag_field="event"):
    """A step of the demonstration and its result."""

    ok: bool = True


class Sequenced(Event, frozen=True, kw_only=True, tag="sequenced"):
    """A command received its SeqId. ``text`` is None for the creation of a conversation."""

    conv_id: str
    seq: int
    sender: str
    text: str | None = None


class SyncHeld(Event, frozen=True, kw_only=True, tag="sync"):
    """The SeqIds that a sync timeline received: by conversation, in the order of arrival."""

    user: str
    seqs: dict[str, list[int]]


class HistoryRead(Event, frozen=True, kw_only=True, tag="history"):
    """A conversation as the gateway returned it to one of its members."""

    conv_id: str
    reader: str
    items: list[Raw]


class SearchHits(Event, frozen=True, kw_only=True, tag="search"):
    """The hits of a search in the conversations of this run."""

    query: str
    reader: str
    hits: list[Raw]


class Reachable(Event, frozen=True, kw_only=True, tag="gateway"):
    """The address of the gateway, and a command that reads from the gateway."""

    address: str
    command: str


class PageLink(Event, frozen=True, kw_only=True, tag="page"):
    """A link that signs a person in at the page. A browser does not send its last part."""

    person: str
    link: str


class PipelineLink(Event, frozen=True, kw_only=True, tag="pipeline"):
    """A link that signs an operator in at the page about the pipeline."""

    operator: str
    link: str
