"""The content of a record for a terminal: without texts, or with all bytes escaped."""

from __future__ import annotations

from typing import Any, Final

import msgspec

SHOWN_BYTES: Final = 64 * 1024
"""Bytes of a value that are shown; the rest is counted."""

_FIELDS: Final = (
    "kind", "v", "conv_id", "seq", "target", "sender", "device_id", "client_msg_id",
    "installation", "at", "messages", "mode", "code",
)  # fmt: skip
"""Fields that never have a text of a message."""

_LONGEST_FIELD: Final = 600
"""Characters of a shown field. An id has at most some 500."""


def escaped(value: bytes | None) -> str:
    """Bytes as printable text. Other characters and bytes are escaped as in Python.

    The result has no character that moves the cursor or changes the state of a terminal.
    """
    if value is None:
        return "null"
    text = value[:SHOWN_BYTES].replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    shown = "".join(each if each.isprintable() else _escape(each) for each in text)
    more = len(value) - SHOWN_BYTES
    return f"{shown} … and {more} more bytes" if more > 0 else shown


def known_fields(value: bytes | None) -> dict[str, str | int]:
    """The fields of a record that have no text of a message; empty if it is no JSON object."""
    try:
        decoded = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    return {name: _field(decoded[name]) for name in _FIELDS if _is_plain(decoded.get(name))}


def _is_plain(content: Any) -> bool:
    return isinstance(content, str | int)


def _field(content: str | int) -> str | int:
    if isinstance(content, int):
        return content
    return escaped(content[:_LONGEST_FIELD].encode("utf-8", "replace"))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
