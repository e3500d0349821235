"""The rules of the name and the metadata of a conversation."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UnsetType

from schemas.codec import encode
from schemas.errors import RejectionCode
from schemas.limits import (
    MAX_MESSAGE_BYTES,
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_NAME_BYTES,
)
from schemas.texts import is_blank

_find_control: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]").search
"""Control characters and line separators: a name is one line."""


class DescriptionFault(NamedTuple):
    """Why a description is refused. ``reason`` quotes no part of the description.

    ``field``: the name of the value at fault.
    """

    code: RejectionCode
    reason: str
    field: str


def description_fault(
    conv_id: str, sender: str, name: str | UnsetType, metadata: str | UnsetType
) -> DescriptionFault | None:
    """The first fault of a name and of metadata; None without a fault.

    An absent value and an empty text have no fault.

    Raises:
        UnicodeEncodeError: A text has a lone surrogate.
    """
    return (
        (_name_fault(name) if name else None)
        or (_metadata_fault(metadata) if metadata else None)
        or _size_fault(conv_id, sender, name, metadata)
    )


def _name_fault(name: str) -> DescriptionFault | None:
    if is_blank(name):
        return DescriptionFault("empty", "a name has a visible character", "name")
    if _find_control(name):
        reason = "a name has no line breaks and no control characters"
        return DescriptionFault("invalid", reason, "name")
    if len(name.encode()) > MAX_NAME_BYTES:
        return DescriptionFault("too_large", f"a name has at most {MAX_NAME_BYTES} bytes", "name")
    return None


def _metadata_fault(metadata: str) -> DescriptionFault | None:
    if len(metadata.encode()) > MAX_METADATA_BYTES:
        reason = f"metadata has at most {MAX_METADATA_BYTES} bytes"
        return DescriptionFault("too_large", reason, "metadata")
    if not _is_object(metadata):
        reason = f"metadata is a JSON object with at most {MAX_METADATA_DEPTH} levels"
        return DescriptionFault("invalid", reason, "metadata")
    return None


def _size_fault(
    conv_id: str, sender: str, name: str | UnsetType, metadata: str | UnsetType
) -> DescriptionFault | None:
    """Escapes and long ids may make the entry too long."""
    size = len(encode((conv_id, sender, name or "", metadata or "")))
    if size > MAX_MESSAGE_BYTES:
        reason = f"name, metadata and ids take {size} bytes, at most {MAX_MESSAGE_BYTES}"
        return DescriptionFault("too_large", reason, "metadata")
    return None


def _is_object(text: str) -> bool:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    level: list[Any] = [value]
    for _ in range(MAX_METADATA_DEPTH + 1):
        level = [inner for outer in level for inner in _parts(outer)]
    return isinstance(value, dict) and not level


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
