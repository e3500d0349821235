"""Types of the fields of records, and the policies of new devices."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from schemas.limits import MAX_TIME_MS
from schemas.number_types import Milliseconds, SeqId

MAX_ID_LENGTH = 128
"""Maximum number of characters in an id of a user, a device or a conversation."""

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
"""Names a user, a device or a conversation. Printable, see `schemas.ids.is_valid_id`."""

Int64: TypeAlias = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A number that Kafka, Cassandra and MessagePack can hold: 64 bits with a sign."""

Seq: TypeAlias = Annotated[SeqId, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""The SeqId of an entry, in 64 bits."""

Ms: TypeAlias = Annotated[Milliseconds, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""`Milliseconds` in 64 bits."""

MUTED_WITHOUT_END = Milliseconds(MAX_TIME_MS)
"""The end of a mute that lasts until another command ends it: the end of the year 9999."""

MAX_INSTALLATION_LENGTH = 32
"""Maximum number of characters in the id of an installation."""

InstallationId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_INSTALLATION_LENGTH)]
"""Distinguishes the installations of one device. Printable, like every id."""

FanoutMode: TypeAlias = Literal["push", "pull"]
"""``push``: an entry goes to every member's sync timeline. ``pull``: members read the store."""

JoinRule: TypeAlias = Literal["invite", "open"]
"""``invite``: members add others. ``open``: in addition, anybody may add themselves."""

HistoryRule: TypeAlias = Literal["since_join", "all"]
"""Which entries from before their join members may read. ``since_join``: none. ``all``: all, as
for a member from the beginning."""


NewDevicePolicy: TypeAlias = Literal["new-messages-only", "window", "full-history"]
"""The messages that a new device shows: only new ones (``new-messages-only``), also the last
SeqIds of each conversation (``window``), or all that its owner may read (``full-history``)."""


class TextContent(Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """Plain text, as its sender wrote it."""

    text: str


Content: TypeAlias = TextContent
"""The content of a message. Tagged by ``type``, so that later versions can add other types."""
