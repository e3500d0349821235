"""The records of ``im.state``: a value replaces the state of its key, a null value deletes it.

| key | value |
|---|---|
| ``["c", conv]`` | `ConversationState`, and the open page of recent messages |
| ``["m", conv, user]`` | the SeqId at which the membership period began |
| ``["l", conv, user]`` | the closed periods of a person: first, last, number of each |
| ``["r", conv, user]`` | the SeqId up to which the member has read |
| ``["s", conv, place]`` | a full page of recent messages, by its place in the ring |
| ``["w", conv, sender, place, page]`` | device, installation, ids with `Decided` |
| ``["f", conv, sender]`` | the floor of the sender: see `FloorRaised` |
| ``["x", place]`` | a `Refusal`: a refused command of a stranger |
| ``["p"]`` | `LaneProgress`: one for each partition, in every transaction |

Keys and values are MessagePack. A window is written in pages, once in a transaction: one message
of a device costs one small record, many messages cost an eighth of a record each. Recent messages
are written with the head, which is written anyway, until their page is full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from schemas.number_types import FIRST_EPOCH, NO_SEQ, EpochNumber, Offset, SeqId
from stream_processors.core.periods import ClosedPeriod
from stream_processors.core.recent import ClosedPage
from stream_processors.core.state import (
    Conversation,
    ConversationState,
    FloorRaised,
    HeadAndOpenPage,
    Leaver,
    LeaverForgotten,
    MarkForgotten,
    MemberJoined,
    MemberLeft,
    MemberRead,
    PageOfIds,
    StateChange,
    StateContent,
)
from stream_processors.core.strangers import Refusal
from stream_processors.core.window import Decided

StateRecord = tuple[bytes, bytes | None]
"""Key and value of a record of ``im.state``."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_any: Final = msgspec.msgpack.Decoder().decode
_decode_text: Final = msgspec.msgpack.Decoder(str).decode
_decode_number: Final = msgspec.msgpack.Decoder(int).decode
_decode_seq: Final[Callable[[bytes], SeqId]] = msgspec.msgpack.Decoder(SeqId).decode
_decode_head: Final = msgspec.msgpack.Decoder(ConversationState).decode
_decode_moved: Final = msgspec.msgpack.Decoder(HeadAndOpenPage).decode
_decode_window: Final = msgspec.msgpack.Decoder(tuple[str, int, int]).decode
_decode_closed_periods: Final = msgspec.msgpack.Decoder(tuple[ClosedPeriod, ...]).decode

PROGRESS_KEY: Final = _encode(["p"])

REFUSAL_KEY: Final = _encode(("x", 0))[:3]
"""The prefix of all keys from `refusal_record`, and of no others."""

_ONE_LETTER, _SHORT, _UP_TO_255, _UP_TO_65535 = 0xA1, 0xA0, 0xD9, 0xDA
"""Headers of strings in MessagePack: of one letter, of up to 31 bytes, and of more bytes."""

_OF_THREE: Final = b"\x93"
"""The header of an array of three in MessagePack."""

_decode_refusal: Final = msgspec.msgpack.Decoder(Refusal).decode


class CommandCounts(msgspec.Struct, array_like=True):
    """The numbers of outcomes of commands of one partition, since its creation."""

    accepted: int = 0
    duplicates: int = 0
    stale: int = 0
    rejected: int = 0
    dead_letters: int = 0


class LaneProgress(msgspec.Struct, array_like=True):
    """The progress of a partition: the next source offset, and the counts of earlier records.

    ``epoch``: the epoch to which its sync records are written.
    """

    next_offset: Offset = Offset(0)
    counts: CommandCounts = msgspec.field(default_factory=CommandCounts)
    epoch: EpochNumber = FIRST_EPOCH


_decode_ids: Final = msgspec.msgpack.Decoder(tuple[str, str, list[Decided]]).decode

_decode_progress: Final = msgspec.msgpack.Decoder(LaneProgress).decode


def progress_record(progress: LaneProgress) -> StateRecord:
    """The state record of a partition's progress."""
    return PROGRESS_KEY, _encode(progress)


def decode_progress(value: bytes) -> LaneProgress:
    """Decodes the value of `progress_record`."""
    return _decode_progress(value)


def refusal_record(place: int, refusal: Refusal) -> StateRecord:
    """The state record of a refused command of a stranger."""
    return _encode(("x", place)), _encode(refusal)


def restored_refusal(key: bytes, value: bytes | None) -> tuple[int, Refusal]:
    """Decodes a record of `refusal_record`.

    Raises:
        ValueError: The record is not from `refusal_record`.
    """
    match _decode_any(key):
        case ["x", place] if value is not None:
            return place, _decode_refusal(value)
    raise ValueError("not a state record that this version knows")


def moved_record(conv_id: str, conversation: Conversation) -> StateRecord:
    """The state record of a conversation that has a new head: a `HeadAndOpenPage`."""
    recent = conversation.recent
    return _encode(("c", conv_id)), _encode((conversation.head, recent.page, recent.open))


def state_record(conv_id: str, content: StateContent) -> StateRecord:
    """The state record of a conversation for this content."""
    match content:
        case HeadAndOpenPage():
            return _encode(("c", conv_id)), _encode(content)
        case PageOfIds() | FloorRaised():
            return _device_record(conv_id, content)
        case ClosedPage(number, packed):
            return _encode(("s", conv_id, number)), packed
        case MemberJoined() | MemberLeft():
            since = _encode(content.since) if isinstance(content, MemberJoined) else None
            return _encode(("m", conv_id, content.user)), since
        case Leaver() | LeaverForgotten():
            stays = _encode(content.stays) if isinstance(content, Leaver) else None
            return _encode(("l", conv_id, content.user)), stays
        case MemberRead() | MarkForgotten():
            seq = _encode(content.seq) if isinstance(content, MemberRead) else None
            return _encode(("r", conv_id, content.user)), seq


def split_key(key: bytes) -> tuple[bytes, bytes]:
    """The conversation of a state record, in UTF-8, and the key without it: letter and place.

    A restore splits millions of keys, so the string is cut out and the rest is not decoded.

    Raises:
        ValueError: The key is not that of a state record of a conversation.
    """
    begin = key[3:6]  # the header of the string; the id of one character leaves two bytes
    if begin and key[1] == _ONE_LETTER:
        if _SHORT <= begin[0] < _SHORT + 32:
            end = 4 + begin[0] - _SHORT
            return key[4:end], key[2:3] + key[end:]
        if len(begin) == 3 and begin[0] == _UP_TO_255:  # noqa: PLR2004 - header and length
            end = 5 + begin[1]
            return key[5:end], key[2:3] + key[end:]
        if len(begin) == 3 and begin[0] == _UP_TO_65535:  # noqa: PLR2004 - header and length
            end = 6 + (begin[1] << 8 | begin[2])
            return key[6:end], key[2:3] + key[end:]
    raise ValueError("not a state record that this version knows")


def _device_record(conv_id: str, content: PageOfIds | FloorRaised) -> StateRecord:
    if isinstance(content, FloorRaised):
        return _encode(("f", conv_id, content.sender)), _encode(content.floor)
    key = _encode(("w", conv_id, content.sender, content.place, content.page))
    if not content.ids:
        return key, None
    return key, _encode((*content.device, content.ids))


def restored(rest: bytes, value: bytes | None) -> StateContent:
    """Decodes a record of `state_record`.

    Args:
        rest: The key without the conversation, see `split_key`.
        value: The value of the record.

    Raises:
        ValueError: The record is not a state record of a conversation.
    """
    kind, place = rest[:1], rest[1:]
    match kind:
        case b"c" if value is not None and not place:
            return _moved(value)
        case b"s" if value is not None:
            return ClosedPage(_decode_number(place), value)
        case b"f" if value is not None:
            return FloorRaised(_decode_text(place), _decode_text(value))
        case b"w":
            return _restored_page(place, value)
        case b"m" | b"l" | b"r":
            return _restored_person(kind, _decode_text(place), value)
    raise ValueError("not a state record that this version knows")


def _restored_person(kind: bytes, user: str, value: bytes | None) -> StateChange:
    match kind:
        case b"m":
            return MemberJoined(user, _decode_seq(value)) if value else MemberLeft(user, NO_SEQ)
        case b"l":
            return Leaver(user, _decode_closed_periods(value)) if value else LeaverForgotten(user)
        case _:
            return MemberRead(user, _decode_seq(value)) if value else MarkForgotten(user)


def _restored_page(place: bytes, value: bytes | None) -> PageOfIds:
    sender, number, page = _decode_window(_OF_THREE + place)
    if value is None:
        return PageOfIds(sender, number, page)
    device_id, installation, ids = _decode_ids(value)
    return PageOfIds(sender, number, page, (device_id, installation), ids)


def _moved(value: bytes) -> HeadAndOpenPage:
    if _SHORT <= value[1] < _SHORT + 32 or value[1] in {_UP_TO_255, _UP_TO_65535}:
        return HeadAndOpenPage(_decode_head(value), 0, {})  # from an early version
    return _decode_moved(value)
