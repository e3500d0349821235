"""What the sender of a command is told that has no effect, or had it before."""

from __future__ import annotations

from schemas.errors import RejectionCode
from schemas.records import AnyCommand, Duplicate, Rejected


def duplicate(command: AnyCommand, at: int, seq: int) -> Duplicate:
    """The command had its effect before, as entry ``seq``; or its read mark was there before."""
    return Duplicate(
        conv_id=command.conv_id,
        sender=command.sender,
        device_id=command.device_id,
        client_msg_id=command.client_msg_id,
        at=at,
        seq=seq,
    )


def rejected(command: AnyCommand, at: int, code: RejectionCode) -> Rejected:
    """The command is refused."""
    return Rejected(
        conv_id=command.conv_id,
        sender=command.sender,
        device_id=command.device_id,
        client_msg_id=command.client_msg_id,
        at=at,
        code=code,
    )
