"""Digests of the content of entries, messages and commands."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from msgspec import UNSET, UnsetType

from schemas.codec import encode
from schemas.records import (
    AnyCommand,
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    OwnershipTransferred,
)

ABSENT: Final = 0
"""Digest of a missing entry."""


def audited_digest(value: bytes) -> int:
    """A content digest: 32 bits, never `ABSENT`. Detects faults, not attacks."""
    return crc32(value) or 1


def document_digest(sender: str, at: int, text: str) -> int:
    """`audited_digest` the expected document of a message; of a recalled message only the time."""
    return audited_digest(encode((sender, at, text)))


def command_hash(record: AnyEntry | AnyCommand) -> int:
    """`hash_of_id` of a record."""
    return hash_of_id(record.sender, record.client_msg_id)


def hash_of_id(sender: str, client_msg_id: str) -> int:
    """A 64-bit hash of sender and client_msg_id; never `ABSENT`."""
    return hash((sender, client_msg_id)) or 1


def name_digest(name: str) -> int:
    """A 32-bit digest of a person's id; never `ABSENT`."""
    return crc32(name.encode()) or 1


def content_digest(*content: object) -> int:
    """A 32-bit digest of an entry's content, without place, time and sender."""
    return crc32(encode(content))


def description_digest(text: str) -> int:
    """A 32-bit digest of a name or of metadata; `ABSENT` for an empty text."""
    return audited_digest(text.encode()) if text else ABSENT


def described_digest(name: str | UnsetType, metadata: str | UnsetType) -> int:
    """The `content_digest` of ``conversation_described``. An absent value is not an empty one."""
    given = [None if value is UNSET else value for value in (name, metadata)]
    return content_digest("conversation_described", *given)


def entry_digest(entry: AnyEntry) -> int:
    """`content_digest` of an entry, or the number of people in a membership entry."""
    match entry:
        case MessageSent() | MessageEdited() | MessageRecalled():
            return _message_digest(entry)
        case ConversationCreated() | MembersAdded() | MembersRemoved():
            return len(entry.members)
        case OwnershipTransferred():
            return content_digest("ownership_transferred", entry.owner)
        case ConversationDescribed():
            return described_digest(entry.name, entry.metadata)
        case FanoutChanged():
            return 0


def _message_digest(entry: MessageSent | MessageEdited | MessageRecalled) -> int:
    match entry:
        case MessageSent():
            return content_digest("message_sent", entry.content, entry.mentions)
        case MessageEdited():
            return content_digest("message_edited", entry.target, entry.content, entry.mentions)
        case MessageRecalled():
            return content_digest("message_recalled", entry.target)
