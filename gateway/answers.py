"""What the gateway answers, as msgspec structs: encoded by the routes, described by `openapi`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, field

from gateway.device_store import MAX_CURSOR
from gateway.problems import ProblemDetails
from schemas.records import MAX_ID_LENGTH, FanoutMode, NewDevicePolicy

HoleKind = Literal["hidden", "not_yet", "recalled"]
"""``hidden``: not the caller's to read. ``not_yet``: nothing is stored there. ``recalled``: a
message, or an edit of one, whose text was taken back. Nothing of a conversation timeline expires;
of what has expired of a sync timeline the problem ``trimmed`` tells."""


class Hole(Struct, frozen=True):
    """Why the SeqIds ``from`` to ``to`` (both included) are not shown."""

    hole: HoleKind
    first: int = field(name="from")
    last: int = field(name="to")


class HistoryPage(Struct, frozen=True, kw_only=True):
    """Part of a conversation timeline, in the order asked for; every SeqId is accounted for.

    ``head`` is the last SeqId that the caller may know of. ``next`` is where the next page
    begins: ``from`` in ascending order, ``to`` in descending order; null at the end of the range.
    """

    conv_id: str
    head: int
    items: list[Raw | Hole]
    next: int | None


class SyncItem(Struct, frozen=True):
    """One record of the caller's sync timeline."""

    sync_seq: int
    record: Raw


class SyncPage(Struct, frozen=True, kw_only=True):
    """Part of the caller's sync timeline. ``next`` is the ``after`` of the next page.

    Without ``more`` it is the end for now, and ``next`` is where to look again later. Where
    ``before`` was given, ``next`` is the ``before`` of the next page, and without ``more`` nothing
    older is kept.
    """

    records: list[SyncItem]
    next: int
    more: bool


class SyncEnd(Struct, frozen=True):
    """Up to where the store has what the caller's sync timeline tells.

    ``next`` is the ``after`` with which a device follows that reads the store after this. It is
    told some of what it has read once more, and knows it by its SeqIds.
    """

    next: int


class LiveBegun(Struct, frozen=True, tag_field="kind", tag="begun"):
    """The first answer of a live connection: heads that are read from now on are kept up to date.

    ``next`` is the cursor behind which records will come.
    """

    next: int


class LiveRecords(Struct, frozen=True, tag_field="kind", tag="records", kw_only=True):
    """A page of the caller's sync timeline, as over HTTP; ``next`` is the device's new cursor."""

    records: list[SyncItem]
    next: int
    more: bool


class LiveHead(Struct, frozen=True, tag_field="kind", tag="head", kw_only=True):
    """A pulled conversation of the caller goes on, up to ``seq`` now: read the store."""

    conv_id: str
    seq: int


class LiveProblem(Struct, frozen=True, tag_field="kind", tag="problem"):
    """The connection ends for this reason; what is told is as over HTTP."""

    problem: ProblemDetails


class PeriodShown(Struct, frozen=True):
    """A range of SeqIds, both included; ``last`` is null while it goes on."""

    first: int
    last: int | None


class ConversationShown(Struct, frozen=True, kw_only=True):
    """A conversation that the caller is, or once was, in; ``mode`` is for its members alone.

    ``periods`` are the caller's stays in it. ``readable`` is what history shows them: the same,
    or more where the conversation lets its members read what was said before they joined.
    Of the entries 1 to ``head`` so many are ``messages``. ``read`` is the caller's read mark, and
    ``unread`` the number of messages above it, up to ``head``.
    """

    conv_id: str
    head: int
    messages: int
    read: int
    unread: int
    mode: FanoutMode | None
    periods: list[PeriodShown]
    readable: list[PeriodShown]


class ConversationsPage(Struct, frozen=True, kw_only=True):
    """Some of the caller's conversations, by id. ``next`` is the ``after`` of the next page."""

    conversations: list[ConversationShown]
    next: str | None


class DeviceShown(Struct, frozen=True, kw_only=True):
    """A device of the caller. ``policy`` is that by which it began, with its ``window`` of SeqIds.

    ``cursor`` is the sync SeqId up to which it has applied the sync timeline, and the ``after`` of
    what it reads next. ``since`` is when it registered, ``seen`` when it last told its cursor,
    both in milliseconds since 1970.
    """

    device_id: str
    policy: NewDevicePolicy
    window: int | None
    since: int
    cursor: int
    seen: int


class DevicesShown(Struct, frozen=True, kw_only=True):
    """All devices of the caller, by id."""

    devices: list[DeviceShown]


class BeginningShown(Struct, frozen=True, kw_only=True):
    """A device shows a conversation from SeqId ``from`` on. Its head and ``mode`` are of now."""

    conv_id: str
    first: int = field(name="from")
    head: int
    mode: FanoutMode | None


class BeginningsPage(Struct, frozen=True, kw_only=True):
    """Where a device begins in some of the caller's conversations, by id.

    ``next`` is the ``after`` of the next page. What is in no page comes after the device: it shows
    all of that.
    """

    conversations: list[BeginningShown]
    next: str | None


class RegisterDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that registers a device."""

    device_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]


class MoveCursor(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that tells how far a device has applied its sync timeline."""

    cursor: Annotated[int, Meta(ge=-1, le=MAX_CURSOR)]


class SearchPage(Struct, frozen=True, kw_only=True):
    """Messages, newest first. ``next`` is the ``cursor`` of the next page; null at the end.

    A page may have fewer messages than asked for, or none, and yet a ``next``. What was edited or
    recalled lately and is not indexed anew yet is left out.

    ``cut``: the query was longer than a search takes, and only its first part was searched for.
    """

    hits: list[Raw]
    next: str | None
    cut: bool


ServerState = Literal["up", "down"]
Status = Literal["ok", "degraded", "starting", "unavailable"]


class HealthShown(Struct, frozen=True, kw_only=True):
    """Whether the gateway can serve: ``degraded`` is without search.

    ``starting``: the store is not known yet to belong to the deployment, and nothing is served.
    ``elasticsearch`` is ``down`` until the index is known to belong to the deployment.

    Without ``kafka`` all is served, but who waits is answered up to a second later.
    """

    status: Status
    cassandra: ServerState
    elasticsearch: ServerState
    kafka: ServerState
