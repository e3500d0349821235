"""The query parameters of requests to the gateway, with their bounds and defaults.

`gateway.http.parameters` parses a query by its struct, `gateway.http.openapi` describes it, and a
client encodes it. A parameter with the default None has no default value for the client to see.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field

from schemas.limits import MAX_CURSOR, MAX_SEQ
from schemas.number_types import FIRST_SEQ, SeqId, SyncSeqId
from schemas.records import Id

DEFAULT_PAGE: Final = 100
"""Items of a page if the request has no limit."""

DEFAULT_HITS: Final = 20

MAX_CONVERSATIONS: Final = 200
MAX_MEMBERS: Final = 200
MAX_ITEMS: Final = 500
"""Maximum number of items in a page of history."""

MAX_RECORDS: Final = 500
"""Maximum number of records in a page of a sync timeline."""

MAX_HITS: Final = 100

MAX_POINTS: Final = 300
"""Maximum number of readings of the pipeline in an answer: five minutes."""

MAX_WAIT_SECONDS: Final = 30
"""Maximum wait for new records; shorter than the usual timeouts of proxies."""

MAX_QUERY_CHARACTERS: Final = 8_190
"""The maximum size of the first line of an HTTP request."""

MAX_CURSOR_CHARACTERS: Final = 2_000
"""A cursor holds an id of up to 128 characters of up to 4 bytes, escaped or not, in base64."""

_LIMIT: Final = "Maximum items of a page; bytes may end it earlier."
_NEXT: Final = "The `next` of an earlier page."

ConversationOrder: TypeAlias = Literal["activity", "id"]
"""By the time of the last entry, newest first; or by id."""

_SeqId: TypeAlias = Annotated[SeqId, Meta(ge=1, le=MAX_SEQ)]
_SyncCursor: TypeAlias = Annotated[SyncSeqId, Meta(ge=-1, le=MAX_CURSOR)]


class NoQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The query of a route without parameters."""


class ConversationsQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of the list of the caller's conversations."""

    order: Annotated[
        ConversationOrder,
        Meta(
            description="By the time of the last entry, newest first; or by id. Only pages by id "
            "are complete while conversations change."
        ),
    ] = "activity"
    after: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_CURSOR_CHARACTERS)] | None,
        Meta(description=_NEXT),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_CONVERSATIONS, description=_LIMIT)] = DEFAULT_PAGE


class BeginningsQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of the first SeqIds that a device shows, by conversation id."""

    after: Annotated[Id | None, Meta(description=_NEXT)] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_CONVERSATIONS, description=_LIMIT)] = DEFAULT_PAGE


class MembersQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of the members of a conversation, by id."""

    after: Annotated[Id | None, Meta(description=_NEXT)] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_MEMBERS, description=_LIMIT)] = DEFAULT_PAGE


class MessagesQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A range of a conversation timeline."""

    first: Annotated[_SeqId, Meta(description="The lowest SeqId.")] = field(
        name="from", default=FIRST_SEQ
    )
    last: Annotated[_SeqId | None, Meta(description="The highest SeqId; by default the head.")] = (
        field(name="to", default=None)
    )
    order: Annotated[
        Literal["asc", "desc"], Meta(description="Ascending or descending SeqIds.")
    ] = "asc"
    limit: Annotated[int, Meta(ge=1, le=MAX_ITEMS, description=_LIMIT)] = DEFAULT_PAGE


class SyncQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of the caller's sync timeline."""

    after: Annotated[
        _SyncCursor, Meta(description="The `next` of an earlier page; -1 is the beginning.")
    ] = SyncSeqId(-1)
    before: Annotated[
        Annotated[SyncSeqId, Meta(ge=0, le=MAX_SEQ)] | None,
        Meta(
            description="Instead of `after`: read backwards from here, newest first. The `next` "
            "of an earlier page, or the highest number for the end."
        ),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_RECORDS, description=_LIMIT)] = DEFAULT_PAGE
    wait: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_WAIT_SECONDS,
            description="Seconds to wait for records after `after`; an empty page if none arrive, "
            "and 401 when the token expires.",
        ),
    ] = 0


class LiveQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The begin of a live connection, and the size of its pages."""

    after: Annotated[
        _SyncCursor, Meta(description="The device's cursor; -1 is the beginning.")
    ] = SyncSeqId(-1)
    limit: Annotated[int, Meta(ge=1, le=MAX_RECORDS, description=_LIMIT)] = DEFAULT_PAGE


class SearchQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of search hits."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_QUERY_CHARACTERS,
            description='Terms separated by spaces; a message must have all. "Quotes" make a '
            "phrase.",
        ),
    ]
    conversation: Annotated[Id | None, Meta(description="Only in this conversation.")] = None
    sender: Annotated[Id | None, Meta(description="Only by this user.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_HITS, description=_LIMIT)] = DEFAULT_HITS
    cursor: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_CURSOR_CHARACTERS)] | None,
        Meta(description=_NEXT),
    ] = None


class CommandQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The conversation of a command."""

    conversation: Annotated[Id, Meta(description="The conversation of the command.")]


class PipelineQuery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The pipeline, with some of its last readings."""

    points: Annotated[
        int, Meta(ge=0, le=MAX_POINTS, description="Readings of the last minutes, at most.")
    ] = 0
