"""The digest that distinguishes a repeated command from another command with the same id."""

from __future__ import annotations

from zlib import crc32

from schemas.codec import encode
from schemas.records import AnyCommand, SendMessage


def digest_of(command: AnyCommand) -> int:
    """A 32-bit digest of a command's content; its source and its id are compared separately.

    The digest detects an id that a client reuses by mistake, not on purpose: CRC-32 is cheap. For
    a message it covers only the content and mentions, because nearly all commands are messages.
    """
    if type(command) is SendMessage:
        digest = crc32(encode(command.content))
        return crc32(encode(command.mentions), digest) if command.mentions else digest
    return crc32(encode(command))
