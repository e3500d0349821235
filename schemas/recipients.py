"""The key of a sync record: the recipients of an entry who share one shard.

A key is the ids of the recipients in UTF-8, separated by one line feed. An id has no line feed,
because all its characters are printable (`schemas.ids`). The key of one recipient is the
recipient's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

SEPARATOR: Final = b"\n"
"""Separates two ids. Ids have only printable characters, so no id contains the separator."""

MAX_KEY_BYTES: Final = 64 * 1024
"""A longer list of recipients becomes several records with the same value."""


def recipients_key(users: Iterable[str]) -> bytes:
    """The key of a sync record for these recipients (at least one)."""
    return "\n".join(users).encode()


def recipients_of(key: bytes) -> list[bytes]:
    """The ids (UTF-8) that a key lists, in its order."""
    return key.split(SEPARATOR)


def recipient_names(key: bytes) -> list[str]:
    """The ids that a key lists, in its order. Bytes that are not UTF-8 are replaced."""
    return key.decode(errors="replace").split("\n")


def is_recipient(user: bytes, key: bytes | None) -> bool:
    """Whether a key lists a recipient (UTF-8). Needs no value of the record."""
    if key is None or user not in key:
        return False
    return key == user or user in key.split(SEPARATOR)


def key_parts(users: Sequence[str], max_bytes: int = MAX_KEY_BYTES) -> list[bytes]:
    """The keys for a list of recipients: as few as possible, in the order of the list.

    Args:
        users: The recipients, at least one.
        max_bytes: Maximum size of a key. A key is longer only if it has one id that is longer.
    """
    whole = recipients_key(users)
    if len(whole) <= max_bytes:  # nearly always
        return [whole]
    return list(_parts(users, max_bytes))


def _parts(users: Iterable[str], max_bytes: int) -> Iterator[bytes]:
    part: list[str] = []
    size = 0
    for user in users:
        user_bytes = len(user.encode()) + 1
        if part and size + user_bytes > max_bytes + 1:
            yield recipients_key(part)
            part, size = [], 0
        part.append(user)
        size += user_bytes
    if part:
        yield recipients_key(part)
