"""What the fields of records are made of, and the policies of new devices."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

MAX_ID_LENGTH = 128
"""Characters in an id of a user, a device or a conversation."""

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
"""Names a user, a device or a conversation. Printable, see `schemas.ids.is_valid_id`."""

Int64: TypeAlias = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A number that Kafka, Cassandra and MessagePack can hold: 64 bits with a sign."""

MAX_INSTALLATION_LENGTH = 32
"""Characters in the id of an installation."""

InstallationId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_INSTALLATION_LENGTH)]
"""Tells the installations of one device apart. Printable, as every id."""

FanoutMode: TypeAlias = Literal["push", "pull"]
"""``push``: an entry goes to every member's sync timeline. ``pull``: members read the store."""

JoinRule: TypeAlias = Literal["invite", "open"]
"""``invite``: a member adds others. ``open``: anybody may add themselves, too."""

HistoryRule: TypeAlias = Literal["since_join", "all"]
"""What a member may read of what was said before they joined. ``since_join``: nothing. ``all``:
everything, as for somebody who was there from the beginning."""


NewDevicePolicy: TypeAlias = Literal["new-messages-only", "window", "full-history"]
"""From where a new device shows: what comes from now on, the last of each conversation and that,
or everything that its owner may read."""


class TextContent(Struct, frozen=True, gc=False, tag_field="type", tag="text"):
    """Plain text, as its sender wrote it."""

    text: str


Content: TypeAlias = TextContent
"""What a message carries. A union by ``type``, so that later kinds fit beside text."""
