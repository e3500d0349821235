"""The messages of one conversation that one person may have to be notified of.

Pure: each function returns the state after one event. The state of a (person, conversation) is one
record of ``im.push-state``; a person without a waiting message and without a mute has no state.

A sync timeline has a message before the marks, the recalls and the edits of the message. So an
event changes only messages that wait already, and needs no memory for later messages. Exception:
the mute, which holds for later messages.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas.codec import decode
from schemas.errors import UndecodableRecord
from schemas.number_types import NO_SEQ, Milliseconds, Offset, SeqId, ShardNumber
from schemas.recipients import SEPARATOR
from schemas.replays import GivenUpNotification

MAX_WAITING: Final = 32
"""Maximum number of messages that wait in one conversation. A notification shows only the newest
message; the others replace the newest one after its recall."""


class PushKey(NamedTuple):
    """A person and a conversation."""

    user: str
    conv_id: str


class WaitingMessage(Struct, frozen=True, gc=False, array_like=True):
    """A message of another person that at least one device was not notified of.

    ``at``: the broker's time of the message, in milliseconds since 1970. ``messages``: the number
    of messages up to this one.
    """

    seq: SeqId
    at: Milliseconds
    sender: str
    messages: int


class PushState(Struct, frozen=True, gc=False, omit_defaults=True):
    """The state of one person in one conversation.

    ``waiting``: messages in the order of their SeqIds. ``notified``: for each device, the SeqId of
    the newest message that needs no further attempt on this device. ``muted_until``: the end of
    the mute in milliseconds since 1970, 0 without one. ``shard`` and ``offset``: the place of the
    last sync record that changed the state. After a restart, earlier records may be read again;
    they have no effect.
    """

    waiting: tuple[WaitingMessage, ...] = ()
    notified: dict[str, SeqId] = {}
    muted_until: Milliseconds = Milliseconds(0)
    shard: ShardNumber = ShardNumber(0)
    offset: Offset = Offset(-1)

    @property
    def place(self) -> tuple[ShardNumber, Offset]:
        """The place of the last sync record that changed the state; increases."""
        return self.shard, self.offset


NOTHING: Final = PushState()
"""The state without a record."""


class PushTimes(NamedTuple):
    """Durations in milliseconds.

    ``window``: the collapse window. ``live_grace``: a connection that still exists this long after
    a message did exist at the time of the message.
    """

    window: Milliseconds
    live_grace: Milliseconds


class PushPerson(NamedTuple):
    """A person: the devices with an address, and whether a device is live."""

    devices: Collection[str]
    is_live: bool


class HeldState:
    """A state in memory, with its shard. ``offered``: the devices with a delivery in progress."""

    __slots__ = ("due_at", "offered", "owner", "state")

    def __init__(self, owner: ShardNumber, state: PushState = NOTHING) -> None:
        self.owner = owner
        self.state = state
        self.due_at: Milliseconds | None = None
        self.offered: frozenset[str] = frozenset()


class OwnedState(NamedTuple):
    """A durable state, and the present shard of its person."""

    key: PushKey
    state: PushState
    owner: ShardNumber


def message_arrived(state: PushState, message: WaitingMessage) -> PushState:
    """A message of another person arrived."""
    if message.at < state.muted_until:
        return state
    return replace(state, waiting=(*state.waiting[-(MAX_WAITING - 1) :], message))


def read_up_to(state: PushState, seq: SeqId) -> PushState:
    """The person read the conversation up to ``seq``, wrote the entry ``seq``, or left by it."""
    return _keep(state, [each for each in state.waiting if each.seq > seq])


def recalled(state: PushState, seq: SeqId) -> PushState:
    """The message ``seq`` was recalled."""
    return _keep(state, [each for each in state.waiting if each.seq != seq])


def muted(state: PushState, until: Milliseconds, at: Milliseconds) -> PushState:
    """The person muted the conversation until a time, or ended the mute by a time in the past.

    Args:
        state: The state before.
        until: The end of the mute.
        at: The broker's time of the command. All times are milliseconds since 1970.
    """
    if until <= at:
        return replace(state, muted_until=Milliseconds(0))
    return replace(without_waiting(state), muted_until=until)


def notified(state: PushState, device_id: str, seq: SeqId) -> PushState:
    """The device needs no further attempt for the messages up to ``seq``."""
    if not state.waiting or seq <= state.notified.get(device_id, NO_SEQ):
        return state
    return replace(state, notified=state.notified | {device_id: seq})


def waits_again(
    state: PushState, ids: GivenUpNotification, at: Milliseconds, others: Collection[str]
) -> PushState:
    """An operator replays the dead letter of a notification.

    No effect if the message waits for the device, or if a newer message waits: the notification
    of the newer message takes its place.

    Args:
        state: The state before.
        ids: The value of the letter.
        at: The time of the replay, from which on the age of the message counts.
        others: The other devices of the person.
    """
    message = WaitingMessage(ids.seq, at, ids.sender, ids.messages)
    if message.at < state.muted_until:
        return state
    if not state.waiting:
        notified = dict.fromkeys(others, message.seq)
        return replace(state, waiting=(message,), notified=notified)
    if state.waiting[-1].seq != message.seq:
        return state
    return replace(
        state,
        notified={each: seq for each, seq in state.notified.items() if each != ids.device_id},
    )


def newest_for(state: PushState, device_id: str) -> WaitingMessage | None:
    """The message of the next notification of a device; None if the device needs none."""
    if not state.waiting or state.waiting[-1].seq <= state.notified.get(device_id, NO_SEQ):
        return None
    return state.waiting[-1]


def settled(state: PushState, devices: Collection[str]) -> PushState:
    """Removes the messages if none of these devices needs a notification any more."""
    needs_more = any(newest_for(state, device_id) for device_id in devices)
    return state if needs_more else without_waiting(state)


def without_waiting(state: PushState) -> PushState:
    """No device needs a notification of the waiting messages."""
    return replace(state, waiting=(), notified={}) if state.waiting else state


def is_needless(state: PushState, committed: Mapping[ShardNumber, Offset]) -> bool:
    """Whether the state can be forgotten: a restart does not read its last record again.

    Args:
        state: The state.
        committed: The committed offset of each present shard. The records of a shard of an earlier
            epoch are not read again.
    """
    if state.waiting or state.muted_until:
        return False
    return state.offset < committed.get(state.shard, state.offset + 1)


def _keep(state: PushState, waiting: Sequence[WaitingMessage]) -> PushState:
    if len(waiting) == len(state.waiting):
        return state
    return replace(state, waiting=tuple(waiting)) if waiting else without_waiting(state)


_decoder = msgspec.json.Decoder(PushState)


def state_key(key: PushKey) -> bytes:
    """The key of a record of ``im.push-state``. Ids have no line feed."""
    return key.user.encode() + SEPARATOR + key.conv_id.encode()


def decode_state(key: bytes | None, value: bytes) -> tuple[PushKey, PushState]:
    """Decodes a record of ``im.push-state``.

    Raises:
        UndecodableRecord: The record is not of this version.
    """
    user, separator, conv_id = (key or b"").decode(errors="replace").partition("\n")
    if not separator:
        raise UndecodableRecord("the key is not a person and a conversation")
    return PushKey(user, conv_id), decode(_decoder, value)
