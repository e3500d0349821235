"""The newest value of each part of each person, such as the address of each device."""

from __future__ import annotations

from typing import TypeVar

ValueT = TypeVar("ValueT")


def put_part(
    parts: dict[str, dict[str, ValueT]], user: str, part: str, value: ValueT | None
) -> None:
    """Replaces the value of a part of a person; None removes it. A person has a value at least.

    Args:
        parts: The values, by person and part.
        user: The person.
        part: The device, or another part of the person.
        value: The newest value.
    """
    if value is not None:
        parts.setdefault(user, {})[part] = value
    elif user in parts:
        parts[user].pop(part, None)
        if not parts[user]:
            del parts[user]
