"""The keys of records about a part of a person's state: a device, or a gateway.

Such a key is the id of the person and the name of the part in UTF-8, separated by one line feed.
Neither has a line feed, because all characters of an id are printable (`schemas.ids`).
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.errors import UndecodableRecord


class UserPart(NamedTuple):
    """A person, and the name of a part of the person's state."""

    user: str
    part: str


def user_part_key(user: str, part: str) -> bytes:
    """The key of a record about a part of a person's state."""
    return f"{user}\n{part}".encode()


def user_part_of(key: bytes | None) -> UserPart:
    """The reverse of `user_part_key`.

    Raises:
        UndecodableRecord: The key is not of this form.
    """
    try:
        user, part = (key or b"").decode().split("\n")
    except ValueError:  # also of a wrong encoding
        raise UndecodableRecord("the key does not name a person and a part") from None
    if not user or not part:
        raise UndecodableRecord("the key does not name a person and a part")
    return UserPart(user, part)
