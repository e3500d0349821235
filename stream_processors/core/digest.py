"""What tells a command that is sent again from another one under the same id."""

from __future__ import annotations

from zlib import crc32

from schemas.codec import encode
from schemas.records import AnyCommand, SendMessage


def digest_of(command: AnyCommand) -> int:
    """32 bits of what a command wants; where it came from and its id are compared beside them.

    Against a client that reuses an id by mistake, not against one that means to: CRC-32 is chosen
    because it is cheap, and is taken of what a message says, because nearly all are messages.
    """
    if type(command) is SendMessage:
        said = crc32(encode(command.content))
        return crc32(encode(command.mentions), said) if command.mentions else said
    return crc32(encode(command))
