"""Checks of texts: whether a text is blank, and the size of a message with its mentions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from schemas.codec import encode
from schemas.limits import MAX_MESSAGE_BYTES
from schemas.records import MAX_ID_LENGTH, Content

_UNSEEN: Final = (
    "\\x00-\\x20\\x7f-\\xa0\\xad"  # controls, spaces, soft hyphen
    "\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""Ranges of a character class: white space, controls, format characters without a glyph, the
default-ignorable characters of Unicode, and the blank Braille pattern."""

_find_seen: Final = re.compile(f"[^{_UNSEEN}]").search

SURELY_FITS: Final = (MAX_MESSAGE_BYTES - 64 - 2 * 6 * MAX_ID_LENGTH) // 6
"""A text without mentions of at most this number of characters cannot exceed `MAX_MESSAGE_BYTES`:
JSON needs at most six bytes for a character, also in the two ids."""


def is_blank(text: str) -> bool:
    """Whether a text has no visible character."""
    return _find_seen(text) is None


def message_bytes(conv_id: str, sender: str, content: Content, mentions: Sequence[str]) -> int:
    """The size of one version of a message as JSON: ids, text and mentions, in bytes.

    The limit is `MAX_MESSAGE_BYTES`. The size is the same for a message and for an edit, so that
    an edit can set each text that can be sent. The entries of both have room for this number of
    bytes, whatever their other fields are.
    """
    return len(encode((conv_id, sender, content, mentions)))
