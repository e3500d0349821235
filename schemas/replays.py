"""Requests to deliver a notification or an event again: records of ``im.replays``.

`im dead-letter replay` writes a request, and the stage of the dead letter writes the end of the
request when its outcome is durable. The key names the stage and the dead letter. A request has
ids alone: the text of a message may be recalled.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas.codec import decode
from schemas.errors import UndecodableRecord
from schemas.number_types import Offset, SeqId, ShardNumber


class GivenUpNotification(Struct, frozen=True, kw_only=True):
    """The value of a dead letter of ``sink-push``: a notification without its text.

    ``messages``: the number of messages of the conversation up to this one. ``shard`` and
    ``offset``: the place of the newest sync record of the person in the conversation.
    """

    device_id: str
    conv_id: str
    seq: SeqId
    sender: str
    messages: int
    shard: ShardNumber
    offset: Offset


class EventPlace(Struct, frozen=True, kw_only=True):
    """The place of the entry of an event on ``im.timeline``."""

    partition: int
    offset: Offset


class Replay(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of ``im.replays``.

    ``user_id`` and ``notification``: what ``sink-push`` delivers. ``event``: what a webhook
    delivers. ``is_done``: the request has ended, and has nothing else.
    """

    user_id: str = ""
    notification: GivenUpNotification | None = None
    event: EventPlace | None = None
    is_done: bool = False


class ReplayKey(NamedTuple):
    """A stage, and the place of its dead letter on ``im.dead-letter``."""

    stage: str
    partition: int
    offset: Offset


def encode_replay_key(key: ReplayKey) -> bytes:
    """The Kafka key of a request."""
    return "\n".join(map(str, key)).encode()


def decode_replay_key(key: bytes | None) -> ReplayKey:
    """The reverse of `encode_replay_key`.

    Raises:
        UndecodableRecord: The key is not of this form.
    """
    try:
        stage, partition, offset = (key or b"").decode().split("\n")
        return ReplayKey(stage, int(partition), Offset(int(offset)))
    except ValueError:  # also of a wrong encoding
        raise UndecodableRecord("the key does not name a stage and a dead letter") from None


_replay = msgspec.json.Decoder(Replay)
_notification = msgspec.json.Decoder(GivenUpNotification)


def decode_replay(value: bytes | None) -> Replay:
    """Decodes the value of a record of ``im.replays``.

    Raises:
        UndecodableRecord: The value is not of this version.
    """
    return decode(_replay, value)


def decode_given_up(value: bytes | None) -> GivenUpNotification:
    """Decodes the value of a dead letter of ``sink-push``.

    Raises:
        UndecodableRecord: The letter is of an earlier version, which wrote no value.
    """
    return decode(_notification, value)
