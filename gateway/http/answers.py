"""The gateway's responses as msgspec structs: encoded by the routes, described by `openapi`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, field

from gateway.http.problems import ProblemDetails
from gateway.store.device_port import MAX_CURSOR
from schemas.records import MAX_ID_LENGTH, FanoutMode, NewDevicePolicy

HoleKind = Literal["hidden", "not_yet", "recalled"]
"""``hidden``: the caller may not read these SeqIds. ``not_yet``: nothing is stored there.
``recalled``: a recalled message, or an edit of one. Entries of a conversation timeline never
expire; for expired records of a sync timeline there is the problem ``trimmed``."""


class Hole(Struct, frozen=True):
    """The SeqIds ``from`` to ``to`` (both included) are not shown; ``hole`` is the reason."""

    hole: HoleKind
    first: int = field(name="from")
    last: int = field(name="to")


class HistoryPage(Struct, frozen=True, kw_only=True):
    """Part of a conversation timeline, in the requested order, without missing SeqIds.

    ``head`` is the last SeqId that the caller may know. ``next`` is the begin of the next page:
    its ``from`` in ascending order, its ``to`` in descending order; null at the end of the range.
    """

    conv_id: str
    head: int
    items: list[Raw | Hole]
    next: int | None


class SyncPageItem(Struct, frozen=True):
    """One record of the caller's sync timeline."""

    sync_seq: int
    record: Raw


class SyncPage(Struct, frozen=True, kw_only=True):
    """Part of the caller's sync timeline. ``next`` is the ``after`` of the next page.

    If ``more`` is false, this is the present end of the timeline, and ``next`` is the cursor for
    later requests. In a response to ``before``, ``next`` is the ``before`` of the next page; if
    ``more`` is false, no older records are stored.
    """

    records: list[SyncPageItem]
    next: int
    more: bool


class SyncEnd(Struct, frozen=True):
    """The cursor for a device that reads the store now and then follows the sync timeline.

    The store has the effects of all records up to ``next``, the ``after`` of the first page. The
    device receives some entries that it has read from the store again, with the same SeqIds.
    """

    next: int


class LiveBegun(Struct, frozen=True, tag_field="kind", tag="begun"):
    """The first message of a live connection: from now on it reports changes of heads.

    A device reads heads after this message. ``next`` is the cursor; newer records follow.
    """

    next: int


class LiveRecords(Struct, frozen=True, tag_field="kind", tag="records", kw_only=True):
    """A page of the caller's sync timeline, as over HTTP; ``next`` is the device's new cursor."""

    records: list[SyncPageItem]
    next: int
    more: bool


class LiveHead(Struct, frozen=True, tag_field="kind", tag="head", kw_only=True):
    """A pulled conversation of the caller has a new head ``seq``: read the store."""

    conv_id: str
    seq: int


class LiveProblem(Struct, frozen=True, tag_field="kind", tag="problem"):
    """The problem that ends the connection, with the same fields as over HTTP."""

    problem: ProblemDetails


class PeriodShown(Struct, frozen=True):
    """A range of SeqIds, both included; ``last`` is null for an open range."""

    first: int
    last: int | None


class ConversationShown(Struct, frozen=True, kw_only=True):
    """A conversation of which the caller is, or was, a member; only members see ``mode``.

    ``periods`` are the caller's membership periods. ``readable`` is the ranges that history shows
    to the caller: the same periods, or more if members may read entries from before their join.
    ``messages`` is the number of messages among the entries 1 to ``head``. ``read`` is the
    caller's read mark, ``unread`` is the number of messages above the mark, up to ``head``.
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
    """A device of the caller. ``policy`` is its policy at registration, with ``window`` in SeqIds.

    ``cursor`` is the sync SeqId up to which the device has applied the sync timeline: the
    ``after`` of its next request. ``since`` is the time of its registration, ``seen`` the time of
    its last cursor report, both in milliseconds since 1970.
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
    """A device shows a conversation from SeqId ``from`` on; with the present head and ``mode``."""

    conv_id: str
    first: int = field(name="from")
    head: int
    mode: FanoutMode | None


class BeginningsPage(Struct, frozen=True, kw_only=True):
    """The first SeqIds that a device shows of the caller's conversations, by conversation id.

    ``next`` is the ``after`` of the next page. A conversation that is on no page is newer than the
    device, which shows all of it.
    """

    conversations: list[BeginningShown]
    next: str | None


class RegisterDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that registers a device."""

    device_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]


class MoveCursor(Struct, frozen=True, forbid_unknown_fields=True):
    """The body with a device's new cursor."""

    cursor: Annotated[int, Meta(ge=-1, le=MAX_CURSOR)]


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
HealthStatus = Literal["ok", "degraded", "starting", "unavailable"]


class HealthShown(Struct, frozen=True, kw_only=True):
    """Whether the gateway can serve. ``degraded``: everything except search.

    ``starting``: the store is not yet verified to belong to the deployment, and no request is
    served. ``elasticsearch`` is ``down`` until the index is verified to belong to the deployment.

    Without ``kafka`` all requests are served, but waiting requests up to a second later.
    """

    status: HealthStatus
    cassandra: ServerState
    elasticsearch: ServerState
    kafka: ServerState
