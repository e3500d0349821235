"""The records of ``im.state``: what the key names is replaced by the value, or ended by null.

| key | value |
|---|---|
| ``["c", conv]`` | `Head` |
| ``["m", conv, user]`` | the SeqId at which the membership period began |
| ``["r", conv, user]`` | the SeqId up to which the member has read |
| ``["w", conv, sender, device, page]`` | (slot, id, SeqId, digest) of each id in the page |
| ``["p"]`` | `Progress`: one for each partition, in every transaction |

Keys and values are MessagePack. A window is written by the page, once a transaction: a device
that sends one message costs one small record, one that sends many costs an eighth of one each.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from stream_processors.core.state import (
    Accepted,
    Conversation,
    Head,
    Kept,
    MarkForgotten,
    MemberJoined,
    MemberLeft,
    MemberRead,
    PageOfIds,
    Window,
)

StateRecord = tuple[bytes, bytes | None]
"""Key and value of a record of ``im.state``."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_any: Final = msgspec.msgpack.Decoder().decode
_decode_head: Final = msgspec.msgpack.Decoder(Head).decode

PROGRESS_KEY: Final = _encode(["p"])


class Counts(msgspec.Struct, array_like=True):
    """How commands of one partition ended, since it was made."""

    accepted: int = 0
    duplicates: int = 0
    stale: int = 0
    rejected: int = 0
    dead_letters: int = 0


class Progress(msgspec.Struct, array_like=True):
    """Where a partition stands: the source offset that is next, and what came before it."""

    next_offset: int = 0
    counts: Counts = msgspec.field(default_factory=Counts)


_decode_progress: Final = msgspec.msgpack.Decoder(Progress).decode


def progress_record(progress: Progress) -> StateRecord:
    """The state record of a partition's progress."""
    return PROGRESS_KEY, _encode(progress)


def decode_progress(value: bytes) -> Progress:
    """The progress that `progress_record` encoded."""
    return _decode_progress(value)


def state_record(conv_id: str, kept: Kept) -> StateRecord:
    """The state record of a conversation that keeps this."""
    match kept:
        case PageOfIds(sender, device_id, page, ids):
            value = [(held.slot, id_, held.seq, held.digest) for id_, held in ids]
            return _encode(("w", conv_id, sender, device_id, page)), _encode(value)
        case Head():
            return _encode(("c", conv_id)), _encode(kept)
        case MemberJoined(user, since):
            return _encode(("m", conv_id, user)), _encode(since)
        case MemberLeft(user):
            return _encode(("m", conv_id, user)), None
        case MemberRead(user, seq):
            return _encode(("r", conv_id, user)), _encode(seq)
        case MarkForgotten(user):
            return _encode(("r", conv_id, user)), None


class Restored(NamedTuple):
    """What one state record restores."""

    conv_id: str
    kept: Kept


def restored(key: bytes, value: bytes | None) -> Restored:
    """What `state_record` encoded.

    Raises:
        ValueError: It is not a state record of a conversation.
    """
    match _decode_any(key):
        case ["c", conv_id] if value is not None:
            return Restored(conv_id, _decode_head(value))
        case ["m", conv_id, user]:
            if value is None:
                return Restored(conv_id, MemberLeft(user))
            return Restored(conv_id, MemberJoined(user, _decode_any(value)))
        case ["r", conv_id, user]:
            if value is None:
                return Restored(conv_id, MarkForgotten(user))
            return Restored(conv_id, MemberRead(user, _decode_any(value)))
        case ["w", conv_id, sender, device_id, page] if value is not None:
            ids = [(id_, Accepted(slot, *rest)) for slot, id_, *rest in _decode_any(value)]
            return Restored(conv_id, PageOfIds(sender, device_id, page, ids))
    raise ValueError("not a state record that this version knows")


def freeze(conversation: Conversation) -> bytes:
    """A whole conversation as bytes: a tenth of its size as objects."""
    windows = [(*key, list(window.ids.items())) for key, window in conversation.windows.items()]
    return _encode((conversation.head, conversation.members, windows, conversation.marks))


def thaw(frozen: bytes) -> Conversation:
    """The conversation that `freeze` encoded."""
    head, members, windows, marks = _decode_any(frozen)
    conversation = Conversation()
    conversation.head = None if head is None else msgspec.convert(head, Head)
    conversation.members = members
    conversation.marks = marks
    for sender, device_id, items in windows:
        ids = {id_: Accepted(*rest) for id_, rest in items}
        conversation.windows[sender, device_id] = Window(ids)
    return conversation
