"""Direct chats: the one conversation of two people.

The id of a direct chat is derived from the two people, so whoever creates it makes the same
conversation, and the sequencer accepts only the first of several creations. The two people are its
members permanently: nobody can be added or removed.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256
from typing import Final

from schemas.records import (
    AddMembers,
    AnyCommand,
    ConversationCreated,
    CreateConversation,
    DescribeConversation,
    RemoveMembers,
    TransferOwnership,
)

_PREFIX: Final = "direct:"
_is_direct: Final = re.compile(_PREFIX + "[a-z2-7]{52}", re.ASCII).fullmatch


def direct_chat_id(one: str, other: str) -> str:
    """The id of the direct chat of two people, in any order.

    ``direct:`` and the SHA-256 of both ids in base32. Each id is preceded by its length, so that
    no other pair has the same bytes.
    """
    first, second = sorted((one, other))
    hashed = sha256()
    for user in (first, second):
        encoded = user.encode()
        hashed.update(b"%d:%b" % (len(encoded), encoded))
    return _PREFIX + b32encode(hashed.digest()).decode().rstrip("=").lower()


def is_direct_chat(conv_id: str) -> bool:
    """Whether this is the id of a direct chat of some two people."""
    return _is_direct(conv_id) is not None


def is_made_of_its_pair(made: CreateConversation | ConversationCreated) -> bool:
    """Whether a direct chat is created by one of its two people, for both, by invitation."""
    people = {made.sender, *made.members}
    return (
        len(people) == 2  # noqa: PLR2004 - a pair
        and made.join == "invite"
        and direct_chat_id(*people) == made.conv_id
    )


def breaks_direct_chat(command: AnyCommand) -> bool:
    """Whether a command is refused in any state, because its conversation is a direct chat.

    A direct chat has no name and no metadata: its owner is whoever created it first.
    """
    match command:
        case CreateConversation():
            has_description = bool(command.name or command.metadata)
            return is_direct_chat(command.conv_id) and (
                has_description or not is_made_of_its_pair(command)
            )
        case AddMembers() | RemoveMembers() | TransferOwnership() | DescribeConversation():
            return is_direct_chat(command.conv_id)
        case _:
            return False
