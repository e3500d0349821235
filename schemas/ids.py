"""The formats of ids.

`client_msg_id` is a UUIDv7 in the canonical lower-case form of RFC 9562, section 4; in that form
the order of the strings is the order of the ids.
"""

from __future__ import annotations

import re
from typing import Final

_UUID7: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)

_MAX_MS: Final = (1 << 48) - 1
_RANDOM_BITS: Final = 74
MAX_RANDOM: Final = (1 << _RANDOM_BITS) - 1


def is_valid_id(text: str) -> bool:
    """Whether every character is printable (spaces are). The decoder checks the length."""
    return text.isprintable()


def is_client_msg_id(text: str) -> bool:
    """Whether this is a UUIDv7 in canonical form."""
    return _UUID7.fullmatch(text) is not None


def uuid7(ms: int, random_bits: int) -> str:
    """Builds a UUIDv7 (RFC 9562, section 5.7).

    Args:
        ms: int since 1970, below 2**48.
        random_bits: Orders and distinguishes ids of one millisecond, below 2**74.

    Raises:
        ValueError: A number is out of its range.
    """
    if not 0 <= ms <= _MAX_MS or not 0 <= random_bits <= MAX_RANDOM:
        raise ValueError("milliseconds take 48 bits, the random part 74")
    high, low = random_bits >> 62, random_bits & ((1 << 62) - 1)
    number = ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7_parts(client_msg_id: str) -> tuple[int, int]:
    """The (milliseconds, random part) from which `uuid7` would build this id.

    Raises:
        ValueError: The id is not a UUIDv7 in canonical form.
    """
    if not is_client_msg_id(client_msg_id):
        raise ValueError("not a UUIDv7 in canonical form")
    number = int(client_msg_id.replace("-", ""), 16)
    high = number >> 64 & 0xFFF
    return number >> 80, high << 62 | number & ((1 << 62) - 1)
