"""The answers of the gateway: encoded by its routes, described by OpenAPI, decoded by clients.

`schemas.http.device_answers` has the answers about devices, `schemas.http.live_messages` the
messages of a live connection. OpenAPI has the docstrings of the structs. A client ignores unknown
fields, so a client can read the answers of a later gateway.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeAlias, TypeVar

from msgspec import UNSET, Raw, Struct, UnsetType, field

from schemas.errors import RejectionCode
from schemas.http.queries import ConversationOrder
from schemas.number_types import Milliseconds, SeqId, SyncSeqId
from schemas.records import FanoutMode

HoleKind = Literal["hidden", "not_yet", "recalled"]
"""``hidden``: the caller may not read these SeqIds. ``not_yet``: nothing is stored there.
``recalled``: a recalled message, or an edit of one. Entries of a conversation timeline never
expire; for expired records of a sync timeline there is the problem ``trimmed``."""


ItemT = TypeVar("ItemT")


class Hole(Struct, frozen=True):
    """The SeqIds ``from`` to ``to`` (both included) are not shown; ``hole`` is the reason."""

    hole: HoleKind
    first: SeqId = field(name="from")
    last: SeqId = field(name="to")


HistoryItem: TypeAlias = Raw | Hole
"""An item of a history page: an entry as JSON, or a hole."""


class ItemPlace(Struct, frozen=True):
    """The SeqIds of an item of a history page: ``seq`` for an entry, a range for a hole.

    For clients. ``hole`` is None for an entry, and may be a kind that only a later gateway knows.
    """

    seq: SeqId = SeqId(0)
    hole: str | None = None
    first: SeqId = field(name="from", default=SeqId(0))
    last: SeqId = field(name="to", default=SeqId(0))


class HistoryPage(Struct, Generic[ItemT], frozen=True, kw_only=True):
    """Part of a conversation timeline, in the requested order, without missing SeqIds.

    ``head`` is the last SeqId that the caller may know. ``next`` is the begin of the next page:
    its ``from`` in ascending order, its ``to`` in descending order; null at the end of the range.
    """

    conv_id: str
    head: SeqId
    items: list[ItemT]  # the gateway encodes `HistoryItem`, a client decodes `Raw`
    next: SeqId | None


class SyncPageItem(Struct, frozen=True):
    """One record of the caller's sync timeline."""

    sync_seq: SyncSeqId
    record: Raw


class SyncPage(Struct, frozen=True, kw_only=True):
    """Part of the caller's sync timeline. ``next`` is the ``after`` of the next page.

    If ``more`` is false, this is the present end of the timeline, and ``next`` is the cursor for
    later requests. In a response to ``before``, ``next`` is the ``before`` of the next page; if
    ``more`` is false, no older records are stored.
    """

    records: list[SyncPageItem]
    next: SyncSeqId
    more: bool


class SyncEnd(Struct, frozen=True):
    """The cursor for a device that reads the store now and then follows the sync timeline.

    The store has the effects of all records up to ``next``, the ``after`` of the first page. The
    device receives some entries that it has read from the store again, with the same SeqIds.
    """

    next: SyncSeqId


class ProblemDetails(Struct, frozen=True, kw_only=True):
    """The body of an error response; the log has more under its ``request_id``.

    ``parameter``: the invalid parameter, or the invalid field of the body. Only for ``trimmed``:
    ``cursor``, the given cursor, and ``oldest``, the sync SeqId from which on all records are
    stored. Only for a command: ``client_msg_id``, its id, and ``code``, the reason of its
    rejection.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    parameter: str | UnsetType = UNSET
    cursor: SyncSeqId | UnsetType = UNSET
    oldest: SyncSeqId | UnsetType = UNSET
    client_msg_id: str | UnsetType = UNSET
    code: RejectionCode | UnsetType = UNSET


class CommandAnswer(Struct, frozen=True, kw_only=True):
    """The outcome of a command: it became entry ``seq`` at ``at``, in milliseconds since 1970.

    A repeated request has the outcome of the first one. ``at`` is null if the entry was recalled
    since, or is not stored yet. For a read mark, ``seq`` is the read mark; for a mute, the head of
    the conversation when it was muted.
    """

    conv_id: str
    seq: SeqId
    at: Milliseconds | None
    client_msg_id: str


class DirectChatAnswer(Struct, frozen=True, kw_only=True):
    """The direct chat of two people. ``created``: this request has created it."""

    conv_id: str
    created: bool


class CommandPending(Struct, frozen=True, kw_only=True):
    """The broker has the command; its outcome is not known yet. ``status`` is its `CommandStatus`.

    The same request again, with this ``client_msg_id``, waits for the outcome again.
    """

    conv_id: str
    client_msg_id: str
    status: str


CommandState = Literal["unknown", "pending", "sequenced", "rejected"]
"""``unknown``: the broker has not acknowledged the command. ``pending``: the broker has the
command. ``sequenced``: the command became entry ``seq``. ``rejected``: it has no effect."""


class CommandStatus(Struct, frozen=True, kw_only=True):
    """The state of a command. ``seq`` only if it was sequenced, ``code`` only if rejected."""

    conv_id: str
    client_msg_id: str
    state: CommandState
    seq: SeqId | UnsetType = UNSET
    code: RejectionCode | UnsetType = UNSET


class PeriodShown(Struct, frozen=True):
    """A range of SeqIds, both included; ``last`` is null for an open range."""

    first: SeqId
    last: SeqId | None


class LastEntryShown(Struct, frozen=True, kw_only=True):
    """The last entry that the caller may read. ``at`` is milliseconds since 1970.

    ``text`` is the text of a message or an edit; null for any other kind.
    """

    seq: int
    kind: str
    sender: str
    at: int
    text: str | None


class MuteShown(Struct, frozen=True):
    """A conversation is muted for the caller at each time before ``until``.

    In milliseconds since 1970; 0 after the end of a mute. ``sync_seq``: the sync SeqId of the
    record; the mute with the highest one counts.
    """

    until: Milliseconds
    sync_seq: SyncSeqId


class ConversationShown(Struct, frozen=True, kw_only=True):
    """A conversation of which the caller is, or was, a member.

    Only present members see ``mode``, ``name``, ``metadata`` (a JSON object as text) and
    ``member_count``; each is null if there is none. ``active`` is the time of the last entry that
    the caller may know, in milliseconds since 1970; 0 if it is unknown. ``last`` is this entry;
    null if it was recalled or is not readable.

    ``periods`` are the caller's membership periods. ``readable`` is the ranges that history shows
    to the caller: the same periods, or more if members may read entries from before their join.
    ``messages`` is the number of messages among the entries 1 to ``head``. ``read`` is the
    caller's read mark, ``unread`` is the number of messages above the mark, up to ``head``.
    ``mute``: the last mute by the caller; null without one.
    """

    conv_id: str
    head: SeqId
    messages: int
    read: SeqId
    unread: int
    mode: FanoutMode | None
    periods: list[PeriodShown]
    readable: list[PeriodShown]
    name: str | None = None
    metadata: str | None = None
    member_count: int | None = None
    active: int = 0
    last: LastEntryShown | None = None
    mute: MuteShown | None = None


class ConversationsPage(Struct, frozen=True, kw_only=True):
    """Some of the caller's conversations. ``next`` is the ``after`` of the next page.

    ``order`` is ``id`` for a person with too many conversations to sort them by activity.
    """

    conversations: list[ConversationShown]
    next: str | None
    order: ConversationOrder = "id"


class MemberShown(Struct, frozen=True, kw_only=True):
    """A member. ``seq`` and ``joined`` are the SeqId and the time of their last join.

    The time is in milliseconds since 1970. ``owner``: whether the member is the owner.
    """

    user: str
    seq: int
    joined: int
    owner: bool


class MembersPage(Struct, frozen=True, kw_only=True):
    """Some members of a conversation, by id. ``next`` is the ``after`` of the next page.

    A page may have fewer members than ``limit``, or none, and still a ``next``.
    """

    members: list[MemberShown]
    next: str | None


class SearchPage(Struct, frozen=True, kw_only=True):
    """Messages, newest first. ``next`` is the ``cursor`` of the next page; null at the end.

    A page may have fewer messages than ``limit``, or none, and still a ``next``. A message that
    was edited or recalled and is not yet reindexed is left out.

    ``cut``: the query exceeded a limit, and only its first part was searched.
    """

    hits: list[Raw]
    next: str | None
    cut: bool


ServerState = Literal["up", "down"]
HealthStatus = Literal["ok", "degraded", "starting", "unavailable", "ending"]


class HealthShown(Struct, frozen=True, kw_only=True):
    """Whether the gateway can serve. ``degraded``: everything except search.

    ``starting``: the store is not yet verified to belong to the deployment, and no request is
    served. ``elasticsearch`` is ``down`` until the index is verified to belong to the deployment.
    ``ending``: requests are served, but new clients should use another gateway.

    Without ``kafka`` all requests are served, but waiting requests up to a second later.

    ``deployment`` is a random id, the same for all gateways of a deployment; empty while it is
    unknown. A client that finds another id discards its local copy.
    """

    status: HealthStatus
    cassandra: ServerState
    elasticsearch: ServerState
    kafka: ServerState
    deployment: str = ""
