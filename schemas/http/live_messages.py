"""The messages that the gateway sends on a live connection. See `schemas.http.answers`."""

from __future__ import annotations

from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.http.answers import ProblemDetails, SyncPageItem
from schemas.number_types import SeqId, SyncSeqId


class LiveBegun(Struct, frozen=True, tag_field="kind", tag="begun"):
    """The first message of a live connection: from now on it reports changes of heads.

    A device reads heads after this message. ``next`` is the cursor; newer records follow.
    """

    next: SyncSeqId


class LiveRecords(Struct, frozen=True, tag_field="kind", tag="records", kw_only=True):
    """A page of the caller's sync timeline, as over HTTP; ``next`` is the device's new cursor."""

    records: list[SyncPageItem]
    next: SyncSeqId
    more: bool


class LiveHead(Struct, frozen=True, tag_field="kind", tag="head", kw_only=True):
    """A pulled conversation of the caller has a new head ``seq``: read the store."""

    conv_id: str
    seq: SeqId


class LiveAnswer(Struct, frozen=True, tag_field="kind", tag="answer", kw_only=True):
    """The answer to a request with this ``ref``: the status and the body of the HTTP response.

    ``request_id``: the id of the request in the gateway's log.
    ``retry_after``: seconds until a repetition can succeed, if the response has ``Retry-After``.
    """

    ref: str
    status: int
    body: Raw
    request_id: str
    retry_after: int | UnsetType = UNSET


class LiveProblem(Struct, frozen=True, tag_field="kind", tag="problem"):
    """The problem that ends the connection, with the same fields as over HTTP."""

    problem: ProblemDetails
