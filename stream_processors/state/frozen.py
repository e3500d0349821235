"""A whole conversation as bytes, for idle conversations."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.number_types import SeqId
from stream_processors.core.devices import Devices
from stream_processors.core.recent import RecentMessages, RememberedMessage, UnalteredMessage
from stream_processors.core.state import Conversation, ConversationState, Leaver
from stream_processors.core.window import Decided, Window

_encode: Final = msgspec.msgpack.Encoder().encode

_Windows = list[tuple[int, str, str, list[Decided]]]
"""Place, device, installation and ids of each window of one sender."""

_Frozen = tuple[
    ConversationState | None,
    dict[str, SeqId],
    list[Leaver],
    list[tuple[str, str, _Windows]],
    dict[str, SeqId],
    int,
    dict[SeqId, RememberedMessage],
    dict[int, bytes],
]
"""Head, members, leavers, devices, marks; page, messages and closed pages of recent messages.

A tuple, because a conversation is thawed and frozen for one message if each message is for another
conversation: every call and every object counts.
"""

_decode_frozen: Final = msgspec.msgpack.Decoder(_Frozen).decode


def freeze(conversation: Conversation) -> bytes:
    """A whole conversation as bytes: a tenth of its size as objects."""
    devices = [
        (sender, each.floor, [(w.place, *device, w.held) for device, w in each.windows.items()])
        for sender, each in conversation.devices.items()
    ]
    recent = conversation.recent
    return _encode(  # as `_Frozen`
        (
            conversation.head,
            conversation.members,
            list(conversation.leavers.values()),
            devices,
            conversation.marks,
            recent.page,
            recent.open,
            recent.closed,
        )
    )


def thaw(frozen: bytes) -> Conversation:
    """The conversation that `freeze` encoded."""
    head, members, leavers, senders, marks, page, messages, closed = _decode_frozen(frozen)
    remembered: dict[SeqId, RememberedMessage | UnalteredMessage] = messages
    conversation = Conversation(head, RecentMessages(page, remembered, closed))
    conversation.members = members
    conversation.marks = marks
    if leavers:
        conversation.leavers = {leaver.user: leaver for leaver in leavers}
    for sender, floor, windows in senders:
        conversation.devices[sender] = Devices(
            floor,
            {
                (device_id, installation): Window(ids, place=place)
                for place, device_id, installation, ids in windows
            },
        )
    return conversation
