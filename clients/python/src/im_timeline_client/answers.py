"""The responses of the gateway, as frozen dataclasses. A ``repr`` has no text of a message.

All times are in milliseconds since 1970 (UTC), by the broker's clock. A SeqId is the number of an
entry in its conversation: 1, 2, 3 … without holes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from im_timeline_client.decoding import NAME, decoded, fields_of
from im_timeline_client.errors import UnexpectedAnswer


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a conversation: a message, or another event.

    ``kind`` is the kind of the entry, such as ``message_sent`` or ``members_added``; a later
    gateway may have more kinds. ``fields`` is the whole entry as JSON: docs/wire.md describes each
    kind. ``messages`` is the number of messages up to this entry.
    """

    kind: str
    conv_id: str
    seq: int
    sender: str
    client_msg_id: str
    at: int
    messages: int = 0
    fields: Mapping[str, Any] = field(repr=False, default_factory=dict)

    READ_FIELDS: ClassVar = (
        "kind", "conv_id", "seq", "sender", "client_msg_id", "at", "messages", "content",
        "mentions", "members", "target", "edited",
    )  # fmt: skip
    """The fields of the JSON object that this class reads."""

    @classmethod
    def from_json(cls, data: object) -> Entry:
        """Return the entry of a JSON object.

        Raises:
            UnexpectedAnswer: The value is not an entry.
        """
        given = fields_of(data, "an entry")
        try:
            return cls(
                str(given["kind"]), str(given["conv_id"]), int(given["seq"]),
                str(given["sender"]), str(given["client_msg_id"]), int(given["at"]),
                int(given.get("messages", 0)), given,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            raise UnexpectedAnswer("an entry lacks one of its fields") from None

    @property
    def text(self) -> str | None:
        """The text of a message or an edit; None for any other kind."""
        content = self.fields.get("content")
        return content.get("text") if isinstance(content, dict) else None

    @property
    def mentions(self) -> tuple[str, ...]:
        """The members whom a message or an edit mentions."""
        return tuple(self.fields.get("mentions") or ())

    @property
    def members(self) -> tuple[str, ...]:
        """The people whom the entry makes members, or removes."""
        return tuple(self.fields.get("members") or ())

    @property
    def target(self) -> int | None:
        """The SeqId of the message that an edit or a recall changes."""
        return self.fields.get("target")

    @property
    def edited(self) -> int | None:
        """The SeqId of the edit whose text the message has; only in history and search."""
        return self.fields.get("edited")


@dataclass(frozen=True, slots=True)
class Item:
    """The SeqIds ``first`` to ``last`` of a conversation: one entry, or a hole.

    ``hole`` is the reason of a hole, None for an entry: ``hidden`` (the person may not read it),
    ``recalled`` or, in history only, ``not_yet`` (not stored yet). ``entry`` is None for a hole.
    """

    conv_id: str
    first: int
    last: int
    hole: str | None
    entry: Entry | None

    @classmethod
    def of(cls, entry: Entry) -> Item:
        """Return the item of an entry."""
        return cls(entry.conv_id, entry.seq, entry.seq, None, entry)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command was sequenced: it is the entry ``seq``, at the time ``at``.

    ``at`` is None in the answer to a repeated command if the gateway does not know it any more. Of
    a read mark, ``seq`` is the SeqId of the mark.
    """

    conv_id: str
    seq: int
    at: int | None
    client_msg_id: str


@dataclass(frozen=True, slots=True)
class DirectChat:
    """The one chat of two people. ``created``: the request has created it."""

    conv_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class LastEntry:
    """The last entry of a conversation that the person may read.

    ``text`` is the text of a message or an edit, None for any other kind.
    """

    seq: int
    kind: str
    sender: str
    at: int
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mute:
    """The last mute of a conversation by the person.

    The conversation is muted at each time before ``until``, in milliseconds since 1970; 0 after
    the end of a mute. ``sync_seq`` is the sync SeqId of the record.
    """

    until: int
    sync_seq: int


@dataclass(frozen=True, slots=True)
class Period:
    """A range of SeqIds, both included; ``last`` is None for an open range."""

    first: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of which the person is, or was, a member.

    ``head`` is the last SeqId that the person may know, ``read`` the person's read mark, and
    ``unread`` the number of messages above the mark. ``periods`` are the person's membership
    periods. Only present members see ``mode`` (``push`` or ``pull``), ``name``, ``metadata`` (a
    JSON object as text) and ``member_count``. ``active`` is the time of the last entry. ``mute``
    is the person's last mute, None without one.
    """

    conv_id: str
    head: int
    messages: int
    read: int
    unread: int
    mode: str | None
    periods: tuple[Period, ...]
    name: str | None = None
    metadata: str | None = None
    member_count: int | None = None
    active: int = 0
    last: LastEntry | None = None
    mute: Mute | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A present member, with the SeqId and the time of the last join."""

    user: str
    seq: int
    joined: int
    owner: bool


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Messages that match a query, newest first.

    ``next`` is the ``cursor`` of the next page, None at the end. A page may have fewer messages
    than its limit, or none, and still a ``next``. ``cut``: the query exceeded a limit, and only
    its first part was searched.
    """

    hits: tuple[Entry, ...]
    next: str | None
    cut: bool


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """One record of the person's sync timeline: an entry or a reply, as JSON (docs/wire.md)."""

    sync_seq: int
    record: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConversationsPage:
    """Some conversations. ``next`` is the ``after`` of the next page."""

    conversations: tuple[Conversation, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class MembersPage:
    """Some members of a conversation. ``next`` is the ``after`` of the next page."""

    members: tuple[Member, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Hole:
    """The place of a hole in a page of history."""

    hole: str
    first: int = field(metadata={NAME: "from"})
    last: int = field(metadata={NAME: "to"})


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Part of a conversation. ``head`` is the last SeqId that the person may know.

    ``items`` are entries and holes as JSON. ``next`` is the begin of the next page.
    """

    conv_id: str
    head: int
    items: tuple[Mapping[str, Any], ...] = field(repr=False)
    next: int | None

    def shown(self) -> list[Item]:
        """Return the items in the order of the page.

        Raises:
            UnexpectedAnswer: An item is neither an entry nor a hole.
        """
        return [self._item(each) for each in self.items]

    def _item(self, data: Mapping[str, Any]) -> Item:
        if "hole" not in data:
            return Item.of(Entry.from_json(data))
        hole = decoded(Hole, data)
        return Item(self.conv_id, hole.first, hole.last, hole.hole, None)


@dataclass(frozen=True, slots=True)
class SyncPage:
    """Part of the sync timeline. ``next`` is the cursor; ``more``: more records are available."""

    records: tuple[SyncRecord, ...]
    next: int
    more: bool


@dataclass(frozen=True, slots=True)
class SyncEnd:
    """The cursor of a reader that reads the store now, and follows the sync timeline then."""

    next: int
