"""The replies to the sender of a command without a new effect."""

from __future__ import annotations

from schemas.errors import RejectionCode
from schemas.number_types import Milliseconds, SeqId
from schemas.records import AnyCommand, Duplicate, Rejected
from stream_processors.core.window import Window


def duplicate(command: AnyCommand, at: Milliseconds, seq: SeqId) -> Duplicate:
    """The command had its effect before, as entry ``seq``; or the read mark was already there."""
    return Duplicate(
        conv_id=command.conv_id,
        sender=command.sender,
        device_id=command.device_id,
        client_msg_id=command.client_msg_id,
        at=at,
        seq=seq,
    )


def repeated_outcome(
    command: AnyCommand, past: Window, digest: int, at: Milliseconds
) -> Duplicate | Rejected:
    """Repeats the first outcome of an id that is not new; ``stale`` if it is not remembered."""
    known = past.known(command.client_msg_id)
    if known is None:
        return rejected(command, at, "stale")
    if known.digest != digest:
        return rejected(command, at, "conflict")
    if known.code is not None:
        return rejected(command, at, known.code)
    return duplicate(command, at, known.seq)


def rejected(command: AnyCommand, at: Milliseconds, code: RejectionCode) -> Rejected:
    """The command is refused."""
    return Rejected(
        conv_id=command.conv_id,
        sender=command.sender,
        device_id=command.device_id,
        client_msg_id=command.client_msg_id,
        at=at,
        code=code,
    )
